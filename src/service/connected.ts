/**
 * Connected: a chat connection for as long as a few requests take.
 */
import type { Platform } from '../platform.ts';
import { Connection } from '../transport/connection.ts';
import type { Credentials, Requester } from '../transport/request.ts';
import { endpointOf, type Profile } from './profile.ts';

export interface Server {
  readonly profile: Profile;
  readonly platform: Platform;
}

/**
 * Runs `use` with a chat connection, anonymous without credentials, and closes it after.
 * @throws BotError `DEVICE_UNLINKED` when the server does not know the credentials; what `use` throws; the signal's
 *   reason
 */
export async function connected<T>(
  { profile, platform }: Server,
  credentials: Credentials | undefined,
  use: (requester: Requester) => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  const life = new AbortController();
  const endpoint = endpointOf(profile);
  const connection = new Connection({ endpoint, platform, ...(credentials ? { credentials } : {}) });
  const running = connection.run(AbortSignal.any([signal, life.signal]));
  const ended = running.then((): never => {
    throw signal.reason as Error;
  });
  const drained = drain(connection);
  try {
    return await Promise.race([use(connection), ended]);
  } catch (error) {
    signal.throwIfAborted(); // the caller's reason, not what the abort did to the request
    throw error;
  } finally {
    life.abort();
    // Its reason has been thrown by the race, or no longer matters.
    await running.catch(() => undefined);
    await drained;
  }
}

/** Of a device, for the upgrade. */
export function credentialsOf(device: {
  readonly aci: string;
  readonly deviceId: number;
  readonly password: string;
}): Credentials {
  return { username: `${device.aci}.${String(device.deviceId)}`, password: device.password };
}

/**
 * Reads deliveries and leaves them without an answer, so that they do not stand in the way of our requests; the server
 * hands them over again on the next connection.
 */
async function drain(connection: Connection): Promise<void> {
  const incoming = connection.incoming()[Symbol.asyncIterator]();
  let next = await incoming.next();
  while (next.done !== true) next = await incoming.next();
}
