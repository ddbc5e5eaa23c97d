/** docs/examples/README.md says of each file there what it is. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { loadPlugin } from '../../src/plugin/load.ts';
import { readDocument, top } from './documents.ts';

// The examples import the package by its name, as users do.
vi.mock('countersign', () => import('../../src/index.ts'));
vi.mock('countersign/rounds', () => import('../../src/rounds/index.ts'));

const folder = join(top, 'docs/examples');
const rows = [...readDocument('docs/examples/README.md').matchAll(/^\| `(\S+)` +\| (.+?) +\|$/gm)];
const kinds = new Map(rows.map(([, file = '', is = '']) => [file, is]));

test('names every file', () => {
  const files = readdirSync(folder).filter((file) => file !== 'README.md');
  expect([...kinds.keys()].sort()).toEqual(files.sort());
});

test('calls plugins what can be loaded as one, and nothing else', async () => {
  const plugins = [...kinds].filter(([, is]) => is.startsWith('a plugin')).map(([file]) => file);
  expect(plugins).toEqual(['dice.ts', 'tally.ts', 'coin.ts']);
  for (const file of plugins)
    expect(await loadPlugin(`./${file}`, folder)).toMatchObject({ name: file.replace('.ts', '') });
  expect(kinds.get('coin-toss.ts')).toContain('no plugin');
  await expect(loadPlugin('./coin-toss.ts', folder)).rejects.toMatchObject({ code: 'PLUGIN_INVALID' });
});
