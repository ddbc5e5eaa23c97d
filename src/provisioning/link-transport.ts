/**
 * Link transport: the sockets that linking needs, as one thing that a test can put its own in place of.
 */
import type { Platform } from '../platform.ts';
import { connected } from '../service/connected.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
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
    connected: (credentials, use, signal) => connected({ profile, platform }, credentials, use, signal),
  };
}
