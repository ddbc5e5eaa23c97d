import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { startDevServer } from '../../src/devserver/devserver.ts';
import { makeCa, type IssueOptions } from '../support/certificates.ts';
import { startProxy } from '../support/proxy.ts';
import { examined, namesOf } from './examined.ts';

const DAY_MS = 24 * 60 * 60_000;
const TLS_LINES = ['certificate chain', 'certificate name', 'certificate dates'];
const UNTRIED = ['upgrade', 'authorization header', 'anonymous socket', 'clock', 'generation'];
const ca = makeCa('Test CA');
const ago = (days: number): Date => new Date(Date.now() - days * DAY_MS);
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** A server that shows such a certificate and does nothing else. */
async function show(options: IssueOptions, by = ca): Promise<string> {
  const server: Server = createServer(by.issue(options), (_request, response) =>
    response.writeHead(404).end(),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

it('has nothing against the development server over TLS', async () => {
  const server = await startDevServer({ tls: true });
  closers.push(() => server.close());
  const checks = await examined(server.profile);
  expect([...namesOf(checks, 'fail'), ...namesOf(checks, 'warn')]).toEqual([]);
  expect(namesOf(checks, 'ok')).toEqual(expect.arrayContaining(['tls', ...TLS_LINES, ...UNTRIED]));
});

it('has nothing against a proxy with a certificate of the CA in the profile', async () => {
  const server = await startDevServer();
  const proxy = await startProxy(server.url, {}, ca.issue());
  closers.push(proxy.close, () => server.close());
  const checks = await examined({
    ...server.profile,
    chat: proxy.url,
    ca: ca.certificate + server.profile.ca,
  });
  expect([...namesOf(checks, 'fail'), ...namesOf(checks, 'warn')]).toEqual([]);
});

it('names a CA that did not issue the certificate, and tries nothing after it', async () => {
  const chat = await show({}, makeCa('Some other CA'));
  const checks = await examined({ chat, ca: ca.certificate });
  expect(checks['certificate chain']).toMatchObject({ state: 'fail' });
  expect(checks['certificate chain']?.message).toContain('Some other CA');
  expect(checks['certificate chain']?.next).toContain('"ca" of the profile');
  expect(checks['certificate name']).toMatchObject({ state: 'ok' });
  for (const name of UNTRIED) expect(checks[name]).toMatchObject({ state: 'skip' });
});

it('asks for a CA where the profile has none', async () => {
  const checks = await examined({ chat: await show({}) });
  expect(checks['certificate chain']).toMatchObject({ state: 'fail' });
  expect(checks['certificate chain']?.next).toContain('into the profile ("ca")');
});

it('names the day on which a certificate expired', async () => {
  const chat = await show({ from: ago(100), to: ago(10) });
  const checks = await examined({ chat, ca: ca.certificate });
  expect(checks['certificate dates']).toMatchObject({ state: 'fail' });
  expect(checks['certificate dates']?.message).toContain(ago(10).toISOString().slice(0, 10));
  expect(checks['upgrade']).toMatchObject({ state: 'skip' });
});

it('tells a certificate that is not valid yet, and one that soon will not be', async () => {
  const early = await examined({ chat: await show({ from: ago(-5), to: ago(-50) }), ca: ca.certificate });
  expect(early['certificate dates']).toMatchObject({ state: 'fail' });
  expect(early['certificate dates']?.message).toContain('valid only from');
  const late = await examined({ chat: await show({ to: ago(-3) }), ca: ca.certificate });
  expect(late['certificate dates']).toMatchObject({ state: 'warn' });
});

it('tells an expired CA from an expired certificate', async () => {
  const old = makeCa('Old CA', { from: ago(900), to: ago(20) });
  const checks = await examined({ chat: await show({}, old), ca: old.certificate });
  expect(checks['certificate dates']).toMatchObject({ state: 'fail' });
  expect(checks['certificate dates']?.message).toContain('above it, or the CA');
});

it('names the names of a certificate for another host', async () => {
  const chat = await show({ names: ['chat.example.org', 'other.example.org'] });
  const checks = await examined({ chat, ca: ca.certificate });
  expect(checks['certificate chain']).toMatchObject({ state: 'ok' });
  expect(checks['certificate name']).toMatchObject({ state: 'fail' });
  expect(checks['certificate name']?.message).toContain('chat.example.org');
  expect(checks['upgrade']).toMatchObject({ state: 'skip' });
});

it('tells a port that does not speak TLS', async () => {
  const server = await startDevServer();
  closers.push(() => server.close());
  const chat = server.url.replace('http:', 'https:');
  const checks = await examined({ chat, ca: ca.certificate });
  expect(checks['tls']).toMatchObject({ state: 'fail' });
  expect(checks['certificate chain']).toMatchObject({ state: 'skip' });
});
