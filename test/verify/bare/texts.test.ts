/** Texts under the keys of a run, and frames on a stream. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { frames, NoFrames } from '../../../plugins/verify/bare/duplex.ts';
import {
  isTextFrame,
  MAX_TEXT_BODY_BYTES,
  openText,
  PageTexts,
  sealText,
  type Said,
} from '../../../plugins/verify/bare/texts.ts';
import { nodePrimitives } from '../../../plugins/verify/math/node.ts';
import { Seal } from '../../../plugins/verify/seal.ts';
import { expand } from '@noble/hashes/hkdf.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';
import { copy, type Bytes } from '../../../src/bytes.ts';
import { random } from '../support/party.ts';

const bearing = { suite: 1, runId: random.bytes(16) } as const;
const { isEqual } = nodePrimitives;

function pair(): { a: PageTexts; b: PageTexts; fromA: Bytes } {
  const keys = { fromA: random.bytes(64), fromB: random.bytes(64) };
  const make = (role: 'A' | 'B'): PageTexts => new PageTexts(keys, role, isEqual);
  return { a: make('A'), b: make('B'), fromA: keys.fromA };
}

const said = (text: string): Said => ({ kind: 'text', text });

describe('texts of profile 1', () => {
  it('open on the other side, in order, and end with a word that cannot be forged', async () => {
    const { a, b } = pair();
    for (const text of ['', 'one', 'zwei ✓', '\ufeffthree']) {
      const frame = await sealText(a, bearing, said(text));
      expect(isTextFrame(frame)).toBe(true);
      expect(await openText(b, bearing, frame)).toEqual(said(text));
    }
    expect(await openText(b, bearing, await sealText(a, bearing, { kind: 'end' }))).toEqual({ kind: 'end' });
  });

  it('have the layout that is written down', async () => {
    const { a, fromA } = pair();
    await sealText(a, bearing, said('first'));
    const frame = await sealText(a, bearing, said('second'));
    const number = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1);
    const keys = expand(sha256, fromA, concatBytes(utf8ToBytes('text'), number), 64);
    expect(frame.subarray(0, 8)).toEqual(Uint8Array.of(0x53, 0x53, 0x56, 0x50, 1, 0x10, 0, 1));
    expect(frame.subarray(8, 24)).toEqual(bearing.runId);
    const head = concatBytes(frame.subarray(0, 24), number);
    const plaintext = await new Seal(copy(keys), isEqual).open(head, frame.subarray(28));
    expect(plaintext).toEqual(concatBytes(Uint8Array.of(1), utf8ToBytes('second')));
  });

  it.each(['left out', 'repeated', 'reflected', 'of another run', 'changed'])(
    'do not open when one is %s',
    async (how) => {
      const { a, b } = pair();
      const [first, second] = [await sealText(a, bearing, said('1')), await sealText(a, bearing, said('2'))];
      if (how === 'left out') expect(await openText(b, bearing, second)).toBeUndefined();
      if (how === 'repeated') {
        await openText(b, bearing, first);
        expect(await openText(b, bearing, first)).toBeUndefined();
      }
      if (how === 'reflected') expect(await openText(a, bearing, first)).toBeUndefined();
      if (how === 'of another run') {
        expect(await openText(b, { ...bearing, runId: random.bytes(16) }, first)).toBeUndefined();
      }
      if (how === 'changed') {
        for (let i = 0; i < first.length; i++) {
          if (i >= 24 && i < 28) continue; // the length is the stream's, which does not get as far
          const fresh = pair();
          const changed = copy(await sealText(fresh.a, bearing, said('1')));
          changed[i] = (changed[i] ?? 0) ^ 1;
          expect(await openText(fresh.b, bearing, changed)).toBeUndefined();
        }
      }
    },
  );
});

describe('frames on a stream', () => {
  const frame = (length: number): Bytes => {
    const bytes = random.bytes(28 + length);
    bytes.set([0x53, 0x53, 0x56, 0x50, 1]);
    new DataView(bytes.buffer).setUint32(24, length);
    return bytes;
  };
  const all = async (chunks: readonly Uint8Array[], most = 16_384): Promise<Bytes[]> => {
    const source = async function* (): AsyncGenerator<Uint8Array, void, void> {
      for (const chunk of chunks) yield await Promise.resolve(chunk);
    };
    const found: Bytes[] = [];
    for await (const one of frames(source(), () => most)) found.push(one);
    return found;
  };

  it('are the same however they are cut', async () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 6 });
    const cuts = fc.array(fc.nat(400), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(lengths, cuts, async (sizes, places) => {
        const sent = sizes.map(frame);
        const stream = concatBytes(...sent);
        const ends = [...new Set([0, ...places.filter((place) => place < stream.length), stream.length])];
        ends.sort((one, other) => one - other);
        const chunks = ends.slice(1).map((end, i) => stream.subarray(ends[i], end));
        expect(await all(chunks)).toEqual(sent);
      }),
      { numRuns: 200 },
    );
  });

  it('end with the first bytes that are none', async () => {
    await expect(all([Uint8Array.of(0x53, 0x54)])).rejects.toThrow(NoFrames);
    await expect(all([frame(3), new TextEncoder().encode('hello')])).rejects.toThrow(NoFrames);
  });

  it('end with one that is too long, before its body has come', async () => {
    await expect(all([frame(17_000).subarray(0, 28)])).rejects.toThrow(NoFrames);
    expect(await all([frame(17_000)], MAX_TEXT_BODY_BYTES)).toHaveLength(1);
  });

  it('that are not whole at the end are left out', async () => {
    expect(await all([frame(10), frame(10).subarray(0, 30)])).toHaveLength(1);
  });
});
