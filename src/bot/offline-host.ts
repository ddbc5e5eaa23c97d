/**
 * Offline host: what a plugin is handed on a store that no bot runs on, for a command that needs no server. Nothing is
 * received or sent; what is staged for others waits in the outbox for the next run.
 */
import { BotError } from '../errors.ts';
import { linkedAccount } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import { Plugins } from '../plugin.ts';
import type { Host, Plugin } from '../plugin/contract.ts';
import { openMemory } from '../store/memory.ts';
import type { Store } from '../store/store.ts';
import { account } from '../store/tables.ts';
import { buildTrust } from '../trust/build.ts';
import { Stamps } from './stamps.ts';

/**
 * @param plugin whose state it is, and what it is allowed; nothing else of it is used
 * @throws BotError `NOT_LINKED`, `DEVICE_UNLINKED`, `STORE_DAMAGED`
 */
export async function offlineHost(
  store: Store,
  platform: Platform,
  { name, version, permissions = [] }: Pick<Plugin, 'name' | 'version' | 'permissions'>,
): Promise<Host> {
  let host: Host | undefined;
  await offlinePlugins(store, platform, {
    ...{ name, version, permissions },
    setup: (given) => {
      host = given;
    },
  });
  if (host === undefined) throw new BotError('INTERNAL', 'a plugin was installed without its host');
  return host;
}

/**
 * A plugin that is set up and does not run, for what its operator asks of the rows alone.
 * @throws BotError `NOT_LINKED`, `DEVICE_UNLINKED`, `STORE_DAMAGED`, `PLUGIN_INVALID`
 */
export async function offlinePlugins(store: Store, platform: Platform, plugin: Plugin): Promise<Plugins> {
  const linked = await linkedAccount(store);
  const stamps = new Stamps(platform.clock);
  await stamps.open(store);
  const trust = await buildTrust({ store, account: linked, platform, stamp: stamps.next });
  const onRow = (): void => undefined;
  const plugins = new Plugins({ self: linked.aci, store, platform, stamp: stamps.next, trust, onRow });
  await plugins.install(plugin);
  return plugins;
}

/**
 * The same account on a store in memory, for what is to leave nothing behind: neither is seen there what the account's own
 * store has of others, nor is anything of it kept.
 * @throws BotError `NOT_LINKED`, `DEVICE_UNLINKED`, `STORE_DAMAGED`
 */
export async function passingHost(
  store: Store,
  platform: Platform,
  plugin: Pick<Plugin, 'name' | 'version' | 'permissions'>,
): Promise<Host> {
  const memory = openMemory();
  const batch = memory.batch();
  account.put(batch, await linkedAccount(store));
  await batch.commit();
  return offlineHost(memory, platform, plugin);
}
