/**
 * Following: which key may take the place of one that was only seen, where the operator has said `--key-change follow`.
 */
import type { Identity } from '../store/identity-row.ts';

/**
 * Whether a first-use key may be followed by this one, where the operator lets it: a new phone has a new key, and an old
 * one does not come back. Without that, whoever sits in the middle could change between the two as it likes.
 * @param key base64
 */
export function mayFollow(row: Identity | undefined, key: string): boolean {
  if (row?.state !== 'tofu' || row.revoked?.includes(key) === true) return false;
  return row.key !== key && row.history?.some((entry) => entry.key === key) !== true;
}
