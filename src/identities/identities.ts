/**
 * Identities: which identity key of a contact is trusted, per service id (verification brief, section 9).
 *
 * A key is taken on first use (`tofu`). A different one never replaces it by itself: the state becomes `changed`, the
 * new key is only a candidate, nothing is sent and nothing opened until the operator has accepted it.
 */
import type { ServiceId } from '../address.ts';
import { equal, fromBase64, toBase64, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Clock } from '../platform.ts';
import type { Batch } from '../store/store.ts';
import { identityRows, type Identity } from '../store/tables.ts';

interface Entry {
  readonly row: Identity;
  readonly key: Bytes;
}

export class Identities {
  readonly #clock: Clock;
  readonly #own: ReadonlyMap<ServiceId, Bytes>;
  /** Parsed rows by the bytes they came from; the store hands out the same bytes as long as they are cached. */
  readonly #parsed = new WeakMap<Bytes, Entry>();

  /**
   * @param own our keys by service id, 33 bytes: they come from the link and from nowhere else, so that neither the server
   *   nor who poses as one of our devices can bring another
   */
  constructor(clock: Clock, own: ReadonlyMap<ServiceId, Bytes>) {
    this.#clock = clock;
    this.#own = own;
  }

  /** The trusted key, 33 bytes. */
  async key(batch: Batch, serviceId: ServiceId): Promise<Bytes | undefined> {
    return this.#own.get(serviceId) ?? (await this.#entry(batch, serviceId))?.key;
  }

  /** Whether messages may be exchanged under this key: a first key, or the one that is trusted. */
  async isTrusted(batch: Batch, serviceId: ServiceId, key: Uint8Array): Promise<boolean> {
    const own = this.#own.get(serviceId);
    if (own !== undefined) return equal(own, key);
    const entry = await this.#entry(batch, serviceId);
    if (entry === undefined) return true;
    return entry.row.state !== 'changed' && entry.row.state !== 'revoked' && equal(entry.key, key);
  }

  /** Takes a first key; a different key than the trusted one becomes the candidate and the state `changed`. */
  async save(batch: Batch, serviceId: ServiceId, key: Uint8Array): Promise<void> {
    if (this.#own.has(serviceId)) return;
    const entry = await this.#entry(batch, serviceId);
    if (entry !== undefined && equal(entry.key, key)) return;
    const now = this.#clock.now();
    const row: Identity =
      entry === undefined
        ? { key: toBase64(key), state: 'tofu', since: now }
        : {
            ...entry.row,
            state: entry.row.state === 'revoked' ? 'revoked' : 'changed',
            since: now,
            candidate: toBase64(key),
          };
    identityRows.put(batch, serviceId, row);
  }

  async #entry(batch: Batch, serviceId: ServiceId): Promise<Entry | undefined> {
    const bytes = await batch.get(identityRows.key(serviceId));
    if (bytes === undefined) return undefined;
    const known = this.#parsed.get(bytes);
    if (known !== undefined) return known;
    const row = await identityRows.get(batch, serviceId);
    if (row === undefined) return undefined;
    const entry = { row, key: fromBase64(row.key) };
    this.#parsed.set(bytes, entry);
    return entry;
  }
}

export function changed(serviceId: ServiceId): BotError {
  return new BotError('IDENTITY_CHANGED', `the identity key of ${serviceId} is not the one that is trusted`);
}
