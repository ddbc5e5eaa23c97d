/**
 * Server profile: the one file that says how to reach a server (decisions, CLI contract).
 *
 * Whoever writes one makes mistakes, so each error names the field and its line, and says what would be right.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Endpoint } from '../transport/request.ts';
import { base64 } from './answer.ts';
import { fieldLine, parseJson } from './json-lines.ts';

export interface Profile {
  readonly name: string;
  /** Origin of chat: `https://host:port`, or `http://` on a loopback address. */
  readonly chat: string;
  /** Base addresses by CDN number, without a slash at the end. */
  readonly cdn: Readonly<Record<'0' | '2' | '3', string | undefined>>;
  readonly storage: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly serverPublicParams: Bytes | undefined;
  readonly sealedSender: {
    /** 33 bytes each. */
    readonly trustRoots: readonly Bytes[];
    /** `off` when the profile says so, or names no trust roots. */
    readonly mode: 'auto' | 'off';
  };
}

const MAX_BYTES = 1024 * 1024;
const PEM = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

const address = z.string('an address such as "https://chat.example.org" is needed').max(2048);
const origin = address.transform((text, context) => checked(context, () => readAddress(text, 'origin')));
const base = address.transform((text, context) => checked(context, () => readAddress(text, 'base')));
const rootText = 'a trust root is the base64 of a public key of 33 bytes, the first of which is 5';
const trustRoot = base64(33, 33, rootText).refine((key) => key[0] === 5, rootText);
const params = base64(1, 16_384, 'the server public params are base64');
const cdnSchema = z.object({ '0': base.optional(), '2': base.optional(), '3': base.optional() });
const sealedSenderSchema = z.object({
  trustRoots: z.array(trustRoot).max(16).optional(),
  mode: z.enum(['auto', 'off']).optional(),
});
const profileSchema = z.object({
  name: z.string().min(1).max(200).optional(),
  chat: origin,
  cdn: cdnSchema.optional(),
  storage: base.optional(),
  ca: z.string().min(1).max(MAX_BYTES).optional(),
  serverPublicParams: params.optional(),
  sealedSender: sealedSenderSchema.optional(),
});

/** Names of the fields that are read: those of the top under the empty name, then those inside a field. */
export const PROFILE_FIELDS: Readonly<Record<'' | 'cdn' | 'sealedSender', readonly string[]>> = {
  '': Object.keys(profileSchema.shape),
  cdn: Object.keys(cdnSchema.shape),
  sealedSender: Object.keys(sealedSenderSchema.shape),
};

/** @throws BotError `PROFILE_INVALID` */
export async function loadProfile(file: string): Promise<Profile> {
  return parseProfile(await readProfile(file), dirname(resolve(file)));
}

/** The text of the file. @throws BotError `PROFILE_INVALID` it cannot be read */
export async function readProfile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw invalid(`the server profile ${file} cannot be read`, cause, 'Check the path given with --server.');
  }
}

/**
 * @param baseDir where a `ca` that is a file name begins
 * @param read reads a text file; throws when it cannot
 * @throws BotError `PROFILE_INVALID`
 */
export function parseProfile(
  text: string,
  baseDir: string,
  read: (file: string) => string = readText,
): Profile {
  if (text.length > MAX_BYTES) throw invalid('the server profile is larger than 1 MiB');
  const value = parseJson(text);
  if (!value.ok) throw invalid(`line ${String(value.line)}: not JSON: ${value.reason}`);
  const parsed = profileSchema.safeParse(value.value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw fieldError(text, issue?.path ?? [], issue?.message ?? 'not as specified');
  }
  const { name, chat, cdn, storage, ca, serverPublicParams, sealedSender } = parsed.data;
  const trustRoots = sealedSender?.trustRoots ?? [];
  const mode = trustRoots.length === 0 ? 'off' : (sealedSender?.mode ?? 'auto');
  return {
    name: name ?? new URL(chat).host,
    chat,
    cdn: { '0': cdn?.['0'], '2': cdn?.['2'], '3': cdn?.['3'] },
    storage,
    ca: ca === undefined ? undefined : readCa(ca, baseDir, read, text),
    serverPublicParams,
    sealedSender: { trustRoots, mode },
  };
}

/** Where chat is. */
export function endpointOf(profile: Profile): Endpoint {
  return profile.ca === undefined ? { url: profile.chat } : { url: profile.chat, ca: profile.ca };
}

/** http only where nobody can listen in: on this machine. Throws an `Error` whose message is for the user. */
function readAddress(text: string, kind: 'origin' | 'base'): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Error('this is not an address such as "https://chat.example.org:8443"');
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new Error('the address must begin with https://');
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new Error(
      'http:// is taken for loopback addresses (127.0.0.1, localhost, [::1]) only; use https://',
    );
  }
  if (url.username !== '' || url.password !== '')
    throw new Error('the address must not hold a user name or password');
  if (url.search !== '' || url.hash !== '') throw new Error('the address must not hold "?" or "#"');
  if (kind === 'origin' && url.pathname !== '/')
    throw new Error('the address must end after host and port, without a path');
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** PEM as it stands in the profile, or the file it names. */
function readCa(ca: string, baseDir: string, read: (file: string) => string, profile: string): string {
  let pem = ca;
  if (!ca.includes('-----BEGIN')) {
    try {
      pem = read(resolve(baseDir, ca));
    } catch {
      throw fieldError(
        profile,
        ['ca'],
        `the file ${JSON.stringify(ca)} cannot be read (beside the profile, or an absolute path)`,
      );
    }
  }
  const certificates = pem.length > MAX_BYTES ? null : pem.match(PEM);
  if (!certificates)
    throw fieldError(profile, ['ca'], 'no PEM certificate ("-----BEGIN CERTIFICATE-----") is in it');
  for (const certificate of certificates) {
    try {
      new X509Certificate(certificate);
    } catch {
      throw fieldError(profile, ['ca'], 'a certificate in it is damaged');
    }
  }
  return `${certificates.join('\n')}\n`;
}

function readText(file: string): string {
  return readFileSync(file, 'utf8');
}

function checked(context: z.RefinementCtx, read: () => string): string {
  try {
    return read();
  } catch (error) {
    return refuse(context, error instanceof Error ? error.message : 'not an address');
  }
}

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

function fieldError(text: string, path: readonly PropertyKey[], message: string): BotError {
  const field = path.map(String).join('.');
  const line = fieldLine(text, path);
  const where = line === undefined ? '' : `line ${String(line)}: `;
  return invalid(`${where}${field === '' ? 'the profile' : `"${field}"`}: ${message}`);
}

function invalid(message: string, cause?: unknown, next?: string): BotError {
  return new BotError('PROFILE_INVALID', message, { cause, ...(next !== undefined && { next }) });
}
