import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { toBase64 } from '../../src/bytes.ts';
import { endpointOf, loadProfile, parseProfile } from '../../src/service/profile.ts';

const certs = join(
  dirname(createRequire(import.meta.url).resolve('@signalapp/mock-server/package.json')),
  'certs',
);
const pem = readFileSync(join(certs, 'ca-cert.pem'), 'utf8');
const root = toBase64(new Uint8Array(33).fill(5));
const folder = mkdtempSync(join(tmpdir(), 'countersign-profile-'));

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function parse(value: unknown) {
  return parseProfile(typeof value === 'string' ? value : JSON.stringify(value), folder);
}

function messageOf(value: unknown): string {
  try {
    parse(value);
  } catch (error) {
    expect(error).toMatchObject({ code: 'PROFILE_INVALID' });
    return (error as Error).message;
  }
  throw new Error('this profile was taken');
}

describe('a server profile', () => {
  it('needs no more than the address of chat', () => {
    const profile = parse({ chat: 'https://chat.example.org:8443/' });
    expect(profile).toEqual({
      name: 'chat.example.org:8443',
      chat: 'https://chat.example.org:8443',
      cdn: { '0': undefined, '2': undefined, '3': undefined },
      storage: undefined,
      ca: undefined,
      serverPublicParams: undefined,
      sealedSender: { trustRoots: [], mode: 'off' },
    });
    expect(endpointOf(profile)).toEqual({ url: 'https://chat.example.org:8443' });
  });

  it('reads all that can be in one, and ignores what it does not know', () => {
    const profile = parse({
      name: 'mine',
      chat: 'https://[::1]:1',
      cdn: { '0': 'https://a', '3': 'https://a/cdn3/' },
      storage: 'https://a/storageService',
      ca: pem,
      serverPublicParams: 'AQID',
      sealedSender: { trustRoots: [root.replace(/=+$/, '')] },
      later: 1,
    });
    expect(profile).toMatchObject({
      name: 'mine',
      cdn: { '0': 'https://a', '2': undefined, '3': 'https://a/cdn3' },
      storage: 'https://a/storageService',
      serverPublicParams: Uint8Array.of(1, 2, 3),
      sealedSender: { mode: 'auto' },
    });
    expect(endpointOf(profile).ca).toContain('BEGIN CERTIFICATE');
  });

  it('has sealed sender off when it says so, or without a trust root', () => {
    const chat = 'https://a';
    expect(parse({ chat, sealedSender: { trustRoots: [root], mode: 'off' } }).sealedSender.mode).toBe('off');
    expect(parse({ chat, sealedSender: { mode: 'auto' } }).sealedSender.mode).toBe('off');
    expect(parse({ chat, sealedSender: { trustRoots: [root], mode: 'auto' } }).sealedSender.mode).toBe(
      'auto',
    );
  });

  it('is read from a file, with the CA in a file beside it', async () => {
    writeFileSync(join(folder, 'ca.pem'), pem);
    writeFileSync(join(folder, 'server.json'), '\ufeff{"chat": "https://a", "ca": "ca.pem"}');
    expect((await loadProfile(join(folder, 'server.json'))).ca).toContain('BEGIN CERTIFICATE');
    await expect(loadProfile(join(folder, 'none.json'))).rejects.toMatchObject({ code: 'PROFILE_INVALID' });
  });

  it.each(['http://127.0.0.1:8080', 'http://localhost', 'http://[::1]:99', 'http://127.8.9.1'])(
    'takes the clear address %s',
    (chat) => {
      expect(parse({ chat }).chat).toBe(chat);
    },
  );

  it.each([
    ['http://192.168.0.1:8080', 'loopback'],
    ['http://localhost.example.org', 'loopback'],
    ['http://127.0.0.1.example.org', 'loopback'],
    ['wss://a', 'begin with https://'],
    ['https://user:word@a', 'user name'],
    ['https://a/v1', 'without a path'],
    ['https://a?x=1', '"?"'],
    ['chat.example.org', 'not an address'],
    ['', 'not an address'],
  ])('does not take %s for chat', (chat, why) => {
    expect(messageOf(`{\n  "name": "chat",\n  "chat": "${chat}"\n}`)).toMatch(/^line 3: "chat": /);
    expect(messageOf({ chat })).toContain(why);
  });

  it.each([
    ['a missing chat', '{"name": "x"}', '"chat"'],
    ['a number for chat', '{\n"chat": 5}', 'line 2: "chat"'],
    ['a list', '[]', 'the profile'],
    [
      'a short trust root',
      `{"chat": "https://a",\n\n"sealedSender": {\n"trustRoots": ["AAAA"]}}`,
      'line 4: "sealedSender.trustRoots.0"',
    ],
    ['a wrong mode', '{"chat": "https://a",\n"sealedSender": {"mode": "on"}}', 'line 2: "sealedSender.mode"'],
    [
      'params that are no base64',
      '{"chat": "https://a",\n"serverPublicParams": "é"}',
      'line 2: "serverPublicParams"',
    ],
    ['a CDN address without a scheme', '{"chat": "https://a",\n"cdn": {\n"2": "b"}}', 'line 3: "cdn.2"'],
    [
      'a CA file that is not there',
      '{"chat": "https://a",\n"ca": "none.pem"}',
      'line 2: "ca": the file "none.pem" cannot be read',
    ],
    [
      'a damaged CA',
      JSON.stringify({ chat: 'https://a', ca: pem.replace(/[A-Z]{4}/g, '') }, null, 1),
      'line 3: "ca"',
    ],
    [
      'a CA that is a key',
      '{"chat": "https://a", "ca": "-----BEGIN PRIVATE KEY-----"}',
      '"ca": no PEM certificate',
    ],
  ])('names field and line of %s', (_name, text, expected) => {
    expect(messageOf(text)).toContain(expected);
  });

  it.each([
    ['{\n  "chat": "https://a",\n}', 3],
    ['{\n  "chat" "https://a"\n}', 2],
    ["{\n\n  'chat': 1\n}", 3],
    ['{\n  "chat": "https://a"', 2],
    ['{\n  "chat": "https://a\n  "\n}', 2],
    ['', 1],
    ['{}\nx', 2],
    ['{\n"a": tru\n}', 2],
    ['{"a": 1}}\n\n', 1],
  ])('names the line of a slip in %j', (text, line) => {
    expect(messageOf(text)).toMatch(new RegExp(`^line ${String(line)}: not JSON`));
  });

  it('quotes nothing of the file in its errors about JSON', () => {
    expect(messageOf('{"password": hunter2}')).not.toContain('hunter');
  });
});
