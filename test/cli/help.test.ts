/** What `--help` says of every command: examples, and that they are calls which the command would take. */
import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { memoryIo } from '../support/memory-io.ts';

async function helpOf(...words: string[]): Promise<string> {
  const io = memoryIo();
  expect(await main([...words, '--help'], io)).toBe(0);
  return io.out();
}

/** The names below a heading, `help` left out. */
function listed(help: string): string[] {
  const [, list = ''] = help.split('\nCommands:\n');
  return [...list.matchAll(/^ {2}([a-z-]+) /gm)]
    .map(([, name = '']) => name)
    .filter((name) => name !== 'help');
}

async function allCommands(...above: string[]): Promise<(readonly [words: string[], help: string])[]> {
  const help = await helpOf(...above);
  const below = await Promise.all(listed(help).map((name) => allCommands(...above, name)));
  return [[above, help], ...below.flat()];
}

const commands = await allCommands();

it('finds the commands, those of groups and plugins among them', () => {
  const names = commands.map(([words]) => words.join(' '));
  expect(names).toEqual(
    expect.arrayContaining(['run', 'store rekey', 'account approve', 'verify enter', 'bls sign']),
  );
});

describe.each(commands.slice(1).map(([words, help]) => [words.join(' '), help] as const))(
  '%s',
  (name, help) => {
    const examples = [...help.matchAll(/^ {2}\$ countersign (.*)$/gm)].map(([, line = '']) => line);

    it('has examples of itself', () => {
      expect(examples).not.toEqual([]);
      for (const line of examples) expect(`${line} `).toContain(`${name} `);
    });

    it('knows the options of its examples', () => {
      for (const line of examples) {
        const words = line.split(' ').filter((word) => !word.startsWith('-'));
        const [, own] = commands.findLast(([path]) => path.every((word, i) => words[i] === word)) ?? [[], ''];
        for (const [option] of line.matchAll(/(?<= )--?[a-z][a-z-]*/g))
          expect([line, own]).toEqual([line, expect.stringContaining(`${option} `)]);
      }
    });

    it('says what each of its arguments is', () => {
      const [, block] = /^Arguments:\n((?: {2}.*\n)+)/m.exec(help) ?? [];
      for (const line of block?.split('\n').filter((each) => /^ {2}\S/.test(each)) ?? [])
        expect(line).toMatch(/^ {2}\S+ {2,}\S/);
    });
  },
);

it('knows a group behind the word help, with its commands', async () => {
  const io = memoryIo();
  expect(await main(['help', 'verify'], io)).toBe(0);
  expect(io.out()).toContain('type the code');
});
