/**
 * Checks of what the peer has sealed, and what it says about the keys that were used before (V-12 to V-14).
 */
import type { Bytes } from '../../../src/index.ts';
import type { Payload } from '../messages/payload.ts';
import { isSame } from '../messages/wire.ts';
import type { Proved, Replied } from './state.ts';
import { ask, type Found, type Steps } from './step.ts';

export interface Judgement {
  readonly found: Found | undefined;
  /** Both keys are what both sides saw before: the session that exists is already the right one. */
  readonly isAsKnown: boolean;
  /** Sessions with the peer were under a wrong key, at one end or the other. */
  readonly heals: boolean;
}

/** Names as they must be (V-12), and no payload of our own (V-13). */
export function isFromPeer(state: Proved | Replied, payload: Payload): boolean {
  const { own, peer, peerDevice, terms } = state;
  if (isSame(payload.identityKey, own.identityKey)) return false;
  if (terms.mode === 1) {
    return payload.aci === peer && payload.device === peerDevice && payload.peer === own.aci;
  }
  return payload.aci !== own.aci && (payload.peer === own.aci || payload.peer === undefined);
}

/** @param seenKeys the keys that all frames of the run were opened under */
export function judge(state: Proved | Replied, payload: Payload, seenKeys: readonly Bytes[]): Judgement {
  const { view, own } = state;
  const { identityKey, peerKey } = payload;
  const falseKeys = seenKeys.filter((key) => !isSame(key, identityKey));
  const isViewFalse = view !== undefined && !isSame(view, identityKey);
  const isOwnFalse = peerKey !== undefined && !isSame(peerKey, own.identityKey);
  const found = findingOf(falseKeys, isViewFalse ? view : undefined);
  return {
    found,
    isAsKnown: found === undefined && isSame(view, identityKey) && isSame(peerKey, own.identityKey),
    heals: found !== undefined || isOwnFalse,
  };
}

/** Who relayed a frame holds the key that it came under, so that is proof; a stored key alone may be of an older phone. */
function findingOf(falseKeys: readonly Bytes[], staleKey: Bytes | undefined): Found | undefined {
  if (falseKeys.length > 0) return { kind: 'substituted', falseKeys };
  return staleKey === undefined ? undefined : { kind: 'replaced', falseKeys: [staleKey] };
}

/**
 * The same with all that is stored of the peer: in `changed` no session is used, and pin and candidate may both be wrong.
 * A stored key that is, while no frame came under it, has the service asked afresh.
 */
export function* judgeStored(
  judgement: Judgement,
  { aci, device, identityKey }: Payload,
  stored: readonly Bytes[] = [],
): Steps<Judgement> {
  const { found } = judgement;
  const known = found?.kind === 'replaced' ? found.falseKeys : [];
  const falseKeys = stored
    .filter((key) => !isSame(key, identityKey))
    .reduce((keys, key) => withKey(keys, key), known);
  if (found?.kind === 'substituted' || falseKeys.length === 0) return judgement;
  const replaced: Found = { kind: 'replaced', falseKeys };
  const served = yield* ask('served-key', { party: { aci, device } });
  const finding = served === undefined ? replaced : withServedKey(replaced, served);
  return { found: finding, isAsKnown: false, heals: true };
}

/**
 * A stored key that turned out to be wrong, once the service has been asked for the peer's key afresh: if it still hands
 * out the wrong one, that is no older phone (V-14).
 */
export function withServedKey(found: Found, servedKey: Bytes): Found {
  const falseKeys = found.falseKeys.filter((key) => isSame(key, servedKey));
  return falseKeys.length > 0 ? { kind: 'substituted', falseKeys } : found;
}

/** Each key once, in the order in which they were seen. */
export function withKey(keys: readonly Bytes[], key: Bytes | undefined): readonly Bytes[] {
  return key === undefined || keys.some((other) => isSame(other, key)) ? keys : [...keys, key];
}
