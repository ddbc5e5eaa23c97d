/**
 * Whole runs, byte by byte: test/vectors/spake2-run-vectors.json (ours, 2026-11-22; signatures, Kyber key and initial
 * message are filler bytes of the right length, and DONE is shown in kind 1).
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Aci } from '../../src/index.ts';
import { fromHex, toHex, type Bytes } from '../../src/bytes.ts';
import { checkDigits } from '../../plugins/verify/check.ts';
import { associatedData, payloadKeys } from '../../plugins/verify/keys.ts';
import { advance, type SessionOpener } from '../../plugins/verify/machine/settle.ts';
import { EMPTY_SLOT, type Slot } from '../../plugins/verify/machine/slot.ts';
import type { Effect, Env, Event } from '../../plugins/verify/machine/step.ts';
import type { Own } from '../../plugins/verify/machine/state.ts';
import { nodePrimitives } from '../../plugins/verify/math/node.ts';
import { pagePrimitives } from '../../plugins/verify/math/page.ts';
import { shareOf } from '../../plugins/verify/math/spake2.ts';
import { decodeFrame, encodeFrame, type Offer } from '../../plugins/verify/messages/frame.ts';
import { decodePayload, encodePayload, type Payload } from '../../plugins/verify/messages/payload.ts';

type Run = Record<string, string> & { mode: number; profile: 1 | 2; name: string };

const file = new URL('../vectors/spake2-run-vectors.json', import.meta.url);
const { runs } = JSON.parse(readFileSync(file, 'utf8')) as { runs: Run[] };

const hex = (run: Run, name: string): Bytes => fromHex(run[name] ?? '');

function payload(run: Run, side: 'A' | 'B'): Payload {
  const decoded = decodePayload(hex(run, `payload${side}`), side, run.profile);
  if (decoded === undefined) throw new Error('the vector is not decoded');
  return decoded;
}

function sent(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => (effect.kind === 'send' ? [toHex(effect.frame)] : []));
}

function ownOf({ aci, device, registrationId, identityKey, mayBeIntroduced, pni }: Payload): Own {
  return { aci, device, registrationId, identityKey, mayBeIntroduced, pni };
}

/** Plays both sides and gives what they hold at the end. */
async function play(run: Run, primitives: Env['primitives']): Promise<{ sent: string[]; effects: Effect[] }> {
  const env: Env = { primitives, maxProfile: 2 };
  const [payloadA, payloadB] = [payload(run, 'A'), payload(run, 'B')];
  const offer = decodeFrame(hex(run, 'OFFER'))?.body as Offer;
  const share = (role: 'A' | 'B', secret: Bytes): { secret: Bytes; share: Bytes } => ({
    secret,
    share: shareOf(primitives.p256, role, hex(run, 'w'), secret),
  });
  let initialPlaintext: Bytes | undefined;
  const none = new Uint8Array(1);
  const opener: SessionOpener = {
    trust: () => Promise.resolve({ verdict: 'verified', hasSession: true }),
    servedKey: () => Promise.resolve(undefined),
    prepare: () => {
      if (payloadA.bundle === undefined) throw new Error('profile 1 asks for no prekeys');
      const prekeys = { prekey: none, signedPrekey: none, kyberPrekey: none };
      return Promise.resolve({ bundle: payloadA.bundle, prekeys });
    },
    openSession: ({ plaintext }) => {
      initialPlaintext = plaintext;
      return Promise.resolve(payloadB.initial);
    },
    takeSession: ({ initial }) => {
      expect(initial).toEqual(payloadB.initial);
      return Promise.resolve(initialPlaintext);
    },
    sealDone: ({ plaintext }) => Promise.resolve(plaintext),
    openDone: ({ message }) => Promise.resolve(message),
  };
  const slots = new Map<string, Slot>();
  const all: Effect[] = [];
  const give = async (side: 'A' | 'B', event: Event): Promise<readonly Effect[]> => {
    const result = await advance(env, slots.get(side) ?? EMPTY_SLOT, event, opener);
    slots.set(side, result.slot);
    all.push(...result.effects);
    return result.effects;
  };
  const isNamed = run.mode === 1;
  const frame = (from: Payload, bytes: Bytes, now: number): Event => ({
    ...{ kind: 'frame', bytes, now, gate: 'open', openedUnder: isNamed ? from.identityKey : undefined },
    from: isNamed ? { aci: from.aci, device: from.device } : undefined,
  });
  const runId = decodeFrame(hex(run, 'OFFER'))?.runId ?? none;
  const now = payloadA.time;
  const channel = hex(run, 'channel');
  const started = await give('A', {
    ...{ kind: 'start', now: offer.expiresAt - 600_000, own: ownOf(payloadA), lifetimeMs: 600_000 },
    ...{ peer: isNamed ? payloadB.aci : undefined, profile: run.profile, format: 1, mhf: offer.mhf },
    ...{ runId, w: hex(run, 'w'), share: share('A', hex(run, 'x')), nonce: hex(run, 'nonce'), channel },
  });
  const frames = sent(started);
  await give('B', frame(payloadA, fromHex(frames[0] ?? ''), now));
  const typed = await give('B', {
    ...{
      kind: 'typed',
      now,
      runId,
      own: ownOf(payloadB),
      w: hex(run, 'w'),
      share: share('B', hex(run, 'y')),
    },
    ...{ view: isNamed ? payloadB.peerKey : undefined, wantsSession: run.profile === 2, channel },
  });
  frames.push(...sent(typed));
  await give('A', frame(payloadB, fromHex(frames[1] ?? ''), now));
  frames.push(...sent(await give('A', { kind: 'continue', now, view: payloadA.peerKey })));
  frames.push(...sent(await give('B', frame(payloadA, fromHex(frames[2] ?? ''), payloadB.time))));
  frames.push(...sent(await give('A', frame(payloadB, fromHex(frames[3] ?? ''), now))));
  await give('B', frame(payloadA, fromHex(frames[4] ?? ''), now));
  expect(slots.get('A')?.run?.kind).toBe('verified');
  expect(slots.get('B')?.run).toMatchObject({ kind: 'finished', isAcknowledged: true });
  return { sent: frames, effects: all };
}

