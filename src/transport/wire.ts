/**
 * Wire: one open websocket as the socket above sees it, and the way to open one over the network.
 *
 * HTTP/1.1 upgrade, no compression, redirects not followed, certificates always checked (protocol brief, 1.2 and 1.3).
 */
import type { IncomingMessage } from 'node:http';
import { createSecureContext, type SecureContext } from 'node:tls';
import { WebSocket } from 'ws';
import { BotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { upgradeError } from './close.ts';
import type { Credentials, Endpoint } from './request.ts';
import { parseRetryAfter } from './retry-after.ts';

export interface Wire {
  /** Queues one binary frame; does nothing once the websocket is closing. */
  send(frame: Uint8Array): void;
  /** Begins the closing handshake; the end is reported within two seconds whatever the other side does. */
  close(code: number): void;
  /** Ends it without a handshake. */
  terminate(): void;
  /** Stops and starts reading from the network. */
  pause(): void;
  resume(): void;
  /** Bytes that wait to be written. */
  readonly buffered: number;
}

/** What the wire tells the socket on it. */
export interface WireEvents {
  onFrame(frame: Uint8Array): void;
  onText(): void;
  /** Once, at the end. */
  onEnd(code: number, reason: string): void;
}

export interface WireOptions {
  readonly endpoint: Endpoint;
  readonly credentials?: Credentials;
  /** With its trailing slash; without it there is a 404. */
  readonly path: string;
  readonly platform: Platform;
}

/** The largest message taken: key bundles of 127 devices and the largest envelopes fit several times. */
const MAX_FRAME_BYTES = 4 * 1024 * 1024;
const HANDSHAKE_MS = 20_000;
const CLOSING_MS = 2000;
/** Not the shape of an official app's, since servers turn old versions of those away (1.7). */
const USER_AGENT = 'Countersign';
const MAX_CONTEXTS = 16;

/** Certificates that are wrong for good, as Node names what OpenSSL says. Expired ones are renewed: those are waited for. */
const UNTRUSTED = new Set([
  'CERT_REJECTED', 'CERT_REVOKED', 'CERT_SIGNATURE_FAILURE', 'CERT_UNTRUSTED', 'CERT_CHAIN_TOO_LONG',
  'DEPTH_ZERO_SELF_SIGNED_CERT', 'ERR_TLS_CERT_ALTNAME_INVALID', 'HOSTNAME_MISMATCH', 'INVALID_CA', 'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED', 'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]); // prettier-ignore
const OUT_OF_DATE = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/** `ws` hands these to tls.connect; its types leave them out. */
interface UpgradeOptions extends WebSocket.ClientOptions {
  ALPNProtocols?: string[];
  secureContext?: SecureContext;
  closeTimeout?: number;
}

/** One context per CA: each connection of a fleet in one process would else parse and hold the roots again. */
const contexts = new Map<string, SecureContext>();

/**
 * Opens a websocket. `attach` is called in the moment of opening, before the first frame can come.
 * @throws BotError as `Socket.open`; an abort rejects with the signal's reason
 */
export function openWire<T>(
  options: WireOptions,
  signal: AbortSignal,
  attach: (wire: Wire) => WireEvents & T,
): Promise<WireEvents & T> {
  signal.throwIfAborted();
  const ws = connect(options);
  const { log, clock } = options.platform;
  return new Promise((resolve, reject) => {
    let events: (WireEvents & T) | undefined;
    const onAbort = (): void => {
      ws.terminate();
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const fail = (error: BotError): void => {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    };
    ws.on('upgrade', (response: IncomingMessage) => {
      const alert = response.headers['x-signal-alert'];
      if (alert !== undefined)
        log.warn({ alert: String(alert).slice(0, 200) }, 'the server has an alert for this account');
    });
    ws.on('open', () => {
      signal.removeEventListener('abort', onAbort);
      events = attach(new NetworkWire(ws));
      resolve(events);
    });
    ws.on('unexpected-response', (_request, response: IncomingMessage) => {
      const wait = parseRetryAfter(response.headers['retry-after']);
      const retryAt = wait === undefined ? undefined : clock.now() + wait;
      fail(upgradeError(response.statusCode ?? 0, options.credentials !== undefined, retryAt));
      response.resume();
      ws.terminate();
    });
    ws.on('message', (data, isBinary) => {
      if (isBinary) events?.onFrame(data as Buffer);
      else events?.onText();
    });
    ws.on('error', (error) => {
      if (events) log.debug({ error: error.message }, 'websocket error');
      else fail(openError(error));
    });
    ws.on('close', (code, reason) => {
      if (events) events.onEnd(code, reason.toString('utf8'));
      else fail(openError(new Error('closed before it was open')));
    });
  });
}

function connect({ endpoint, credentials, path }: WireOptions): WebSocket {
  const headers: Record<string, string> = { 'User-Agent': USER_AGENT };
  if (credentials) {
    const login = Buffer.from(`${credentials.username}:${credentials.password}`, 'utf8').toString('base64');
    headers['Authorization'] = `Basic ${login}`;
  }
  const options: UpgradeOptions = {
    headers,
    perMessageDeflate: false,
    followRedirects: false,
    maxPayload: MAX_FRAME_BYTES,
    handshakeTimeout: HANDSHAKE_MS,
    closeTimeout: CLOSING_MS,
  };
  try {
    const url = new URL(path, endpoint.url);
    if (url.protocol === 'https:') {
      options.ALPNProtocols = ['http/1.1'];
      options.secureContext = contextOf(endpoint.ca);
    }
    return new WebSocket(url, options);
  } catch (cause) {
    throw new BotError('PROFILE_INVALID', "the server's address cannot be used", { cause });
  }
}

function contextOf(ca: string | undefined): SecureContext {
  const key = ca ?? '';
  let context = contexts.get(key);
  if (!context) {
    if (contexts.size >= MAX_CONTEXTS) contexts.clear();
    context = createSecureContext(ca === undefined ? {} : { ca });
    contexts.set(key, context);
  }
  return context;
}

function openError(cause: Error): BotError {
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : '';
  if (UNTRUSTED.has(code)) {
    return new BotError('TLS_UNTRUSTED', `the server's certificate is not trusted (${code})`, { cause });
  }
  if (OUT_OF_DATE.has(code)) {
    const next = "Renew the server's certificate, or set the clock of this machine.";
    return new BotError('SERVER_UNREACHABLE', `the server's certificate is out of date (${code})`, {
      cause,
      next,
    });
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    const next = 'Does this port speak TLS? The address in the profile says https.';
    return new BotError('SERVER_UNREACHABLE', `no TLS connection came about (${code})`, { cause, next });
  }
  return new BotError(
    'SERVER_UNREACHABLE',
    `the server cannot be reached (${code === '' ? cause.message : code})`,
    { cause },
  );
}

class NetworkWire implements Wire {
  readonly #ws: WebSocket;

  constructor(ws: WebSocket) {
    this.#ws = ws;
  }

  get buffered(): number {
    return this.#ws.bufferedAmount;
  }

  send(frame: Uint8Array): void {
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.send(frame);
  }

  close(code: number): void {
    this.#ws.resume(); // a paused websocket would not see the other side's answer
    this.#ws.close(code);
  }

  terminate(): void {
    this.#ws.terminate();
  }

  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }
}
