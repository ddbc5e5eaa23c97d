/**
 * Identities: which identity key of a contact is trusted, and how far (verification brief, section 9). What libsignal
 * asks for keys, and what decides who may write and be written to, reads these rows and nothing else (V-29).
 *
 * A key is taken on first use (`tofu`). A different one never replaces it by itself: the state becomes `changed`, the
 * new key is only a candidate, nothing is sent and nothing opened until it is verified or accepted.
 */
import { isPni, type Aci, type Pni, type ServiceId } from '../address.ts';
import { equal, fromBase64, toBase64, type Bytes } from '../bytes.ts';
import { BotError, type ErrorCode } from '../errors.ts';
import type { Clock } from '../platform.ts';
import type { Identity, Policy, TrustState } from '../store/identity-row.ts';
import { onceRead, type Reading } from '../store/reading.ts';
import type { Staging, Store } from '../store/store.ts';
import { identityRows } from '../store/tables.ts';
import { mayFollow } from './following.ts';
import { contactOf, type ContactIdentity } from './state.ts';
import { renewEvidence, transition, type TrustChange } from './transitions.ts';

interface Entry {
  readonly row: Identity;
  /** Empty while no key is trusted. */
  readonly key: Bytes;
}

/** One change of a contact's row. */
export interface TrustStep {
  readonly serviceId: ServiceId;
  readonly change: TrustChange;
  readonly before: ContactIdentity;
  readonly after: ContactIdentity;
  /** ms */
  readonly at: number;
}

/** Whether messages may be exchanged: `changed` parks and holds, `revoked` drops and holds. */
export type Standing = 'open' | 'changed' | 'revoked';

/** Called before the commit; what it stages is committed with the change. */
export type StepHook = (batch: Staging, step: TrustStep) => void | Promise<void>;

const RANK: Readonly<Record<Policy, number>> = { any: 0, tofu: 1, introduced: 2, verified: 3 };

export class Identities {
  readonly #clock: Clock;
  readonly #own: ReadonlyMap<ServiceId, Bytes>;
  /** Parsed rows by the bytes they came from; the store hands out the same bytes as long as they are cached. */
  readonly #parsed = new WeakMap<Bytes, Entry>();
  readonly #hooks: StepHook[] = [];
  readonly #listeners: ((step: TrustStep) => void)[] = [];
  /** Steps whose commit has not been told of yet, by what they were staged on. */
  readonly #staged = new WeakMap<object, TrustStep[]>();
  /** A timestamp of ours, later than all that our messages have, also where the clock was set back. */
  stamp: () => number;
  /** The operator lets a key that was only seen be followed by another one, with an event and no block. */
  relaxed = false;

  /**
   * @param own our keys by service id, 33 bytes: they come from the link and from nowhere else, so that neither the server
   *   nor who poses as one of our devices can bring another
   */
  constructor(clock: Clock, own: ReadonlyMap<ServiceId, Bytes>) {
    this.#clock = clock;
    this.#own = own;
    this.stamp = () => clock.now();
  }

  /** Adds to what is committed with each step. */
  onStep(hook: StepHook): void {
    this.#hooks.push(hook);
  }

  /** Told of each step once its commit is accepted. Returns at once and does not throw. */
  onCommitted(listener: (step: TrustStep) => void): void {
    this.#listeners.push(listener);
  }

  /** The trusted key, 33 bytes. */
  key(batch: Staging, serviceId: ServiceId): Reading<Bytes | undefined> {
    const own = this.#own.get(serviceId);
    if (own !== undefined) return own;
    return onceRead(this.#entry(batch, serviceId), (entry) =>
      entry?.key.length === 0 ? undefined : entry?.key,
    );
  }

