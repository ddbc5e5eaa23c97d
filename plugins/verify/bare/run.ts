/**
 * Bare run: one verification over one duplex, from the first frame to a trusted peer.
 *
 * Roles (section 2): who created the code is A, else the dialling side. Where neither side dials (a pipe) both offer, and
 * the glare rule decides; nothing is charged for that, and the one connection has one run.
 * Spec: verification brief, sections 2, 3.1 (mode 2), 3.3, 3.7, 4 and 5.
 */
import type { Bytes, Random } from '../../../src/index.ts';
import { NONCE_BYTES } from '../check.ts';
import { GRACE_MS } from '../machine/creator.ts';
import type { Own } from '../machine/state.ts';
import type { Notice } from '../machine/step.ts';
import { makeShare } from '../math/spake2.ts';
import { startSuite2 } from '../math/suite2.ts';
import { decodeHeader, MAX_BODY_BYTES, type Profile, type Suite } from '../messages/frame.ts';
import { formOf, inFormat, type Form } from './code-form.ts';
import { Driver, type DriverParts, type Ending } from './driver.ts';
import { frames, NoFrames, type Duplex } from './duplex.ts';
import {
  EXPIRED,
  EXPIRED_HERE,
  GONE,
  lockedFailure,
  SUPERSEDED,
  UNSUPPORTED,
  type Failure,
} from '../failure.ts';
import { isTextFrame, MAX_TEXT_BODY_BYTES } from './texts.ts';

/** Gives what a person has typed; `again` when the last was mistyped. */
export type ReadCode = (again: boolean) => Promise<string>;

/** Where the code of this side comes from. */
export type CodeSource =
  | {
      readonly kind: 'create';
      readonly format: 1 | 2;
      /** Normalised. */
      readonly text: string;
      /** Asked for the other side's code, when both have made one and theirs counts. */
      readonly readTheirs?: ReadCode;
    }
  | {
      readonly kind: 'given';
      readonly read: ReadCode;
      /** Asking again can help: a person is asked. */
      readonly canAskAgain: boolean;
      /** Which end of the transport this is; `neither` of a pipe. */
      readonly side: 'dials' | 'listens' | 'neither';
    };

export interface RunParts extends Omit<DriverParts, 'canAnswer'> {
  readonly own: Own;
  readonly random: Random;
  readonly duplex: Duplex;
  readonly code: CodeSource;
  /** 2 only where both operators chose it. */
  readonly suite: Suite;
  /** What is offered; 1 when a page is at the other end. */
  readonly profile: Profile;
  /** Of the code, from now on. */
  readonly lifetimeMs: number;
  /** What both programs were told to bind; empty over a relay. */
  readonly channel: Bytes;
}

/** Frames until the run is over; an honest peer sends five, and some of them again. */
const MAX_FRAMES = 100;
/** How long B waits for DONE once ACCEPT is out. */
const ACK_MS = 60_000;

const MISTYPED: Failure = { code: 'CODE_MISTYPED', message: 'this can be no code; nothing was spent on it' };
const TYPED_BEFORE: Failure = {
  code: 'CODE_REJECTED',
  message: 'this code was typed here before, and a code is good for one attempt',
};
const NO_FRAMES: Failure = {
  code: 'CONTENT_INVALID',
  message: 'the other side does not speak the protocol of verification',
};

export class BareRun {
  readonly #parts: RunParts;
  readonly #driver: Driver;
  /** Everything that comes; behind the run, texts and repeats of its frames. */
  readonly frames: AsyncGenerator<Bytes, void, void>;
  #ring: Extract<Notice, { kind: 'rings' }> | undefined;
  #isAnswering = false;
  #begun: Promise<void> = Promise.resolve();
  /** What was typed last. */
  #typed: string | undefined;
  readonly #over = new AbortController();

  constructor(parts: RunParts) {
    this.#parts = parts;
    const onNotice = (notice: Notice): void => {
      this.#note(notice);
      parts.onNotice(notice);
    };
    const { code } = parts;
    const canAnswer = code.kind === 'given' || code.readTheirs !== undefined;
    this.#driver = new Driver({ ...parts, canAnswer, onNotice });
    const isVerified = (): boolean => this.#driver.isOver;
    this.frames = frames(parts.duplex.incoming, () => (isVerified() ? MAX_TEXT_BODY_BYTES : MAX_BODY_BYTES));
  }

