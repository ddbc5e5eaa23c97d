/**
 * Network: does the name resolve, does anything listen there, and what certificate does it show
 * (protocol brief, section 1.2).
 *
 * Looking at a certificate that is not trusted means taking it without the check, once: nothing is sent over that
 * connection. All that carries a request or a password checks.
 */
import { lookup } from 'node:dns/promises';
import { connect, isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type PeerCertificate } from 'node:tls';
import type { Profile } from '../service/profile.ts';
import { fail, ok, skip, warn, type Finding } from './check.ts';

/** What the server showed in the TLS handshake. */
export interface Shown {
  readonly certificate: PeerCertificate;
  /** OpenSSL's name of what is wrong with the chain; undefined when nothing is. */
  readonly chainError: string | undefined;
}

/** Certificates are renewed some weeks ahead, where somebody sees to it. */
const EXPIRES_SOON_MS = 14 * 24 * 60 * 60_000;
const OUT_OF_DATE = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);

/** Host without brackets, and port. */
export function hostOf(url: string): { host: string; port: number; secure: boolean } {
  const { hostname, port, protocol } = new URL(url);
  const secure = protocol === 'https:';
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (secure ? 443 : 80) : Number(port),
    secure,
  };
}

export async function checkDns(profile: Profile): Promise<Finding> {
  const { host } = hostOf(profile.chat);
  if (isIP(host) !== 0) return ok(`${host} is an address, no name to look up`);
  try {
    const found = await lookup(host, { all: true });
    return ok(`${host} is ${found.map(({ address }) => address).join(', ')}`);
  } catch (error) {
    return fail(
      `the name ${host} cannot be looked up (${codeOf(error)})`,
      'Correct "chat" in the profile, or the DNS entry (on one machine: /etc/hosts).',
    );
  }
}

export function checkPort(profile: Profile, signal: AbortSignal): Promise<Finding> {
  const { host, port } = hostOf(profile.chat);
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (finding: Finding): void => {
      socket.destroy();
      resolve(finding);
    };
    socket.once('connect', () => {
      end(ok(`something listens on ${host} port ${String(port)}`));
    });
    socket.once('error', (error) => {
      const code = codeOf(error);
      end(
        fail(
          `no connection to ${host} port ${String(port)} (${code})`,
          code === 'ECONNREFUSED'
            ? 'Start the server or the proxy in front of it, or correct the port in "chat".'
            : 'Is the server up, is the address in "chat" right, and does a firewall stand in between?',
        ),
      );
    });
    destroyOnAbort(socket, signal);
  });
}

/** @returns what the server shows, or the finding that no TLS came about */
export function shakeHands(profile: Profile, signal: AbortSignal): Promise<Shown | Finding> {
  const { host, port } = hostOf(profile.chat);
  return new Promise((resolve) => {
    const socket = connectTls({
      host,
      port,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false, // only looked at; see above
      checkServerIdentity: () => undefined, // a line of its own
      ...(isIP(host) === 0 && { servername: host }),
      ...(profile.ca !== undefined && { ca: profile.ca }),
    });
    const end = (result: Shown | Finding): void => {
      socket.destroy();
      resolve(result);
    };
    socket.once('secureConnect', () => {
      const chainError = socket.authorized ? undefined : String(socket.authorizationError);
      end({ certificate: socket.getPeerCertificate(), chainError });
    });
    socket.once('error', (error) => {
      const code = codeOf(error);
      const next = code.includes('NO_APPLICATION_PROTOCOL')
        ? 'Let the server, or the proxy in front of it, take HTTP/1.1 beside HTTP/2 (ALPN http/1.1).'
        : 'Does this port speak TLS 1.2 or later? "chat" in the profile says https.';
      end(fail(`no TLS connection comes about (${code})`, next));
    });
    destroyOnAbort(socket, signal);
  });
}

/** Who waits for the socket's end is told by the signal itself. */
function destroyOnAbort(socket: Socket, signal: AbortSignal): void {
  const onAbort = (): void => {
    socket.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('close', () => {
    signal.removeEventListener('abort', onAbort);
  });
}

export function checkChain({ certificate, chainError }: Shown, profile: Profile): Finding {
  const roots = profile.ca === undefined ? 'a root that this system trusts' : 'the CA of the profile';
  if (chainError === undefined) return ok(`leads to ${roots}`);
  if (OUT_OF_DATE.has(chainError)) return skip('cannot be told while a certificate is out of date');
  const issuer = nameOf(certificate.issuer);
  return fail(
    `does not lead to ${roots} (${chainError}); it was issued by ${issuer}`,
    profile.ca === undefined
      ? 'Put the certificate of the CA that issued it into the profile ("ca").'
      : `Put the CA that issued it into "ca" of the profile; if that is done, let the server send its whole chain.`,
  );
}

export function checkCertificateName({ certificate }: Shown, profile: Profile): Finding {
  const { host } = hostOf(profile.chat);
  const error = checkServerIdentity(host, certificate);
  if (error === undefined) return ok(`is for ${host}`);
  const names = certificate.subjectaltname ?? nameOf(certificate.subject);
  return fail(
    `is not for ${host}; it names ${names}`,
    'Use one of those names in "chat", or have a certificate issued that names this one.',
  );
}

export function checkDates({ certificate, chainError }: Shown, now: number): Finding {
  const from = Date.parse(certificate.valid_from);
  const to = Date.parse(certificate.valid_to);
  const renew = 'Renew the certificate on the server; if its dates are right, set the clock of this machine.';
  if (now > to) return fail(`expired on ${dayOf(to)}`, renew);
  if (now < from) return fail(`is valid only from ${dayOf(from)}`, renew);
  if (chainError !== undefined && OUT_OF_DATE.has(chainError)) {
    return fail(
      `a certificate above it, or the CA of the profile, is out of date (${chainError})`,
      'Renew that one, on the server and in "ca" of the profile.',
    );
  }
  if (to - now < EXPIRES_SOON_MS) return warn(`expires on ${dayOf(to)}`, 'Renew it before that day.');
  return ok(`valid until ${dayOf(to)}`);
}

/** The system's name of what went wrong. */
export function codeOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return error instanceof Error ? error.message : String(error);
}

function nameOf(entry: PeerCertificate['subject'] | undefined): string {
  return [entry?.CN, entry?.O].flat().find((text) => text !== undefined && text !== '') ?? 'nobody named';
}

function dayOf(time: number): string {
  return Number.isNaN(time) ? 'an unreadable date' : new Date(time).toISOString().slice(0, 10);
}
