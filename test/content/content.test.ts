import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseAci, serviceIdToBytes, uuidToBytes } from '../../src/address.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import {
  decodeAnnouncement,
  decodeAppMessage,
  encodeAnnouncement,
  encodeAppMessage,
  fillerPadding,
  maxContent,
  maxPayload,
  parseTag,
  type Tag,
} from '../../src/content/app-message.ts';
import { decodeContent, decodeParts } from '../../src/content/content.ts';
import {
  encodeApp,
  encodeDeliveryReceipt,
  encodeNull,
  encodeSyncRequest,
  encodeText,
  encodeTranscript,
} from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { pad, paddedLength, unpad } from '../../src/content/padding.ts';
import { signal } from '../../src/proto/messages.js';

const ACI = parseAci('00112233-4455-6677-8899-aabbccddeeff');
const NOW = 1_700_000_000_000;
const encode = (content: signal.Content.$Shape): Bytes => own(signal.Content.encode(content).finish());

describe('padding', () => {
  it('fills to 80n - 1 bytes and is removed again, whatever the content ends with', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (content) => {
        const padded = pad(content);
        expect((padded.length + 1) % 80).toBe(0);
        expect(padded.length).toBe(paddedLength(content.length));
        expect(unpad(padded)).toEqual(own(content));
      }),
    );
  });

  it.each([
    [78, 79],
    [79, 159],
    [0, 79],
  ])('gives a content of %i bytes %i', (length, padded) => {
    expect(paddedLength(length)).toBe(padded);
  });

  it('takes any length from others, as the mock sends one', () => {
    expect(unpad(Uint8Array.of(1, 2, 0x80))).toEqual(Uint8Array.of(1, 2));
  });

  it.each([
    ['nothing', []],
    ['only zeros', [0, 0]],
    ['another last byte', [1, 2, 0]],
  ])('refuses %s', (_, bytes) => {
    expect(() => unpad(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: 'CONTENT_INVALID' }));
  });
});

describe('app messages', () => {
  const TAG = parseTag('example.org/chess/1');

  it('have the layout of proto/app-message.md', () => {
    const bytes = encodeAppMessage(parseTag('a/1'), Uint8Array.of(7, 8));
    expect([...bytes]).toEqual([0xab, 0x43, 0x53, 1, 1, 3, 0x61, 0x2f, 0x31, 7, 8]);
    expect(decodeAppMessage(bytes)).toEqual({ tag: 'a/1', payload: Uint8Array.of(7, 8) });
  });

  it.each(['a/1', 'example.org/x/12', '@scope/pkg/0', 'a_b-c.d/9', `${'a'.repeat(62)}/1`])(
    'take the tag %s',
    (tag) => {
      expect(parseTag(tag)).toBe(tag);
    },
  );

  it.each([
    '',
    'a',
    '/1',
    'a/',
    'a/x',
    'A/1',
    'a b/1',
    'ä/1',
    'a/1 ',
    `${'a'.repeat(63)}/1`,
    'a/-1',
    'a/1.0',
    'a/01',
  ])('refuse the tag "%s"', (tag) => {
    expect(() => parseTag(tag)).toThrow(expect.objectContaining({ code: 'CONTENT_INVALID' }));
  });

  it('are told from fillers and from versions that we do not know', () => {
    const bytes = encodeAppMessage(TAG, new Uint8Array(0));
    expect(decodeAppMessage(Uint8Array.from(bytes, (b, i) => (i === 0 ? 0 : b)))).toBe('filler');
    expect(decodeAppMessage(Uint8Array.from(bytes, (b, i) => (i === 4 ? 2 : b)))).toBe('unknown');
    expect(decodeAppMessage(bytes.subarray(0, 12))).toBe('unknown');
    expect(decodeAppMessage(Uint8Array.from(bytes, (b, i) => (i === 8 ? 0x20 : b)))).toBe('unknown');
  });

  it('are never hit by a filler', () => {
    const bytes = encodeAppMessage(TAG, new Uint8Array(9));
    const random = { bytes: (length: number) => new Uint8Array(bytes.subarray(0, length)) };
    expect(decodeAppMessage(fillerPadding(bytes.length, random))).toBe('filler');
    expect(fillerPadding(0, random)).toHaveLength(1);
  });

  it('have a limit that fits into the strictest server with six devices, and say the figure', () => {
    const limit = maxPayload(TAG);
    expect(limit).toBeGreaterThan(60_000);
    const content = encodeApp(TAG, new Uint8Array(limit));
    expect(content.length).toBeLessThanOrEqual(maxContent());
    // All six devices, each a sealed prekey message, in one frame of JSON.
    const frame = 6 * (Math.ceil((paddedLength(content.length) + 2_300) / 3) * 4 + 150) + 500;
    expect(frame).toBeLessThan(524_288);
    expect(() => encodeApp(TAG, new Uint8Array(limit + 1))).toThrow(
      expect.objectContaining({
        code: 'PAYLOAD_TOO_LARGE',
        message: expect.stringContaining(String(limit)) as string,
      }),
    );
  });

  it('announce tags, and refuse what is no list of tags', () => {
    const tags = [parseTag('b/1'), parseTag('a/2')];
    expect(decodeAnnouncement(encodeAnnouncement(tags))).toEqual(['a/2', 'b/1']);
    expect(decodeAnnouncement(encodeAnnouncement([]))).toEqual([]);
    const many = Array.from({ length: 257 }, (_, n) => `a/${String(n)}` as Tag);
    for (const bad of [Buffer.from('no tag'), Buffer.from([0xff]), encodeAnnouncement(many)]) {
      expect(() => decodeAnnouncement(bad)).toThrow(expect.objectContaining({ code: 'CONTENT_INVALID' }));
    }
  });
});

