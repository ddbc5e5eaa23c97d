/**
 * Fresh start of a restored store: the connection and the patience that `backup/fresh-start.ts` needs. The bot waits for
 * it before it takes or sends anything.
 */
import { freshStart, needsFreshStart } from '../backup/fresh-start.ts';
import { describe, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { putSyncRequests } from '../provisioning/first-upload.ts';
import { profileTransport } from '../provisioning/link-transport.ts';
import type { Profile } from '../service/profile.ts';
import type { Batch, Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { PrekeyUpkeep } from '../upkeep/prekey-upkeep.ts';

export interface FreshStartNeeds {
  readonly store: Store;
  readonly account: Account;
  readonly profile: Profile;
  readonly platform: Platform;
  /** It did not work yet, and is tried again. */
  readonly onDelay: (message: string) => void;
}

const PRIMARY = 1;
const RETRY_MS = 1000;
const MAX_RETRY_MS = 60_000;

/**
 * Gives the server fresh prekeys if the store was restored since the last start; tries until that is done.
 * @throws BotError `DEVICE_UNLINKED`, `CONNECTED_ELSEWHERE`, `TLS_UNTRUSTED`; those of the store; the signal's reason
 */
export async function startFresh(needs: FreshStartNeeds, signal: AbortSignal): Promise<void> {
  const { store, account, profile, platform, onDelay } = needs;
  if (!(await needsFreshStart(store))) return;
  const transport = profileTransport(profile, platform);
  const credentials = { username: `${account.aci}.${String(account.deviceId)}`, password: account.password };
  const ask = async (batch: Batch): Promise<void> => {
    if (account.deviceId !== PRIMARY) await putSyncRequests(batch, account, platform.clock.now());
  };
  for (let attempt = 0; ; attempt++) {
    try {
      await transport.connected(
        credentials,
        (requester) => {
          const rotate = (): Promise<void> => new PrekeyUpkeep({ store, requester, platform }).check();
          return freshStart({ store, platform, requester, rotate, ask }, account);
        },
        signal,
      );
      return;
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error;
      onDelay(`the new keys of this restored device are not on the server yet: ${describe(error)}`);
      await platform.clock.sleep(Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** Math.min(attempt, 10)), signal);
    }
  }
}

function isPassing(error: unknown): boolean {
  return (['SERVER_UNREACHABLE', 'REQUEST_TIMEOUT', 'REQUEST_REFUSED'] as const).some((code) =>
    isBotError(error, code),
  );
}
