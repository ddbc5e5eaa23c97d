/** Which handler takes a message, and what its filter says of it. */
import { expect, expectTypeOf, test } from 'vitest';
import type { Aci } from '../src/address.ts';
import type { Bytes } from '../src/bytes.ts';
import { encodeText, encodeDeliveryReceipt } from '../src/content/encode.ts';
import { appType, definePlugin, kind, text, type Host, type Plugin } from '../src/index.ts';
import { signal } from '../src/proto/messages.js';
import type { AppContent, OtherContent, ReceiptContent, TextContent } from '../src/content/content.ts';
import { SELF, testPlugin } from '../src/testing.ts';
import { encodeTranscript } from '../src/content/encode.ts';

const OTHER = '00000000-0000-4000-8000-000000000003' as Aci;
const utf8 = (value: string): Bytes => new TextEncoder().encode(value);

function plugin(setup: (host: Host) => void, rest: Partial<Plugin> = {}): Plugin {
  return definePlugin<unknown>({ name: 'p', version: '1', setup, ...rest });
}

test('the first handler of a plugin that matches takes the message', async () => {
  const t = await testPlugin(
    plugin((host) => {
      host.command('a', (ctx) => ctx.reply('command'));
      host.text(/^!/, (ctx) => ctx.reply('pattern'));
      host.text((ctx) => ctx.reply('text'));
    }),
  );
  const answers = [];
  for (const word of ['!a', '!b', 'c']) answers.push((await t.text(word))[0]);
  expect(answers).toEqual(['command', 'pattern', 'text'].map((answer) => ({ kind: 'text', text: answer })));
});

test('a command is the prefix, its name in any case, and words', async () => {
  const seen: unknown[] = [];
  const t = await testPlugin(
    plugin((host) => {
      host.command('say', ({ command, args, rest, text: all }) => seen.push([command, args, rest, all]));
    }),
    { prefix: '/' },
  );
  for (const word of ['/say', '/SAY one  two ', '/say\nline', '/sayx', 'say', '!say', ' /say'])
    await t.text(word);
  expect(seen).toEqual([
    ['say', [], '', '/say'],
    ['say', ['one', 'two'], 'one  two ', '/SAY one  two '],
    ['say', ['line'], 'line', '/say\nline'],
  ]);
});

test('a pattern gives its match, whatever its flags, again and again', async () => {
  const seen: unknown[] = [];
  const t = await testPlugin(
    plugin((host) => {
      host.text(/(\d+)/gy, ({ match }) => seen.push(match[1]));
    }),
  );
  for (const word of ['12', '12', 'x1']) await t.text(word);
  expect(seen).toEqual(['12', '12', '1']);
});

test('an app message is decoded; one that is not of its form is dropped and counted', async () => {
  const seen: unknown[] = [];
  const type = appType('example.org/n/1', {
    encode: (n: number) => utf8(JSON.stringify(n)),
    decode: (payload) => JSON.parse(new TextDecoder().decode(payload)) as number,
  });
  const t = await testPlugin(
    plugin((host) => {
      host.app(type, ({ value }) => seen.push(value));
    }),
  );
  await t.app(type, 7);
  await t.app(type.tag, utf8('{'));
  await t.app('example.org/n/2', utf8('8'));
  expect(seen).toEqual([7]);
  expect(await t.dead()).toEqual([]);
});

test('receipts, and content without a type of its own, are offered whole', async () => {
  const seen: unknown[] = [];
  const t = await testPlugin(
    plugin((host) => {
      host.receipt(({ content }) => seen.push([content.type, content.timestamps]));
      host.other(({ content }) => seen.push([content.name, content.content.dataMessage?.reaction?.emoji]));
    }),
  );
  await t.content(encodeDeliveryReceipt([1, 2]));
  const reaction = { dataMessage: { timestamp: 1, reaction: { emoji: '!', targetSentTimestamp: 5 } } };
  await t.content(new Uint8Array(signal.Content.encode(reaction).finish()));
  expect(seen).toEqual([
    ['delivery', [1, 2]],
    ['dataMessage', '!'],
  ]);
});

test('what the owner writes to others is seen with the permission sync only, and is no text', async () => {
  const transcript = encodeTranscript(encodeText('!secret', 5), OTHER, 5, false) ?? new Uint8Array(0);
  const seen: string[] = [];
  const setup = (host: Host): void => {
    host.on(kind('sync'), ({ content }) => seen.push(content.sync.type));
    host.text(() => seen.push('text'));
  };
  await (await testPlugin(plugin(setup))).content(transcript, { sender: SELF });
  expect(seen).toEqual([]);
  await (await testPlugin(plugin(setup, { permissions: ['sync'] }))).content(transcript, { sender: SELF });
  expect(seen).toEqual(['sent']);
});

test('a lane of the plugin lets messages of one conversation run side by side', async () => {
  let running = 0;
  let most = 0;
  const t = await testPlugin(
    plugin((host) => {
      host.text(
        async () => {
          most = Math.max(most, ++running);
          await new Promise((resolve) => setTimeout(resolve, 5));
          running--;
        },
        { lane: ({ text: word }) => word },
      );
    }),
  );
  await Promise.all([t.text('a'), t.text('b'), t.text('a')]);
  expect(most).toBe(2);
});

test('a filter of the own making narrows the context', async () => {
  const t = await testPlugin(
    plugin((host) => {
      host.on(
        ({ content }) =>
          content.kind === 'text' && content.text.length === 4 ? { word: content.text } : undefined,
        (ctx) => {
          expectTypeOf(ctx.word).toEqualTypeOf<string>();
          ctx.reply(ctx.word.toUpperCase());
        },
      );
    }),
  );
  expect(await t.text('four')).toEqual([{ kind: 'text', text: 'FOUR' }]);
  expect(await t.text('three')).toEqual([]);
});

test('filters narrow the type of the context', () => {
  const type = appType('example.org/n/1', { encode: (n: number) => utf8(String(n)), decode: () => 1 });
  plugin((host) => {
    host.text((ctx) => {
      expectTypeOf(ctx.content).toExtend<TextContent>();
      expectTypeOf(ctx.text).toEqualTypeOf<string>();
      expectTypeOf(ctx).not.toHaveProperty('match');
    });
    host.text(/x/, (ctx) => {
      expectTypeOf(ctx.match).toEqualTypeOf<RegExpExecArray>();
    });
    host.command('x', (ctx) => {
      expectTypeOf(ctx.args).toEqualTypeOf<readonly string[]>();
    });
    host.app(type, (ctx) => {
      expectTypeOf(ctx.value).toEqualTypeOf<number>();
      expectTypeOf(ctx.content).toExtend<AppContent>();
      expectTypeOf(ctx).not.toHaveProperty('text');
    });
    host.app(appType('example.org/raw/1'), (ctx) => {
      expectTypeOf(ctx.value).toEqualTypeOf<Bytes>();
    });
    host.receipt((ctx) => {
      expectTypeOf(ctx.content).toExtend<ReceiptContent>();
    });
    host.other((ctx) => {
      expectTypeOf(ctx.content).toExtend<OtherContent>();
    });
    host.on(text(), (ctx) => {
      expectTypeOf(ctx.text).toEqualTypeOf<string>();
    });
  });
});