describe('contents', () => {
  it('of each kind are read as what they are', () => {
    expect(decodeContent(encodeText('hello', NOW))).toMatchObject({
      kind: 'text',
      text: 'hello',
      timestamp: NOW,
    });
    expect(decodeContent(encodeNull(Uint8Array.of(1)))).toEqual({ kind: 'null', unknownVersion: false });
    expect(decodeContent(encodeDeliveryReceipt([NOW, NOW + 1]))).toEqual({
      kind: 'receipt',
      type: 'delivery',
      timestamps: [NOW, NOW + 1],
    });
    expect(decodeContent(encode({ typingMessage: { timestamp: NOW, action: 1 } }))).toMatchObject({
      action: 'stopped',
    });
    expect(decodeContent(encode({ decryptionErrorMessage: Uint8Array.of(1) }))).toMatchObject({
      kind: 'retry',
    });
    expect(decodeContent(encode({ senderKeyDistributionMessage: Uint8Array.of(1) }))).toEqual({
      kind: 'keys',
    });
    expect(decodeContent(encode({ callMessage: Uint8Array.of(1) }))).toMatchObject({
      kind: 'other',
      name: 'callMessage',
    });
    expect(decodeContent(encodeSyncRequest('contacts'))).toMatchObject({
      kind: 'sync',
      sync: { type: 'other' },
    });
    expect(decodeContent(new Uint8Array(0))).toMatchObject({ kind: 'other', name: 'unknown' });
  });

  it('that change another message are no texts', () => {
    const reaction = encode({ dataMessage: { body: 'x', timestamp: NOW, reaction: { emoji: '+' } } });
    expect(decodeContent(reaction)).toMatchObject({ kind: 'other', name: 'dataMessage' });
    expect(decodeContent(encode({ dataMessage: { timestamp: NOW, flags: 2 } }))).toMatchObject({
      kind: 'other',
    });
  });

  it('for readers of a later protocol version are no texts', () => {
    const body = { body: 'x', timestamp: NOW };
    const later = encode({ dataMessage: { ...body, requiredProtocolVersion: 9 } });
    expect(decodeContent(later)).toMatchObject({ kind: 'other', name: 'dataMessage' });
    const known = encode({ dataMessage: { ...body, requiredProtocolVersion: 8 } });
    expect(decodeContent(known)).toMatchObject({ kind: 'text', text: 'x' });
  });

  it('give out what accompanies them', () => {
    const content = encode({
      dataMessage: { body: 'x', timestamp: NOW, profileKey: new Uint8Array(32).fill(3) },
      senderKeyDistributionMessage: Uint8Array.of(9),
    });
    expect(decodeParts(content).content).toMatchObject({ kind: 'text' });
    expect(new Uint8Array(decodeParts(content).distribution ?? [])).toEqual(Uint8Array.of(9));
    expect(new Uint8Array(decodeParts(content).profileKey ?? [])).toEqual(new Uint8Array(32).fill(3));
  });

  it('keep fields that nobody here knows', () => {
    const content = own(Buffer.concat([encodeText('hello', NOW), Buffer.from([0xfa, 0x3f, 2, 1, 2])]));
    const wire = signal.Content.decode(content);
    expect(Buffer.from(signal.Content.encode(wire).finish())).not.toEqual(Buffer.from(content));
    const other = own(
      Buffer.concat([encode({ callMessage: Uint8Array.of(1) }), Buffer.from([0xfa, 0x3f, 2, 1, 2])]),
    );
    const read = decodeContent(other);
    if (read.kind !== 'other') throw new Error('not other');
    expect(own(signal.Content.encode(read.content).finish())).toEqual(other);
  });

  it('as a transcript name the recipient in both forms and carry the text', () => {
    const transcript = encodeTranscript(encodeText('hello', NOW), ACI, NOW, true);
    const { syncMessage } = signal.Content.decode(transcript ?? new Uint8Array(0));
    expect(syncMessage?.sent).toMatchObject({ destinationServiceId: ACI });
    expect(new Uint8Array(syncMessage?.sent?.destinationServiceIdBinary ?? [])).toEqual(
      serviceIdToBytes(ACI),
    );
    expect(decodeContent(transcript ?? new Uint8Array(0))).toMatchObject({
      kind: 'sync',
      sync: { type: 'sent', destination: ACI, timestamp: NOW, content: { kind: 'text', text: 'hello' } },
    });
    expect(encodeTranscript(encodeNull(Uint8Array.of(1)), ACI, NOW, false)).toBeUndefined();
  });

  it('of a text above 2,048 bytes are refused with the figure', () => {
    expect(() => encodeText('ä'.repeat(1025), NOW)).toThrow(
      expect.objectContaining({
        code: 'PAYLOAD_TOO_LARGE',
        message: expect.stringContaining('2050') as string,
        next: expect.stringContaining('several texts') as string,
      }),
    );
    expect(decodeContent(encodeText('ä'.repeat(1024), NOW))).toMatchObject({ kind: 'text' });
  });
});

