/** Whatever bytes come, reading them ends in a value or in a coded error. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { own } from '../../src/bytes.ts';
import {
  decodeAnnouncement,
  decodeAppMessage,
  encodeAppMessage,
  isTag,
  parseTag,
} from '../../src/content/app-message.ts';
import { decodeContent, decodeParts } from '../../src/content/content.ts';
import { encodeDeliveryReceipt, encodeText } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { unpad } from '../../src/content/padding.ts';
import { BotError } from '../../src/errors.ts';
import { signal } from '../../src/proto/messages.js';

const numRuns = Number(process.env['FUZZ_RUNS'] ?? 2000);

/** Random bytes, and real messages with a few bytes changed, cut or repeated. */
function damaged(...real: Uint8Array[]): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(
    fc.constantFrom(...real),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.nat(),
    fc.nat(3),
  );
  return fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    change.map(([bytes, edits, cut, how]) => {
      const copy = Uint8Array.from(bytes);
      for (const [at, value] of edits) copy[at % copy.length] = value;
      if (how === 0) return copy.subarray(0, cut % (copy.length + 1));
      return how === 1 ? Buffer.concat([copy, copy]) : copy;
    }),
  );
}

function codedOnly(read: (bytes: Uint8Array<ArrayBuffer>) => unknown): (bytes: Uint8Array) => void {
  return (bytes) => {
    try {
      read(own(bytes));
    } catch (error) {
      expect(error).toBeInstanceOf(BotError);
      expect((error as BotError).code).toBe('CONTENT_INVALID');
    }
  };
}

const NOW = 1_700_000_000_000;
const ENVELOPE = signal.Envelope.encode({
  type: 6,
  clientTimestamp: NOW,
  serverTimestamp: NOW,
  sourceServiceId: '00112233-4455-6677-8899-aabbccddeeff',
  sourceServiceIdBinary: new Uint8Array(16),
  serverGuid: '00112233-4455-6677-8899-aabbccddeeff',
  serverGuidBinary: new Uint8Array(16),
  updatedPniBinary: new Uint8Array(16),
  content: new Uint8Array(20),
}).finish();
const SYNC = signal.Content.encode({
  syncMessage: {
    sent: { timestamp: NOW, message: { body: 'x' }, destinationServiceIdBinary: new Uint8Array(16) },
    blocked: { acisBinary: [new Uint8Array(16)], acis: ['00112233-4455-6677-8899-aabbccddeeff'] },
    contacts: { blob: { cdnKey: 'x', size: 3 } },
  },
}).finish();
const APP = encodeAppMessage(parseTag('example.org/chess/1'), new Uint8Array(30));

describe('hostile bytes end in a value or a coded error', () => {
  it('as envelopes', () => {
    fc.assert(fc.property(damaged(ENVELOPE), codedOnly(decodeEnvelope)), { numRuns });
  });

  it('as contents', () => {
    const real = [encodeText('hello', NOW, new Uint8Array(32)), SYNC, encodeDeliveryReceipt([NOW, NOW + 1])];
    fc.assert(fc.property(damaged(...real), codedOnly(decodeContent)), { numRuns });
    fc.assert(fc.property(damaged(...real), codedOnly(decodeParts)), { numRuns });
  });

  it('as padded plaintexts', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), codedOnly(unpad)), { numRuns });
  });

  it('as app messages and announcements', () => {
    fc.assert(fc.property(damaged(APP), codedOnly(decodeAppMessage)), { numRuns });
    fc.assert(fc.property(damaged(Buffer.from('a/1\nb/2')), codedOnly(decodeAnnouncement)), { numRuns });
  });

  it('as tags', () => {
    const tag = fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9@._/-]{0,70}$/));
    fc.assert(
      fc.property(tag, (text) => {
        const isOne = /^[a-z0-9@._/-]+\/[0-9]+$/.test(text) && !/\/0[0-9]+$/.test(text);
        expect(isTag(text)).toBe(isOne && Buffer.byteLength(text) <= 64);
      }),
      { numRuns },
    );
  });
});
