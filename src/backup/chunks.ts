/**
 * Chunks: a stream of any length under AES-256-GCM, so that no more than one chunk is held in memory, and nothing is
 * handed on that was not written in this place by who knew the passphrase.
 *
 *   chunk   ciphertext 65536, the last one 0 to 65536 | tag 16
 *   nonce   0 (7 bytes) | number, from 1 (u32, big-endian) | 1 for the last chunk, else 0
 *
 * The file's header is associated data of each. A key belongs to one file, so numbers serve as nonces. A chunk that is
 * moved, left out or doubled meets another number, and a file that was cut or continued another last chunk.
 * Spec: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
 * Nonce-Reuse Misuse-Resistance, 2015, section 7). Number 0 is the proof in the header.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { copy, EMPTY, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { damaged } from './header.ts';

export const CHUNK_BYTES = 65_536;
export const TAG_BYTES = 16;

const CIPHER = 'aes-256-gcm';
const LAST_NUMBER = 0xffff_ffff;

/** The key and header of one file. */
export interface ChunkKey {
  /** 32 bytes */
  readonly key: Uint8Array;
  readonly header: Bytes;
}

/** Bytes that can be read from any place. */
export interface Source {
  readonly size: number;
  /** Exactly `length` bytes. @throws BotError `BACKUP_DAMAGED` there are not so many */
  read(position: number, length: number): Promise<Bytes>;
}

/** Cuts what it is given into chunks. */
export class ChunkWriter {
  readonly #key: ChunkKey;
  readonly #write: (bytes: Bytes) => Promise<void>;
  readonly #buffer: Bytes = new Uint8Array(CHUNK_BYTES);
  #filled = 0;
  #number = 1;

  /** @param write called for one chunk after the other */
  constructor(key: ChunkKey, write: (bytes: Bytes) => Promise<void>) {
    this.#key = key;
    this.#write = write;
  }

  async push(bytes: Uint8Array): Promise<void> {
    for (let position = 0; position < bytes.length;) {
      // A full buffer waits for more: it may be the last chunk.
      if (this.#filled === CHUNK_BYTES) await this.#flush(false);
      const part = bytes.subarray(position, position + CHUNK_BYTES - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.length;
      position += part.length;
    }
  }

  /** Writes the last chunk. */
  async end(): Promise<void> {
    await this.#flush(true);
    this.#buffer.fill(0);
  }

  async #flush(last: boolean): Promise<void> {
    await this.#write(sealChunk(this.#key, this.#number, last, this.#buffer.subarray(0, this.#filled)));
    this.#number++;
    this.#filled = 0;
  }
}

/** An empty chunk with the number 0 and without a header. @param key 32 bytes */
export function proofOf(key: Uint8Array): Bytes {
  return sealChunk({ key, header: EMPTY }, 0, false, EMPTY);
}

/**
 * The contents of the chunks from `start` to the end of the source. Each is authentic when it is handed out; only at the
 * end it is known that none is missing.
 * @throws BotError `BACKUP_DAMAGED`
 */
export async function* readChunks(source: Source, start: number, key: ChunkKey): AsyncGenerator<Bytes> {
  let position = start;
  for (let number = 1; ; number++) {
    const left = source.size - position;
    if (left < TAG_BYTES) throw damaged('the backup is cut');
    const last = left <= CHUNK_BYTES + TAG_BYTES;
    const sealed = await source.read(position, last ? left : CHUNK_BYTES + TAG_BYTES);
    yield openChunk(key, number, last, sealed);
    if (last) return;
    position += sealed.length;
  }
}

function sealChunk({ key, header }: ChunkKey, number: number, last: boolean, plain: Uint8Array): Bytes {
  const cipher = createCipheriv(CIPHER, key, nonceOf(number, last)).setAAD(header);
  return copy(Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]));
}

function openChunk({ key, header }: ChunkKey, number: number, last: boolean, sealed: Bytes): Bytes {
  const end = sealed.length - TAG_BYTES;
  try {
    const decipher = createDecipheriv(CIPHER, key, nonceOf(number, last), { authTagLength: TAG_BYTES });
    decipher.setAAD(header).setAuthTag(sealed.subarray(end));
    return copy(Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()]));
  } catch (cause) {
    throw damaged('the backup is not what was written, or was cut', cause);
  }
}

function nonceOf(number: number, last: boolean): Uint8Array {
  if (number > LAST_NUMBER) throw new BotError('BACKUP_FAILED', 'the store is too large for one backup');
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32BE(number, 7);
  nonce[11] = last ? 1 : 0;
  return nonce;
}
