/** Messages of volatile types are in no backup, wherever they wait. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { writeBackup } from '../../src/backup/backup.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { isVolatile, noteVolatileTags, volatileTags } from '../../src/backup/volatile-tags.ts';
import type { Aci } from '../../src/address.ts';
import { fromUtf8 } from '../../src/bytes.ts';
import { parseTag } from '../../src/content/app-message.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { appType, definePlugin } from '../../src/index.ts';
import { systemPlatform } from '../../src/platform.ts';
import { Plugins } from '../../src/plugin.ts';
import { openLevel } from '../../src/store/level.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import type { Store } from '../../src/store/store.ts';
import { deadRows, inboxRows, outboxRows, sentLog } from '../../src/store/tables.ts';
import { inboxRow } from '../support/inbox-row.ts';
import { CHEAP_SCRYPT, PLAIN, tempFolder } from '../support/store-folder.ts';
import { linkedStore } from '../upkeep/fixtures.ts';

const BOB = '00000000-0000-4000-8000-0000000000bb' as Aci;
const PRIVATE = parseTag('rounds/private/1');
const PUBLIC = parseTag('rounds/public/1');
const platform = systemPlatform();
let folder: Awaited<ReturnType<typeof tempFolder>>;

beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(async () => {
  await folder.remove();
});

/** One row of each table and kind of message. */
async function fill(store: Store): Promise<void> {
  const batch = store.batch();
  const messages = [
    encodeApp(PRIVATE, fromUtf8('secret share')),
    encodeApp(PUBLIC, fromUtf8('commitment')),
    encodeText('hello', 3),
  ];
  for (const [index, content] of messages.entries()) {
    const timestamp = index + 1;
    const tag = [PRIVATE, PUBLIC][index] ?? '';
    outboxRows.put(
      batch,
      BOB,
      timestamp,
      newRow({ recipient: BOB, timestamp, kind: tag === '' ? 'text' : 'app', tag, content }),
    );
    sentLog.put(batch, BOB, timestamp, { content, sentAt: 1, devices: [1], urgent: true, tag });
    inboxRows.put(batch, timestamp, inboxRow(BOB, content));
    deadRows.put(batch, timestamp, inboxRow(BOB, content));
  }
  deadRows.put(batch, 9, inboxRow(BOB, fromUtf8('not a content')));
  await batch.commit();
}

async function places(store: Store): Promise<string[]> {
  const found: string[] = [];
  for (const table of [outboxRows, sentLog, inboxRows, deadRows] as const) {
    for await (const [key] of store.scan(table.key())) found.push(key.replace(/\/.*[/0]/, ' '));
  }
  return found;
}

describe('a message of a volatile type', () => {
  it('is not in a backup, whether it waits, was sent or has died; all others are', async () => {
    const store = await linkedStore();
    const plugins = new Plugins({ self: BOB, store, stamp: () => 1, onRow: () => undefined, platform });
    const [secret, open] = [appType(PRIVATE), appType(PUBLIC)];
    await plugins.install(
      definePlugin({
        name: 'rounds',
        version: '1',
        tags: [secret, open],
        volatile: [secret],
        setup: (host) => {
          for (const type of [secret, open]) host.app(type, () => undefined);
        },
      }),
    );
    await fill(store);
    expect(await places(store)).toHaveLength(13);
    const file = join(folder.path, 'file');
    const signal = AbortSignal.timeout(20_000);
    await writeBackup(file, { store, platform, passphrase: 'x', scrypt: CHEAP_SCRYPT }, signal);
    await restoreBackup(file, folder.data, { platform, passphrase: 'x', secret: PLAIN }, signal);
    const restored = await openLevel(folder.data, { secret: PLAIN });
    const expected = [
      'outbox 2',
      'outbox 3',
      'sent 2',
      'sent 3',
      'inbox 2',
      'inbox 3',
      'dead 2',
      'dead 3',
      'dead 9',
    ];
    expect(await places(restored)).toEqual(expected);
    await restored.close();
  });

  it('stays one when its plugin is gone', async () => {
    const store = await linkedStore();
    await noteVolatileTags(store, [PUBLIC]);
    await noteVolatileTags(store, [PRIVATE, PRIVATE]);
    await noteVolatileTags(store, []);
    expect([...(await volatileTags(store))]).toEqual([PRIVATE, PUBLIC]);
  });

  it('is none where no type is volatile, or the row is no message', async () => {
    const row = encodeApp(PRIVATE, fromUtf8('x'));
    expect(await isVolatile(new Set(), inboxRows.key(1), row)).toBe(false);
    expect(await isVolatile(new Set([PRIVATE]), 'state/a/b', row)).toBe(false);
  });
});
