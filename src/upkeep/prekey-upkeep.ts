/**
 * Prekey upkeep: keeps the server supplied with keys that others can start sessions with.
 *
 * - One-time keys: refilled to 100 when fewer than 10 are left.
 * - Signed and Kyber last-resort key: both new every 36 hours.
 * - All of an identity, at once, when the server holds other ones than we: who uploaded those has put one-time keys beside
 *   them, and sessions that are begun with one of those cannot be opened here.
 * Each goes stored -> uploaded -> confirmed, and only confirmed keys count, so a crash or a refusal in between leaves
 * the old ones in force. Spec: protocol brief, sections 3.1, 3.2 and 3.4.
 */
import { writeAgainOnConflict } from '../store/again.ts';
import type { IdentityKind } from '../address.ts';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { checkKeys, countKeys, keysDigest, uploadKeys, type UploadOutcome } from '../service/keys.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import {
  advanceId,
  firstPrekeyState,
  generateLastResort,
  generateSignedPrekey,
  publicSignedPrekey,
  putPrekeys,
} from '../session/prekey-generation.ts';
import { confirmOneTimeKeys, supplyOneTimeKeys, unconfirmedKeys } from '../session/prekey-supply.ts';
import type { Store } from '../store/store.ts';
import type { Account, PrekeyRow, StoredKeyPair } from '../store/rows.ts';
import { account as accountCell, prekeys, prekeyStates } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';

/** ms between rotations of signed and last-resort keys. */
export const ROTATE_KEYS_MS = 36 * 60 * 60_000;
/** Fewer one-time keys than this are refilled. */
const REFILL_BELOW = 10;
/** More than this are replaced: the server cannot have them from us. */
const CLEAN_ABOVE = 200;
/** ms before one-time keys that the server refused are offered again. */
const REFUSED_MS = 6 * 60 * 60_000;

/**
 * ms before foreign one-time keys are replaced once more: where the signed keys are refused, each attempt would make
 * new ones.
 */
const REPLACE_PAUSE_MS = 12 * 60 * 60_000;

const KINDS = ['ec', 'kyber'] as const;

export interface PrekeyUpkeepParts {
  readonly store: Store;
  /** Authenticated. */
  readonly requester: Requester;
  readonly platform: Platform;
}

interface Own {
  readonly identity: IdentityKind;
  readonly pair: StoredKeyPair;
}

/** A signed and a last-resort key that the server does not have yet. */
interface Rotation {
  readonly signed: { readonly id: number; readonly record: Bytes };
  readonly lastResort: { readonly id: number; readonly record: Bytes };
}

export class PrekeyUpkeep {
  readonly #parts: PrekeyUpkeepParts;
  /** By identity and kind: ms, no refill before. */
  readonly #refusedUntil = new Map<string, number>();
  /** By identity and kind: the server's are not ours, and are replaced however many there are. */
  readonly #foreign = new Set<string>();
  /** By identity and kind: ms, when foreign ones were replaced. */
  readonly #replacedAt = new Map<string, number>();

  constructor(parts: PrekeyUpkeepParts) {
    this.#parts = parts;
  }

