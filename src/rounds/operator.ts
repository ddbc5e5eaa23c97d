/**
 * What an operator sees and does about ceremonies, of whichever plugin they are: `countersign rounds …`. All of it comes
 * from the rows, so that it needs neither the plugin nor its protocols.
 */
import type { Aci } from '../address.ts';
import { fromUtf8, toBase64, toHex } from '../bytes.ts';
import { StagedTransaction } from '../context.ts';
import { BotError } from '../errors.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Staging, Store } from '../store/store.ts';
import { account, pluginVolatile } from '../store/tables.ts';
import { end } from './ceremony.ts';
import { MAX_REASON } from './frame.ts';
import { listRuns, loadRun, saveRun, sendAll } from './journal.ts';
import { HELD, isOpen, type Run } from './run.ts';
import { waitingFor } from './waiting.ts';

/** A line of `rounds list`. */
export interface CeremonyLine {
  /** 32 bytes, hex: its topic, the same at every party. `show` and `abort` take how it begins. */
  readonly id: string;
  /** `NAME/VERSION` */
  readonly protocol: string;
  /** 0 until all are there. */
  readonly round: number;
  readonly waitingFor: readonly { readonly index: number; readonly aci: Aci }[];
  readonly state: Run['phase'];
  readonly plugin: string;
  /** ms: of the stage in hand; once it has ended, until when it is kept. */
  readonly deadlineAt: number;
}

export interface CeremonyDetails extends CeremonyLine {
  /** 32 bytes, hex: what its messages are bound to; null until all are there. */
  readonly ceremonyId: string | null;
  /** Our index. */
  readonly self: number;
  readonly parties: readonly {
    readonly index: number;
    readonly aci: Aci;
    readonly deviceId: number;
    /** Whether it is to take part. */
    readonly isSigner: boolean;
  }[];
  /** What is signed, base64; empty where nothing is. */
  readonly message: string;
  readonly epoch: number;
  /** It has its output and waits until the others have confirmed that they have theirs; an abort leaves them theirs. */
  readonly isHeld: boolean;
  readonly blame: Run['blame'];
  readonly end: { readonly reason: string; readonly by: number; readonly at: number } | null;
  /** As the protocol writes it, base64; null where there is none, or the plugin has taken it. */
  readonly output: string | null;
}

export interface OperatorParts {
  readonly store: Store;
  readonly now: () => number;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
}

interface Found {
  readonly plugin: string;
  readonly run: Run;
}

/** @throws BotError `NOT_LINKED`, `STORE_DAMAGED` */
export async function listCeremonies(store: Store): Promise<{ ceremonies: CeremonyLine[] }> {
  return { ceremonies: (await runsIn(store)).map(lineOf) };
}

/**
 * @param id its topic or ceremony id, or how one of them begins
 * @throws BotError `ROW_UNKNOWN` when there is none, or more than one; `USAGE` when it is no id
 */
export async function showCeremony(store: Store, id: string): Promise<CeremonyDetails> {
  return detailsOf(await find(store, id));
}

/**
 * Ends a ceremony and leaves for the others the reason in the outbox. No policy joins it again as long as it is kept.
 * @throws BotError as `showCeremony`; `CEREMONY_ENDED` when it has ended; `USAGE` when the reason is too long
 */
export async function abortCeremony(
  { store, now, stamp }: OperatorParts,
  id: string,
  reason: string,
): Promise<CeremonyDetails> {
  if (reason.trim() === '') throw new BotError('USAGE', 'a reason is needed: the others are told it');
  if (fromUtf8(reason).length > MAX_REASON)
    throw new BotError('USAGE', `a reason has at most ${String(MAX_REASON)} bytes`);
  const { plugin, run: seen } = await find(store, id);
  return writeAgainOnConflict(store, async (batch) => {
    const tx = await transactionOf(store, plugin, batch, stamp);
    const run = await loadRun(tx, seen.topic);
    if (run === undefined) throw unknown(id);
    if (!isOpen(run.phase))
      throw new BotError('CEREMONY_ENDED', `it has ended before: ${run.end?.reason ?? 'without a reason'}`, {
        next: 'Nothing is left to be ended.',
      });
    const { run: after, send } = end(run, reason, now(), true);
    const slots = new Map(after.slots);
    // Whoever was trusted enough to take part is enough so to hear that it is over.
    sendAll(tx, after, slots, send, 'introduced');
    saveRun(tx, run, { ...after, slots });
    return detailsOf({ plugin, run: after });
  });
}

