import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { startDevServer, type DevServer } from '../../src/devserver/devserver.ts';
import { loadLibrary } from '../../src/devserver/mock-library.ts';

describe('the development server', () => {
  let server: DevServer | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  it('says DEVSERVER_MISSING where the mock is not installed', async () => {
    const elsewhere = createRequire(`${tmpdir()}/nowhere.js`);
    await expect(loadLibrary(elsewhere)).rejects.toMatchObject({ code: 'DEVSERVER_MISSING' });
  });

  it('gives a profile with everything that a server needs to be reached', async () => {
    server = await startDevServer({ dialect: 'dec25' });
    const { profile, url } = server;
    expect(profile.chat).toBe(url);
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(profile.ca).toContain('BEGIN CERTIFICATE');
    expect(Buffer.from(profile.sealedSender.trustRoots[0] ?? '', 'base64')).toHaveLength(33);
    expect(profile.sealedSender.mode).toBe('auto');
    expect(Object.values(profile.cdn).every((origin) => origin.startsWith('https://127.0.0.1:'))).toBe(true);
    expect(profile.storage).toMatch(/\/storageService$/);
    expect(profile.serverPublicParams.length).toBeGreaterThan(500);
    expect(JSON.parse(JSON.stringify(profile))).toEqual(profile);
  });

  it('takes the port that is asked for, and says so when it is taken', async () => {
    server = await startDevServer();
    await expect(startDevServer({ port: server.port })).rejects.toMatchObject({ code: 'PORT_TAKEN' });
    const { port } = server;
    await server.close();
    server = await startDevServer({ port });
    expect(server.port).toBe(port);
  });

  it('leaves nothing behind that keeps a process running', async () => {
    const module = fileURLToPath(new URL('../../src/devserver/devserver.ts', import.meta.url));
    const script = `
      const { startDevServer } = await import(${JSON.stringify(module)});
      const server = await startDevServer();
      const phone = await server.createPhone();
      const socket = new (await import('ws')).WebSocket(server.url.replace('http', 'ws') + '/v1/websocket/provisioning/');
      await new Promise((resolve) => socket.once('message', resolve));
      phone.messages({ waitMs: 50 });
      await server.close();
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script]);
    const stderr: string[] = [];
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk.toString()));
    const code = await new Promise((resolve) => child.once('exit', resolve));
    expect([code, stderr.join('')]).toEqual([0, '']);
  }, 20_000);
});
