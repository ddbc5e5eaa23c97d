/**
 * Operator: what the person at the command line asks for. Starting a run and typing a code happen here and nowhere else,
 * never because a frame came (section 4).
 * Spec: verification brief, sections 4 and 5.
 */
import { z } from 'zod';
import {
  BotError,
  isAci,
  type Aci,
  type ActCall,
  type Bytes,
  type Host,
  type Random,
} from '../../../src/index.ts';
import { NONCE_BYTES } from '../check.ts';
import { drawCode, normaliseCode, type Code, type CodeFault } from '../code.ts';
import { gateOf, hashCode, wasTyped } from '../limits.ts';
import type { Own, Ringing } from '../machine/state.ts';
import type { Env } from '../machine/step.ts';
import { makeShare } from '../math/spake2.ts';
import { decodeFrame, type Format, type Offer } from '../messages/frame.ts';
import type { LiveCodes } from './codes.ts';
import { Follower } from './follow.ts';
import { localKey, overwrite, readCounters, readSlot } from '../rows.ts';
import { viewOf, type Runs } from './runs.ts';

export interface OperatorParts {
  readonly host: Host;
  readonly runs: Runs;
  readonly codes: LiveCodes;
  readonly env: Env;
  readonly random: Random;
  /** Whether contacts may vouch for us (V-36). */
  readonly mayBeIntroduced: boolean;
}

const LIFETIME_MS = 600_000;
const DAY_MS = 86_400_000;
/** How long a typed code waits for the OFFER that may be on its way. */
const RING_MS = 30_000;
const NO_CHANNEL: Bytes = new Uint8Array(0);

const startInput = z.object({
  format: z.literal([1, 2]).default(1),
  /** One that was agreed beforehand. */
  code: z.string().optional(),
  profile: z.literal([1, 2]).default(2),
  lifetimeMs: z.number().min(1_000).max(DAY_MS).default(LIFETIME_MS),
});
const ringInput = z.object({ waitMs: z.number().min(0).max(DAY_MS).default(RING_MS) });
const enterInput = ringInput.extend({ code: z.string(), fresh: z.boolean().default(false) });

/** What rings, for a prompt. */
export interface Rings {
  readonly aci: Aci;
  /** As the account's contacts have it. */
  readonly name: string | null;
  readonly format: Format;
  /** ms */
  readonly expiresAt: number;
}

export class Operator {
  readonly #parts: OperatorParts;

  constructor(parts: OperatorParts) {
    this.#parts = parts;
  }