async function find(store: Store, id: string): Promise<Found> {
  if (!/^[0-9a-f]+$/.test(id))
    throw new BotError('USAGE', 'the id of a ceremony is hex, or the beginning of it');
  const found = (await runsIn(store)).filter(
    ({ run }) => run.topic.startsWith(id) || toHex(run.id).startsWith(id),
  );
  const [only] = found;
  if (only === undefined) throw unknown(id);
  if (found.length === 1) return only;
  throw new BotError('ROW_UNKNOWN', `${String(found.length)} ceremonies have an id that begins with ${id}`, {
    next: 'Give more of it.',
  });
}

/** Those that are open first, each with the last to move last. */
async function runsIn(store: Store): Promise<readonly Found[]> {
  const found: Found[] = [];
  for (const plugin of await pluginsIn(store)) {
    const tx = await transactionOf(store, plugin, store.batch(), () => 0);
    for (const { topic } of await listRuns(tx)) {
      const run = await loadRun(tx, topic);
      if (run !== undefined) found.push({ plugin, run });
    }
  }
  const rank = ({ run }: Found): number => (isOpen(run.phase) ? 0 : 1);
  return found.sort((a, b) => rank(a) - rank(b) || a.run.deadlineAt - b.run.deadlineAt);
}

/** Names of the plugins that keep volatile rows; what they keep is not read. */
async function pluginsIn(store: Store): Promise<readonly string[]> {
  const names: string[] = [];
  for (let after = ''; ;) {
    let next: string | undefined;
    for await (const [rest] of pluginVolatile.scan(store, [], { limit: 1, ...(after && { after }) }))
      next = rest.split('/', 1)[0];
    if (next === undefined) return names;
    names.push(next);
    after = `${next}0`; // behind all keys of `next/`
  }
}

/** What of the plugin's own writes is needed here. @throws BotError `NOT_LINKED` */
async function transactionOf(
  store: Store,
  plugin: string,
  staging: Staging,
  stamp: () => number,
): Promise<StagedTransaction> {
  const own = await account.get(store.batch());
  if (own === undefined) throw new BotError('NOT_LINKED', 'no device is linked here');
  return new StagedTransaction(
    { self: own.aci, store, stamp },
    { plugin, permissions: new Set(['send']) },
    staging,
  );
}

function lineOf({ plugin, run }: Found): CeremonyLine {
  const { topic, proposal, round, phase, deadlineAt } = run;
  const missing = waitingFor(run);
  return {
    id: topic,
    protocol: `${proposal.protocol}/${String(proposal.version)}`,
    round,
    waitingFor: proposal.parties
      .filter(({ index }) => missing.includes(index))
      .map(({ index, aci }) => ({ index, aci })),
    state: phase,
    plugin,
    deadlineAt,
  };
}

function detailsOf(found: Found): CeremonyDetails {
  const { id, self, proposal, blame, end: ending, slots } = found.run;
  const output = slots.get('output');
  return {
    ...lineOf(found),
    ceremonyId: id.length === 0 ? null : toHex(id),
    self,
    parties: proposal.parties.map(({ index, aci, deviceId }) => {
      const isSigner = proposal.signers.includes(index);
      return { index, aci, deviceId, isSigner };
    }),
    message: toBase64(proposal.message),
    epoch: proposal.epoch,
    isHeld: slots.has(HELD),
    blame,
    end: ending ?? null,
    output: output === undefined ? null : toBase64(output),
  };
}

function unknown(id: string): BotError {
  return new BotError('ROW_UNKNOWN', `there is no ceremony ${id}`);
}
