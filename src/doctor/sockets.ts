/**
 * Sockets: the anonymous one with what can be asked on it, the one for linking, and how long silence is put up with
 * (protocol brief, 1.3 to 1.5 and 12.3). Nothing here needs an account or takes anything from one.
 */
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
import { openProvisioningSocket } from '../transport/provisioning-socket.ts';
import type { Requester } from '../transport/request.ts';
import { Socket } from '../transport/socket.ts';
import { fail, ok, skip, warn, type Finding } from './check.ts';

/** How long the line is kept silent, and how often a bot breaks the silence. */
export interface IdleTimes {
  /** ms */
  readonly waitMs: number;
  /** ms */
  readonly keepaliveMs: number;
}

export const IDLE_TIMES: IdleTimes = { waitMs: 65_000, keepaliveMs: 30_000 };

/** Message times look wrong to people. */
const SKEW_WARN_MS = 60_000;
/** Certificates and credentials are refused beyond about a day (1.4). */
const SKEW_FAIL_MS = 12 * 60 * 60_000;

/** An open anonymous socket. The server's clock minus ours is noted with each answer. */
export interface Anonymous {
  readonly socket: Socket;
  /** ms; undefined where the server does not say its time. */
  readonly skewMs: () => number | undefined;
}

/** @throws BotError as `Socket.open` */
export async function openAnonymous(
  profile: Profile,
  platform: Platform,
  signal: AbortSignal,
): Promise<Anonymous> {
  let skew: number | undefined;
  const socket = await Socket.open(
    {
      endpoint: endpointOf(profile),
      platform,
      onServerTime: (time) => {
        skew = time - platform.clock.now();
      },
    },
    signal,
  );
  return { socket, skewMs: () => skew };
}

export async function checkKeepalive(requester: Requester, signal: AbortSignal): Promise<Finding> {
  const { status } = await requester.request({ verb: 'GET', path: '/v1/keepalive' }, { signal });
  if (status === 200) return ok('opens and answers');
  return fail(
    `opens, but answers a keepalive with ${String(status)}`,
    'Is this a Signal-compatible server? Its requests inside the websocket do not work as expected.',
  );
}

/** @param skewMs the server's clock minus ours */
export function checkClock(skewMs: number | undefined): Finding {
  if (skewMs === undefined) return skip('the server does not say what time it has');
  const away = Math.abs(skewMs);
  const text = `this machine is ${durationText(away)} ${skewMs > 0 ? 'behind' : 'ahead of'} the server`;
  const next = 'Set the clock of the machine that is wrong, and keep it right (NTP).';
  if (away > SKEW_FAIL_MS) return fail(`${text}: certificates and credentials will be refused`, next);
  if (away > SKEW_WARN_MS) return warn(text, next);
  return ok(`the clocks agree within ${durationText(Math.max(away, 1000))}`);
}

function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${String(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${String(minutes)} min` : `${String(Math.round(minutes / 60))} h`;
}

/** Places the server between the changes that show from outside without an account. */
export async function checkGeneration(requester: Requester, signal: AbortSignal): Promise<Finding> {
  const ask = async (path: string): Promise<boolean> =>
    (await requester.request({ verb: 'GET', path }, { signal })).status !== 404; // 401: there, but not for us
  if (!(await ask('/v2/config'))) {
    return (await ask('/v1/config'))
      ? ok('from before July 2025')
      : warn(
          'cannot be told: it has no configuration endpoint of any generation',
          'If messages do not pass, compare what docs/servers.md says that a server must offer.',
        );
  }
  if (await ask('/v1/messages')) return ok('from between July 2025 and June 2026');
  return ok('from June 2026 or later');
}

export async function checkProvisioning(
  profile: Profile,
  platform: Platform,
  signal: AbortSignal,
): Promise<Finding> {
  const socket = await openProvisioningSocket(endpointOf(profile), platform, signal);
  socket.close();
  await socket.closed;
  return ok('the server gives an address for a QR code');
}

/**
 * Opens a socket, says nothing on it, and looks whether it still lives.
 * Something in between that ends silent connections sooner than a bot speaks would cost a reconnect each time.
 */
export async function checkIdle(
  profile: Profile,
  platform: Platform,
  { waitMs, keepaliveMs }: IdleTimes,
  signal: AbortSignal,
): Promise<Finding> {
  const { clock } = platform;
  const done = new AbortController();
  const { socket } = await openAnonymous(profile, platform, signal);
  const raise =
    'Raise the idle timeout of what is in front (nginx: proxy_read_timeout and proxy_send_timeout, 120s).';
  try {
    const start = clock.now();
    const closed = await Promise.race([
      socket.closed,
      clock.sleep(waitMs, AbortSignal.any([signal, done.signal])).then(() => undefined),
    ]);
    if (closed !== undefined) {
      const after = clock.now() - start;
      const text = `a silent connection was closed after ${durationText(after)} (code ${String(closed.code)})`;
      if (after <= keepaliveMs) return fail(`${text}: sooner than a bot says something`, raise);
      return warn(`${text}; a bot's keepalives hide this, as long as none is late`, raise);
    }
    const { status } = await socket.request(
      { verb: 'GET', path: '/v1/keepalive' },
      { signal, timeoutMs: 10_000 },
    );
    if (status !== 200) throw new BotError('ANSWER_INVALID', `a keepalive was answered ${String(status)}`);
    return ok(`a connection lives through ${durationText(waitMs)} of silence`);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof BotError)) throw error;
    return fail(`after ${durationText(waitMs)} of silence the connection was dead (${error.message})`, raise);
  } finally {
    done.abort();
    socket.terminate();
  }
}
