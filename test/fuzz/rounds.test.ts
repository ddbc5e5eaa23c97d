/** Frames and rows of ceremonies: what is read is written the same again, anything else is refused by code. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { coinToss } from '../../docs/examples/coin-toss.ts';
import { isBotError } from '../../src/errors.ts';
import { decodeFrame, encodeFrame, type Frame } from '../../src/rounds/frame.ts';
import { decodeProposal, encodeProposal } from '../../src/rounds/proposal.ts';
import type { Protocol } from '../../src/rounds/protocol.ts';
import { RoundsTest } from '../../src/testing/rounds.ts';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);

const bytes = (length: number): fc.Arbitrary<Uint8Array<ArrayBuffer>> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((value) => new Uint8Array(value));
const some = fc.uint8Array({ maxLength: 300 }).map((value) => new Uint8Array(value));
const u8 = fc.nat(255);
const signed = fc.record({
  ...{ id: bytes(32), round: u8, sender: u8, recipient: u8, body: some, signature: bytes(64) },
});
const topic = bytes(32).map((value) => Buffer.from(value).toString('hex'));
const frames: fc.Arbitrary<Frame> = fc.oneof(
  fc.record({
    ...{ kind: fc.constant('hello' as const), topic, nonce: bytes(32), echo: bytes(32) },
    ...{ wantsAnswer: fc.boolean(), proposal: some },
  }),
  fc.record({
    kind: fc.constant('roster' as const),
    topic,
    present: fc.array(fc.record({ index: u8, nonce: bytes(32) }), { maxLength: 64 }),
  }),
  signed.chain((message) => topic.map((name) => ({ kind: 'message' as const, topic: name, ...message }))),
  fc.record({
    ...{ kind: fc.constant('confirm' as const), topic, id: bytes(32), round: u8 },
    seen: fc.array(fc.record({ index: u8, hash: bytes(32) }), { maxLength: 64 }),
  }),
  fc.record({ kind: fc.constant('ask' as const), topic, id: bytes(32), round: u8 }),
  fc.record({
    ...{ kind: fc.constant('abort' as const), topic, id: bytes(32), reason: fc.string({ maxLength: 50 }) },
    evidence: fc.array(signed, { maxLength: 2 }),
  }),
);

function refuses(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!isBotError(error)) throw error;
  }
}

it('reads every frame as it was written', () => {
  fc.assert(
    fc.property(frames, (frame) => {
      expect(decodeFrame(encodeFrame(frame))).toEqual(frame);
    }),
    { numRuns },
  );
});

it('refuses what is no frame or no proposal by code', () => {
  const { proposal } = new RoundsTest(coinToss as unknown as Protocol, 3);
  const whole = encodeProposal(proposal);
  fc.assert(
    fc.property(some, frames, fc.nat(), u8, (noise, frame, at, byte) => {
      refuses(() => decodeFrame(noise));
      for (const good of [encodeFrame(frame), whole]) {
        const bent = new Uint8Array(good);
        bent[at % bent.length] = byte;
        refuses(() => decodeFrame(bent));
        refuses(() => decodeProposal(bent));
        refuses(() => decodeProposal(bent.subarray(0, at % bent.length)));
      }
    }),
    { numRuns },
  );
});

it('takes any frame at any time without failing', () => {
  fc.assert(
    fc.property(fc.array(frames, { maxLength: 20 }), (strange) => {
      const left = [...strange];
      const sim = new RoundsTest(coinToss as unknown as Protocol, 3, {
        tamper: (wire, self) => {
          const frame = wire.from === 2 && wire.to === 1 ? left.pop() : undefined;
          if (frame === undefined) return [wire];
          // As near to the ceremony in hand as a stranger's frame can be.
          const { topic: name, id } = self.run(1);
          const near = 'id' in frame && id.length > 0 && left.length % 2 === 0 ? { id } : {};
          return [{ ...wire, payload: encodeFrame({ ...frame, topic: name, ...near }) }, wire];
        },
      });
      sim.openAll();
      sim.settle();
      expect(['done', 'aborted']).toContain(sim.run(3).phase);
    }),
    { numRuns: Math.ceil(numRuns / 50) },
  );
});
