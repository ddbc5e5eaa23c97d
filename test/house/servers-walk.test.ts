/**
 * The walk without a phone app in docs/servers.md, run in its order: what waits or goes on does so beside what follows.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandsOf, readDocument, Running, setVariables, source } from './documents.ts';

const document = readDocument('docs/servers.md');
/** What goes on, and what it says once the next command may come. */
const GOES_ON: Readonly<Record<string, RegExp>> = {
  'countersign devserver': /^control/m,
  'countersign link': /^sgnl:\S+/m,
  'countersign account receive': /^/,
  'countersign run': /^ready/m,
};

describe('docs/servers.md', () => {
  const folder = mkdtempSync(join(tmpdir(), 'servers-walk-'));
  const env: NodeJS.ProcessEnv = { ...process.env };
  const running: Running[] = [];

  afterAll(async () => {
    for (const command of running.reverse()) await command.stop();
    rmSync(folder, { recursive: true });
  });

  it('has a walk from nothing to a bot that runs', { timeout: 240_000 }, async () => {
    let link: { readonly url: string; readonly command: Running } | undefined;
    for (const line of commandsOf(document)) {
      if (setVariables(line, env)) continue;
      expect(line).toMatch(/^countersign /);
      const url = link === undefined ? 'LINK' : `'${link.url}'`;
      const command = new Running(
        line.replace('countersign', source).replace(' LINK ', ` ${url} `),
        folder,
        env,
      );
      const [name] = Object.keys(GOES_ON).filter((start) => line.startsWith(start));
      if (name === undefined) {
        expect(await command.ended, `${line}\n${command.output}`).toBe(0);
      } else {
        running.push(command);
        const found = await command.match(GOES_ON[name] ?? /^/);
        if (name === 'countersign link') link = { url: found, command };
        if (name === 'countersign devserver')
          expect(await command.match(/^captcha .*$/m)).toContain('noop.noop.');
      }
    }
    expect(await link?.command.ended).toBe(0);
    expect(running).toHaveLength(4);
  });
});
