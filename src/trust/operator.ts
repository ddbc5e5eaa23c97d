/**
 * What an operator sees and does about trust: `countersign trust …` and `safety-number`. Each act is one commit.
 */
import { isAci, parseAci, type Aci, type ServiceId } from '../address.ts';
import { equal, fromBase64, toBase64, type Bytes } from '../bytes.ts';
import { BotError, describe } from '../errors.ts';
import { safetyNumber } from '../identities/safety-number.ts';
import type { ContactIdentity } from '../identities/state.ts';
import type { TrustChange } from '../identities/transitions.ts';
import { countParked } from '../inbox/parking.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Evidence, Exposure, HistoryEntry, Policy, TrustState } from '../store/identity-row.ts';
import type { Batch } from '../store/store.ts';
import { outboxRows } from '../store/tables.ts';
import { reload, type Trust } from './build.ts';
import { exposuresOf } from './exposure.ts';
import {
  putSettings,
  readSettings,
  type OperatorRule,
  type OperatorRules,
  type PolicySettings,
} from './policy.ts';

/** A line of `trust list`. Keys: base64, 33 bytes; empty while there is none. */
export interface TrustLine {
  readonly aci: string;
  readonly state: TrustState;
  readonly identityKey: string;
  /** ms */
  readonly since: number;
}

/** As of a plugin's declaration (`src/plugin/check-plugin.ts`). */
const PLUGIN_NAME = /^[a-z0-9][a-z0-9-]*$/;

export interface TrustDetails extends TrustLine {
  readonly candidate: string | null;
  readonly revoked: readonly string[];
  /** The pin was verified, also while the contact is `changed`. */
  readonly wasVerified: boolean;
  readonly pni: { readonly pni: string; readonly key: string } | null;
  readonly evidence: readonly Evidence[];
  readonly history: readonly HistoryEntry[];
  /** Envelopes that wait to be opened, messages that wait to be sent. */
  readonly parked: number;
  readonly held: number;
  /** What was sent under false keys that a run has proven: read by someone else. */
  readonly exposed: readonly Exposure[];
}

export interface SafetyNumberView {
  readonly digits: string;
  /** Base64: what a QR code of it holds. */
  readonly scannable: string;
  /** Of the key that appeared and is not trusted, while the contact is `changed`. */
  readonly candidateDigits?: string;
  /** Whether what was typed is one of them, in full. */
  readonly match?: boolean;
  readonly state: TrustState;
}

/** A contact of a file that is imported. */
export interface ImportedContact {
  readonly aci: string;
  /** Base64, 33 bytes. */
  readonly identityKey: string;
}

/** Which rule `trust policy` sets, or takes away; what is undefined stays as it is. */
export interface PolicyChange {
  readonly keyChange?: PolicySettings['keyChange'] | undefined;
  readonly plugin?: string | undefined;
  readonly command?: string | undefined;
  readonly inbound?: Policy | undefined;
  readonly outbound?: Policy | undefined;
  /** Takes away the rule of the command, or all that is said of the plugin. */
  readonly remove?: boolean | undefined;
}

export async function showTrust(trust: Trust, contact: ServiceId): Promise<TrustDetails> {
  const { store, identities } = trust;
  const known = await identities.get(store.batch(), contact);
  let held = 0;
  for await (const [, row] of outboxRows.scan(store, [contact])) held += row.state === 'held' ? 1 : 0;
  return {
    ...lineOf(contact, known),
    candidate: known.candidate === undefined ? null : toBase64(known.candidate),
    revoked: known.revoked.map(toBase64),
    wasVerified: known.wasVerified,
    pni: known.pni === undefined ? null : { pni: known.pni.pni.slice(4), key: known.pni.key },
    evidence: known.evidence,
    history: known.history,
    parked: await countParked(store, contact),
    held,
    exposed: await exposuresOf(store, contact),
  };
}

/**
 * Takes a contact's other key on first-use terms, or lets go of a mark on the one that is held.
 * @param key which; the candidate if unsaid, else the pin of a contact that is `changed` or `revoked`
 * @throws BotError `ROW_UNKNOWN` when there is nothing to accept
 */
export async function acceptIdentity(trust: Trust, contact: ServiceId, key?: Bytes): Promise<TrustLine> {
  return change(trust, contact, ({ state, candidate, pin }) => {
    const isStopped = state === 'changed' || state === 'revoked';
    const taken = key ?? candidate ?? (isStopped ? pin : undefined);
    if (taken === undefined) throw nothingToAccept(contact);
    return { kind: 'accepted', key: taken };
  });
}

