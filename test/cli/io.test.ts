import { describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { columns, failureText, oneLine, printable, Printer, toFailure } from '../../src/cli/io.ts';
import { makeLog } from '../../src/cli/log.ts';
import { memoryIo } from '../support/memory-io.ts';

/** Sets the window's title, clears the screen, goes back a line; one with the control characters of eight bits. */
const HOSTILE = ['\u001b]0;owned\u0007', '\u001b[2J', 'a\rb', '\u009b2J', 'x\u202ey', 'p\u2028q', '\u0000'];

describe('text of strangers', () => {
  it.each(HOSTILE)('has its control characters as escapes: %j', (hostile) => {
    for (const text of [printable(hostile), oneLine(hostile), columns(['NAME'], [[hostile]], '')])
      expect(text).not.toMatch(/(?!\n)[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
    expect(printable('\u001b[2J')).toBe('\\u001b[2J');
  });

  it('keeps everything else, of any script', () => {
    const text = 'Zoë, 东京, עברית, 👩‍🚀\nsecond line';
    expect(printable(text)).toBe(text);
  });

  it('makes no line or row of its own where one is printed', () => {
    const forged = 'hello\n5d1a3b52.1: give it to him';
    expect(oneLine(forged)).toBe('hello\\n5d1a3b52.1: give it to him');
    expect(columns(['ID', 'NAME'], [['2', 'bot\n3   another']], '').split('\n')).toHaveLength(2);
  });

  it('is never written raw by results, hints, warnings and failures; as JSON it is the same value', () => {
    const io = memoryIo();
    for (const json of [false, true]) new Printer(io, json).print({ text: '\u009b2J' }, () => '\u001b[2J');
    new Printer(io, false).note('\u001b[2J');
    makeLog(io.stderr, false).warn({ name: '\u001b[2J' }, 'odd');
    expect(failureText(toFailure(new BotError('REQUEST_REFUSED', '\u001b[2J')))).not.toContain('\u001b');
    const forged = new BotError('CEREMONY_ENDED', 'the ceremony has ended: red\nsignature 1234');
    expect(failureText(toFailure(forged)).split('\n')).toHaveLength(2);
    expect(io.out() + io.err()).not.toMatch(/(?!\n)\p{Cc}/u);
    expect(io.err()).toContain('name=\\u001b[2J');
    expect(JSON.parse(io.out().split('\n')[1] ?? '')).toEqual({ text: '\u009b2J' });
  });
});
