/**
 * The two ways to a linked device's lines: over the connection of the bot that runs, or, where none does, over a socket of
 * their own. Never both: a second socket with the same credentials would end the bot's (4409).
 */
import type { Platform } from '../platform.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import type { ConnectionState, Requester } from '../transport/request.ts';
import { skip, type Check } from './check.ts';
import { examineLinked } from './linked.ts';
import { openOnlooker, type Onlooker } from './queue.ts';

export interface WayParts {
  readonly profile: Profile;
  readonly platform: Platform;
  readonly store: Store;
  readonly account: Account;
}

/** Only for who holds the lock of the store. Throws nothing but the signal's reason. */
export async function* examineHere(
  parts: WayParts,
  blocked: Set<string>,
  signal: AbortSignal,
): AsyncGenerator<Check> {
  const { profile, platform, account } = parts;
  const credentials = { username: `${account.aci}.${String(account.deviceId)}`, password: account.password };
  let onlooker: Onlooker | undefined;
  const open = async (over: AbortSignal): Promise<{ requester: Onlooker } & Pick<Onlooker, 'checkQueue'>> => {
    onlooker = await openOnlooker({ endpoint: endpointOf(profile), credentials, platform }, over);
    return { requester: onlooker, checkQueue: onlooker.checkQueue };
  };
  try {
    yield* examineLinked({ ...parts, open, blocked }, signal);
  } finally {
    await onlooker?.close();
  }
}

/** What the process of a running bot finds out about itself. */
export async function examineBeside(
  parts: WayParts & { readonly bot: { readonly connection: ConnectionState; readonly requester: Requester } },
  signal: AbortSignal,
): Promise<{ checks: Check[] }> {
  const { bot } = parts;
  const line = {
    requester: bot.requester,
    checkQueue: () =>
      skip(`not tried: the bot that runs takes the messages itself (it is ${bot.connection})`),
  };
  const checks: Check[] = [];
  for await (const check of examineLinked({ ...parts, open: () => line }, signal)) checks.push(check);
  return { checks };
}
