/**
 * Candidates: the connections of a side that waits for one, as one duplex.
 *
 * Anybody can connect to a port that is open: a scan, a browser, somebody who dials and goes again. So a connection is a
 * candidate until it has answered, several may wait, and none of them ends the run or costs a guess. Each is told what
 * this side has said so far; the first that answers is the other side, and the rest is let go.
 *
 *   waiting --an answer--> chosen       waiting --no frame, another frame, its end--> let go
 *
 * An answer is a whole frame in its one encoding: a REPLY to our OFFER; an OFFER, unless it loses to ours; a HELLO. That
 * it is honest is for the run to find out, and what is bound there is charged (V-22). Who says nothing may be a person who
 * looks for the code, so silence ends nothing; where too many wait, the one that came first goes.
 *
 * Glare: the OFFER with the smaller run id stays (section 6), and who has lost may type our code on the same connection. A
 * departure: where nobody sits here who could type theirs, ours stays in any case, and they are told so by ABORT; else
 * both codes would be void.
 * Spec: verification brief, sections 3.1 (mode 2), 3.8 and 12 (flooding is refused before scrypt).
 */
import type { Bytes } from '../../../src/index.ts';
import { decodeFrame, decodeHeader, encodeFrame, MAX_BODY_BYTES, type Header } from '../messages/frame.ts';
import { compare, concat, isSame } from '../messages/wire.ts';
import { frames, type Duplex } from './duplex.ts';

/** Connections that wait at the same time. */
export const MAX_CANDIDATES = 16;
/** Frames before an answer, on one connection. */
const MAX_PASSED_BY = 4;

export interface CandidatesParts {
  /** This side makes the code, and speaks before it hears. */
  readonly speaksFirst: boolean;
  /** A person sits here who can type the code of the other side, when both have made one. */
  readonly takesOffers: boolean;
  /** Told once, when no more connections are taken. Returns at once and does not throw. */
  readonly onOver: () => void;
}

/** The other side: what it has said from its answer on, and what it goes on to say. */
interface Chosen {
  readonly duplex: Duplex;
  readonly heard: Uint8Array;
  readonly rest: AsyncIterator<Uint8Array>;
}

export class Candidates implements Duplex {
  readonly incoming: AsyncIterable<Uint8Array> = this.#read();
  readonly #parts: CandidatesParts;
  readonly #waiting = new Set<Duplex>();
  /** Work on connections that is not over yet. */
  readonly #work = new Set<Promise<void>>();
  readonly #said: Bytes[] = [];
  #isOver = false;
  #chosen: Chosen | undefined;
  readonly #spoken: Promise<void>;
  #speak: () => void = () => undefined;
  readonly #found: Promise<void>;
  #find: () => void = () => undefined;

