/**
 * Verified: the sync message in which the devices of one account tell each other how far a contact's identity key is
 * trusted (verification brief, section 11).
 */
import { parseAci, serviceIdFromBytes, serviceIdToBytes, isAci, type Aci } from '../address.ts';
import { copy, own, type Bytes } from '../bytes.ts';
import { signal } from '../proto/messages.js';

export interface Verified {
  readonly aci: Aci;
  /** 33 bytes */
  readonly key: Bytes;
  readonly state: 'default' | 'verified' | 'unverified';
}

const STATES: readonly Verified['state'][] = ['default', 'verified', 'unverified'];

/** A content, not padded. */
export function encodeVerified({ aci, key, state }: Verified): Bytes {
  const verified = {
    destinationAci: aci,
    destinationAciBinary: serviceIdToBytes(aci),
    identityKey: key,
    state: STATES.indexOf(state),
  };
  return own(signal.Content.encode({ syncMessage: { verified } }).finish());
}

/** @returns undefined where it names no ACI or no key @throws BotError `CONTENT_INVALID` */
export function readVerified(message: signal.SyncMessage): Verified | undefined {
  const { verified } = message;
  if (!verified?.identityKey) return undefined;
  const binary = verified.destinationAciBinary;
  const text = verified.destinationAci;
  const named = binary !== null && binary.length > 0;
  if (!named && (text === null || text === '')) return undefined;
  const id = named ? serviceIdFromBytes(binary) : parseAci(text ?? '');
  const state = STATES[verified.state ?? 0];
  if (!isAci(id) || state === undefined) return undefined;
  return { aci: id, key: copy(verified.identityKey), state };
}