describe('envelopes', () => {
  const base = {
    type: 1,
    clientTimestamp: NOW,
    serverTimestamp: NOW + 5,
    sourceDevice: 3,
    content: Uint8Array.of(1),
  };
  const guid = '0a1b2c3d-0000-4000-8000-000000000001';
  const wire = (fields: signal.Envelope.$Shape): Bytes => own(signal.Envelope.encode(fields).finish());
  const expected = {
    source: ACI,
    destination: ACI,
    guid,
    sourceDevice: 3,
    timestamp: NOW,
    serverTimestamp: NOW + 5,
  };

  it('say the same in the string, the binary and the mixed dialect', () => {
    const strings = { sourceServiceId: ACI, destinationServiceId: ACI, serverGuid: guid };
    const binary = {
      sourceServiceIdBinary: serviceIdToBytes(ACI),
      destinationServiceIdBinary: serviceIdToBytes(ACI),
      serverGuidBinary: uuidToBytes(guid),
    };
    for (const dialect of [strings, binary, { ...strings, ...binary }]) {
      expect(decodeEnvelope(wire({ ...base, ...dialect }))).toMatchObject(expected);
    }
  });

  it('prefer the binary ids', () => {
    const other = '99999999-9999-4999-8999-999999999999';
    const envelope = wire({ ...base, sourceServiceId: other, sourceServiceIdBinary: serviceIdToBytes(ACI) });
    expect(decodeEnvelope(envelope).source).toBe(ACI);
  });

  it('without a server time take the sender’s, without a source have none', () => {
    expect(decodeEnvelope(wire({ type: 6, clientTimestamp: NOW }))).toMatchObject({
      serverTimestamp: NOW,
      source: undefined,
      guid: undefined,
    });
  });

  it('with a guid that would make a bad key are refused', () => {
    expect(() => decodeEnvelope(wire({ ...base, serverGuid: 'x'.repeat(65) }))).toThrow(
      expect.objectContaining({ code: 'CONTENT_INVALID' }),
    );
  });
});