  constructor(parts: CandidatesParts) {
    this.#parts = parts;
    this.#spoken = new Promise((resolve) => {
      this.#speak = resolve;
    });
    this.#found = new Promise((resolve) => {
      this.#find = resolve;
    });
    if (!parts.speaksFirst) this.#speak();
  }

  /** Whether somebody has answered. */
  get isFound(): boolean {
    return this.#chosen !== undefined;
  }

  /** Resolves when somebody has answered, or all is over. @throws the abort's reason */
  async found(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const done = new AbortController();
    const aborted = new Promise<void>((resolve) => {
      const options = { once: true, signal: done.signal };
      signal.addEventListener(
        'abort',
        () => {
          resolve();
        },
        options,
      );
    });
    await Promise.race([this.#found, aborted]);
    done.abort();
    signal.throwIfAborted();
  }

  /** Takes a connection, which is this object's from here on. */
  add(duplex: Duplex): void {
    if (this.#isOver) {
      this.#end(duplex);
      return;
    }
    const [first] = this.#waiting;
    if (first !== undefined && this.#waiting.size === MAX_CANDIDATES) this.#letGo(first);
    this.#waiting.add(duplex);
    for (const bytes of this.#said) this.#tell(duplex, bytes);
    this.#own(this.#hear(duplex));
  }

  /** To all, as long as nobody has answered. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#chosen !== undefined) {
      await this.#chosen.duplex.write(bytes);
      return;
    }
    if (this.#isOver) throw new Error('nobody has answered');
    this.#said.push(new Uint8Array(bytes));
    for (const duplex of this.#waiting) this.#tell(duplex, bytes);
    this.#speak();
  }

  async close(): Promise<void> {
    this.#over();
    await this.#chosen?.duplex.close();
    await Promise.all(this.#work);
  }

  async #hear(duplex: Duplex): Promise<void> {
    const heard: Uint8Array[] = [];
    const rest = duplex.incoming[Symbol.asyncIterator]();
    try {
      await this.#spoken;
      let passedBy = 0;
      let bytes = 0;
      for await (const frame of frames(noting(rest, heard), () => MAX_BODY_BYTES)) {
        if (this.#isOver) break;
        if (this.#isAnswer(frame)) {
          this.#choose({ duplex, heard: concat(...heard).subarray(bytes), rest });
          return;
        }
        if (!this.#passBy(duplex, frame) || ++passedBy === MAX_PASSED_BY) break;
        bytes += frame.length;
      }
    } catch {
      // It has broken, or has sent what is no frame.
    }
    this.#letGo(duplex);
  }

  #isAnswer(bytes: Bytes): boolean {
    const frame = decodeFrame(bytes);
    if (frame === undefined) return false;
    const offer = this.#offer();
    switch (frame.body.type) {
      case 'reply':
        return isSame(frame.runId, offer?.runId);
      case 'offer':
        return offer === undefined || (this.#parts.takesOffers && compare(frame.runId, offer.runId) < 0);
      case 'hello':
        return !this.#said.some((said) => isSame(said, bytes)); // our own, from an echo
      default:
        return false;
    }
  }

  /**
   * An OFFER that has lost, or the word that one has won against ours: what follows may be an answer.
   * @returns false for anything else
   */
  #passBy(duplex: Duplex, bytes: Bytes): boolean {
    const frame = decodeFrame(bytes);
    if (frame?.body.type === 'abort') return frame.body.reason === 'superseded';
    if (frame?.body.type !== 'offer') return false;
    if (this.#parts.takesOffers) return true;
    const { suite, runId } = frame;
    this.#tell(duplex, encodeFrame({ suite, runId, body: { type: 'abort', reason: 'superseded' } }));
    for (const said of this.#said) this.#tell(duplex, said); // ours was not listened to, as long as theirs was there
    return true;
  }

  #offer(): Header | undefined {
    return this.#said.map(decodeHeader).find((header) => header?.type === 'offer');
  }

  #choose(chosen: Chosen): void {
    this.#chosen = chosen;
    this.#waiting.delete(chosen.duplex);
    this.#over();
  }

  /** Lets go of all that wait, and takes no more. */
  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const duplex of this.#waiting) this.#letGo(duplex);
    this.#speak();
    this.#find();
    this.#parts.onOver();
  }

  #letGo(duplex: Duplex): void {
    if (this.#waiting.delete(duplex)) this.#end(duplex);
  }

  #end(duplex: Duplex): void {
    this.#own(Promise.resolve(duplex.close()));
  }

  #own(work: Promise<void>): void {
    this.#work.add(work);
    const forget = (): void => {
      this.#work.delete(work);
    };
    work.then(forget, forget);
  }

  /** Not waited for: who does not read holds up nobody. */
  #tell(duplex: Duplex, bytes: Uint8Array): void {
    const write = async (): Promise<void> => {
      await duplex.write(bytes);
    };
    write().catch(() => {
      this.#letGo(duplex);
    });
  }

  async *#read(): AsyncGenerator<Uint8Array, void, void> {
    await this.#found;
    if (this.#chosen === undefined) return;
    const { heard, rest } = this.#chosen;
    yield heard;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  }
}

/** Chunks as they come, kept for who reads from the beginning again. Leaving it does not end them. */
async function* noting(
  chunks: AsyncIterator<Uint8Array>,
  heard: Uint8Array[],
): AsyncGenerator<Uint8Array, void, void> {
  for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
    heard.push(next.value);
    yield next.value;
  }
}
