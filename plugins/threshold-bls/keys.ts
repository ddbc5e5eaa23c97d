/**
 * Keys: what this party holds, for its operator: listed, named anew in a handle, and forgotten where nothing became of it.
 */
import { z } from 'zod';
import { BotError, type Act, type Host, type Transaction } from '../../src/index.ts';
import type { Rounds } from '../../src/rounds/index.ts';
import { keyHex, read } from './input.ts';
import { publicKeyOf, toHex } from './key-share.ts';
import { allShares, deleteShare, hasShares, sharesOf, type HeldShare } from './shares.ts';

/** A line of `bls keys`. */
export interface KeyLine {
  /** 96 bytes, hex. */
  readonly publicKey: string;
  /** t */
  readonly threshold: number;
  /** n */
  readonly parties: number;
  /** Ours. */
  readonly index: number;
  /** Of the newest share. */
  readonly epoch: number;
  /** All parties have confirmed that they have theirs. */
  readonly settled: boolean;
  /** Topic of the ceremony that has made it, 32 bytes, hex: an id of `rounds show`. */
  readonly ceremony: string;
  /** All that are here, newest first: an older one stays until a newer one is settled. */
  readonly shares: readonly { readonly epoch: number; readonly settled: boolean }[];
}

const keysInput = z.object({ publicKey: keyHex.optional() });
const forgetInput = z.object({ publicKey: keyHex });

export function keyActs(host: Host, ceremonies: Rounds): Readonly<Record<string, Act>> {
  return {
    /** @throws BotError `KEY_UNKNOWN` for a key that was named; `USAGE` */
    keys: async (call) => {
      const { publicKey } = read(keysInput, call.input);
      const shares = await host.update((tx) =>
        publicKey === undefined ? allShares(tx) : sharesOf(tx, publicKey),
      );
      return { keys: linesOf(shares) };
    },
    /** @throws BotError `KEY_UNKNOWN`; `USAGE` for a share that others may count on */
    forget: (call) => {
      const { publicKey } = read(forgetInput, call.input);
      return host.update(async (tx) => forget(tx, ceremonies, publicKey));
    },
  };
}

async function forget(tx: Transaction, ceremonies: Rounds, publicKey: string): Promise<object> {
  const [held, ...older] = await sharesOf(tx, publicKey);
  if (held === undefined || held.isSettled)
    throw new BotError('USAGE', 'all parties have confirmed that they have their shares of this key', {
      next: 'A key that is there is not forgotten.',
    });
  if (older.length > 0 || held.share.epoch > 0)
    throw new BotError('USAGE', 'this share is of a refresh, and some parties may have no other', {
      next: 'Refresh the key once more with all its parties.',
    });
  const state = (await ceremonies.viewIn(tx, held.topic))?.state;
  if (state === 'gathering' || state === 'running')
    throw new BotError('USAGE', 'the generation of this key is under way', {
      next: `End it first: countersign rounds abort ${held.topic.slice(0, 12)}`,
    });
  deleteShare(tx.state, held);
  if (!(await hasShares(tx.state))) tx.state.delete('backup-note');
  return { publicKey };
}

function linesOf(shares: readonly HeldShare[]): readonly KeyLine[] {
  const lines = new Map<string, KeyLine>();
  for (const { share, isSettled: settled, topic: ceremony } of shares) {
    const publicKey = toHex(publicKeyOf(share));
    const { threshold, parties, index, epoch } = share;
    const first = { publicKey, threshold, parties, index, epoch, settled, ceremony, shares: [] };
    const line: KeyLine = lines.get(publicKey) ?? first;
    lines.set(publicKey, { ...line, shares: [...line.shares, { epoch, settled }] });
  }
  return [...lines.values()];
}