/**
 * Names a key that is bad; the pin if unsaid. What it verified falls with it.
 * @throws BotError `ROW_UNKNOWN` when no key is held and none is named
 */
export async function revokeIdentity(trust: Trust, contact: ServiceId, key?: Bytes): Promise<TrustLine> {
  return change(trust, contact, ({ pin }) => {
    const revoked = key ?? pin;
    if (revoked === undefined)
      throw new BotError('ROW_UNKNOWN', `no identity key of ${contact} is held`, {
        next: 'Name it: --key KEY.',
      });
    return { kind: 'revoked', key: revoked };
  });
}

/**
 * Verifies the contacts of a file that the operator vouches for.
 * @param fileHash SHA-256, hex
 * @returns each contact as it is after it
 * @throws BotError `CONTENT_INVALID` for an id or a key that is none; `IDENTITY_CHANGED` where a key contradicts one that is
 *   verified, or is known to be bad. A file is one proof however often it is read, so it does not even name a candidate:
 *   nothing of it is written then
 */
export async function importTrust(
  trust: Trust,
  entries: readonly ImportedContact[],
  fileHash: string,
): Promise<{ contacts: TrustLine[] }> {
  const read = entries.map(readContact);
  const proof = { kind: 'imported', fileHash, by: 'operator', at: 0 } as const;
  return write(trust, async (batch) => {
    const contacts: TrustLine[] = [];
    const contradicted: Aci[] = [];
    for (const { aci, key } of read) {
      if (aci === trust.ownAci) {
        if (!equal(key, trust.own.identityKey)) contradicted.push(aci);
        continue;
      }
      const { after } = await trust.identities.change(batch, aci, {
        kind: 'proven',
        key,
        proof: { ...proof, at: trust.now() },
      });
      if (after.state !== 'verified') contradicted.push(aci);
      contacts.push(lineOf(aci, after));
    }
    if (contradicted.length > 0) throw otherKeys(contradicted, trust.ownAci);
    return { contacts };
  });
}

/**
 * The safety number with a contact. Digits that are given are compared in full; if they match, the contact is verified.
 * @throws BotError `ROW_UNKNOWN` when no key of theirs is held; `USAGE` when these are not 60 digits
 */
export async function compareSafetyNumber(
  trust: Trust,
  contact: ServiceId,
  typed?: string,
): Promise<SafetyNumberView> {
  const { store, identities, own, ownAci } = trust;
  const known = await identities.get(store.batch(), contact);
  if (!isAci(contact) || contact === ownAci || known.pin === undefined)
    throw new BotError('ROW_UNKNOWN', `no identity key of ${contact} is held`);
  const numberOf = (key: Bytes): ReturnType<typeof safetyNumber> =>
    safetyNumber({ aci: ownAci, key: own.identityKey }, { aci: contact, key });
  const { digits, scannable } = numberOf(known.pin);
  const candidate = known.state === 'changed' ? known.candidate : undefined;
  const candidateDigits = candidate && numberOf(candidate).digits;
  const view = {
    digits,
    scannable: toBase64(scannable),
    ...(candidateDigits === undefined ? {} : { candidateDigits }),
  };
  if (typed === undefined) return { ...view, state: known.state };
  const compared = typed.replace(/\s/g, '');
  if (!/^\d{60}$/.test(compared)) throw new BotError('USAGE', 'a safety number has 60 digits');
  const key = compared === digits ? known.pin : compared === candidateDigits ? candidate : undefined;
  if (key === undefined) return { ...view, match: false, state: known.state };
  const { state } = await change(trust, contact, () => ({
    kind: 'proven',
    key,
    proof: { kind: 'safety-number', by: 'operator', at: trust.now() },
  }));
  return { ...view, match: true, state };
}

/**
 * The operator's rules, after a change if there is one.
 * @throws BotError `USAGE` for a name that no plugin or command can have
 */
export async function policy(trust: Trust, wanted: PolicyChange): Promise<PolicySettings> {
  assertNames(wanted);
  const settings = await writeAgainOnConflict(trust.store, async (batch) => {
    const before = await readSettings(batch);
    const after = changed(before, wanted);
    if (after !== before) putSettings(batch, after);
    return after;
  });
  await reload(trust);
  return settings;
}

