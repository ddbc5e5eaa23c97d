/**
 * Follow: one run as its operator sees it, from the event that began it to its end.
 * Spec: verification brief, sections 4 (V-18), 5 (V-25, V-26) and 8.
 */
import { BotError, type Aci, type ActCall, type Bytes, type Host } from '../../../src/index.ts';
import { failureOf } from '../failure.ts';
import { failuresInARow } from '../limits.ts';
import type { Trusted } from '../machine/step.ts';
import { isSame } from '../messages/wire.ts';
import { readCounters } from '../rows.ts';
import type { Runs, Told } from './runs.ts';

/** The last event. */
export interface Verified {
  readonly event: 'verified';
  readonly aci: Aci;
  /** Base64, 33 bytes. */
  readonly identityKey: string;
  /** Six digits. */
  readonly check: string | null;
  /** The other side has said that it has verified us as well. */
  readonly acknowledged: boolean;
}

/** How long the enterer waits for the other side's last word. */
const ACK_MS = 20_000;

export class Follower {
  readonly #host: Host;
  readonly #peer: Aci;
  readonly #queue: Told[] = [];
  readonly #end: () => void;
  #bell: () => void = () => undefined;

  /** Listens from now on. */
  constructor(host: Host, runs: Runs, peer: Aci) {
    this.#host = host;
    this.#peer = peer;
    this.#end = runs.listen((told) => {
      if (told.peer !== peer) return;
      this.#queue.push(told);
      this.#bell();
    });
  }

  close(): void {
    this.#end();
  }

  /**
   * Tells the operator of each step until the run has succeeded.
   * @throws BotError why it has not; the signal's reason
   */
  async follow(runId: Bytes, call: Pick<ActCall, 'tell' | 'signal'>): Promise<Verified> {
    let success: Trusted | undefined;
    let until = Infinity;
    for (;;) {
      const told = await this.#next(until, call.signal);
      if (told === undefined) return verified(success, false);
      if (!isSame(told.runId, runId)) continue;
      const { notice } = told;
      switch (notice.kind) {
        case 'success':
          success = notice.trusted;
          for (const event of await this.#found(success)) call.tell(event);
          break;
        case 'step':
          call.tell({ event: 'step', step: notice.step, waitingFor: notice.waitingFor });
          if (notice.step === 4) return verified(success, true);
          if (success !== undefined) until = this.#host.clock.now() + ACK_MS;
          break;
        case 'refused': {
          const { device, reason } = notice;
          call.tell({ event: 'refused', device, reason });
          break;
        }
        case 'glare':
          call.tell({ event: 'glare', use: notice.use });
          break;
        case 'ended':
          throw await this.#failure(notice);
        case 'done-invalid':
        case 'unacknowledged':
          return verified(success, false);
        case 'rings':
        case 'trusted':
        case 'nothing-rings':
        case 'own-account':
        case 'unsupported-offer':
          break;
      }
    }
  }

  /** @returns undefined when the time is over */
  async #next(until: number, signal: AbortSignal): Promise<Told | undefined> {
    const { clock } = this.#host;
    const done = new AbortController();
    const over =
      until === Infinity ? undefined : clock.sleep(until - clock.now(), done.signal).then(() => 'over');
    try {
      while (this.#queue.length === 0) {
        signal.throwIfAborted();
        const rung = new Promise<void>((resolve) => {
          this.#bell = resolve;
          signal.addEventListener(
            'abort',
            () => {
              resolve();
            },
            { once: true, signal: done.signal },
          );
        });
        if ((await Promise.race([rung, over ?? rung])) === 'over') return undefined;
      }
      return this.#queue.shift();
    } finally {
      done.abort();
      over?.catch(() => undefined);
    }
  }

  async #failure(notice: Extract<Told['notice'], { kind: 'ended' }>): Promise<BotError> {
    const counters = await this.#host.update((tx) => readCounters(tx));
    const failures = counters === undefined ? 0 : failuresInARow(counters, this.#peer);
    const closed = {
      kind: 'closed',
      runId: new Uint8Array(16),
      reason: notice.reason,
      abort: notice.abort,
    } as const;
    const { code, message, retryAt } = failureOf(closed, failures);
    return new BotError(code, message, retryAt === undefined ? {} : { retryAt });
  }

  /** What V-14 has found, and what the holder of a false key has read. */
  async #found({ aci, identityKey, found, proof }: Trusted): Promise<readonly object[]> {
    if (found === undefined) return [];
    const code = found.kind === 'substituted' ? 'IDENTITY_SUBSTITUTED' : 'IDENTITY_REPLACED';
    const exposures = await this.#host.update((tx) => tx.trust.outbox.exposed(aci));
    const sent = exposures.at(-1)?.messages ?? [];
    return found.falseKeys.map((key) => ({
      event: found.kind,
      code,
      aci,
      identityKey: base64(identityKey),
      falseKey: base64(key),
      at: proof.at,
      exposed: found.kind === 'substituted' ? sent : [],
    }));
  }
}

function verified(trusted: Trusted | undefined, acknowledged: boolean): Verified {
  if (trusted === undefined) throw new BotError('INTERNAL', 'a run has succeeded without anybody to trust');
  const { aci, identityKey, check } = trusted;
  return { event: 'verified', aci, identityKey: base64(identityKey), check: check ?? null, acknowledged };
}

function base64(bytes: Bytes): string {
  return Buffer.from(bytes).toString('base64');
}
