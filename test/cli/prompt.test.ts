import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { promptLine, promptSecret } from '../../src/cli/prompt.ts';
import { memoryIo } from '../support/memory-io.ts';

describe.each([
  ['a line', promptLine],
  ['a secret', promptSecret],
] as const)('a prompt for %s', (_what, prompt) => {
  it('gives what is typed up to the end of the line, and leaves no listener behind', async () => {
    const io = memoryIo({ terminal: true });
    for (const typed of ['one', 'two']) {
      const asked = prompt(io, 'What? ');
      (io.stdin as unknown as NodeJS.WritableStream).write(`${typed}\n`);
      expect(await asked).toBe(typed);
      expect(getEventListeners(io.signal, 'abort')).toEqual([]);
    }
  });

  it('ends with the reason of the abort, and leaves no listener behind', async () => {
    const io = memoryIo({ terminal: true });
    const asked = prompt(io, 'What? ');
    io.stop.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
    expect(getEventListeners(io.signal, 'abort')).toEqual([]);
  });

  it('asks nothing once that has happened', async () => {
    const io = memoryIo({ terminal: true });
    io.stop.abort(new Error('enough'));
    await expect(prompt(io, 'What? ')).rejects.toThrow('enough');
    expect(io.err()).toBe('');
  });
});
