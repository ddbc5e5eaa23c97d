/** What a plugin declares and is handed, and where it is loaded from. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, expectTypeOf, test, vi } from 'vitest';
import { z } from 'zod';
import type { Aci } from '../src/address.ts';
import { appType, definePlugin, loadPlugin, type Host, type Plugin } from '../src/index.ts';
import { InlineHandlers } from '../src/plugin/inline.ts';
import { Plugins, type PluginsParts } from '../src/plugin.ts';
import { openMemory } from '../src/store/memory.ts';
import { pluginState } from '../src/store/tables.ts';
import { SELF, testPlugin } from '../src/testing.ts';
import { ManualClock, settle, testPlatform } from './support/clock.ts';

// The examples import the package by its name, as users do.
vi.mock('countersign', () => import('../src/index.ts'));

const OTHER = '00000000-0000-4000-8000-000000000003' as Aci;

function plugins(parts: Partial<PluginsParts> = {}): Plugins {
  let last = 0;
  return new Plugins({
    self: SELF,
    store: openMemory(),
    stamp: () => ++last,
    onRow: () => undefined,
    platform: testPlatform(),
    ...parts,
  });
}

function plugin(setup: (host: Host) => void | Promise<void>, rest: Partial<Plugin> = {}): Plugin {
  return definePlugin<unknown>({ name: 'p', version: '1', setup, ...rest });
}

const nothing = (): void => undefined;

describe('a plugin that is never ready', () => {
  const never = new Promise<never>(() => undefined);
  const hanging: readonly [string, Plugin | (() => Promise<Plugin>)][] = [
    ['in its setup', plugin(() => never)],
    ['in being made', () => never],
  ];

  test.each(hanging)('ends the start after 30 s: %s', async (_, source) => {
    const clock = new ManualClock();
    const install = plugins({ platform: testPlatform({ clock }) }).install(source);
    const refused = expect(install).rejects.toMatchObject({
      code: 'PLUGIN_INVALID',
      message: expect.stringContaining('was not ready in time') as string,
    });
    await settle();
    await clock.advance(30_000);
    await refused;
  });

  test.each(hanging)('holds up no stop: %s', async (_, source) => {
    const stop = new AbortController();
    const install = plugins().install(source, undefined, stop.signal);
    stop.abort(new Error('stopped'));
    await expect(install).rejects.toThrow('stopped');
  });
});

describe('installing', () => {
  test('tells what is there', async () => {
    const all = plugins();
    await all.install(
      plugin(
        (host) => {
          host.command('b', nothing);
          host.command('a', nothing);
          host.app(appType('x.y/1'), nothing);
        },
        { permissions: ['send'] },
      ),
    );
    expect(all.list).toEqual([
      { name: 'p', version: '1', tags: ['x.y/1'], commands: ['a', 'b'], permissions: ['send'] },
    ]);
    expect(all.tags).toEqual(['x.y/1']);
  });

  test.each<[string, unknown, RegExp]>([
    ['no name', { version: '1', setup: nothing }, /needs a name/],
    ['a name that is none', { name: 'a/b', version: '1', setup: nothing }, /needs a name/],
    ['no version', { name: 'p', setup: nothing }, /plugin p needs a version/],
    ['no setup', { name: 'p', version: '1' }, /plugin p needs a function setup/],
    [
      'an unknown permission',
      { name: 'p', version: '1', setup: nothing, permissions: ['all'] },
      /permission: all/,
    ],
    [
      'a field that nobody reads, such as one of a policy beside it',
      { name: 'p', version: '1', setup: nothing, policy: {}, purpose: 'signing' },
      /nobody reads: purpose/,
    ],
    ['nothing at all', undefined, /needs a name/],
  ])('refuses a plugin with %s', async (_, value, message) => {
    const install = plugins().install(value as Plugin);
    await expect(install).rejects.toMatchObject({ code: 'PLUGIN_INVALID' });
    await expect(install).rejects.toThrow(message);
  });

  test('takes a plugin that says all that it may', async () => {
    const whole: Required<Plugin> = {
      ...{ name: 'p', version: '1', tags: [], volatile: [], commands: {}, permissions: [], policy: {} },
      ...{ config: z.object({}), subcommands: [], setup: nothing },
    };
    await plugins().install(whole);
  });

  test('names the plugin whose setup fails', async () => {
    const install = plugins().install(plugin(() => Promise.reject(new Error('no disk'))));
    await expect(install).rejects.toMatchObject({
      code: 'PLUGIN_INVALID',
      message: 'the plugin p could not be set up: no disk',
    });
    const making = plugins().install(() => Promise.reject(new Error('no way')));
    await expect(making).rejects.toMatchObject({ code: 'PLUGIN_INVALID' });
  });

  test('refuses two of one name', async () => {
    const all = plugins();
    await all.install(plugin(nothing));
    await expect(all.install(plugin(nothing))).rejects.toThrow('the plugin p is there twice');
  });

  test('holds a plugin to what it declares', async () => {
    const tag = appType('x.y/1');
    const both = (host: Host): void => {
      host.command('go', nothing);
      host.app(tag, nothing);
    };
    await plugins().install(plugin(both, { tags: [tag], commands: { go: 'goes' } }));
    await expect(plugins().install(plugin(both, { tags: [] }))).rejects.toThrow('does not declare: x.y/1');
    await expect(plugins().install(plugin(both, { commands: {} }))).rejects.toThrow('does not declare: go');
    await expect(plugins().install(plugin(nothing, { tags: [tag] }))).rejects.toThrow(
      'does not handle: x.y/1',
    );
    await expect(
      plugins().install(
        plugin((host) => {
          host.sync(nothing);
        }),
      ),
    ).rejects.toThrow('permission "sync"');
    await expect(
      plugins().install(
        plugin((host) => {
          host.command('a b', nothing);
        }),
      ),
    ).rejects.toThrow('a space');
  });

  test('checks the configuration and hands it over with its type', async () => {
    const seen: unknown[] = [];
    const made = definePlugin({
      name: 'p',
      version: '1',
      config: z.object({ word: z.string().default('hello'), times: z.number() }),
      setup(host) {
        expectTypeOf(host.config).toEqualTypeOf<{ word: string; times: number }>();
        seen.push(host.config);
      },
    });
    await plugins().install(made, { times: 2 });
    expect(seen).toEqual([{ word: 'hello', times: 2 }]);
    await expect(plugins().install(made, { times: 'two' })).rejects.toThrow(
      /the plugin p has a configuration .* times: /,
    );
    await expect(plugins().install(made)).rejects.toThrow(/times: /);
    await expect(plugins().install(plugin(nothing), {})).rejects.toThrow('takes no configuration');
  });

  test('takes handlers without a plugin around them', async () => {
    const inline = new InlineHandlers();
    inline.command('ping', (ctx) => ctx.reply('pong'));
    inline.text(/^\d+$/, (ctx) => ctx.reply(ctx.match[0]));
    inline.text((ctx) => ctx.send(OTHER, ctx.text));
    const t = await testPlugin(inline.plugin('bot', '1'));
    expect(await t.text('!ping')).toEqual([{ kind: 'text', text: 'pong' }]);
    expect(await t.text('12')).toEqual([{ kind: 'text', text: '12' }]);
    expect(await t.text('x')).toEqual([{ kind: 'text', text: 'x', to: OTHER }]);
  });
});

describe('running', () => {
  test("ends with the abort; the failure of one is nobody else's", async () => {
    const all = plugins();
    const ended: string[] = [];
    await all.install(
      plugin((host) => {
        host.run(() => Promise.reject(new Error('at once')));
        host.run(
          (signal) =>
            new Promise((resolve) => {
              signal.addEventListener('abort', () => {
                ended.push('well');
                resolve();
              });
            }),
        );
      }),
    );
    const stop = new AbortController();
    const running = all.run(stop.signal);
    await settle();
    stop.abort();
    await running;
    expect(ended).toEqual(['well']);
  });

  test.each<[string, (host: Host) => void]>([
    [
      'work',
      (host) => {
        host.run(() => Promise.resolve());
      },
    ],
    [
      'an act',
      (host) => {
        host.act('x', () => Promise.resolve({}));
      },
    ],
    [
      'a handler',
      (host) => {
        host.text(nothing);
      },
    ],
  ])('%s that is registered after setup is refused: nobody would hear of it', async (what, register) => {
    let host: Host | undefined;
    await plugins().install(plugin((given) => void (host = given)));
    expect(() => {
      if (host !== undefined) register(host);
    }).toThrow(`the plugin p registers ${what} when its setup is over`);
  });

  test('updates outside of a message are committed together, and again after a conflict', async () => {
    const store = openMemory();
    let rings = 0;
    const all = plugins({ store, onRow: () => rings++ });
    let host: Host | undefined;
    await all.install(plugin((given) => void (host = given), { permissions: ['send'] }));
    const add = (): Promise<number> | undefined =>
      host?.update(async ({ state }) => {
        const count = Number((await state.getJson('count')) ?? 0) + 1;
        await settle();
        state.putJson('count', count);
        return count;
      });
    const results = await Promise.all([add(), add(), add()]);
    expect([...results].sort()).toEqual([1, 2, 3]);
    expect(rings).toBe(0);

    await host?.update((transaction) => transaction.send('self', 'hello'));
    expect(rings).toBe(1);
    const failing = host?.update(({ state }) => {
      state.putJson('count', 100);
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(await pluginState.get(store.batch(), 'p', 'count')).toEqual(new TextEncoder().encode('3'));
  });

  test('an update sends only with the permission', async () => {
    const all = plugins();
    let host: Host | undefined;
    await all.install(plugin((given) => void (host = given)));
    await expect(host?.update((transaction) => transaction.send('self', 'hello'))).rejects.toMatchObject({
      code: 'PERMISSION_NEEDED',
    });
  });
});

describe('loading', () => {
  let dir = '';
  const source = (name: string): string => `export default { name: '${name}', version: '1', setup() {} };`;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'countersign-plugin-'));
    const pkg = join(dir, 'node_modules', 'some-plugin');
    await mkdir(pkg, { recursive: true });
    await writeFile(
      join(pkg, 'package.json'),
      JSON.stringify({ name: 'some-plugin', type: 'module', exports: './main.js' }),
    );
    await writeFile(join(pkg, 'main.js'), source('from-package'));
    await writeFile(join(dir, 'plain.mjs'), source('from-path'));
    await writeFile(
      join(dir, 'typed.ts'),
      `const name: string = 'from-typescript';\nexport const plugin = () => ({ name, version: '1', setup(): void {} });`,
    );
    await writeFile(join(dir, 'broken.mjs'), 'export default {');
    await writeFile(join(dir, 'empty.mjs'), 'export const nothing = 1;');
    await writeFile(join(dir, 'endless.mjs'), 'export default () => new Promise(() => undefined);');
  });
  afterAll(() => rm(dir, { recursive: true }));

  test.each([
    ['echo', 'echo'],
    ['./plain.mjs', 'from-path'],
    ['./typed.ts', 'from-typescript'],
    ['some-plugin', 'from-package'],
  ])('finds %s', async (what, name) => {
    expect((await loadPlugin(what, dir)).name).toBe(name);
  });

  test('finds absolute paths and file URLs', async () => {
    const file = join(dir, 'plain.mjs');
    expect((await loadPlugin(file, '/')).name).toBe('from-path');
    expect((await loadPlugin(pathToFileURL(file).href, '/')).name).toBe('from-path');
  });

  test.each([
    ['./none.ts', /there is no plugin at .*none\.ts/],
    ['no-such-plugin', /no-such-plugin is no built-in plugin, and as a package from .* was not found/],
    ['./broken.mjs', /broken\.mjs could not be loaded/],
    ['./empty.mjs', /empty\.mjs is no plugin/],
    ['../plugins/x', /there is no plugin at/],
  ])('says what is wrong with %s', async (what, message) => {
    const load = loadPlugin(what, dir);
    await expect(load).rejects.toMatchObject({ code: 'PLUGIN_INVALID' });
    await expect(load).rejects.toThrow(message);
  });

  test('waits 30 s for one that is not made, or until the signal', async () => {
    const clock = new ManualClock();
    const load = loadPlugin('./endless.mjs', dir, { clock });
    const refused = expect(load).rejects.toThrow('the plugin ./endless.mjs was not ready in time');
    await clock.advance(30_000);
    await refused;
    const signal = AbortSignal.abort(new Error('stopped'));
    await expect(loadPlugin('./endless.mjs', dir, { signal })).rejects.toThrow('stopped');
  });

  test('loads the examples', async () => {
    const here = new URL('../docs/examples/', import.meta.url).pathname;
    const dice = await testPlugin(await loadPlugin('./dice.ts', here));
    expect(await dice.text('!roll 1')).toEqual([{ kind: 'text', text: '1' }]);
    expect((await dice.text('!roll'))[0]).toMatchObject({ text: expect.stringMatching(/^[1-6]$/) as string });

    const tally = await testPlugin(await loadPlugin('./tally.ts', here), { config: { step: 2 } });
    const payload = (text: string): Uint8Array => new TextEncoder().encode(text);
    expect(await tally.text('!count')).toEqual([
      { kind: 'text', text: 'That makes 2.' },
      { kind: 'app', tag: 'example.org/tally/1', payload: payload('2') },
    ]);
    await tally.app('example.org/tally/1', payload('40'));
    expect((await tally.text('!count'))[0]).toEqual({ kind: 'text', text: 'That makes 42.' });
  });
});

test('a policy or an option that is misspelt is no plugin: it would let everybody in', async () => {
  const wrong: Plugin[] = [
    plugin(nothing, { policy: 'verified' as never }),
    plugin(nothing, { policy: { inbond: 'verified' } as never }),
    plugin(nothing, { policy: { purpose: 'admin' as never } }),
    ...[{ policy: 'verified' }, { policy: { inbound: 'verfied' } }, { inbound: 'verified' }].map((options) =>
      plugin((host) => {
        host.command('x', nothing, options as never);
      }),
    ),
  ];
  for (const source of wrong)
    await expect(testPlugin(source)).rejects.toMatchObject({ code: 'PLUGIN_INVALID' });
});

test('a message that asks for a policy that there is not is refused', async () => {
  const t = await testPlugin(
    plugin((host) => {
      host.text((ctx) => ctx.reply('x', { policy: 'Verified' as never }));
    }),
  );
  await expect(t.text('x')).rejects.toMatchObject({ code: 'CONTENT_INVALID' });
});
