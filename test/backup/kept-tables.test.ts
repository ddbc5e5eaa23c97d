import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DECISIONS, isKept } from '../../src/backup/kept-tables.ts';
import type { Staging } from '../../src/store/store.ts';
import * as tables from '../../src/store/tables.ts';

interface Rows {
  key?: () => string;
  delete: (batch: Staging) => void;
}

/** Where the rows of each table and cell that `tables.ts` exports are. */
function places(): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(tables) as [string, unknown][]) {
    if (typeof value !== 'object' || value === null || !('put' in value)) continue;
    const { key, delete: remove } = value as unknown as Rows;
    if (key !== undefined) found.set(name, key());
    else remove(recording((cellKey) => found.set(name, cellKey)));
  }
  return found;
}

function recording(onDelete: (key: string) => void): Staging {
  return { get: () => Promise.resolve(undefined), put: () => undefined, delete: onDelete };
}

describe('the tables of a backup', () => {
  it('are decided, each once and with a reason, and no other is named', () => {
    const decided = DECISIONS.map(({ rows }) => rows);
    expect([...places().values()].sort()).toEqual([...decided].sort());
    expect(DECISIONS.filter(({ reason }) => reason.length < 5)).toEqual([]);
  });

  it('are all found by this test', () => {
    const source = readFileSync(new URL('../../src/store/tables.ts', import.meta.url), 'utf8');
    const declared = [...source.matchAll(/^export const (\w+)(?:: | = )(?:Cell|Table|cell|table)\b/gm)];
    expect([...places().keys()].sort()).toEqual(declared.map(([, name]) => name).sort());
  });

  it('hold no key of a ratchet, no prekey, and nothing volatile', () => {
    const secret = [tables.sessions, tables.senderKeys, tables.prekeys].map((table) => table.key());
    for (const start of secret) expect(isKept(`${start}anything`)).toBe(false);
    expect(isKept(tables.pluginVolatile.key('verify', 'nonce'))).toBe(false);
  });

  it('do not hold what no table has', () => {
    for (const key of [
      '',
      'accounts',
      'account/x',
      'session',
      'other/1',
      '\u0000id',
      'fact/restored',
      'fact/dispatching',
    ])
      expect([key, isKept(key)]).toEqual([key, false]);
    for (const key of ['account', 'fact/senderCertificate', 'state/verify/x', 'outbox/a/1'])
      expect([key, isKept(key)]).toEqual([key, true]);
  });
});
