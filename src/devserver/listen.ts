/**
 * Listening on a port of this machine.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BotError } from '../errors.ts';

/** @param port 0 for any @returns the port, on 127.0.0.1 @throws BotError `PORT_TAKEN` */
export async function listenOn(
  server: Pick<Server, 'once' | 'off' | 'listen' | 'address'>,
  port: number,
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      const isTaken = error.code === 'EADDRINUSE' || error.code === 'EACCES';
      reject(
        isTaken ? new BotError('PORT_TAKEN', `port ${String(port)} cannot be had`, { cause: error }) : error,
      );
    };
    server.once('error', onError);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', onError);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}
