/** The bench that plugin authors use. */
import { expect, test } from 'vitest';
import { appType, definePlugin, type Host, type Plugin } from '../src/index.ts';
import { SELF, SENDER, testPlugin } from '../src/testing.ts';

function plugin(setup: (host: Host) => void, rest: Partial<Plugin> = {}): Plugin {
  return definePlugin<unknown>({ name: 'p', version: '1', setup, ...rest });
}

test('shows failures, repeats attempts as time goes by, and what was given up', async () => {
  const t = await testPlugin(
    plugin((host) => {
      host.command('twice', (ctx) => {
        if (ctx.attempt === 1) throw new TypeError('first');
        ctx.reply('second');
      });
      host.command('never', () => {
        throw new RangeError('always');
      });
    }),
  );
  await expect(t.text('!twice')).rejects.toThrow(TypeError);
  expect(await t.advance(1_250)).toEqual([{ kind: 'text', text: 'second' }]);
  await expect(t.text('!never')).rejects.toThrow('always');
  await t.advance(3_600_000);
  expect(await t.dead()).toEqual([{ from: SENDER, plugin: 'p', attempts: 5, error: 'always' }]);
  await t.close();
});

test('sets and shows state', async () => {
  const t = await testPlugin(
    plugin((host) => {
      host.text(async (ctx) => {
        ctx.state.putJson('n', Number(await ctx.state.getJson('n')) + 1);
      });
    }),
  );
  await t.putState('n', 41);
  await t.text('x');
  expect(await t.stateJson('n')).toBe(42);
  expect(await t.state('none')).toBeUndefined();
});

test('delivers typed app messages from any device', async () => {
  const type = appType('example.org/n/1', {
    encode: (n: number) => Uint8Array.of(n),
    decode: (payload) => payload[0] ?? 0,
  });
  const t = await testPlugin(
    plugin((host) => {
      host.app(type, (ctx) => ctx.reply(type.of(ctx.value + 1), { devices: [ctx.sender.deviceId] }));
    }),
  );
  expect(await t.app(type, 1, { device: 5 })).toEqual([
    { kind: 'app', tag: 'example.org/n/1', payload: Uint8Array.of(2), devices: [5] },
  ]);
});

test('shows what a plugin sends of its own accord', async () => {
  const t = await testPlugin(
    plugin(
      (host) => {
        host.run(async (signal) => {
          await host.clock.sleep(60_000, signal);
          await host.update((transaction) => transaction.send('self', 'a minute has passed'));
        });
      },
      { permissions: ['send'] },
    ),
  );
  expect(await t.advance(59_999)).toEqual([]);
  expect(await t.advance(1)).toEqual([{ kind: 'text', text: 'a minute has passed', to: SELF }]);
  await t.close();
});
