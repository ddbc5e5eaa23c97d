/** A connection to a server in memory, that runs. */
import { afterEach } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { Connection, type ConnectionParts } from '../../src/transport/connection.ts';
import type { ConnectionState, Delivery, Incoming } from '../../src/transport/request.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { FakeServer, type Script } from '../support/fake-socket.ts';

export const GET = { verb: 'GET', path: '/v1/x' } as const;
export const credentials = { username: '11111111-1111-4111-8111-111111111111.2', password: 'secret' };
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

export interface Started {
  readonly abort: AbortController;
  readonly clock: ManualClock;
  readonly connection: Connection;
  /** `done`, the code that it rejected with, or another error. */
  readonly ended: Promise<unknown>;
  readonly server: FakeServer;
  readonly states: string[];
}

export async function start(
  parts: Partial<ConnectionParts> & { anonymous?: boolean; script?: Script } = {},
): Promise<Started> {
  const { anonymous = false, script, ...rest } = parts;
  const clock = new ManualClock();
  const server = new FakeServer(script);
  const states: string[] = [];
  const onState = (state: ConnectionState, error?: BotError): void => {
    states.push(error ? `${state} ${error.code}` : state);
  };
  const connection = new Connection({
    endpoint: { url: 'http://127.0.0.1:1' },
    platform: testPlatform({ clock }),
    openSocket: server.openSocket,
    onState,
    ...(!anonymous && { credentials }),
    ...rest,
  });
  const abort = new AbortController();
  stops.push(() => {
    abort.abort();
  });
  const ended = connection.run(abort.signal).then(
    () => 'done',
    (error: unknown) => (error instanceof BotError ? error.code : error),
  );
  await settle();
  return { abort, clock, connection, ended, server, states };
}

export async function take(connection: Connection, count: number): Promise<Incoming[]> {
  const taken: Incoming[] = [];
  if (count === 0) return taken;
  for await (const incoming of connection.incoming()) {
    taken.push(incoming);
    if (taken.length === count) break;
  }
  return taken;
}

export function delivery(incoming: Incoming | undefined): Delivery {
  if (incoming?.kind !== 'delivery') throw new Error('not a delivery');
  return incoming.delivery;
}
