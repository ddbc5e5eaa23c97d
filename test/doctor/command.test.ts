import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import type { Check } from '../../src/doctor/check.ts';
import { memoryIo, type MemoryIo } from '../support/memory-io.ts';

const folder = mkdtempSync(join(tmpdir(), 'doctor-test-'));
const env = { COUNTERSIGN_SERVER: join(folder, 'server.json') };
let server: DevServer;
let phone: Phone;

beforeAll(async () => {
  server = await startDevServer({ tls: true });
  phone = await server.createPhone();
  writeFileSync(env.COUNTERSIGN_SERVER, JSON.stringify(server.profile));
});
afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

async function doctor(...argv: string[]): Promise<{ code: number; io: MemoryIo }> {
  const io = memoryIo({ cwd: folder, env });
  const code = await main(['doctor', ...argv], io);
  return { code, io };
}

async function checksOf(...argv: string[]): Promise<{ code: number; checks: Map<string, Check> }> {
  const { code, io } = await doctor(...argv, '--json');
  const [report, ...others] = io.lines();
  expect(others).toEqual([]);
  const { checks } = report as unknown as { checks: Check[] };
  return { code, checks: new Map(checks.map((check) => [check.name, check])) };
}

it('prints a line for each check, and ends with 0 where nothing fails', async () => {
  const { code, io } = await doctor();
  expect(code).toBe(0);
  expect(io.out()).toMatch(/^ok {4}profile +Countersign development server/);
  expect(io.out()).toContain('ok    certificate chain     leads to the CA of the profile');
  expect(io.out()).toMatch(/nothing is wrong\n$/);
});

it('names the line of a profile that is wrong, and tries nothing else', async () => {
  writeFileSync(join(folder, 'wrong.json'), '{\n  "chat": "http://chat.example.org"\n}');
  const { code, checks } = await checksOf('--server', 'wrong.json');
  expect(code).toBe(1);
  expect(checks.get('profile')).toMatchObject({ state: 'fail' });
  expect(checks.get('profile')?.message).toContain('line 2: "chat"');
  const states = [...checks.values()].map(({ state }) => state);
  expect(states.slice(1).every((state) => state === 'skip')).toBe(true);
  const { code: missing, io } = await doctor('--server', 'nowhere.json');
  expect([missing, io.out().includes('Check the path')]).toEqual([1, true]);
});

it('names the fields of a profile that nothing reads, and what was probably meant', async () => {
  const { storage, sealedSender, cdn, ...profile } = server.profile;
  const misspelled = {
    ...profile,
    cdn: { ...cdn, 7: storage },
    storge: storage,
    sealedsender: sealedSender,
    sealedSender: { trustroots: sealedSender.trustRoots },
  };
  writeFileSync(join(folder, 'misspelled.json'), JSON.stringify(misspelled, undefined, 1));
  const { code, checks } = await checksOf('--server', 'misspelled.json');
  expect(code).toBe(0);
  const line = checks.get('profile');
  expect(line).toMatchObject({ state: 'warn' });
  for (const name of [
    '"storge" (line',
    '"sealedsender" (line',
    '"cdn.7" (line',
    '"sealedSender.trustroots" (line',
  ])
    expect(line?.message).toContain(name);
  for (const name of [
    '"storage" in place of "storge"',
    '"sealedSender" in place of "sealedsender"',
    '"trustRoots" in place of "sealedSender.trustroots"',
  ])
    expect(line?.next).toContain(name);
  expect(line?.next).not.toContain('"cdn.7"');
  const { io } = await doctor('--server', 'misspelled.json');
  expect(io.out()).not.toContain('nothing is wrong');
});

it('needs to be told which server', async () => {
  const io = memoryIo({ cwd: folder });
  expect(await main(['doctor'], io)).toBe(2);
});

it('says so where nothing is linked', async () => {
  const { code, checks } = await checksOf('--data', 'nothing');
  expect(code).toBe(0);
  expect(checks.get('store')).toMatchObject({ state: 'warn' });
  expect(checks.get('store')?.message).toContain(join(folder, 'nothing'));
  expect(checks.get('store')?.next).toContain('Is that the directory you mean?');
  expect(checks.get('store files')).toMatchObject({ state: 'skip' });
  expect(checks.get('queue')).toMatchObject({ state: 'skip', message: 'not tried: nothing is linked there' });
});

it('looks after a linked device, without a bot and beside one that stays connected', async () => {
  const link = memoryIo({ cwd: folder, env });
  const linking = main(['link', '--data', 'data', '--insecure-plain-store', '--qr', 'none', '--json'], link);
  await phone.link(String((await link.line(({ event }) => event === 'url'))['url']));
  expect(await linking).toBe(0);

  const alone = await checksOf('--data', 'data');
  expect(alone.code).toBe(0);
  expect(alone.checks.get('queue')).toMatchObject({ state: 'ok' });

  const run = memoryIo({ cwd: folder, env });
  const running = main(['run', '--data', 'data', '--json'], run);
  await run.line(({ event }) => event === 'ready');
  const beside = await checksOf('--data', 'data');
  expect(beside.code).toBe(0);
  expect(beside.checks.get('store')?.message).toContain('a bot that runs');
  expect(beside.checks.get('store files')).toMatchObject({ state: 'ok' });
  expect(beside.checks.get('authenticated socket')).toMatchObject({ state: 'ok' });
  expect(beside.checks.get('queue')).toMatchObject({ state: 'skip' });
  expect((await server.stats()).sockets.authenticated).toBe(1);
  run.stop.abort();
  expect(await running).toBe(0);
  const states = run.lines().flatMap(({ event, state }) => (event === 'connection' ? [state] : []));
  expect(states.filter((state) => state === 'online')).toHaveLength(1);
});
