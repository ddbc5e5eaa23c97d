/**
 * A process that commits until it is killed, or that changes a store's protection and kills itself at a step.
 *
 *   tsx store-writer.ts write FOLDER      prints each number whose commit has resolved
 *   tsx store-writer.ts compact FOLDER    the same, and compacts all the while
 *   tsx store-writer.ts rekey FOLDER FROM TO STEP
 *   tsx store-writer.ts migrate FOLDER STEP
 */
import { writeSync } from 'node:fs';
import { fromUtf8 } from '../../src/bytes.ts';
import type { Secret } from '../../src/store/level.ts';
import { openFolder } from '../../src/store/folder.ts';
import { migrate } from '../../src/store/migrate.ts';
import { rekey } from '../../src/store/rekey.ts';
import type { Store } from '../../src/store/store.ts';
import { systemPlatform } from '../../src/platform.ts';
import { CHEAP_SCRYPT, openOrMake, PASSPHRASE } from './store-folder.ts';
import { ROWS_PER_COMMIT } from './store-numbers.ts';

async function writeForever(store: Store): Promise<void> {
  const commit = async (number: number): Promise<void> => {
    const batch = store.batch();
    for (let i = 0; i < ROWS_PER_COMMIT; i++) {
      batch.put(
        `row/${String(number).padStart(8, '0')}/${String(i)}`,
        fromUtf8(`${String(number)} ${'x'.repeat(200)}`),
      );
    }
    await batch.commit();
    writeSync(1, `${String(number)}\n`);
  };
  for (let number = 0; ; number++) {
    const done = commit(number);
    // Some commits wait for each other, most go together.
    if (number % 16 === 0) await done;
  }
}

async function compactForever(store: Store): Promise<void> {
  for (;;) await store.compact('');
}

function dieAt(step: string): (now: string) => void {
  return (now) => {
    if (now === step) process.kill(process.pid, 'SIGKILL');
  };
}

const [mode, folder = '', ...rest] = process.argv.slice(2);
if (mode === 'write' || mode === 'compact') {
  const store = await openOrMake(folder, PASSPHRASE);
  await Promise.all([writeForever(store), ...(mode === 'compact' ? [compactForever(store)] : [])]);
}
if (mode === 'rekey') {
  const [from = '', to = '', step = ''] = rest;
  await rekey(folder, JSON.parse(from) as Secret, JSON.parse(to) as Secret, {
    scrypt: CHEAP_SCRYPT,
    onStep: dieAt(step),
  });
}
if (mode === 'migrate') {
  const platform = systemPlatform();
  const opened = await openFolder(folder, PASSPHRASE, platform.random);
  await migrate(opened, platform, dieAt(rest[0] ?? ''));
}