  /** Creates a code, or takes the agreed one, and sends OFFER; then follows the run. */
  async start(call: ActCall): Promise<object> {
    const { host, runs, codes, env, random } = this.#parts;
    const { format: drawn, code: agreed, profile, lifetimeMs } = read(startInput, call);
    const peer = this.#peer(call);
    await this.#assertOpen(peer);
    const format: Format = agreed === undefined ? drawn : 3;
    const code = agreed === undefined ? drawCode(drawn, random) : agreedCode(agreed);
    const runId = random.bytes(16);
    const mhf = env.primitives.mhf.params;
    const w = await env.primitives.mhf.codeToW({ code: code.text, suite: 1, runId, params: mhf });
    const fresh = {
      runId,
      w,
      share: makeShare(env.primitives.p256, 'A', w, random),
      nonce: random.bytes(NONCE_BYTES),
    };
    const follower = new Follower(host, runs, peer);
    try {
      call.signal.throwIfAborted(); // nobody would see the code, and it would ring all the same
      codes.add(peer, runId, code.text);
      const step = await runs.give(peer, () => ({
        ...{ kind: 'start', own: this.#own(), peer, profile, format, mhf },
        ...{ lifetimeMs, ...fresh, channel: NO_CHANNEL, now: host.clock.now() },
      }));
      if (step?.slot.run?.kind !== 'offered') {
        codes.end(peer, runId);
        throw new BotError('VERIFY_SUPERSEDED', 'the other person has made a code already', {
          next: 'Ask for that code, then: countersign verify enter CONTACT',
        });
      }
      if (agreed === undefined) call.tell({ event: 'code', code: code.spoken });
      return await follower.follow(runId, call);
    } finally {
      for (const secret of [fresh.w, fresh.share.secret, fresh.nonce]) secret.fill(0); // the row has them
      follower.close();
    }
  }

  /** Waits until something rings, and marks that the person has begun to type. */
  async ring(call: ActCall): Promise<Rings> {
    const { host, runs } = this.#parts;
    const { waitMs } = read(ringInput, call);
    const peer = this.#peer(call);
    const { run } = await this.#ringing(peer, waitMs, call.signal);
    await runs.give(peer, () => ({ kind: 'typing', runId: run.runId, now: host.clock.now() }));
    const name = call.contactName ?? null;
    return { aci: peer, name, format: run.terms.format, expiresAt: run.deadline };
  }

  /** Takes the code that was typed; then follows the run. */
  async enter(call: ActCall): Promise<object> {
    const { host, runs, codes, env, random } = this.#parts;
    const { code, fresh, waitMs } = read(enterInput, call);
    const peer = this.#peer(call);
    const { run, offer } = await this.#ringing(peer, waitMs, call.signal);
    const { runId } = run;
    await this.#assertOpen(peer);
    const { text } = typedCode(run.terms.format, code);
    await this.#assertNew(text);
    const follower = new Follower(host, runs, peer);
    const secrets: Bytes[] = [];
    let isTyped = false;
    try {
      await runs.give(peer, () => ({ kind: 'typing', runId, now: host.clock.now() }));
      const w = await env.primitives.mhf.codeToW({ code: text, suite: 1, runId, params: offer.mhf });
      const share = makeShare(env.primitives.p256, 'B', w, random);
      secrets.push(w, share.secret);
      codes.add(peer, runId, text);
      const step = await runs.give(
        peer,
        async (tx) => ({
          ...{ kind: 'typed', runId, own: this.#own(), w, share, view: await viewOf(tx, peer) },
          ...{ wantsSession: fresh, channel: NO_CHANNEL, now: host.clock.now() },
        }),
        text,
      );
      if (step?.effects.some((effect) => effect.kind === 'notice' && effect.notice.kind === 'nothing-rings'))
        throw nothingRings();
      isTyped = true;
      return await follower.follow(runId, call);
    } finally {
      for (const secret of secrets) secret.fill(0); // the step has done so, unless it failed
      if (!isTyped) codes.end(peer, runId);
      follower.close();
    }
  }

  /** Ends what is under way with a contact, or with all. */
  async cancel(call: ActCall): Promise<{ cancelled: readonly Aci[] }> {
    const { host, runs } = this.#parts;
    const peers = call.contact === undefined ? await runs.peers() : [this.#peer(call)];
    const cancelled: Aci[] = [];
    for (const peer of peers) {
      const step = await runs.give(peer, () => ({ kind: 'cancel', now: host.clock.now() }));
      if (step?.slot.run?.kind === 'closed' && step.before.run?.kind !== 'closed') cancelled.push(peer);
    }
    return { cancelled };
  }

  #own(): Own {
    const { host, mayBeIntroduced } = this.#parts;
    const { aci, deviceId, registrationId, identityKey, pni } = host.trust.own;
    return { aci, device: deviceId, registrationId, identityKey, pni, mayBeIntroduced };
  }

  /** @throws BotError `USAGE` */
  #peer({ contact }: ActCall): Aci {
    if (contact === undefined || !isAci(contact))
      throw new BotError('USAGE', 'a verification is with an account: give its ACI, number or name');
    if (contact === this.#parts.host.trust.own.aci)
      throw new BotError('USAGE', 'this is our own account: all its devices have the same key');
    return contact;
  }

  /** @throws BotError `VERIFY_LOCKED` */
  async #assertOpen(peer: Aci): Promise<void> {
    const { host } = this.#parts;
    const counters = await host.update((tx) => readCounters(tx));
    const gate = counters && gateOf(counters, peer, host.clock.now());
    if (gate?.kind === 'open') return;
    const until = gate?.until;
    const whose = gate?.who === 'account' ? 'of all contacts together' : 'of this contact';
    const next = 'Compare safety numbers, then: countersign verify unlock CONTACT';
    throw new BotError(
      'VERIFY_LOCKED',
      gate === undefined ? 'the record of guesses cannot be read' : `too many codes ${whose} were wrong`,
      until === undefined ? { next } : { retryAt: until },
    );
  }

  /** V-21. @throws BotError `CODE_REJECTED` */
  async #assertNew(text: string): Promise<void> {
    const { host, random } = this.#parts;
    const isKnown = await host.update(async (tx) => {
      const counters = await readCounters(tx);
      const hash = hashCode(await localKey(tx, random), text);
      return counters !== undefined && wasTyped(counters, hash, host.clock.now());
    });
    if (isKnown)
      throw new BotError('CODE_REJECTED', 'this code was typed here before; each is good for one attempt');
  }

