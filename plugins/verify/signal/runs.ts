/**
 * Runs of mode 1: gives events to the machines, one commit for each transition, in the lane of the contact's sessions;
 * tells who listens what came of it, and wakes runs whose time is over.
 *
 * A handler's frame is a trigger only: what it changes is committed here, and not with the message's progress. Called
 * again for the same frame, the machines give the saved answer (3.8).
 * Spec: verification brief, sections 3.6 (V-15), 3.8, 4 (V-16, V-17).
 */
import type { Aci, Bytes, Host, Random, Transaction } from '../../../src/index.ts';
import { encodeSlot } from '../machine/row.ts';
import { advance, type Advanced } from '../machine/settle.ts';
import { deadlineOf, type Slot } from '../machine/slot.ts';
import type { Effect, Env, Event, Notice, Trusted } from '../machine/step.ts';
import { isSame } from '../messages/wire.ts';
import { carryOut, waitingPeers, type Step } from './carry-out.ts';
import type { LiveCodes } from './codes.ts';
import { CoreOpener, MustAsk, type ServedKey } from '../opener.ts';
import { overwrite, readSlot, scanSlots } from '../rows.ts';

export interface RunsParts {
  readonly host: Host;
  readonly env: Env;
  readonly random: Random;
  readonly codes: LiveCodes;
}

/** What listeners hear, after the commit. */
export interface Told {
  readonly peer: Aci;
  readonly runId: Bytes;
  /** Whether people here knew the peer before that. */
  readonly isKnown: boolean;
  readonly notice: Notice | { readonly kind: 'success'; readonly trusted: Trusted };
}

/** Makes the event of a transition from what is stored; undefined: nothing is to be done. Called again on a conflict. */
export type MakeEvent = (tx: Transaction, slot: Slot) => Event | undefined | Promise<Event | undefined>;

/** Timers are set no longer than this, so that a clock that was put right is noticed. */
const MAX_SLEEP_MS = 60_000;
/** Codes that are typed within so long on two devices are the same one. */
const AT_ONCE_MS = 20_000;

export class Runs {
  readonly #parts: RunsParts;
  readonly #listeners = new Set<(told: Told) => void>();
  /** When, ms. */
  readonly #typedElsewhere = new Map<Aci, number>();
  /** Contacts whose OFFER somebody here waits for, once for each who does. */
  readonly #awaited: Aci[] = [];
  #begun: Promise<void> | undefined;
  #wake = new AbortController();

  constructor(parts: RunsParts) {
    this.#parts = parts;
  }