function changed(before: PolicySettings, wanted: PolicyChange): PolicySettings {
  const { keyChange, plugin, command, inbound, outbound } = wanted;
  const base = keyChange === undefined ? before : { ...before, keyChange };
  const rule = {
    ...(inbound === undefined ? {} : { inbound }),
    ...(outbound === undefined ? {} : { outbound }),
  };
  if (plugin === undefined) return base;
  if (wanted.remove === true) return { ...base, plugins: without(base.plugins, plugin, command) };
  if (Object.keys(rule).length === 0) return base;
  const known: OperatorRule = base.plugins[plugin] ?? {};
  const commands = known.commands ?? {};
  const next: OperatorRule =
    command === undefined
      ? { ...known, ...rule }
      : { ...known, commands: { ...commands, [command]: { ...commands[command], ...rule } } };
  return { ...base, plugins: { ...base.plugins, [plugin]: next } };
}

/** What nothing is left of is not there. */
function without(rules: OperatorRules, plugin: string, command: string | undefined): OperatorRules {
  const { [plugin]: known, ...others } = rules;
  if (known === undefined || command === undefined) return others;
  const { commands = {}, ...rest } = known;
  const left = Object.entries(commands).filter(([name]) => name !== command);
  const next = { ...rest, ...(left.length === 0 ? {} : { commands: Object.fromEntries(left) }) };
  return Object.keys(next).length === 0 ? others : { ...others, [plugin]: next };
}

/** A rule under another name would ask for nothing. */
function assertNames({ plugin, command }: PolicyChange): void {
  if (plugin !== undefined && !PLUGIN_NAME.test(plugin))
    throw new BotError('USAGE', 'the name of a plugin is of a-z, 0-9 and -');
  if (command !== undefined && (!/^\S+$/.test(command) || command === '__proto__'))
    throw new BotError('USAGE', 'no command has such a name');
}

async function change(
  trust: Trust,
  contact: ServiceId,
  decide: (known: ContactIdentity) => TrustChange,
): Promise<TrustLine> {
  return write(trust, async (batch) => {
    const wanted = decide(await trust.identities.get(batch, contact));
    const { before, after } = await trust.identities.change(batch, contact, wanted);
    if (wanted.kind === 'accepted' && isSame(before, after)) throw nothingToAccept(contact);
    return lineOf(contact, after);
  });
}

/** Commits, and tells who listens. */
async function write<T>(trust: Trust, work: (batch: Batch) => Promise<T>): Promise<T> {
  let last: Batch | undefined;
  const result = await writeAgainOnConflict(trust.store, (batch) => work((last = batch)));
  if (last !== undefined) trust.desk.committed(last);
  return result;
}

function lineOf(contact: ServiceId | Aci, { state, pin, since }: ContactIdentity): TrustLine {
  return { aci: contact, state, identityKey: pin === undefined ? '' : toBase64(pin), since: since ?? 0 };
}

function isSame(before: ContactIdentity, after: ContactIdentity): boolean {
  return before.history.length === after.history.length && before.state === after.state;
}

/** @throws BotError `CONTENT_INVALID` */
export function keyOf(text: string): Bytes {
  const key = fromBase64(text);
  if (key.length !== 33 || !equal(key.subarray(0, 1), Uint8Array.of(5)))
    throw new BotError('CONTENT_INVALID', 'an identity key is 33 bytes in base64');
  return key;
}

/** @throws BotError `CONTENT_INVALID` */
function readContact({ aci, identityKey }: ImportedContact): { readonly aci: Aci; readonly key: Bytes } {
  try {
    return { aci: parseAci(aci), key: keyOf(identityKey) };
  } catch (cause) {
    throw new BotError('CONTENT_INVALID', `the file has no account and key in ${aci}: ${describe(cause)}`, {
      cause,
      next: 'Nothing of the file was taken. Ask whoever has made it.',
    });
  }
}

function otherKeys(of: readonly Aci[], own: Aci): BotError {
  if (of.includes(own))
    return new BotError('IDENTITY_CHANGED', 'the file has another identity key of this account itself', {
      next: 'Nothing of the file was taken, and its other keys may be false too. Ask for it by another way.',
    });
  const [shown, more] = [of.slice(0, 10).join(', '), of.length > 10 ? ' and more' : ''];
  return new BotError('IDENTITY_CHANGED', `the file has another identity key of ${shown}${more}`, {
    next: 'Nothing of the file was taken. Find out with them which key is theirs. If it is the one in the file: countersign trust revoke CONTACT; where it was revoked by mistake: countersign trust accept CONTACT --key KEY. Then import it again.',
  });
}

function nothingToAccept(contact: ServiceId): BotError {
  return new BotError('ROW_UNKNOWN', `no other identity key of ${contact} has appeared`);
}
