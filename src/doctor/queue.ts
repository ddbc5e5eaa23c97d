/**
 * Queue: a look at what waits on the server for this device, on a socket that answers no delivery. What was not answered
 * stays the server's, which sends it again on the next socket (protocol brief, 1.6 and 6.2).
 */
import type { Platform } from '../platform.ts';
import type { Credentials, Endpoint, Requester } from '../transport/request.ts';
import { Socket, type ServerRequest } from '../transport/socket.ts';
import { fail, ok, type Finding } from './check.ts';

/** After the first delivery, for the others that a server sends without waiting. */
const MORE_MS = 500;
/** Until the server says something at all. */
const SILENT_MS = 8000;

export interface Onlooker extends Requester {
  /** How much waits. */
  readonly checkQueue: (signal: AbortSignal) => Promise<Finding>;
  /** Resolves when the socket is gone: a bot that starts then is the only one. */
  close(): Promise<void>;
}

/**
 * Only where no bot runs with these credentials: a second socket would end its first (4409).
 * @throws BotError as `Socket.open`
 */
export async function openOnlooker(
  parts: { endpoint: Endpoint; credentials: Credentials; platform: Platform },
  signal: AbortSignal,
): Promise<Onlooker> {
  const { clock } = parts.platform;
  let waiting = 0;
  let isDrained = false;
  let onFirst = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    onFirst = resolve;
  });
  const onRequest = (request: ServerRequest): void => {
    if (request.verb === 'PUT' && request.path === '/api/v1/message') {
      waiting += 1; // never answered
      onFirst();
    } else if (request.verb === 'PUT' && request.path === '/api/v1/queue/empty') {
      request.respond(200, 'OK');
      isDrained = true;
      onFirst();
    } else {
      request.respond(404, 'Not Found');
    }
  };
  const socket = await Socket.open({ ...parts, onRequest }, signal);
  return {
    request: (request, options) => socket.request(request, options),
    close: async () => {
      socket.close();
      await socket.closed;
    },
    checkQueue: async (over) => {
      const done = new AbortController();
      const either = AbortSignal.any([over, done.signal]);
      try {
        await Promise.race([first, clock.sleep(SILENT_MS, either)]);
      } finally {
        done.abort();
      }
      if (waiting > 0) await clock.sleep(MORE_MS, over);
      return queueFinding(waiting, isDrained);
    },
  };
}

function queueFinding(waiting: number, isDrained: boolean): Finding {
  if (waiting > 0) {
    return ok(`${String(waiting)} or more messages wait on the server; they were left there for the bot`);
  }
  if (isDrained) return ok('nothing waits on the server');
  return fail(
    'the server neither sends messages nor says that there are none',
    'Is its message store up? Look at the log of the server.',
  );
}
