/** Echo, as the CLI contract words it. */
import { expect, test } from 'vitest';
import echo from '../../../plugins/echo/index.ts';
import { testPlugin } from '../../../src/testing.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

test('answers !ping with pong', async () => {
  const t = await testPlugin(echo);
  expect(await t.text('!ping')).toEqual([{ kind: 'text', text: 'pong' }]);
});

test('answers !echo X with X as it stands', async () => {
  const t = await testPlugin(echo);
  expect(await t.text('!echo  two spaces, ünï')).toEqual([{ kind: 'text', text: ' two spaces, ünï' }]);
  expect(await t.text('!echo')).toEqual([]);
});

test('answers an app message with its payload behind re:', async () => {
  const t = await testPlugin(echo);
  const answer = [{ kind: 'app', tag: 'countersign.echo/1', payload: utf8('re:hello') }];
  expect(await t.app('countersign.echo/1', utf8('hello'))).toEqual(answer);
  expect(await t.app('countersign.echo/1', new Uint8Array(0))).toEqual([
    { ...answer[0], payload: utf8('re:') },
  ]);
});

test('does not answer an app message that is an answer', async () => {
  const t = await testPlugin(echo);
  expect(await t.app('countersign.echo/1', utf8('re:hello'))).toEqual([]);
});

test('says nothing to other texts and tags', async () => {
  const t = await testPlugin(echo);
  expect(await t.text('ping')).toEqual([]);
  expect(await t.text('!pingpong')).toEqual([]);
  expect(await t.app('countersign.echo/2', utf8('x'))).toEqual([]);
});

test('answers the own account when it writes to itself', async () => {
  const t = await testPlugin(echo);
  expect(await t.noteToSelf('!ping')).toEqual([{ kind: 'text', text: 'pong' }]);
});
