import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlsDemo } from '../../src/cli/demo-bls.ts';
import { checkPackages, PAIRING_PACKAGE, SERVER_PACKAGE } from '../../src/cli/demo-packages.ts';
import { Printer } from '../../src/cli/io.ts';
import { systemPlatform } from '../../src/platform.ts';
import { memoryIo } from '../support/memory-io.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'demo-packages-test-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function install(name: string): void {
  mkdirSync(join(folder, 'node_modules', name), { recursive: true });
  writeFileSync(join(folder, 'node_modules', name, 'package.json'), JSON.stringify({ name }));
}

function demo(): Promise<void> {
  const io = memoryIo();
  return new BlsDemo(io, new Printer(io, true), systemPlatform()).run(createRequire(join(folder, 'x.js')));
}

describe('demo --bls', () => {
  it('names all packages that are missing in one command', async () => {
    await expect(demo()).rejects.toMatchObject({
      code: 'DEVSERVER_MISSING',
      message: '@signalapp/mock-server and mcl-wasm are not installed',
      next: 'Install them: npm install --save-dev @signalapp/mock-server mcl-wasm',
    });
  });

  it.each([
    [SERVER_PACKAGE, PAIRING_PACKAGE],
    [PAIRING_PACKAGE, SERVER_PACKAGE],
  ])('names no package that is there: %s', async (there, missing) => {
    install(there);
    await expect(demo()).rejects.toMatchObject({
      code: 'DEVSERVER_MISSING',
      message: `${missing} is not installed`,
      next: `Install it: npm install --save-dev ${missing}`,
    });
  });

  it('finds both beside the sources', () => {
    checkPackages([SERVER_PACKAGE, PAIRING_PACKAGE]);
  });
});