  /** @returns ends it */
  listen(listener: (told: Told) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Whether a code of this contact was typed on another device of ours just now: what is typed here at the same time was
   * meant for that run, and must not be spent on the next.
   */
  isTypedElsewhere(peer: Aci): boolean {
    const at = this.#typedElsewhere.get(peer);
    return at !== undefined && this.#parts.host.clock.now() - at < AT_ONCE_MS;
  }

  /** An operator waits for this contact to ring. */
  isAwaited(peer: Aci): boolean {
    return this.#awaited.includes(peer);
  }

  /** Whether people here know this contact, or one of them waits for it. */
  async isKnown({ trust }: Transaction, peer: Aci): Promise<boolean> {
    return this.isAwaited(peer) || (await trust.identities.acquaintance(peer)) === 'known';
  }

  /** An operator waits from now on. @returns ends it */
  awaitRing(peer: Aci): () => void {
    this.#awaited.push(peer);
    return () => {
      this.#awaited.splice(this.#awaited.indexOf(peer), 1);
    };
  }

  /** Resolves once a code of this contact is asked for, or is asked for no more. */
  rung(peer: Aci): { readonly rings: Promise<void>; readonly end: () => void } {
    let onRing: () => void = () => undefined;
    const rings = new Promise<void>((resolve) => {
      onRing = resolve;
    });
    const end = this.listen((told) => {
      if (told.peer === peer && (told.notice.kind === 'rings' || told.notice.kind === 'ended')) onRing();
    });
    return { rings, end };
  }

  /** All contacts with a slot. */
  peers(): Promise<readonly Aci[]> {
    return this.#parts.host.update(async (tx) => {
      const found: Aci[] = [];
      for await (const [peer] of scanSlots(tx)) found.push(peer);
      return found;
    });
  }

  /**
   * One event for the slot of a contact, and the one that follows from it.
   * @param typed the code that this event charges for, normalised
   * @returns what came of it
   */
  async give(peer: Aci, make: MakeEvent, typed?: string): Promise<Step | undefined> {
    await this.begin();
    return this.#give(peer, make, typed);
  }

  /** What was under way when the process ended: over where its time is, else taken up. Before any frame is looked at. */
  begin(): Promise<void> {
    this.#begun ??= this.#restart().catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    });
    return this.#begun;
  }

  /** Ends runs whose time is over, until the abort. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.host;
    await this.begin();
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const now = clock.now();
      let next = now + MAX_SLEEP_MS;
      for (const [peer, deadline] of await this.#deadlines()) {
        if (deadline < now) await this.#tick(peer, now);
        else next = Math.min(next, deadline + 1);
      }
      const either = AbortSignal.any([signal, this.#wake.signal]);
      await clock.sleep(Math.max(next - clock.now(), 0), either).catch(() => undefined);
    }
  }

  /** One run that cannot be ended must not keep the others from their ends. */
  async #tick(peer: Aci, now: number): Promise<void> {
    const { log } = this.#parts.host;
    try {
      await this.give(peer, () => ({ kind: 'tick', now }));
    } catch (error) {
      log.error(
        { contact: peer, error: String(error) },
        'a verification whose time is over could not be ended',
      );
    }
  }

  async #deadlines(): Promise<readonly (readonly [Aci, number])[]> {
    return this.#parts.host.update(async (tx) => {
      const found: (readonly [Aci, number])[] = [];
      for await (const [peer, slot] of scanSlots(tx)) {
        const deadline = deadlineOf(slot);
        if (deadline !== undefined) found.push([peer, deadline]);
      }
      return found;
    });
  }

  async #restart(): Promise<void> {
    const { host } = this.#parts;
    const waiting = await host.update(async (tx) => {
      const found: Aci[] = [];
      for await (const peer of waitingPeers(tx)) found.push(peer);
      return found;
    });
    for (const peer of new Set([...(await this.peers()), ...waiting]))
      await this.#give(peer, () => ({ kind: 'restart', now: host.clock.now() }), undefined);
  }

  async #give(peer: Aci, make: MakeEvent, typed: string | undefined): Promise<Step | undefined> {
    const copies: Slot[] = [];
    const step = await this.#transition(peer, make, typed, copies).finally(() => {
      for (const copy of copies) overwrite(copy);
    });
    if (step === undefined) return undefined;
    overwrite(step.slot);
    if (step.slot.run?.kind === 'ringing') this.#typedElsewhere.delete(peer);
    else if (step.event === 'typed-elsewhere' && step.effects.length > 0)
      this.#typedElsewhere.set(peer, step.now);
    for (const effect of step.effects) this.#afterCommit(step, effect);
    this.#wake.abort();
    if (step.effects.some(({ kind }) => kind === 'continue')) {
      const { clock } = this.#parts.host;
      const view = async (tx: Transaction): Promise<Event> => ({
        kind: 'continue',
        now: clock.now(),
        view: await viewOf(tx, peer),
      });
      await this.#give(peer, view, undefined);
    }
    return step;
  }

  /** @param copies gets the slots that were read */
  async #transition(
    peer: Aci,
    make: MakeEvent,
    typed: string | undefined,
    copies: Slot[],
  ): Promise<Step | undefined> {
    const { host, env, random } = this.#parts;
    const { own } = host.trust;
    const parts = { own, random, log: host.log };
    let served: ServedKey | undefined;
    const read = async (tx: Transaction): Promise<Slot> => {
      const slot = await readSlot(tx, peer);
      copies.push(slot);
      return slot;
    };
    for (;;) {
      try {
        return await host.trust.update(peer, async (tx) => {
          const before = await read(tx);
          const event = await make(tx, before);
          if (event === undefined) return undefined;
          const isKnown = await this.isKnown(tx, peer);
          const opener = new CoreOpener({ transaction: tx, own, random, served });
          const advanced = await advance(env, before, event, opener);
          const step = { ...advanced, peer, before, typed, isKnown, now: event.now, event: event.kind };
          if (advanced.mustDiscard) throw new Discarded(step);
          await carryOut(parts, tx, step);
          return step;
        });
      } catch (error) {
        if (error instanceof MustAsk) {
          const { aci, device } = error.party;
          served = { key: await host.trust.servedKey({ serviceId: aci, deviceId: device }) };
          continue;
        }
        if (!(error instanceof Discarded)) throw error;
        const { step } = error;
        const isDone = await host.trust.update(peer, async (tx) => {
          if (!isSame(encodeSlot(await read(tx)), encodeSlot(step.before))) return false;
          await carryOut(parts, tx, step);
          return true;
        });
        if (isDone) return step;
      }
    }
  }

  #afterCommit({ peer, isKnown }: Step, effect: Effect): void {
    if (effect.kind === 'wipe') for (const secret of effect.secrets) secret.fill(0);
    if (effect.kind === 'over') this.#parts.codes.end(peer, effect.runId);
    if (effect.kind === 'notice') {
      const { runId, notice } = effect;
      this.#tell({ peer, runId, isKnown, notice });
    }
    if (effect.kind === 'trusted') {
      const { trusted } = effect;
      const runId = new Uint8Array(Buffer.from(trusted.proof.runId, 'hex'));
      this.#parts.codes.end(peer, runId); // spent: it opens nothing any more
      this.#tell({ peer, runId, isKnown, notice: { kind: 'success', trusted } });
    }
  }

  #tell(told: Told): void {
    for (const listener of this.#listeners) listener(told);
  }
}

/** A step whose batch must not be committed, with what is to be committed in its place. */
class Discarded extends Error {
  readonly step: Step & Advanced;

  constructor(step: Step & Advanced) {
    super('the run was closed after sessions were written to');
    this.step = step;
  }
}

/**
 * The key that a session with the peer would use now. In `changed` there is none, so that both sides want a new session:
 * those of the run are the carrier's. What is stored then is compared when the run has succeeded (`judgeStored`).
 */
export async function viewOf({ trust }: Transaction, peer: Aci): Promise<Bytes | undefined> {
  const { state, pin } = await trust.identities.get(peer);
  return state === 'changed' ? undefined : pin;
}
