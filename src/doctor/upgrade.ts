/**
 * Upgrade: does an HTTP/1.1 websocket upgrade get through whatever stands in front of the server, with its path and its
 * Authorization header (protocol brief, 1.3 and 1.8)?
 */
import { createHash } from 'node:crypto';
import { request as requestPlain, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { toBase64, toHex } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Platform, Random } from '../platform.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
import { Socket } from '../transport/socket.ts';
import type { Credentials, Endpoint } from '../transport/request.ts';
import { fail, ok, warn, type Finding } from './check.ts';
import { codeOf } from './network.ts';
import { statusOf } from './origins.ts';

const CHAT_PATH = '/v1/websocket/';
/** RFC 6455, section 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** How long a socket whose credentials are wrong may stay open before it counts as anonymous. */
const CLOSE_MS = 2000;

/** What answered an upgrade. */
interface Answered {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  /** 101, and the key was answered as a websocket server answers it. */
  readonly isWebSocket: boolean;
}

/** Asks for a websocket as the bot does, and hangs up when the head of the answer is there. */
async function askUpgrade(
  endpoint: Endpoint,
  random: Random,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Answered> {
  const key = toBase64(random.bytes(16));
  const url = new URL(CHAT_PATH, endpoint.url);
  const request = url.protocol === 'https:' ? requestTls : requestPlain;
  const accept = createHash('sha1').update(`${key}${WEBSOCKET_GUID}`).digest('base64');
  return await new Promise((resolve, reject) => {
    const asked = request(url, {
      agent: false,
      signal,
      headers: {
        'User-Agent': 'Countersign',
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': key,
        ...headers,
      },
      ...(endpoint.ca !== undefined && { ca: endpoint.ca }),
    });
    const answer = ({ statusCode = 0, headers: received }: IncomingMessage): void => {
      const isWebSocket = statusCode === 101 && received['sec-websocket-accept'] === accept;
      resolve({ status: statusCode, headers: received, isWebSocket });
      asked.destroy();
    };
    asked.on('upgrade', (response, socket) => {
      socket.destroy();
      answer(response);
    });
    asked.on('response', answer);
    asked.on('error', reject);
    asked.end();
  });
}

export async function checkUpgrade(
  profile: Profile,
  { random }: Platform,
  signal: AbortSignal,
): Promise<Finding> {
  let answered: Answered;
  try {
    answered = await askUpgrade(endpointOf(profile), random, {}, signal);
  } catch (error) {
    signal.throwIfAborted();
    return fail(
      `the server hung up on an HTTP/1.1 upgrade (${codeOf(error)})`,
      'Is this the port of the chat server, and does "chat" say https where it speaks TLS?',
    );
  }
  if (answered.isWebSocket) return ok(`${CHAT_PATH} opens a websocket over HTTP/1.1`);
  const isSignal = answered.status === 404 && (await answersRest(profile, signal));
  return fail(`${CHAT_PATH} was answered ${String(answered.status)}`, upgradeRemedy(answered, isSignal));
}

/** The Java servers answer their REST calls on the same origin: then it is the right one, and the path does not arrive. */
async function answersRest(profile: Profile, signal: AbortSignal): Promise<boolean> {
  try {
    return (await statusOf(profile, `${profile.chat}/v1/accounts/whoami`, {}, signal)) === 401;
  } catch {
    signal.throwIfAborted();
    return false;
  }
}

/** What each answer in place of a websocket says about the proxy, or about the server. */
function upgradeRemedy({ status, headers }: Answered, isSignal: boolean): string {
  if (status === 101)
    return 'Something in between answers upgrades without being a websocket server: take it out.';
  if (status >= 300 && status < 400) {
    const to = (headers.location ?? 'somewhere else').slice(0, 200);
    return `It redirects to ${to}: have the proxy hand ${CHAT_PATH} on as it is, its trailing slash included.`;
  }
  switch (status) {
    case 404: {
      const proxy = `Have the proxy hand ${CHAT_PATH} on with its trailing slash, without a prefix, and with its Upgrade and Connection headers`;
      return isSignal
        ? `${proxy}; the server behind it is a Signal-compatible one, its other paths answer.`
        : `${proxy}; or "chat" names no Signal-compatible server.`;
    }
    case 400:
    case 405:
    case 426:
    case 501:
      return 'Have the proxy pass the Upgrade and Connection headers on, over HTTP/1.1 (nginx: proxy_http_version 1.1).';
    case 401:
    case 407:
      return 'Something in front asks for credentials of its own: exempt this path from them.';
    case 403:
      return 'Something in front refuses the request: let this path through without conditions.';
    case 429:
      return 'The server or the proxy limits connections for now: wait, and see to the limit if it stays.';
    case 499:
      return 'The server says that this client is too old: update Countersign.';
    case 502:
    case 503:
    case 504:
      return 'The proxy does not reach the chat server behind it: start that, or correct its address there.';
    default:
      return 'Look at the log of the server and of the proxy in front of it.';
  }
}

/** Credentials that no server knows. */
function strangers(random: Random): Credentials {
  const hex = toHex(random.bytes(16));
  const uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
  return { username: `${uuid}.2`, password: toBase64(random.bytes(18)) };
}

/** Wrong credentials are refused with 403; an anonymous socket in answer means that the header did not arrive. */
export async function checkAuthorization(
  profile: Profile,
  platform: Platform,
  signal: AbortSignal,
): Promise<Finding> {
  const credentials = strangers(platform.random);
  const endpoint = endpointOf(profile);
  const login = Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64');
  const headers = { Authorization: `Basic ${login}` };
  const answered = await askUpgrade(endpoint, platform.random, headers, signal);
  if (answered.status === 403) return ok('arrives at the server: wrong credentials are refused (403)');
  if (answered.status === 401) {
    return fail(
      'wrong credentials are answered 401, which the servers do not do on this path',
      'Something in front checks the Authorization header itself: have it hand the header on untouched.',
    );
  }
  if (!answered.isWebSocket) {
    return warn(
      `wrong credentials were answered ${String(answered.status)}, where 403 is expected`,
      'Look at the log of the server and of the proxy in front of it.',
    );
  }
  return await seeWhetherClosed(endpoint, credentials, platform, signal);
}

/** Some servers open the socket and close it at once. */
async function seeWhetherClosed(
  endpoint: Endpoint,
  credentials: Credentials,
  platform: Platform,
  signal: AbortSignal,
): Promise<Finding> {
  const done = new AbortController();
  const socket = await Socket.open({ endpoint, credentials, platform }, signal);
  try {
    const closed = await Promise.race([
      socket.closed,
      platform.clock.sleep(CLOSE_MS, AbortSignal.any([signal, done.signal])).then(() => undefined),
    ]);
    if (closed !== undefined) {
      return closed.code >= 3000
        ? ok(`arrives at the server: wrong credentials are closed with ${String(closed.code)}`)
        : warn(
            `wrong credentials open a socket that ends with code ${String(closed.code)}`,
            'Look at the log of the server and of the proxy in front of it.',
          );
    }
    const { status } = await socket.request({ verb: 'GET', path: '/v1/accounts/whoami' }, { signal });
    if (status === 401) {
      return fail(
        'does not arrive: a socket with wrong credentials is open, and anonymous',
        'Have the proxy in front pass the Authorization header on (nginx: proxy_set_header Authorization $http_authorization).',
      );
    }
    throw new BotError('ANSWER_INVALID', `made-up credentials were answered ${String(status)}`);
  } finally {
    done.abort();
    socket.terminate();
  }
}