  /** @throws BotError `CODE_EXPIRED` when nothing has rung by then */
  async #ringing(peer: Aci, waitMs: number, signal: AbortSignal): Promise<{ run: Ringing; offer: Offer }> {
    const waits = this.#parts.runs.awaitRing(peer);
    try {
      return await this.#untilItRings(peer, waitMs, signal);
    } finally {
      waits();
    }
  }

  async #untilItRings(
    peer: Aci,
    waitMs: number,
    signal: AbortSignal,
  ): Promise<{ run: Ringing; offer: Offer }> {
    const { host, runs } = this.#parts;
    const until = host.clock.now() + waitMs;
    for (;;) {
      const rung = runs.rung(peer);
      await runs.begin();
      const slot = await host.update((tx) => readSlot(tx, peer));
      overwrite(slot); // what rings has no secrets
      const { run } = slot;
      if (run?.kind === 'ringing') {
        const body = decodeFrame(run.offer)?.body;
        if (body?.type === 'offer') return { run, offer: body };
      }
      const leftMs = until - host.clock.now();
      if (runs.isTypedElsewhere(peer)) {
        rung.end();
        throw new BotError('VERIFY_SUPERSEDED', 'the code was typed on another device of this account', {
          next: 'Nothing is left to do here; each code is typed on one device.',
        });
      }
      if (leftMs <= 0) {
        rung.end();
        throw nothingRings();
      }
      const done = new AbortController();
      const late = host.clock.sleep(leftMs, AbortSignal.any([signal, done.signal]));
      try {
        await Promise.race([rung.rings, late]);
      } finally {
        done.abort();
        late.catch(() => undefined);
        rung.end();
      }
    }
  }
}

function read<T>(schema: z.ZodType<T>, { input }: ActCall): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new BotError('USAGE', 'the running bot does not know what is asked', {
    cause: parsed.error,
    next: 'Use the same version of Countersign for both.',
  });
}

/** @throws BotError `CODE_MISTYPED`: nothing is spent */
function typedCode(format: Format, typed: string): { readonly text: string } {
  const code = normaliseCode(format, typed);
  if ('text' in code) return code;
  throw new BotError('CODE_MISTYPED', FAULTS[code.fault]);
}

function agreedCode(typed: string): Code {
  const { text } = typedCode(3, typed);
  return { text, spoken: text };
}

const FAULTS: Readonly<Record<CodeFault, string>> = {
  mistyped: 'that can be no code: a digit or a word is wrong',
  short: 'a code that was agreed beforehand has at least 10 characters',
};

function nothingRings(): BotError {
  return new BotError(
    'CODE_EXPIRED',
    'no verification of this contact is waiting for a code; it was not used',
    {
      next: 'Ask the other person to start one, and for its code.',
    },
  );
}