  /** A frame of the run that comes when it is over: the saved answer goes out again. */
  repeat(frame: Bytes): Promise<void> {
    return this.#driver.take(frame);
  }

  /**
   * Once. The duplex stays open only when both sides are done.
   * @throws the abort's reason; what a store or the operator's terminal throws
   */
  async run(signal: AbortSignal): Promise<Ending> {
    const { clock, ledger, duplex } = this.#parts;
    const driver = this.#driver;
    const gate = await ledger.gate(clock.now());
    const onAbort = (): void => {
      const gone = driver.close({ code: 'INTERRUPTED', message: 'the verification was given up' });
      driver.spawn(gone);
    };
    let isOpen = false;
    try {
      signal.throwIfAborted();
      if (gate.kind === 'locked') return { kind: 'failed', failure: lockedFailure(gate, ledger.unlocking) };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#begun = this.#begin();
      for (const work of [this.#begun, this.#receive(), this.#watch()]) driver.spawn(work);
      const ending = await driver.ended;
      signal.throwIfAborted();
      isOpen = ending.kind === 'verified' && ending.success.isAcknowledged;
      return ending;
    } finally {
      this.#over.abort();
      signal.removeEventListener('abort', onAbort);
      if (!isOpen) await duplex.close();
    }
  }

  /** What this side does before it has heard anything. */
  async #begin(): Promise<void> {
    const { code, suite } = this.#parts;
    if (code.kind === 'create') await this.#offer(code);
    else if (suite === 2 || code.side !== 'listens') {
      const form = await this.#read(code.read, formOf);
      if (form === undefined) return;
      if (suite === 2) {
        const { ledger, clock } = this.#parts;
        if (await ledger.wasTyped(form.text, clock.now())) return this.#driver.close(TYPED_BEFORE);
        this.#driver.typed = form.text;
      }
      if (suite === 2 || form.format === 3) await this.#offer(form);
    }
  }

  async #offer({ format, text }: Form): Promise<void> {
    const { env, own, clock, random, suite, profile, lifetimeMs, channel, code } = this.#parts;
    const common = { own, profile, format, channel };
    if (suite === 2) {
      const password = new TextEncoder().encode(text);
      const share = startSuite2('S', password, random);
      await this.#driver.give({ kind: 'greet', ...common, password, share, lifetimeMs, now: clock.now() });
      return;
    }
    const until = clock.now() + lifetimeMs;
    const runId = random.bytes(16);
    const mhf = env.primitives.mhf.params;
    const w = await env.primitives.mhf.codeToW({ code: text, suite, runId, params: mhf });
    if (this.#driver.isOver) return;
    const share = makeShare(env.primitives.p256, 'A', w, random);
    const now = clock.now();
    const left = { lifetimeMs: Math.max(0, until - now), now };
    const fresh = { runId, w, share, nonce: random.bytes(NONCE_BYTES) };
    const event = { kind: 'start', ...common, peer: undefined, mhf, ...fresh, ...left } as const;
    // Who was given a code answers an OFFER that came first; who made one lets the glare rule decide.
    await (code.kind === 'given' ? this.#driver.begin(event) : this.#driver.give(event));
  }

  #note(notice: Notice): void {
    const { code } = this.#parts;
    if (notice.kind === 'rings') {
      this.#ring = notice;
      const read = code.kind === 'given' ? code.read : code.readTheirs;
      if (read === undefined) this.#driver.spawn(this.#driver.close(SUPERSEDED));
      else if (!this.#isAnswering) this.#driver.spawn(this.#answerRing(read));
    } else if (notice.kind === 'unsupported-offer') {
      this.#driver.spawn(this.#driver.close(UNSUPPORTED));
    } else if (notice.kind === 'done-invalid') {
      this.#driver.spawn(this.#driver.close(GONE));
    } else if (notice.kind === 'step' && notice.step === 3) {
      this.#driver.spawn(this.#awaitDone());
    }
  }

  /** One at a time; when our own code has won meanwhile, what rings later is answered anew. */
  async #answerRing(read: ReadCode): Promise<void> {
    this.#isAnswering = true;
    await this.#begun; // which may ask for the code
    if (this.#driver.run?.kind === 'ringing') await this.#answer(read);
    this.#isAnswering = false;
  }

  /** Types the code for whatever rings by then. */
  async #answer(read: ReadCode): Promise<void> {
    const { env, own, clock, random, channel, ledger } = this.#parts;
    const driver = this.#driver;
    const form = await this.#read(read, (typed) => inFormat(this.#ring?.format ?? 3, typed));
    if (form === undefined || driver.run?.kind !== 'ringing' || this.#ring === undefined) return;
    if (await ledger.wasTyped(form.text, clock.now())) {
      await driver.close(TYPED_BEFORE);
      return;
    }
    const { runId } = driver.run;
    const { mhf } = this.#ring;
    await driver.give({ kind: 'typing', runId, now: clock.now() });
    const w = await env.primitives.mhf.codeToW({ code: form.text, suite: 1, runId, params: mhf });
    const share = makeShare(env.primitives.p256, 'B', w, random);
    const rest = { view: undefined, wantsSession: false, channel, now: clock.now() };
    await driver.give({ kind: 'typed', runId, own, w, share, ...rest }, form.text);
  }

  /** Asks until it can be a code, or until asking again would not help: then the run is over. */
  async #read(read: ReadCode, asForm: (typed: string) => Form | undefined): Promise<Form | undefined> {
    const { code } = this.#parts;
    for (let again = false; !this.#driver.isOver; again = true) {
      this.#typed = again ? await read(true) : (this.#typed ?? (await read(false)));
      const form = asForm(this.#typed);
      if (form !== undefined) return form;
      if (code.kind === 'given' && !code.canAskAgain) await this.#driver.close(MISTYPED);
    }
    return undefined;
  }

  async #receive(): Promise<void> {
    const driver = this.#driver;
    const ended = driver.ended.then(() => GONE);
    for (let count = 1; !driver.isOver; count++) {
      const next = await Promise.race([this.#next(), ended]);
      if (!(next instanceof Uint8Array)) await driver.close(next);
      else if (count > MAX_FRAMES) await driver.close(NO_FRAMES);
      else if (!isTextFrame(next)) await this.#take(next);
    }
  }

  async #take(frame: Bytes): Promise<void> {
    const driver = this.#driver;
    const header = decodeHeader(frame);
    // The other side's operator chose another suite. A frame cannot change ours, but to wait would be in vain.
    if (header?.suite !== this.#parts.suite) return driver.close(UNSUPPORTED);
    await driver.take(frame);
    // An OFFER that does not ring has run out by our clock, and no other will come.
    if (header.type === 'offer' && driver.run === undefined) await driver.close(EXPIRED_HERE);
  }

  /** The next frame, or why there is none. */
  async #next(): Promise<Bytes | Failure> {
    try {
      const next = await this.frames.next();
      return next.done === true ? GONE : next.value;
    } catch (error) {
      return error instanceof NoFrames ? NO_FRAMES : GONE;
    }
  }

  /** Deadlines of the run; a side that has heard nothing waits as long as a code lives. */
  async #watch(): Promise<void> {
    const { clock, lifetimeMs } = this.#parts;
    const driver = this.#driver;
    const until = clock.now() + lifetimeMs + GRACE_MS;
    while (!driver.isOver) {
      const left = (driver.deadline ?? until) - clock.now();
      if (left >= 0) await this.#sleep(left + 1);
      else if (driver.run === undefined) await driver.close(EXPIRED);
      else await driver.give({ kind: 'tick', now: clock.now() });
    }
  }

  async #awaitDone(): Promise<void> {
    await this.#sleep(ACK_MS);
    if (this.#driver.run?.kind === 'accepted') await this.#driver.close(GONE);
  }

  /** Ends with the run at the latest. */
  async #sleep(ms: number): Promise<void> {
    const { signal } = this.#over;
    try {
      await this.#parts.clock.sleep(ms, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