  /** Whether messages may be exchanged under this key: a first key, or the one that is trusted. */
  isTrusted(batch: Staging, serviceId: ServiceId, key: Uint8Array): Reading<boolean> {
    const own = this.#own.get(serviceId);
    if (own !== undefined) return equal(own, key);
    return onceRead(this.#entry(batch, serviceId), (entry) => {
      if (entry === undefined) return true;
      const { state } = entry.row;
      if (state === 'changed' || state === 'revoked') return false;
      if (equal(entry.key, key)) return true;
      if (state === 'unknown') return entry.row.revoked?.includes(toBase64(key)) !== true;
      return this.relaxed && mayFollow(entry.row, toBase64(key));
    });
  }

  /**
   * A key was seen: takes a first one; a different key than the trusted one becomes the candidate and the state `changed`.
   * @param under what `committed` will be called with, where that is not the batch
   */
  save(batch: Staging, serviceId: ServiceId, key: Uint8Array, under: object = batch): Reading<void> {
    if (this.#own.has(serviceId)) return;
    return onceRead(this.#entry(batch, serviceId), (entry): Reading<void> => {
      if (entry !== undefined && equal(entry.key, key)) return;
      const relaxed = this.relaxed && mayFollow(entry?.row, toBase64(key));
      const change = { kind: 'seen', key: new Uint8Array(key), relaxed } as const;
      return this.change(batch, serviceId, change, under).then(nothing);
    });
  }

  /** Whether messages may be exchanged at all. One read of a row that is cached. */
  standing(batch: Staging, serviceId: ServiceId): Reading<Standing> {
    if (this.#own.has(serviceId)) return 'open';
    return onceRead(this.#entry(batch, serviceId), (entry) => {
      const state = entry?.row.state;
      return state === 'changed' || state === 'revoked' ? state : 'open';
    });
  }

  /**
   * How far a service id is trusted. Our own are verified; a PNI stands for itself, unless it is bound to an ACI whose
   * binding names it and its key.
   */
  state(batch: Staging, serviceId: ServiceId): Reading<TrustState> {
    if (this.#own.has(serviceId)) return 'verified';
    return onceRead(this.#entry(batch, serviceId), (entry) => {
      const row = entry?.row;
      if (row?.boundTo === undefined || row.state === 'changed' || row.state === 'revoked')
        return row?.state ?? 'unknown';
      return onceRead(this.#entry(batch, row.boundTo), (other) => {
        const bound = other?.row;
        const counts = bound?.pni?.pni === serviceId && bound.pni.key === row.key;
        return counts ? bound.state : row.state;
      });
    });
  }

  /**
   * Whether a message meets a policy (V-32). The state is of now and speaks of the pin; a message may have come before it,
   * under a key that has been found false since. So above `tofu` the message has to be of the pin; a key that is known to be
   * bad meets nothing. A first contact meets `tofu`: its first key is what that asks for.
   * @param key that the message was opened under; undefined where no session was needed
   */
  meets(batch: Staging, serviceId: ServiceId, policy: Policy, key: Uint8Array | undefined): Reading<boolean> {
    return onceRead(this.state(batch, serviceId), (state) => {
      if (!satisfies(state, policy)) return false;
      if (key === undefined) return RANK[policy] <= RANK.tofu;
      return onceRead(this.key(batch, serviceId), (pin) => {
        if (pin === undefined || equal(pin, key)) return true;
        return this.#maySpeak(batch, serviceId, policy, key);
      });
    });
  }

  /**
   * Why a message of ours must not be sealed for a contact now (V-33); undefined when it may. Asked on the batch that seals,
   * for every kind of message: libsignal does not ask for all of them (V-30).
   * @param policy of the message
   */
  refusal(batch: Staging, serviceId: ServiceId, policy: Policy): Reading<BotError | undefined> {
    if (this.#own.has(serviceId)) return undefined;
    return onceRead(this.#entry(batch, serviceId), (entry) => {
      const row = entry?.row;
      if (row?.state === 'changed') return changed(serviceId);
      if (row?.state === 'revoked') {
        return new BotError('IDENTITY_CHANGED', `the identity key of ${serviceId} is revoked`, {
          next: 'Verify the contact: countersign verify start. If the key was revoked by mistake: countersign trust accept.',
        });
      }
      if (row?.hold !== undefined) return held(serviceId, row.hold);
      if (RANK[policy] <= RANK.tofu) return undefined;
      return onceRead(this.state(batch, serviceId), (state) => {
        if (satisfies(state, policy)) return undefined;
        return new BotError(
          'PEER_UNVERIFIED',
          `the message asks for a contact that is ${policy}; ${serviceId} is ${state}`,
        );
      });
    });
  }

  async get(batch: Staging, serviceId: ServiceId): Promise<ContactIdentity> {
    return contactOf((await this.#entry(batch, serviceId))?.row);
  }

  /** Every contact of whom something is known; ourselves left out. */
  async *list(store: Store): AsyncIterable<readonly [ServiceId, ContactIdentity]> {
    for await (const [id, row] of identityRows.scan(store)) {
      const serviceId = id as ServiceId;
      if (!this.#own.has(serviceId)) yield [serviceId, contactOf(row)];
    }
  }

  /**
   * Stages one change. Our own keys never change here.
   * @returns the contact before and after; `at` is when
   */
  async change(
    batch: Staging,
    serviceId: ServiceId,
    change: TrustChange,
    under: object = batch,
  ): Promise<TrustStep> {
    const at = this.#clock.now();
    const row = (await this.#entry(batch, serviceId))?.row;
    const before = contactOf(row);
    const renewed = this.#own.has(serviceId) ? undefined : renewEvidence(row, change);
    if (renewed !== undefined) {
      identityRows.put(batch, serviceId, renewed);
      return { serviceId, change, before, after: contactOf(renewed), at };
    }
    const moved = this.#own.has(serviceId) ? row : transition(row, change, at);
    const isReplaced = moved?.replacedAt !== undefined && moved.key !== row?.key;
    const next = isReplaced ? { ...moved, replacedAt: this.stamp() } : moved;
    if (next === undefined || next === row) return { serviceId, change, before, after: before, at };
    const step = { serviceId, change, before, after: contactOf(next), at };
    identityRows.put(batch, serviceId, next);
    this.#staged.set(under, [...(this.#staged.get(under) ?? []), step]);
    for (const hook of this.#hooks) await hook(batch, step);
    return step;
  }

  /** Holds messages to a contact back, whatever the state; undefined ends that. */
  async hold(batch: Staging, serviceId: ServiceId, code: ErrorCode | undefined): Promise<void> {
    const row = (await this.#entry(batch, serviceId))?.row;
    if (row?.hold === code) return;
    const rest: { -readonly [K in keyof Identity]: Identity[K] } =
      row === undefined ? this.#nothing() : { ...row };
    delete rest.hold;
    identityRows.put(batch, serviceId, code === undefined ? rest : { ...rest, hold: code });
  }

  /**
   * Notes that a PNI belongs to an ACI; the signatures were checked. A binding never overrides another.
   * @returns whether it stands
   */
  async bind(batch: Staging, aci: Aci, pni: Pni, key: Bytes): Promise<boolean> {
    const row = (await this.#entry(batch, aci))?.row;
    const pniRow = (await this.#entry(batch, pni))?.row;
    const isTaken = pniRow?.boundTo !== undefined && pniRow.boundTo !== aci;
    if (row === undefined || !isPni(pni) || isTaken || this.#own.has(pni)) return false;
    const at = this.#clock.now();
    identityRows.put(batch, aci, { ...row, pni: { pni, key: toBase64(key), at } });
    identityRows.put(batch, pni, { ...(pniRow ?? this.#nothing()), boundTo: aci });
    return true;
  }

  /** The commit of this batch is accepted: tells of the steps that were staged on it. */
  committed(batch: object): void {
    const steps = this.#staged.get(batch);
    if (steps === undefined) return;
    this.#staged.delete(batch);
    for (const step of steps) for (const listener of this.#listeners) listener(step);
  }

  /** Whether a message under another key than the pin may pass: not above `tofu`, nor under a key that is known to be bad. */
  async #maySpeak(batch: Staging, serviceId: ServiceId, policy: Policy, key: Uint8Array): Promise<boolean> {
    const { revoked } = await this.get(batch, serviceId);
    return RANK[policy] <= RANK.tofu && !revoked.some((bad) => equal(bad, key));
  }

  /** Of a contact of whom no key is known. */
  #nothing(): Identity {
    return { key: '', state: 'unknown', since: this.#clock.now() };
  }

  #entry(batch: Staging, serviceId: ServiceId): Reading<Entry | undefined> {
    return onceRead(batch.get(identityRows.key(serviceId)), (bytes) => {
      if (bytes === undefined) return undefined;
      const known = this.#parsed.get(bytes);
      if (known !== undefined) return known;
      return onceRead(identityRows.get(batch, serviceId), (row) => {
        if (row === undefined) return undefined;
        const entry = { row, key: fromBase64(row.key) };
        this.#parsed.set(bytes, entry);
        return entry;
      });
    });
  }
}

const nothing = (): void => undefined;

/** `changed` and `revoked` satisfy no policy; nor does `introduced` one that asks for `verified`. */
function satisfies(state: TrustState, policy: Policy): boolean {
  if (state === 'changed' || state === 'revoked') return false;
  return state === 'unknown' ? RANK[policy] <= RANK.tofu : RANK[state] >= RANK[policy];
}

export function changed(serviceId: ServiceId): BotError {
  return new BotError('IDENTITY_CHANGED', `the identity key of ${serviceId} is not the one that is trusted`);
}

function held(serviceId: ServiceId, code: ErrorCode): BotError {
  return new BotError(code, `messages to ${serviceId} are held back`);
}
