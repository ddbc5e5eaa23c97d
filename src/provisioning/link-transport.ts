/**
 * Link transport: the sockets that linking needs, as one thing that a test can put its own in place of.
 */
import type { Platform } from '../platform.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
import { Connection } from '../transport/connection.ts';
import { openProvisioningSocket } from '../transport/provisioning-socket.ts';
import type { Credentials, Requester } from '../transport/request.ts';

/** A socket with an address that a phone can send one provision envelope to. */
export interface CodeSocket {
  readonly address: string;
  /** Serialized ProvisionEnvelopes, as they come. */
  messages(): AsyncIterable<Uint8Array>;
  /** Settles when the socket is gone, whoever ended it. */
  readonly closed: Promise<unknown>;
  close(): void;
}

export interface LinkTransport {
  /** @throws BotError `SERVER_UNREACHABLE`, `TLS_UNTRUSTED`, `REQUEST_TIMEOUT` */
  openCode(signal: AbortSignal): Promise<CodeSocket>;
  /**
   * Runs `use` with a chat connection, anonymous without credentials, and closes it after.
   * @throws BotError `DEVICE_UNLINKED` when the server does not know the credentials; what `use` throws; the signal's
   *   reason
   */
  connected<T>(
    credentials: Credentials | undefined,
    use: (requester: Requester) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;
}

export function profileTransport(profile: Profile, platform: Platform): LinkTransport {
  const endpoint = endpointOf(profile);
  return {
    openCode: (signal) => openProvisioningSocket(endpoint, platform, signal),
    connected: async (credentials, use, signal) => {
      const life = new AbortController();
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
    },
  };
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
