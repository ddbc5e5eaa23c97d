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

test('starts the plugin on a restored backup, without what is volatile', async () => {
  const times: (number | undefined)[] = [];
  const t = await testPlugin(
    plugin((host) => {
      times.push(host.restoredAt);
      host.command('look', async (ctx) => {
        const keys: string[] = [];
        for await (const [key] of ctx.volatile.scan()) keys.push(key);
        ctx.reply(`${String(await ctx.state.getJson('run'))}, volatile: ${keys.join(' ')}`);
      });
      host.text((ctx) => {
        ctx.state.putJson('run', 'open');
        ctx.volatile.put('run', Uint8Array.of(1));
        ctx.volatile.put('gone', Uint8Array.of(2));
        ctx.volatile.delete('gone');
      });
    }),
  );
  await t.text('x');
  expect(await t.text('!look')).toEqual([{ kind: 'text', text: 'open, volatile: run' }]);
  expect(await t.volatile('run')).toEqual(Uint8Array.of(1));
  await t.advance(1000);
  const next = await t.restored();
  expect(await next.text('!look')).toEqual([{ kind: 'text', text: 'open, volatile: ' }]);
  expect(await t.text('!look')).toEqual([{ kind: 'text', text: 'open, volatile: run' }]);
  expect(times).toEqual([undefined, t.clock.now()]);
  await next.close();
  await t.close();
});

test('asks of those who write and are written to what a policy asks', async () => {
  const t = await testPlugin(
    plugin(
      (host) => {
        host.command('admin', (ctx) => ctx.reply('done'), { policy: { inbound: 'verified' } });
        host.command('secret', (ctx) => ctx.reply('s', { policy: 'verified' }));
        host.command('who', async (ctx) => ctx.reply((await host.trust.get(ctx.sender.serviceId)).state));
      },
      { permissions: ['identities'] },
    ),
  );
  expect(await t.text('!admin')).toEqual([]);
  expect(await t.text('!secret')).toEqual([{ kind: 'text', text: 's', held: 'PEER_UNVERIFIED' }]);
  expect(await t.text('!who')).toEqual([{ kind: 'text', text: 'tofu' }]);
  expect(await t.text('!admin', { trust: 'verified' })).toEqual([{ kind: 'text', text: 'done' }]);
  expect(await t.text('!secret')).toEqual([{ kind: 'text', text: 's' }]);
  await t.close();
});
