/**
 * Desk: where changes of trust come together. What belongs to a change is staged with it (held messages, the sync
 * message for our own devices, what plugins add); what follows from it begins once it is committed (events, replay).
 */
import { isAci, type Aci, type ServiceId } from '../address.ts';
import { encodeVerified } from '../content/verified.ts';
import { equal } from '../bytes.ts';
import type { Identities, TrustStep } from '../identities/identities.ts';
import { releaseHeld } from '../outbox/holding.ts';
import { deleteSessions } from '../session/peer-devices.ts';
import { newRow } from '../store/outbox-row.ts';
import type { Staging, Store } from '../store/store.ts';
import { outboxRows } from '../store/tables.ts';
import type { TrustEvent } from '../trust.ts';

export interface DeskParts {
  readonly store: Store;
  readonly identities: Identities;
  readonly ownAci: Aci;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
}

/** What else is to happen after a commit; returns at once and does not throw. */
export type Effect = () => void;

export class Desk {
  readonly #parts: DeskParts;
  readonly #listeners: ((event: TrustEvent) => void)[] = [];
  readonly #settled: ((serviceId: ServiceId) => void)[] = [];
  readonly #effects = new WeakMap<object, Effect[]>();

  constructor(parts: DeskParts) {
    this.#parts = parts;
    parts.identities.onStep((batch, step) => this.#stage(batch, step));
    parts.identities.onCommitted((step) => {
      for (const listener of this.#listeners) listener(eventOf(step));
      for (const settled of this.#settled) settled(step.serviceId);
    });
  }

  onEvent(listener: (event: TrustEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** Told when rows were released or left for a contact, or what was parked may be opened. */
  onSettled(listener: (serviceId: ServiceId) => void): void {
    this.#settled.push(listener);
  }

  /** Something happens once what is staged here is committed. */
  after(staging: object, effect: Effect): void {
    this.#effects.set(staging, [...(this.#effects.get(staging) ?? []), effect]);
  }

  /** The same as `onSettled` hears, for an act that changes no state. */
  settle(serviceId: ServiceId): void {
    for (const settled of this.#settled) settled(serviceId);
  }

  /** The commit of what was staged here is accepted. */
  committed(staging: object): void {
    this.#parts.identities.committed(staging);
    const effects = this.#effects.get(staging);
    if (effects === undefined) return;
    this.#effects.delete(staging);
    for (const effect of effects) effect();
  }

  async #stage(batch: Staging, step: TrustStep): Promise<void> {
    const { store, identities } = this.#parts;
    const { serviceId, before, after } = step;
    const isFirst = before.state === 'unknown' && after.state === 'tofu';
    if (isOpen(step) && !isFirst) {
      await identities.hold(batch, serviceId, undefined);
      await releaseHeld(store, batch, serviceId);
    }
    await this.#endSessions(batch, step);
    this.#tellOwnDevices(batch, step);
  }

  /**
   * With another pin the sessions of the one before are of no use, and libsignal would go on trying them. A run sees to
   * its own: what it moves to the carrier must not be gone by then.
   */
  async #endSessions(batch: Staging, { serviceId, change, before, after }: TrustStep): Promise<void> {
    const byOperator =
      change.kind === 'accepted' || (change.kind === 'proven' && change.proof.kind !== 'pake');
    if (!byOperator || !isAci(serviceId) || before.pin === undefined || after.pin === undefined) return;
    if (!equal(before.pin, after.pin)) await deleteSessions(this.#parts.store, batch, serviceId);
  }

  /**
   * A finished verification is told to our own devices, and that it no longer holds (section 11). What they told us is
   * not told back; a contact whom nobody had verified is none of their business when the key changes.
   */
  #tellOwnDevices(batch: Staging, { serviceId, change, before, after }: TrustStep): void {
    if (!isAci(serviceId)) return;
    const isSync =
      change.kind === 'proven' && change.proof.kind === 'safety-number' && change.proof.by === 'sync';
    const isVerified = change.kind === 'proven' && after.state === 'verified' && !isSync;
    const isLost = before.wasVerified && after.state !== 'verified' && before.state === 'verified';
    const key = isVerified ? after.pin : (after.candidate ?? after.pin);
    if ((!isVerified && !isLost) || key === undefined) return;
    const { ownAci, stamp } = this.#parts;
    const content = encodeVerified({ aci: serviceId, key, state: isVerified ? 'verified' : 'unverified' });
    const row = newRow({ recipient: ownAci, timestamp: stamp(), kind: 'sync', content });
    outboxRows.put(batch, ownAci, row.timestamp, row);
  }
}

/** Whether messages may be exchanged since this step, and could not before, or more of them now. */
function isOpen({ before, after, change }: TrustStep): boolean {
  const isTrusted = after.state === 'tofu' || after.state === 'introduced' || after.state === 'verified';
  return (
    isTrusted && (before.state !== after.state || change.kind === 'proven' || change.kind === 'accepted')
  );
}

function eventOf({ serviceId: aci, change, before, after, at }: TrustStep): TrustEvent {
  if (after.state === 'changed' && after.candidate !== undefined) {
    const isNews =
      before.state !== 'changed' ||
      before.candidate === undefined ||
      !equal(before.candidate, after.candidate);
    if (isNews) {
      const { pin, candidate, wasVerified } = after;
      return { kind: 'changed', aci, pin, candidate, wasVerified, at };
    }
  }
  if (change.kind === 'proven' && change.found !== undefined && after.state === 'verified') {
    const { kind, falseKey } = change.found;
    return { kind, aci, key: change.key, falseKey, at };
  }
  return { kind: 'state', aci, from: before.state, to: after.state, at };
}
