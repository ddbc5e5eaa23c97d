/**
 * Scan: shows codes until a phone has answered one. The driver of link-machine.ts: it owns the sockets and timers.
 */
import { PrivateKey } from '@signalapp/libsignal-client';
import { BotError, isBotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import { CODE_LIFE_MS, IDLE, step, type LinkEffect, type LinkInput, type LinkState } from './link-machine.ts';
import type { CodeSocket, LinkTransport } from './link-transport.ts';
import { formatLinkUrl } from '../session/link-url.ts';
import { parseProvisionMessage, type Provision } from '../session/provision-message.ts';
import { openProvisionEnvelope } from '../session/provisioning-cipher.ts';

export interface ScanParts {
  readonly transport: LinkTransport;
  readonly clock: Clock;
}

/** @param expiresAt ms; the server forgets the code then. A newer one is shown well before. */
export type ShowCode = (url: string, expiresAt: number) => void;

interface Code {
  readonly socket: CodeSocket;
  readonly key: PrivateKey;
  readonly openedAt: number;
}

/**
 * @returns what the phone sent, checked
 * @throws BotError `LINK_EXPIRED` nobody scanned in time; `SERVER_UNREACHABLE` and its kin when no code can be had; the
 *   signal's reason
 */
export async function awaitProvision(
  parts: ScanParts,
  onCode: ShowCode,
  signal: AbortSignal,
): Promise<Provision> {
  const scan = new Scan(parts, onCode, signal);
  try {
    return await scan.run();
  } finally {
    await scan.end();
  }
}

class Scan {
  readonly #parts: ScanParts;
  readonly #onCode: ShowCode;
  readonly #signal: AbortSignal;
  /** Ends sockets and timers when the scan is over. */
  readonly #life = new AbortController();
  readonly #stop: AbortSignal;
  readonly #codes = new Map<number, Code>();
  readonly #provisions = new Map<number, Provision>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #outcome: Promise<Provision>;
  #resolve: (provision: Provision) => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;
  #state: LinkState = IDLE;

  constructor(parts: ScanParts, onCode: ShowCode, signal: AbortSignal) {
    this.#parts = parts;
    this.#onCode = onCode;
    this.#signal = signal;
    this.#stop = AbortSignal.any([signal, this.#life.signal]);
    this.#outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  async run(): Promise<Provision> {
    this.#signal.throwIfAborted();
    const onAbort = (): void => {
      this.#reject(this.#signal.reason as Error);
    };
    this.#signal.addEventListener('abort', onAbort, { once: true });
    try {
      this.#take({ kind: 'start' });
      return await this.#outcome;
    } finally {
      this.#signal.removeEventListener('abort', onAbort);
    }
  }

  async end(): Promise<void> {
    this.#life.abort();
    for (const code of this.#codes.keys()) this.#close(code);
    await Promise.allSettled(this.#tasks);
  }

  #take(input: LinkInput): void {
    const { state, effects } = step(this.#state, input);
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: LinkEffect): void {
    switch (effect.kind) {
      case 'open':
        this.#spawn(this.#open(effect.code));
        return;
      case 'show':
        this.#show(effect.code, effect.address);
        return;
      case 'close':
        this.#close(effect.code);
        return;
      case 'timer':
        this.#spawn(this.#timer(effect.code, effect.ms));
        return;
      case 'finish': {
        const provision = this.#provisions.get(effect.code);
        if (provision) this.#resolve(provision);
        return;
      }
      case 'expire':
        this.#reject(expired(effect.unreadable));
        return;
      case 'fail':
        this.#reject(effect.error);
    }
  }

  /** The tasks settle by themselves once the life is over; what goes wrong in one ends the scan. */
  #spawn(task: Promise<void>): void {
    const guarded = task
      .catch((error: unknown) => {
        this.#reject(error);
      })
      .finally(() => this.#tasks.delete(guarded));
    this.#tasks.add(guarded);
  }

  async #open(code: number): Promise<void> {
    const key = PrivateKey.generate();
    let socket: CodeSocket;
    try {
      socket = await this.#parts.transport.openCode(this.#stop);
    } catch (error) {
      if (this.#stop.aborted) return;
      if (!isBotError(error)) throw error;
      this.#take({ kind: 'open-failed', code, error });
      return;
    }
    if (this.#stop.aborted) {
      socket.close();
      return;
    }
    this.#codes.set(code, { socket, key, openedAt: this.#parts.clock.now() });
    this.#take({ kind: 'opened', code, address: socket.address });
    await this.#read(code, socket, key);
    await socket.closed.catch(() => undefined);
    this.#codes.delete(code);
    this.#take({ kind: 'closed', code });
  }

  /** Anyone with an account may send to the address, so what cannot be opened is only noted. */
  async #read(code: number, socket: CodeSocket, key: PrivateKey): Promise<void> {
    for await (const envelope of socket.messages()) {
      if (this.#stop.aborted) return;
      try {
        this.#provisions.set(code, parseProvisionMessage(openProvisionEnvelope(key, envelope)));
      } catch (error) {
        if (!isBotError(error)) throw error;
        this.#take({ kind: 'unreadable', code, reason: error.message });
        continue;
      }
      this.#take({ kind: 'readable', code });
      return;
    }
  }

  async #timer(code: number, ms: number): Promise<void> {
    try {
      await this.#parts.clock.sleep(ms, this.#stop);
    } catch {
      return; // the scan is over
    }
    this.#take({ kind: 'timer', code });
  }

  #show(code: number, address: string): void {
    const shown = this.#codes.get(code);
    if (!shown) return;
    const url = formatLinkUrl({ address, publicKey: shown.key.getPublicKey().serialize() });
    this.#onCode(url, shown.openedAt + CODE_LIFE_MS);
  }

  #close(code: number): void {
    this.#codes.get(code)?.socket.close();
  }
}

function expired(unreadable: string | undefined): BotError {
  const answer = unreadable === undefined ? '' : ` An answer came that could not be used: ${unreadable}.`;
  return new BotError('LINK_EXPIRED', `no phone has linked this device in time.${answer}`, {
    next:
      'Run link again and scan a new QR code in time. If a phone did scan: a phone at its device limit never answers ' +
      '(remove a device there); the phone must use the same server as this profile; it asks for a confirmation that ' +
      'must be given within a minute; an old phone app may not read this code.',
  });
}
