/** Message keys: what a ciphertext says about the ratchet step that made it. */
import { SignalMessage } from '@signalapp/libsignal-client';
import { Reader } from 'protobufjs';
import { toBase64 } from '../../src/bytes.ts';
import { INNER } from '../../src/session/identify.ts';

/** Fields of libsignal's wire protobufs. */
const [RATCHET_KEY, INNER_MESSAGE] = [1, 4];
const MAC_LENGTH = 8;

/**
 * Names the message key of a ciphertext: the ratchet key of the sending chain, and the place in it.
 * @param type one of `INNER`
 * @param ciphertext a serialized SignalMessage or PreKeySignalMessage
 */
function messageKeyOf(type: number, ciphertext: Uint8Array): string {
  const message = type === INNER.PREKEY ? field(ciphertext.subarray(1), INNER_MESSAGE) : ciphertext;
  const { length } = message;
  const ratchetKey = field(message.subarray(1, length - MAC_LENGTH), RATCHET_KEY);
  return `${toBase64(new Uint8Array(ratchetKey))} ${String(SignalMessage.deserialize(new Uint8Array(message)).counter())}`;
}

/** Collects the message keys of all that has left, to find one that was used twice. */
export class KeyBook {
  readonly #used = new Map<string, string>();
  readonly reused: string[] = [];

  get size(): number {
    return this.#used.size;
  }

  /** @param what for the failure's text */
  note(type: number, ciphertext: Uint8Array, what: string): void {
    if (type !== INNER.PREKEY && type !== INNER.WHISPER) return;
    const key = messageKeyOf(type, ciphertext);
    const before = this.#used.get(key);
    if (before !== undefined) this.reused.push(`${key}: ${before}, and ${what}`);
    this.#used.set(key, what);
  }
}

function field(bytes: Uint8Array, wanted: number): Uint8Array {
  const reader = Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 === wanted && (tag & 7) === 2) return reader.bytes();
    reader.skipType(tag & 7);
  }
  throw new Error(`there is no field ${String(wanted)}`);
}
