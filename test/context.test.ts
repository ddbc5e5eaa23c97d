/** What a handler sees and writes. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { Aci } from '../src/address.ts';
import { encodeText } from '../src/content/encode.ts';
import { appType, definePlugin, type Context, type Handler, type Plugin } from '../src/index.ts';
import type { CommandFields } from '../src/router.ts';
import { SELF, SENDER, testPlugin } from '../src/testing.ts';

const OTHER = '00000000-0000-4000-8000-000000000003' as Aci;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function plugin(handler: Handler<CommandFields>, rest: Partial<Plugin> = {}): Plugin {
  return definePlugin<unknown>({
    name: 'p',
    version: '1',
    setup: (host) => {
      host.command('go', handler);
    },
    ...rest,
  });
}

test('shows who wrote, when and how', async () => {
  const seen: Context[] = [];
  const t = await testPlugin(plugin((ctx) => seen.push(ctx)));
  await t.text('!go', { device: 3 });
  const [ctx] = seen;
  expect(ctx).toMatchObject({
    sender: { serviceId: SENDER, deviceId: 3 },
    content: { kind: 'text', text: '!go' },
    serverTimestamp: t.clock.now(),
    sealed: true,
    toPni: false,
    isNoteToSelf: false,
    attempt: 1,
  });
  expect(ctx?.idempotencyKey).toMatch(new RegExp(`^${SENDER}\\.3\\.${String(ctx?.timestamp)}\\.[\\w-]{43}$`));
});

test('has the same idempotency key at every attempt', async () => {
  const keys: string[] = [];
  const attempts: number[] = [];
  const t = await testPlugin(
    plugin((ctx) => {
      keys.push(ctx.idempotencyKey);
      attempts.push(ctx.attempt);
      if (ctx.attempt < 3) throw new Error('not yet');
    }),
  );
  await expect(t.text('!go')).rejects.toThrow('not yet');
  await t.advance(10_000);
  expect(attempts).toEqual([1, 2, 3]);
  expect(new Set(keys).size).toBe(1);
});

test('has another idempotency key for another content of the same timestamp', async () => {
  const keys: string[] = [];
  const t = await testPlugin(
    plugin((ctx) => {
      keys.push(ctx.idempotencyKey);
    }),
  );
  for (const text of ['!go', '!go again', '!go']) await t.content(encodeText(text, 7), {}, 7);
  expect(new Set(keys).size).toBe(2);
  expect(keys[0]).toBe(keys[2]);
});

test('answers a note to self to the own account', async () => {
  const seen: Context[] = [];
  const t = await testPlugin(
    plugin((ctx) => {
      seen.push(ctx);
      ctx.reply('yes');
    }),
  );
  expect(await t.noteToSelf('!go')).toEqual([{ kind: 'text', text: 'yes' }]);
  expect(seen[0]).toMatchObject({
    isNoteToSelf: true,
    sender: { serviceId: SELF },
    content: { kind: 'text' },
  });
});

test('stages answers in order, each with a timestamp of its own', async () => {
  const stamps: number[] = [];
  const t = await testPlugin(
    plugin((ctx) => {
      for (const word of ['a', 'b', 'c']) stamps.push(ctx.reply(word));
    }),
  );
  expect((await t.text('!go')).map((sent) => sent.kind === 'text' && sent.text)).toEqual(['a', 'b', 'c']);
  expect(new Set(stamps).size).toBe(3);
  expect(stamps).toEqual([...stamps].sort((a, b) => a - b));
});

test('sends app messages, to chosen devices when asked', async () => {
  const move = appType('example.org/chess/1', {
    encode: (value: { from: string }) => utf8(value.from),
    decode: (payload) => ({ from: new TextDecoder().decode(payload) }),
  });
  const t = await testPlugin(
    plugin((ctx) => {
      ctx.reply(move.of({ from: 'e2' }), { devices: [2] });
      ctx.reply({ tag: 'example.org/raw/7', payload: utf8('x') });
    }),
  );
  expect(await t.text('!go')).toEqual([
    { kind: 'app', tag: 'example.org/chess/1', payload: utf8('e2'), devices: [2] },
    { kind: 'app', tag: 'example.org/raw/7', payload: utf8('x') },
  ]);
});

test('refuses a tag that is none, a payload that is too large and a recipient that is none', async () => {
  const t = await testPlugin(
    plugin(
      (ctx) => {
        if (ctx.rest === 'tag') ctx.reply({ tag: 'No Tag', payload: utf8('') });
        if (ctx.rest === 'size') ctx.reply({ tag: 'a/1', payload: new Uint8Array(200_000) });
        if (ctx.rest === 'text') ctx.reply('x'.repeat(2_049));
        if (ctx.rest === 'who') ctx.send('nobody' as Aci, 'hello');
      },
      { permissions: ['send'] },
    ),
  );
  const from = (n: number): { sender: Aci } => ({
    sender: `00000000-0000-4000-8000-00000000001${String(n)}` as Aci,
  });
  await expect(t.text('!go tag', from(1))).rejects.toMatchObject({ code: 'CONTENT_INVALID' });
  await expect(t.text('!go size', from(2))).rejects.toThrow(/200000 bytes; at most \d+ fit/);
  await expect(t.text('!go text', from(3))).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  await expect(t.text('!go who', from(4))).rejects.toMatchObject({ code: 'RECIPIENT_UNKNOWN' });
});

test('sends to others only with the permission', async () => {
  const go: Handler = (ctx) => ctx.send(OTHER, 'hello');
  await expect((await testPlugin(plugin(go))).text('!go')).rejects.toMatchObject({
    code: 'PERMISSION_NEEDED',
  });
  const t = await testPlugin(plugin(go, { permissions: ['send'] }));
  expect(await t.text('!go')).toEqual([{ kind: 'text', text: 'hello', to: OTHER }]);
});

test('sends to who wrote without the permission', async () => {
  const t = await testPlugin(plugin((ctx) => ctx.send(ctx.sender.serviceId, 'hello')));
  expect(await t.text('!go')).toEqual([{ kind: 'text', text: 'hello' }]);
});

test('writes nothing when the handler throws after staging', async () => {
  const t = await testPlugin(
    plugin((ctx) => {
      ctx.state.putJson('k', 1);
      ctx.reply('hello');
      throw new Error('after all');
    }),
  );
  await expect(t.text('!go')).rejects.toThrow('after all');
  expect(await t.sent()).toEqual([]);
  expect(await t.state('k')).toBeUndefined();
});

test('keeps bytes and JSON, and reads its own writes', async () => {
  const t = await testPlugin(
    plugin(async ({ state }) => {
      state.put('bytes', utf8('abc'));
      state.putJson('json', { n: 1 });
      state.delete('old');
      const parsed = await state.getJson('json', z.object({ n: z.number() }));
      const left = [await state.get('old'), await state.getJson('none')];
      if (parsed?.n !== 1 || left.some((value) => value !== undefined))
        throw new Error('not what was written');
    }),
  );
  await t.putState('old', utf8('gone soon'));
  await t.text('!go');
  expect(await t.state('bytes')).toEqual(utf8('abc'));
  expect(await t.stateJson('json')).toEqual({ n: 1 });
  expect(await t.state('old')).toBeUndefined();
});

test('refuses stored JSON that does not fit the parser', async () => {
  const t = await testPlugin(plugin((ctx) => ctx.state.getJson('k', z.object({ n: z.number() }))));
  await t.putState('k', { n: 'one' });
  await expect(t.text('!go')).rejects.toThrow();
});

test('scans its state in key order with what it has just written', async () => {
  const found: [string, string][] = [];
  const t = await testPlugin(
    plugin(async ({ state }) => {
      state.put('a/2', utf8('new'));
      state.put('a/4', utf8('new'));
      state.put('a/9', utf8('new'));
      state.delete('a/3');
      state.put('b/1', utf8('new'));
      for await (const [key, value] of state.scan('a/')) found.push([key, new TextDecoder().decode(value)]);
    }),
  );
  for (const key of ['a/1', 'a/3', 'a/4', 'a/5']) await t.putState(key, utf8('old'));
  await t.text('!go');
  expect(found).toEqual([
    ['a/1', 'old'],
    ['a/2', 'new'],
    ['a/4', 'new'],
    ['a/5', 'old'],
    ['a/9', 'new'],
  ]);
});

test('refuses what comes after the deadline', async () => {
  let late: Context | undefined;
  const t = await testPlugin(
    plugin((ctx) => {
      late = ctx;
      return new Promise(() => undefined);
    }),
  );
  const text = expect(t.text('!go')).rejects.toMatchObject({ code: 'PLUGIN_FAILED' });
  await t.advance(60_000);
  await text;
  expect(() => late?.reply('too late')).toThrow('did not end in time');
  expect(late?.signal.aborted).toBe(true);
  await t.close();
});
