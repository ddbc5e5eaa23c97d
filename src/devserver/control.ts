/**
 * Control API over HTTP on loopback, for tests in any language (decisions, CLI contract).
 */
import { listenOn } from './listen.ts';
import { createServer, type IncomingMessage } from 'node:http';
import { z } from 'zod';
import { toUtf8 } from '../bytes.ts';
import { BotError, isBotError, type ErrorCode } from '../errors.ts';
import type { Accounts } from './accounts.ts';
import { FAULT } from './faults.ts';
import { endLies, liesOf, lie, LIE } from './lies.ts';
import type { Phone } from './phone.ts';
import type { ServerState } from './state.ts';
import type { StatsReport } from './stats.ts';

/** What the API reaches. */
export interface ControlParts {
  readonly state: ServerState;
  readonly accounts: Accounts;
  stats(): Promise<StatsReport>;
}

export interface Control {
  readonly url: string;
  close(): Promise<void>;
}

const MAX_BODY = 1024 * 1024;

const NEW_PHONE = z.strictObject({
  number: z
    .string()
    .regex(/^\+[1-9]\d{6,14}$/, 'is no E.164 number')
    .optional(),
  name: z.string().min(1).max(100).optional(),
});
const LINK = z.strictObject({ url: z.string() });
const SEND = z.strictObject({ to: z.string(), text: z.string(), sealed: z.boolean().optional() });
const CLOCK = z.strictObject({
  advanceMs: z
    .int()
    .min(0)
    .max(10 * 365 * 86_400_000),
});
const LIMITS = z.strictObject({ rateLimits: z.boolean() });

const STATUS: Partial<Record<ErrorCode, number>> = {
  USAGE: 400,
  RECIPIENT_UNKNOWN: 404,
  RECIPIENT_UNREGISTERED: 404,
  DEVICE_LIMIT: 409,
  LINK_FAILED: 409,
};

interface Asked {
  readonly query: URLSearchParams;
  readonly body: unknown;
  readonly params: readonly string[];
}
type Handler = (parts: ControlParts, asked: Asked) => Promise<unknown>;

const ROUTES: readonly (readonly [verb: string, path: string, handler: Handler])[] = [
  ['POST', '/phones', createPhone],
  [
    'POST',
    '/phones/:aci/link',
    async (parts, asked) => ({ deviceId: await phoneOf(parts, asked).link(read(LINK, asked).url) }),
  ],
  ['POST', '/phones/:aci/send', send],
  ['GET', '/phones/:aci/messages', messages],
  [
    'GET',
    '/phones/:aci/devices',
    async (parts, asked) => ({ devices: await phoneOf(parts, asked).devices() }),
  ],
  ['DELETE', '/phones/:aci/devices/:id', removeDevice],
  ['GET', '/stats', (parts) => parts.stats()],
  ['POST', '/clock', advance],
  ['GET', '/faults', (parts) => Promise.resolve(faultsOf(parts))],
  ['POST', '/faults', addFault],
  ['DELETE', '/faults', clearFaults],
  ['GET', '/lies', ({ state }) => Promise.resolve(liesOf(state))],
  ['POST', '/lies', addLie],
  ['DELETE', '/lies', clearLies],
];