describe.each(runs)('the run $name', (run) => {
  it.each([
    ['OpenSSL', nodePrimitives],
    ['noble', pagePrimitives],
  ])('is played frame by frame as it is written down, on %s', async (_, primitives) => {
    const { sent: frames, effects } = await play(run, primitives);
    const names = ['OFFER', 'REPLY', 'PROOF', 'ACCEPT'];
    expect(frames.slice(0, 4)).toEqual(names.map((name) => run[name]));
    const runId = hex(run, 'OFFER').slice(8, 24);
    const kind = run.profile === 1 ? 'mac' : 'message';
    const proof = hex(run, 'doneMac');
    expect(frames[4]).toBe(toHex(encodeFrame({ suite: 1, runId, body: { type: 'done', kind, proof } })));
    if (kind === 'mac') expect(frames[4]).toBe(run['DONE']);
    const trusted = effects.flatMap((effect) => (effect.kind === 'trusted' ? [effect.trusted] : []));
    expect(trusted.map(({ proof: { vh }, check }) => [vh, check])).toEqual([
      [run['vh'], run['check']],
      [run['vh'], run['check']],
    ]);
  });

  it('V-25: gives these check digits, and the key schedule of 3.4 its other values', () => {
    const transcript = { offer: hex(run, 'OFFER'), reply: hex(run, 'REPLY') };
    expect(checkDigits(hex(run, 'nonce'), transcript)).toBe(run['check']);
    expect(toHex(associatedData(transcript, hex(run, 'channel')))).toBe(run['AAD']);
    expect(toHex(payloadKeys(hex(run, 'PRK'), transcript))).toBe(run['payloadKeysA']);
    expect(toHex(payloadKeys(hex(run, 'PRK'), transcript, hex(run, 'PROOF')))).toBe(run['payloadKeysB']);
  });

  it('has an initial message from B alone, and in profile 2 alone', () => {
    const initial = new Uint8Array(5);
    const isTaken = (side: 'A' | 'B'): boolean =>
      decodePayload(encodePayload({ ...payload(run, side), initial }), side, run.profile) !== undefined;
    expect([isTaken('A'), isTaken('B')]).toEqual([false, run.profile === 2]);
  });

  it('holds frames and payloads that are encoded as they were decoded', () => {
    for (const name of ['OFFER', 'REPLY', 'PROOF', 'ACCEPT', 'DONE']) {
      const decoded = decodeFrame(hex(run, name));
      expect(decoded && toHex(encodeFrame(decoded))).toBe(run[name]);
    }
    expect(toHex(encodePayload(payload(run, 'A')))).toBe(run['payloadA']);
    expect(toHex(encodePayload(payload(run, 'B')))).toBe(run['payloadB']);
    expect(payload(run, 'A').aci satisfies Aci).toHaveLength(36);
  });
});
