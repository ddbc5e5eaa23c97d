/**
 * Verify over a bare transport: what bots (`node.ts`) and pages (`page.ts`) have in common.
 */
import type { Aci, Bytes, Clock, Random } from '../../../src/index.ts';
import { drawCode, type Code } from '../code.ts';
import type { Own } from '../machine/state.ts';
import type { Env, Notice } from '../machine/step.ts';
import { readAci } from '../messages/service-id.ts';
import { concat, Reader, u8 } from '../messages/wire.ts';
import type { Duplex } from './duplex.ts';
import type { Failure } from '../failure.ts';
import type { Ledger } from './ledger.ts';
import { BarePeer } from './peer.ts';
import { BareRun, type CodeSource, type ReadCode } from './run.ts';
import { PageTexts, type TextCipher } from './texts.ts';

/** One of `create` and `code`; with both, `code` is asked for theirs when the other side has made one too. */
export interface VerifyOptions {
  /** Makes a code on this side: told what to read out to the other person, or what `createCode` has made. */
  readonly create?: ((spoken: string) => void) | Created;
  /** The code that the other side has made, or that both have agreed on (10 characters or more); or what asks for it. */
  readonly code?: string | ReadCode;
  /** False: what `code` asks is no person, so a code that cannot be one ends the run. */
  readonly canAskAgain?: boolean;
  /** Which end of the transport this is; it settles roles where both have agreed on a code. `neither` if unsaid. */
  readonly side?: 'dials' | 'listens' | 'neither';
  /** Default 1; 2 only where both sides say so. */
  readonly suite?: 1 | 2;
  /** Default 2 in Node, which ends in a ratchet session; 1 for a peer that is a page. In a page always 1. */
  readonly profile?: 1 | 2;
  /** How long the code lives: default ten minutes, at most 24 h. */
  readonly lifetimeMs?: number;
  /** What both programs were told to bind to this connection, at most 8,000 bytes. */
  readonly channel?: Uint8Array;
  readonly onNotice?: (notice: Notice) => void;
  readonly signal?: AbortSignal;
}

/** A code that this side has made: digits, or words. */
export interface Created extends Code {
  readonly format: 1 | 2;
}

/** What differs between a bot and a page. */
export interface Side {
  readonly env: Env;
  readonly own: Own;
  readonly ledger: Ledger;
  /** Texts of profile 2. */
  readonly session: TextCipher | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly toError: (failure: Failure) => Error;
}

const LIFETIME_MS = 600_000;
const MAX_LIFETIME_MS = 86_400_000;
const MAX_CHANNEL_BYTES = 8_000;

/** @throws what `toError` makes of a failure: `USAGE` for options that cannot be, and see `verifyBare` */
export async function verifyOver(duplex: Duplex, side: Side, options: VerifyOptions): Promise<BarePeer> {
  const { env, random, toError } = side;
  const { suite = 1, lifetimeMs = LIFETIME_MS, channel = new Uint8Array(0) } = options;
  const fault = faultOf(options, env.maxProfile);
  if (fault !== undefined) throw toError({ code: 'USAGE', message: fault });
  const run = new BareRun({
    ...side,
    ...{ duplex, suite, lifetimeMs, channel: new Uint8Array(channel), code: sourceOf(options, random) },
    profile: options.profile ?? env.maxProfile,
    onNotice: options.onNotice ?? ((): void => undefined),
  });
  const ending = await run.run(options.signal ?? new AbortController().signal);
  if (ending.kind === 'failed') throw toError(ending.failure);
  const { runId, trusted, isAcknowledged } = ending.success;
  const { aci, identityKey, check, role, pageKeys } = trusted;
  const texts = pageKeys ? new PageTexts(pageKeys, role, env.primitives.isEqual) : side.session;
  return new BarePeer({
    ...{ aci, identityKey, check, isAcknowledged, duplex, toError, frames: run.frames },
    bearing: { suite, runId },
    cipher: isAcknowledged ? texts : undefined,
    repeat: (frame) => run.repeat(frame),
  });
}

/** What is wrong with the options, also of a caller whom no compiler has told. */
function faultOf(
  {
    create,
    code,
    suite = 1,
    profile = 1,
    lifetimeMs = LIFETIME_MS,
    channel,
    side = 'neither',
  }: VerifyOptions,
  maxProfile: number,
): string | undefined {
  if (create === undefined && code === undefined) return 'a code is made on this side, or given to it';
  if (create !== undefined && typeof code === 'string')
    return 'a code is made on this side, or given to it; for both, code is what asks for the other one';
  if (!isOneOf([1, 2], suite)) return 'suites are 1 and 2';
  if (!isOneOf([1, 2], profile) || profile > maxProfile)
    return `profiles go up to ${String(maxProfile)} here`;
  if (!isOneOf(['dials', 'listens', 'neither'], side)) return 'a side dials, listens, or neither';
  if (!(lifetimeMs > 0 && lifetimeMs <= MAX_LIFETIME_MS)) return 'a code lives for up to 24 h';
  if (channel !== undefined && channel.length > MAX_CHANNEL_BYTES)
    return 'what is bound has up to 8,000 bytes';
  return undefined;
}

function isOneOf(values: readonly unknown[], value: unknown): boolean {
  return values.includes(value);
}

export function createCode(format: 1 | 2, random: Random): Created {
  return { format, ...drawCode(format, random) };
}

/** A name for the occasion, shaped like an ACI: UUID version 4. */
export function drawAci(random: Random): Aci {
  const bytes = random.bytes(16);
  bytes[6] = 0x40 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  const aci = readAci(new Reader(concat(u8(0), bytes)));
  if (aci === undefined) throw new Error('an ACI is never zero');
  return aci;
}

/** 1..16383 */
export function drawRegistrationId(random: Random): number {
  const [high = 0, low = 0] = random.bytes(2);
  return ((((high & 0x3f) << 8) | low) % 16_383) + 1;
}

/** An account for the occasion. @param identityKey 33 bytes */
export function occasionalOwn(random: Random, identityKey: Bytes): Own {
  const registrationId = drawRegistrationId(random);
  return {
    aci: drawAci(random),
    device: 1,
    registrationId,
    identityKey,
    mayBeIntroduced: false,
    pni: undefined,
  };
}

function sourceOf(
  { create, code, canAskAgain = true, side = 'neither' }: VerifyOptions,
  random: Random,
): CodeSource {
  const read = typeof code === 'string' ? () => Promise.resolve(code) : code;
  if (create !== undefined) {
    const made = typeof create === 'function' ? createCode(1, random) : create;
    if (typeof create === 'function') create(made.spoken);
    const theirs = read === undefined ? {} : { readTheirs: read };
    return { kind: 'create', format: made.format, text: made.text, ...theirs };
  }
  if (read === undefined) throw new Error('there is no code');
  return { kind: 'given', read, canAskAgain: canAskAgain && typeof code !== 'string', side };
}