/** @param port 0 for any */
export async function startControl(parts: ControlParts, port: number): Promise<Control> {
  const server = createServer((request, response) => {
    const answered = answer(parts, request).then(({ status, body }) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(body));
    });
    parts.state.inBackground(answered, 'an answer of the control API failed');
  });
  const taken = await listenOn(server, port);
  return {
    url: `http://127.0.0.1:${String(taken)}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function answer(
  parts: ControlParts,
  request: IncomingMessage,
): Promise<{ status: number; body: unknown }> {
  try {
    return { status: 200, body: await route(parts, request) };
  } catch (error) {
    const known = isBotError(error) ? error : new BotError('USAGE', String(error), { cause: error });
    const { code, message, next } = known;
    return {
      status: isBotError(error) ? (STATUS[code] ?? 400) : 500,
      body: { error: { code, message, next } },
    };
  }
}

async function route(parts: ControlParts, request: IncomingMessage): Promise<unknown> {
  const { host = '', origin } = request.headers;
  // Pages in a browser of this machine reach loopback as well: by a name of theirs that points here, or by a request from
  // elsewhere, which the browser marks with where its page comes from. No page has this server's origin.
  if (!/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host) || origin !== undefined) {
    throw new BotError('USAGE', 'the control API is for programs on this machine, and not for web pages');
  }
  const url = new URL(request.url ?? '/', 'http://control');
  const body = await readBody(request);
  for (const [verb, path, handler] of ROUTES) {
    const params = verb === request.method ? match(path, url.pathname) : undefined;
    if (params !== undefined) return handler(parts, { query: url.searchParams, body, params });
  }
  throw new BotError('USAGE', `there is no ${request.method ?? ''} ${url.pathname}`);
}

function match(pattern: string, path: string): string[] | undefined {
  const wanted = pattern.split('/');
  const found = path.split('/');
  if (wanted.length !== found.length) return undefined;
  if (!wanted.every((part, i) => part.startsWith(':') || part === found[i])) return undefined;
  return found.filter((_part, i) => wanted[i]?.startsWith(':') === true);
}

/** @throws BotError `USAGE` when it is too large or not JSON */
async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new BotError('USAGE', `a body has at most ${String(MAX_BODY)} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) return {};
  try {
    return JSON.parse(toUtf8(Buffer.concat(chunks))) as unknown;
  } catch (cause) {
    throw new BotError('USAGE', 'the body is not JSON', { cause });
  }
}

function read<T>(shape: z.ZodType<T>, { body }: Asked): T {
  const parsed = shape.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new BotError(
    'USAGE',
    parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '),
  );
}

function phoneOf(parts: ControlParts, { params }: Asked): Phone {
  const aci = params[0] ?? '';
  const phone = parts.accounts.phones.get(aci.toLowerCase());
  if (phone === undefined) throw new BotError('RECIPIENT_UNKNOWN', `there is no phone ${aci}`);
  return phone;
}

async function createPhone(parts: ControlParts, asked: Asked): Promise<unknown> {
  const { number, name } = read(NEW_PHONE, asked);
  const phone = await parts.accounts.createPhone({
    ...(number !== undefined && { number }),
    ...(name !== undefined && { name }),
  });
  return { aci: phone.aci, pni: phone.pni.replace(/^PNI:/, ''), number: phone.number, name: phone.name };
}

function send(parts: ControlParts, asked: Asked): Promise<unknown> {
  const { to, text, sealed } = read(SEND, asked);
  return phoneOf(parts, asked).send(to.toLowerCase(), text, { sealed: sealed ?? false });
}

function messages(parts: ControlParts, asked: Asked): Promise<unknown> {
  const number = (name: string): number | undefined => {
    const text = asked.query.get(name);
    if (text === null) return undefined;
    if (!/^\d{1,9}$/.test(text)) throw new BotError('USAGE', `${name} is a whole number`);
    return Number(text);
  };
  const waitMs = number('waitMs');
  const count = number('count');
  return phoneOf(parts, asked).messages({
    ...(waitMs !== undefined && { waitMs }),
    ...(count !== undefined && { count }),
  });
}

async function removeDevice(parts: ControlParts, asked: Asked): Promise<unknown> {
  const id = Number(asked.params[1]);
  if (!(await phoneOf(parts, asked).removeDevice(id))) {
    throw new BotError('RECIPIENT_UNKNOWN', `there is no linked device ${String(asked.params[1])}`);
  }
  return { deviceId: id };
}

function advance(parts: ControlParts, asked: Asked): Promise<unknown> {
  parts.state.clock.advance(read(CLOCK, asked).advanceMs);
  return Promise.resolve({ now: parts.state.clock.now() });
}

function addFault(parts: ControlParts, asked: Asked): Promise<unknown> {
  const limits = LIMITS.safeParse(asked.body);
  if (limits.success) parts.state.faults.rateLimits = limits.data.rateLimits;
  else parts.state.faults.add(read(FAULT, asked));
  return Promise.resolve(faultsOf(parts));
}

function clearFaults(parts: ControlParts): Promise<unknown> {
  parts.state.faults.clear();
  return Promise.resolve(faultsOf(parts));
}

function faultsOf({ state }: ControlParts): unknown {
  return { rateLimits: state.faults.rateLimits, faults: state.faults.list };
}

function addLie({ state }: ControlParts, asked: Asked): Promise<unknown> {
  lie(state, read(LIE, asked));
  return Promise.resolve(liesOf(state));
}

function clearLies({ state }: ControlParts): Promise<unknown> {
  endLies(state);
  return Promise.resolve(liesOf(state));
}
