/**
 * Front: accepts ordinary HTTP/1.1 upgrades as the Java servers do, and puts a socket to the mock behind each
 * (decision 14; protocol brief, sections 1.3, 1.5, 1.8).
 *
 * upgrade -> path, credentials (403), faults -> socket to the mock -> accepted -> chat or provisioning socket.
 */
import { listenOn } from './listen.ts';
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { ChatSocket } from './chat-socket.ts';
import type { Device } from './mock.ts';
import { ProvisioningRelay } from './provisioning-relay.ts';
import type { ServerState } from './state.ts';
import type { SocketKind } from './stats.ts';
import type { Upstream } from './upstream.ts';

/** Largest frame that passes (1.5). */
const MAX_FRAME = 524_288;
const CHAT = '/v1/websocket/';
const PROVISIONING = '/v1/websocket/provisioning/';

export interface FrontParts {
  readonly state: ServerState;
  readonly upstream: Upstream;
  /** PEM; plain HTTP without. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
}

type Credentials = Device | 'none' | 'bad';

export class Front {
  readonly #parts: FrontParts;
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_FRAME,
    perMessageDeflate: false,
  });
  readonly #chat = new Set<ChatSocket>();
  readonly #provisioning = new Set<ProvisioningRelay>();
  readonly #raw = new Set<Duplex>();

  constructor(parts: FrontParts) {
    this.#parts = parts;
    this.#server = parts.tls === undefined ? createServer() : createTlsServer(parts.tls);
    this.#server.on('request', (_request, response) => {
      response.writeHead(404).end(); // chat is spoken inside sockets only
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#raw.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#raw.delete(socket));
      this.#upgrade(request, socket, head).catch((error: unknown) => {
        if (socket.destroyed) return;
        this.#parts.state.log.warn({ error: String(error) }, 'an upgrade failed');
        refuse(socket, 500);
      });
    });
    parts.state.closeSockets = (device, code, reason) => {
      for (const chat of this.#chat) if (chat.device === device) chat.close(code, reason);
    };
  }

  /** @param port 0 for any @returns the port, on 127.0.0.1 */
  listen(port: number): Promise<number> {
    return listenOn(this.#server, port);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of [...this.#chat, ...this.#provisioning]) socket.terminate();
    for (const socket of this.#raw) socket.destroy();
    this.#server.closeAllConnections();
    await closed;
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { state } = this.#parts;
    const path = (request.url ?? '').split('?', 1)[0];
    if (path !== CHAT && path !== PROVISIONING) {
      refuse(socket, 404);
      return;
    }
    const who: Credentials = path === CHAT ? await this.#authenticate(request.headers.authorization) : 'none';
    const aci = typeof who === 'string' ? undefined : who.aci;
    const fault = state.faults.take({ kind: 'upgrade', verb: 'GET', path, aci });
    if (fault !== undefined && 'drop' in fault) return;
    if (fault !== undefined && 'delayMs' in fault) await this.#delay(fault.delayMs, socket);
    if (fault !== undefined && 'status' in fault) {
      refuse(socket, fault.status, fault.retryAfter);
      return;
    }
    if (who === 'bad') {
      refuse(socket, 403);
      return;
    }
    const ws = await new Promise<WebSocket>((resolve) => {
      this.#sockets.handleUpgrade(request, socket, head, resolve);
    });
    if (fault !== undefined && 'close' in fault) {
      ws.close(fault.close);
      return;
    }
    if (path === PROVISIONING) this.#provision(ws);
    else this.#converse(ws, who === 'none' ? undefined : who, request);
  }

  /** Rejects when the connection goes away meanwhile. */
  async #delay(ms: number, socket: Duplex): Promise<void> {
    if (socket.destroyed) return;
    const gone = new AbortController();
    const onClose = (): void => {
      gone.abort();
    };
    socket.once('close', onClose);
    try {
      await this.#parts.state.clock.sleep(ms, gone.signal);
    } finally {
      socket.off('close', onClose);
    }
  }

  /** The Basic header against the mock's devices; a primary may leave its device id out. */
  async #authenticate(header: string | undefined): Promise<Credentials> {
    if (header === undefined) return 'none';
    const [, username, password] = /^([^:]+):(.*)$/s.exec(decodeBasic(header)) ?? [];
    if (username === undefined || password === undefined) return 'bad';
    const full = username.includes('.') ? username : `${username}.1`;
    return (await this.#parts.state.mock.server.auth(full, password)) ?? 'bad';
  }

  #converse(ws: WebSocket, device: Device | undefined, request: IncomingMessage): void {
    const { state, upstream } = this.#parts;
    const older = [...this.#chat].filter(({ device: other }) => isSameDevice(other, device));
    const chat = new ChatSocket({
      ws,
      state,
      upstream,
      device,
      authorization: device === undefined ? undefined : withDeviceId(request.headers.authorization),
      wantsStories: request.headers['x-signal-receive-stories'] === 'true',
      replaces: older.length > 0,
      older: async () => {
        for (const other of older) other.close(4409, 'Connected elsewhere');
        await Promise.all(older.map((other) => other.closed));
      },
    });
    this.#chat.add(chat);
    this.#count(device === undefined ? 'anonymous' : 'authenticated', chat.closed, () => {
      this.#chat.delete(chat);
    });
    if (device !== undefined) state.factsOf(device).lastSeen = state.clock.now();
  }

  #provision(ws: WebSocket): void {
    const { state, upstream } = this.#parts;
    const relay = new ProvisioningRelay(ws, state, upstream);
    this.#provisioning.add(relay);
    this.#count('provisioning', relay.closed, () => {
      this.#provisioning.delete(relay);
    });
  }

  #count(kind: SocketKind, closed: Promise<void>, forget: () => void): void {
    const { state } = this.#parts;
    state.stats.sockets[kind] += 1;
    const counted = closed.finally(() => {
      state.stats.sockets[kind] -= 1;
      forget();
    });
    state.inBackground(counted, 'a socket failed');
  }
}

/** By address: a device that was registered or linked again has displaced the one of its id. */
function isSameDevice(a: Device | undefined, b: Device | undefined): boolean {
  return a !== undefined && a.aci === b?.aci && a.deviceId === b.deviceId;
}

/** The Basic header as the mock wants it: it does not take a primary's that leaves out its device id. */
function withDeviceId(header: string | undefined): string | undefined {
  const [, username, password] = /^([^:]+):(.*)$/s.exec(decodeBasic(header)) ?? [];
  if (username === undefined || password === undefined || username.includes('.')) return header;
  return `Basic ${Buffer.from(`${username}.1:${password}`).toString('base64')}`;
}

function decodeBasic(header: string | undefined): string {
  const encoded = /^Basic\s+(\S+)$/i.exec(header ?? '')?.[1] ?? '';
  return Buffer.from(encoded, 'base64').toString();
}

function refuse(socket: Duplex, status: number, retryAfter?: number): void {
  if (socket.destroyed) return;
  const wait = retryAfter === undefined ? '' : `Retry-After: ${String(retryAfter)}\r\n`;
  socket.end(
    `HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? 'Refused'}\r\n${wait}Content-Length: 0\r\nConnection: close\r\n\r\n`,
    () => socket.destroy(),
  );
}
