/**
 * The queue of one device: what waits for it, what its socket has been sent, and what it has acknowledged
 * (protocol brief, section 6.2).
 *
 * A socket is served in fetches of at most 256. A fetch ends when each of its messages is answered; only then comes the
 * next one. A message leaves the queue by a 2xx; everything else stays, with its guid and place, for the next socket.
 * A refusal silences the socket for good (December 2025 on) or is repeated with each later message (June 2025).
 */
import type { Bytes } from '../bytes.ts';
import type { ServerClock } from './clock.ts';
import type { Dialect, Mail } from './dialect.ts';
import type { FaultAction } from './faults.ts';

const FETCH = 256;
/** A message for connected devices still reaches one that connects this soon after its timestamp (5.1). */
const ONLINE_MS = 10_000;
/** Where an unanswered message is sent again at all, it is so this often; then the socket ends. */
const MAX_RESENDS = 5;

interface Entry {
  readonly mail: Mail;
  /** Protobuf `Envelope` as the dialect writes it. */
  readonly envelope: Bytes;
  /** Set by the fault `reorder`: count of pushes that a later message must exceed. */
  heldAt: number | undefined;
}

/** The socket as the queue sees it. */
export interface QueueSocket {
  readonly ended: AbortSignal;
  readonly wantsStories: boolean;
  /** @returns status, undefined when the socket closed first */
  deliver(envelope: Bytes): Promise<number | undefined>;
  sayEmpty(): void;
  close(code: number, reason: string): void;
}

export interface DeviceQueueParts {
  readonly dialect: Dialect;
  readonly clock: ServerClock;
  /** A fault ordered for the next delivery to this device. */
  readonly takeFault: () => FaultAction | undefined;
  readonly onDelivered: () => void;
  readonly onAcked: (mail: Mail) => void;
}

type Answer = 'acked' | 'refused' | 'late' | 'closed';

export class DeviceQueue {
  readonly #parts: DeviceQueueParts;
  readonly #entries = new Set<Entry>();
  readonly #wakes = new Set<() => void>();
  #pushes = 0;

  constructor(parts: DeviceQueueParts) {
    this.#parts = parts;
  }

  get length(): number {
    return this.#entries.size;
  }

  push(mail: Mail, envelope: Bytes): void {
    this.#pushes += 1;
    this.#entries.add({ mail, envelope, heldAt: undefined });
    for (const wake of [...this.#wakes]) wake();
  }

  /** Everything is deleted with its device. */
  clear(): void {
    this.#entries.clear();
  }

  /**
   * Serves a socket until it closes, or goes silent.
   * @param isDeaf turns true when the socket hears nothing new any more (1.8)
   */
  async serve(socket: QueueSocket, isDeaf: () => boolean): Promise<void> {
    const lost = new Set<Entry>(); // by the fault `drop`: not sent again on this socket
    let drained = false;
    let refusedAt: number | undefined;
    let resends = 0;
    while (!socket.ended.aborted) {
      const pushes = this.#pushes;
      const fetch = isDeaf() || refusedAt === pushes ? [] : this.#fetch(socket, lost);
      if (fetch.length === 0) {
        if (!drained && refusedAt === undefined) {
          drained = true;
          socket.sayEmpty();
        }
        await this.#nextPush(socket.ended, pushes);
        continue;
      }
      const answers = await this.#send(socket, fetch, lost);
      if (answers.includes('closed')) return;
      resends = answers.includes('late') ? resends + 1 : 0;
      if (resends > MAX_RESENDS) socket.close(1011, 'Server error');
      refusedAt = answers.includes('refused') ? pushes : undefined;
      if (refusedAt !== undefined && this.#parts.dialect.refused === 'silent') return;
    }
  }

  #nextPush(ended: AbortSignal, pushes: number): Promise<void> {
    if (ended.aborted || this.#pushes !== pushes) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wakes.delete(wake);
        ended.removeEventListener('abort', wake);
        resolve();
      };
      this.#wakes.add(wake);
      ended.addEventListener('abort', wake);
    });
  }

  #fetch(socket: QueueSocket, lost: ReadonlySet<Entry>): Entry[] {
    const now = this.#parts.clock.now();
    const due: Entry[] = [];
    const held: Entry[] = [];
    for (const entry of this.#entries) {
      const { mail, heldAt } = entry;
      const unwanted =
        (mail.story && !socket.wantsStories) || (mail.online && now - mail.clientTimestamp > ONLINE_MS);
      if (unwanted) this.#entries.delete(entry);
      else if (heldAt !== undefined) {
        if (heldAt < this.#pushes) held.push(entry);
      } else if (!lost.has(entry)) due.push(entry);
      if (due.length === FETCH) break;
    }
    return [...due, ...held];
  }

  async #send(socket: QueueSocket, fetch: readonly Entry[], lost: Set<Entry>): Promise<Answer[]> {
    const answers: Promise<Answer>[] = [];
    const order = [...fetch];
    for (let entry = order.shift(); entry !== undefined; entry = order.shift()) {
      if (socket.ended.aborted) break;
      const fault = entry.heldAt === undefined ? this.#parts.takeFault() : undefined;
      if (fault !== undefined && 'delayMs' in fault) {
        await this.#parts.clock.sleep(fault.delayMs, socket.ended).catch(() => undefined);
      } else if (fault !== undefined && 'close' in fault) {
        socket.close(fault.close, '');
        break;
      } else if (fault !== undefined && 'drop' in fault) {
        lost.add(entry);
        continue;
      } else if (fault !== undefined && 'reorder' in fault) {
        entry.heldAt = this.#pushes; // where nothing follows in this fetch it comes after the next that is pushed
        if (order.length > 0) order.splice(1, 0, entry);
        continue;
      } else if (fault !== undefined && 'duplicate' in fault) {
        answers.push(this.#deliver(socket, entry));
      }
      answers.push(this.#deliver(socket, entry));
    }
    return Promise.all(answers);
  }

  async #deliver(socket: QueueSocket, entry: Entry): Promise<Answer> {
    entry.heldAt = undefined;
    this.#parts.onDelivered();
    const answered = socket.deliver(entry.envelope).then((status): Answer => {
      if (status === undefined) return 'closed';
      if (status < 200 || status > 299) return 'refused';
      if (this.#entries.delete(entry)) this.#parts.onAcked(entry.mail);
      return 'acked';
    });
    const { resendMs } = this.#parts.dialect;
    if (resendMs === undefined) return answered;
    const done = new AbortController();
    const late = this.#parts.clock.sleep(resendMs, AbortSignal.any([done.signal, socket.ended])).then(
      (): Answer => 'late',
      (): Answer => 'closed',
    );
    const first = await Promise.race([answered, late]);
    done.abort();
    return first;
  }
}
