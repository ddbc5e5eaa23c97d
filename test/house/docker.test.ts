/** What can be checked of docker/ without a container engine. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { memoryIo } from '../support/memory-io.ts';

const top = fileURLToPath(new URL('../..', import.meta.url));
const read = (name: string): string => readFileSync(join(top, 'docker', name), 'utf8');
const dockerfile = read('Dockerfile');
const compose = read('compose.yaml');
const readme = read('README.md');

/** Words of a JSON array in a Dockerfile, or of a flow list in YAML. */
function list(text: string | undefined): string[] {
  return [...(text ?? '').matchAll(/["']([^"']*)["']/g)].map(([, word = '']) => word);
}

async function isKnown(words: readonly string[]): Promise<boolean> {
  const io = memoryIo();
  const [command = ''] = words;
  if ((await main([command, '--help'], io)) !== 0) return false;
  const options = words.filter((word) => word.startsWith('--'));
  return (
    io.out().startsWith('Usage: countersign ' + command) &&
    options.every((option) => io.out().includes(option))
  );
}

describe('docker/', () => {
  it('copies files that exist and that its ignore file lets through', () => {
    const allowed = new Set(
      [...read('Dockerfile.dockerignore').matchAll(/^!(.+)$/gm)].map(([, name = '']) => name),
    );
    const copies = [...dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, names = '']) =>
      names.split(' '),
    );
    expect(copies.length).toBeGreaterThan(5);
    for (const name of copies) {
      expect(existsSync(join(top, name)), name).toBe(true);
      expect(allowed, name).toContain(name);
    }
  });

  it('copies all that the build reads', () => {
    const { scripts } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as {
      scripts: { build: string };
    };
    for (const [name] of scripts.build.matchAll(/tsconfig[\w.]*\.json/g)) expect(dockerfile).toContain(name);
    const { include } = JSON.parse(readFileSync(join(top, 'tsconfig.build.json'), 'utf8')) as {
      include: string[];
    };
    for (const folder of [...include, 'proto']) expect(dockerfile).toContain(`COPY ${folder} ${folder}`);
  });

  it('calls commands and options that countersign knows', async () => {
    const calls = [
      list(/^CMD (\[.*\])$/m.exec(dockerfile)?.[1]),
      list(/^ {2}CMD (\[.*\])$/m.exec(dockerfile)?.[1]).slice(1),
      list(/^ {4}command: (\[.*\])$/m.exec(compose)?.[1]),
      ...[...readme.matchAll(/^docker compose (?:run --rm bot|exec bot countersign) ([^#\n]+)/gm)].map(
        ([, words = '']) => words.trim().split(/\s+/),
      ),
    ];
    for (const call of calls) expect([call, await isKnown(call)]).toEqual([call, true]);
    expect(calls.map(([command]) => command)).toEqual(['run', 'status', 'run', 'link', 'status']);
  });

  it('agrees with itself about paths', () => {
    const [, data] = /COUNTERSIGN_DATA=(\S+)/.exec(dockerfile) ?? [];
    const [, profile] = /COUNTERSIGN_SERVER=(\S+)/.exec(dockerfile) ?? [];
    expect(compose).toContain(`- data:${String(data)}\n`);
    expect(dockerfile).toContain(`VOLUME ${String(data)}\n`);
    expect(compose).toContain(`target: ${String(profile)}\n`);
    expect(compose).toMatch(/\/run\/secrets\/passphrase[\s\S]*secrets:\n {2}passphrase:\n {4}file: /);
    const { bin } = JSON.parse(readFileSync(join(top, 'package.json'), 'utf8')) as {
      bin: { countersign: string };
    };
    expect(dockerfile).toContain(`/app/${bin.countersign} /usr/local/bin/countersign`);
  });
});
