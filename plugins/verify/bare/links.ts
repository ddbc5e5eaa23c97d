/**
 * Links: how `verify bare` reaches the other side over TCP. Which of several connections it is, `candidates.ts` finds out.
 */
import { createServer, connect as dial, type AddressInfo, type Socket } from 'node:net';
import { BotError } from '../../../src/index.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const LOOPBACK = '127.0.0.1';
const ENDPOINT = /^(?:(?:\[([^\]]+)\]|([^:[\]]+)):)?(\d{1,5})$/;
const MAX_PORT = 65_535;

/** `[HOST:]PORT`, loopback if unsaid; an IPv6 address stands in brackets. @throws BotError `USAGE` */
export function parseEndpoint(text: string): Endpoint {
  const [, bracketed, name, digits] = ENDPOINT.exec(text) ?? [];
  const port = Number(digits);
  if (digits === undefined || port > MAX_PORT) {
    throw new BotError('USAGE', `"${text}" is no [HOST:]PORT`, { next: 'Give 4000, or example.org:4000.' });
  }
  return { host: bracketed ?? name ?? LOOPBACK, port };
}

/**
 * Opens a port until the signal closes it; connections that are there stay.
 * @param onConnection given each connection, whose end is its business from then on
 * @returns the port, which is of the system's choice for 0
 * @throws BotError `PORT_TAKEN`
 */
export function listen(
  { host, port }: Endpoint,
  onConnection: (socket: Socket) => void,
  signal: AbortSignal,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, onConnection);
    server.once('error', (cause) => {
      reject(new BotError('PORT_TAKEN', `cannot listen on ${host}:${String(port)}`, { cause }));
    });
    server.listen({ port, host, signal }, () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** @throws BotError `SERVER_UNREACHABLE`; the abort's reason */
export function connect({ host, port }: Endpoint, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = dial({ host, port, allowHalfOpen: true });
    const onAbort = (): void => {
      socket.destroy();
      reject(signal.reason as Error);
    };
    const onError = (cause: Error): void => {
      signal.removeEventListener('abort', onAbort);
      const next = 'Is the other side listening, and is the address right?';
      reject(
        new BotError('SERVER_UNREACHABLE', `nobody answers at ${host}:${String(port)}`, { cause, next }),
      );
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError).once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      resolve(socket);
    });
  });
}