  /**
   * All of it, for both identities: comparison with the server, rotation if due, refill.
   * @throws BotError `NOT_LINKED`; those of the requester and the store; `REQUEST_REFUSED` the server did not take keys
   */
  async check(): Promise<void> {
    for (const own of await this.#identities()) {
      const holds = await this.#compare(own);
      // Before the rotation: a later comparison finds nothing, and would leave what a crash has left.
      if (holds === 'foreign') await this.#replaceOneTimeKeys(own);
      if (holds !== 'ours' || (await this.#isRotationDue(own))) await this.#rotate(own);
      if (holds !== 'foreign') await this.#refill(own);
    }
  }

  /** Only the refill, after a prekey was used. @throws as `check` */
  async refill(): Promise<void> {
    for (const own of await this.#identities()) await this.#refill(own);
  }

  async #identities(): Promise<Own[]> {
    const account: Account | undefined = await accountCell.get(this.#parts.store.batch());
    if (!account) throw new BotError('NOT_LINKED', 'there is no account to keep keys for');
    const pni: Own[] = account.pniIdentity ? [{ identity: 'pni', pair: account.pniIdentity }] : [];
    return [{ identity: 'aci', pair: account.identity }, ...pni];
  }

  async #isRotationDue({ identity }: Own): Promise<boolean> {
    const batch = this.#parts.store.batch();
    const state = await prekeyStates.get(batch, identity);
    if (state === undefined || (await this.#current(identity)) === undefined) return true;
    const age = this.#parts.platform.clock.now() - Math.min(state.signedAt, state.lastResortAt);
    return age >= ROTATE_KEYS_MS || age < 0; // a clock that was wrong when they were made
  }

  /** The keys in force. */
  async #current(identity: IdentityKind): Promise<Rotation | undefined> {
    const batch = this.#parts.store.batch();
    const state = await prekeyStates.get(batch, identity);
    if (state === undefined || state.signedId === null || state.lastResortId === null) return undefined;
    const signed = await prekeys.get(batch, identity, 'signed', state.signedId);
    const lastResort = await prekeys.get(batch, identity, 'kyber', state.lastResortId);
    if (!signed || !lastResort) return undefined;
    return {
      signed: { id: state.signedId, record: signed.record },
      lastResort: { id: state.lastResortId, record: lastResort.record },
    };
  }

  /** What the server holds: `begun` is of a rotation whose answer was lost. `ours`, too, where we have none to compare. */
  async #compare(own: Own): Promise<'ours' | 'begun' | 'foreign'> {
    const current = await this.#current(own.identity);
    if (current === undefined || !(await this.#isOther(own, current))) return 'ours';
    const begun = await this.#unconfirmedRotation(own.identity);
    if (begun !== undefined && !(await this.#isOther(own, begun))) return 'begun';
    this.#parts.platform.log.warn({ identity: own.identity }, 'the server holds other keys than we do');
    return 'foreign';
  }

  async #isOther({ identity, pair }: Own, keys: Rotation): Promise<boolean> {
    const signed = publicSignedPrekey('signed', keys.signed.record);
    const lastResort = publicSignedPrekey('kyber', keys.lastResort.record);
    const digest = keysDigest({
      identityKey: fromBase64(pair.publicKey),
      signedId: signed.id,
      signedPublic: signed.publicKey,
      lastResortId: lastResort.id,
      lastResortPublic: lastResort.publicKey,
    });
    return (await checkKeys(this.#parts.requester, identity, digest)) === 'differs';
  }

  async #rotate(own: Own): Promise<void> {
    const { store, requester, platform } = this.#parts;
    const { identity } = own;
    const next = (await this.#unconfirmedRotation(identity)) ?? (await this.#newRotation(own));
    const outcome = await uploadKeys(requester, identity, {
      signed: publicSignedPrekey('signed', next.signed.record),
      lastResort: publicSignedPrekey('kyber', next.lastResort.record),
    });
    if (outcome.kind !== 'stored') throw refused(identity, 'signed', outcome);
    await this.#confirmRotation(store, identity, next, platform.clock.now());
    platform.log.info({ identity, signedId: next.signed.id }, 'signed and last-resort keys are new');
  }

  /** What an interrupted rotation left; the upload is repeatable. */
  async #unconfirmedRotation(identity: IdentityKind): Promise<Rotation | undefined> {
    const { store, platform } = this.#parts;
    const oldest = platform.clock.now() - ROTATE_KEYS_MS;
    const isLeft = (row: PrekeyRow): boolean =>
      row.confirmedAt === 0 && row.replacedAt === 0 && row.createdAt > oldest;
    let signed: Rotation['signed'] | undefined;
    let lastResort: Rotation['lastResort'] | undefined;
    for await (const [id, row] of prekeys.scan(store, [identity, 'signed'])) {
      if (isLeft(row)) signed = { id: Number(id), record: row.record };
    }
    for await (const [id, row] of prekeys.scan(store, [identity, 'kyber'])) {
      if (row.lastResort && isLeft(row)) lastResort = { id: Number(id), record: row.record };
    }
    return signed && lastResort ? { signed, lastResort } : undefined;
  }

  async #newRotation({ identity, pair }: Own): Promise<Rotation> {
    const { store, platform } = this.#parts;
    const now = platform.clock.now();
    return writeAgainOnConflict(store, async (batch) => {
      const state = (await prekeyStates.get(batch, identity)) ?? firstPrekeyState(platform.random);
      const signed = generateSignedPrekey(state.nextSignedId, pair, now);
      const lastResort = generateLastResort(state.nextKyberId, pair, now);
      putPrekeys(batch, identity, [signed, lastResort]);
      prekeyStates.put(batch, identity, {
        ...state,
        nextSignedId: advanceId(state.nextSignedId, 1),
        nextKyberId: advanceId(state.nextKyberId, 1),
      });
      return {
        signed: { id: signed.id, record: signed.row.record },
        lastResort: { id: lastResort.id, record: lastResort.row.record },
      };
    });
  }

  async #confirmRotation(store: Store, identity: IdentityKind, next: Rotation, now: number): Promise<void> {
    const rows: { kind: 'signed' | 'kyber'; id: number }[] = [];
    for (const kind of ['signed', 'kyber'] as const) {
      for await (const [id, row] of prekeys.scan(store, [identity, kind])) {
        if ((kind === 'signed' || row.lastResort) && row.replacedAt === 0)
          rows.push({ kind, id: Number(id) });
      }
    }
    await writeAgainOnConflict(store, async (batch) => {
      for (const { kind, id } of rows) {
        const row = await prekeys.get(batch, identity, kind, id);
        if (!row) continue;
        const isNew = id === (kind === 'signed' ? next.signed.id : next.lastResort.id);
        prekeys.put(batch, identity, kind, id, {
          ...row,
          ...(isNew ? { confirmedAt: now } : { replacedAt: now }),
        });
      }
      const state =
        (await prekeyStates.get(batch, identity)) ?? firstPrekeyState(this.#parts.platform.random);
      prekeyStates.put(batch, identity, {
        ...state,
        signedId: next.signed.id,
        signedAt: now,
        lastResortId: next.lastResort.id,
        lastResortAt: now,
      });
    });
  }

  async #replaceOneTimeKeys(own: Own): Promise<void> {
    const since = this.#parts.platform.clock.now() - REPLACE_PAUSE_MS;
    const names = KINDS.map((kind) => nameOf(own.identity, kind));
    for (const name of names) if ((this.#replacedAt.get(name) ?? -Infinity) <= since) this.#foreign.add(name);
    await this.#refill(own);
  }

  async #refill(own: Own): Promise<void> {
    const counts = await countKeys(this.#parts.requester, own.identity);
    for (const kind of KINDS) await this.#refillKind(own, kind, counts[kind]);
  }

  async #refillKind({ identity, pair }: Own, kind: 'ec' | 'kyber', count: number): Promise<void> {
    const { store, requester, platform } = this.#parts;
    const now = platform.clock.now();
    const name = nameOf(identity, kind);
    if (count >= REFILL_BELOW && count <= CLEAN_ABOVE && !this.#foreign.has(name)) {
      // Keys whose upload had no answer, and which the server has after all: it had fewer than ten before.
      const taken = await unconfirmedKeys(store, identity, kind);
      if (taken.size > 0) await confirmOneTimeKeys(store, identity, kind, new Set(taken.keys()), now);
      return;
    }
    if ((this.#refusedUntil.get(name) ?? 0) > now) return;
    const outcome = await supplyOneTimeKeys(
      {
        store,
        clock: platform.clock,
        random: platform.random,
        upload: (which, keys) => uploadKeys(requester, which, keys),
        isStored: (answer: UploadOutcome) => answer.kind === 'stored',
      },
      identity,
      kind,
      pair,
    );
    if (outcome.kind === 'stored') {
      if (this.#foreign.delete(name)) this.#replacedAt.set(name, now);
      platform.log.info({ identity, kind }, 'one-time keys are new');
      return;
    }
    if (kind === 'ec') throw refused(identity, kind, outcome);
    // Where the server's storage for Kyber keys is broken, the last-resort key serves (3.1).
    this.#refusedUntil.set(name, now + REFUSED_MS);
    platform.log.warn({ identity, outcome: outcome.kind }, 'the server did not take the one-time Kyber keys');
  }
}

function nameOf(identity: IdentityKind, kind: 'ec' | 'kyber'): string {
  return `${identity} ${kind}`;
}

function refused(identity: IdentityKind, kind: string, outcome: UploadOutcome): BotError {
  return new BotError(
    'REQUEST_REFUSED',
    `the server did not take the ${kind} keys of the ${identity}: ${outcome.kind}`,
  );
}
