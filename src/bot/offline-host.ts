/**
 * Offline host: what a plugin is handed on a store that no bot runs on, for a command that needs no server. Nothing is
 * received or sent; what is staged for others waits in the outbox for the next run.
 */
import { BotError } from '../errors.ts';
import { linkedAccount } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import { Plugins, type Host, type Plugin } from '../plugin.ts';
import type { Store } from '../store/store.ts';
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
  const account = await linkedAccount(store);
  const stamps = new Stamps(platform.clock);
  await stamps.open(store);
  const trust = await buildTrust({ store, account, platform, stamp: stamps.next });
  const onRow = (): void => undefined;
  const plugins = new Plugins({ self: account.aci, store, platform, stamp: stamps.next, trust, onRow });
  let host: Host | undefined;
  await plugins.install({
    ...{ name, version, permissions },
    setup: (given) => {
      host = given;
    },
  });
  if (host === undefined) throw new BotError('INTERNAL', 'a plugin was installed without its host');
  return host;
}
