/** A reverse proxy in front of a server, with the mistakes that proxies are set up with. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ProxyMistakes {
  readonly dropAuthorization?: boolean;
  /** The path reaches the server without its trailing slash. */
  readonly stripSlash?: boolean;
  /** The client is sent to the path without its trailing slash. */
  readonly redirectSlash?: boolean;
  /** Upgrade and Connection are not passed on. */
  readonly dropUpgrade?: boolean;
  /** Asks for credentials of its own. */
  readonly ownLogin?: boolean;
  /** Answers every request with this status. */
  readonly status?: number;
  /** Calls by REST are answered as the Java servers answer them without credentials. */
  readonly rest?: boolean;
  /** ms of silence after which it closes a connection. */
  readonly idleMs?: number;
  /** ms after which it passes nothing on any more, and does not say so. */
  readonly forgetMs?: number;
}

export interface Proxy {
  readonly url: string;
  readonly close: () => void;
}

/** @param target origin, plain http @param tls PEM */
export async function startProxy(
  target: string,
  mistakes: ProxyMistakes,
  tls?: { cert: string; key: string },
): Promise<Proxy> {
  const server: Server = tls === undefined ? createServer() : createTlsServer(tls);
  const open = new Set<Duplex>();
  const keep = (socket: Duplex): void => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
  };
  server.on('request', (request, response) => {
    const isRest = mistakes.rest === true && request.url?.startsWith('/v1/accounts/') === true;
    response.writeHead(mistakes.status ?? (isRest ? 401 : 404)).end();
  });
  server.on('upgrade', (request: IncomingMessage, client: Duplex, head: Buffer) => {
    keep(client);
    const refusal = refusalOf(request, mistakes);
    if (refusal !== undefined) {
      client.end(`HTTP/1.1 ${refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname);
    keep(upstream);
    upstream.write(headOf(request, mistakes));
    upstream.write(head);
    client.pipe(upstream).pipe(client);
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
    if (mistakes.idleMs !== undefined) upstream.setTimeout(mistakes.idleMs, () => upstream.destroy());
    if (mistakes.forgetMs !== undefined) {
      setTimeout(() => {
        client.unpipe(upstream).resume();
        upstream.unpipe(client).resume();
      }, mistakes.forgetMs);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${String(port)}`,
    close: () => {
      for (const socket of open) socket.destroy();
      server.close();
      server.closeAllConnections();
    },
  };
}

function refusalOf(request: IncomingMessage, mistakes: ProxyMistakes): string | undefined {
  if (mistakes.status !== undefined) return `${String(mistakes.status)} No`;
  if (mistakes.ownLogin === true) return '401 Unauthorized\r\nWWW-Authenticate: Basic realm="proxy"';
  if (mistakes.redirectSlash === true && request.url?.endsWith('/') === true)
    return `301 Moved\r\nLocation: ${request.url.slice(0, -1)}`;
  return undefined;
}

function headOf({ method = 'GET', url = '/', rawHeaders }: IncomingMessage, mistakes: ProxyMistakes): string {
  const path = mistakes.stripSlash === true ? url.replace(/\/$/, '') : url;
  const lines = [`${method} ${path} HTTP/1.1`];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (mistakes.dropAuthorization === true && name === 'authorization') continue;
    if (mistakes.dropUpgrade === true && (name === 'upgrade' || name === 'connection')) continue;
    lines.push(`${rawHeaders[i] ?? ''}: ${rawHeaders[i + 1] ?? ''}`);
  }
  if (mistakes.dropUpgrade === true) lines.push('Connection: close');
  return `${lines.join('\r\n')}\r\n\r\n`;
}
