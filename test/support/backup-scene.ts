/** What tests of backups start from: a bot with a row of each sort, a friend it knows, and a folder for the file. */
import { join } from 'node:path';
import { writeBackup } from '../../src/backup/backup.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import { fromUtf8, type Bytes } from '../../src/bytes.ts';
import { systemPlatform } from '../../src/platform.ts';
import type { Store } from '../../src/store/store.ts';
import {
  lastResortUses,
  pluginState,
  pluginVolatile,
  seenMarks,
  senderKeys,
} from '../../src/store/tables.ts';
import { introduce, makePeer, type Peer } from './peer.ts';
import { CHEAP_SCRYPT, PASSPHRASE, tempFolder } from './store-folder.ts';

export const platform = systemPlatform();
export const never = new AbortController().signal;

type TempFolder = Awaited<ReturnType<typeof tempFolder>>;

export class BackupScene {
  readonly folder: TempFolder;
  readonly bot: Peer;
  readonly friend: Peer;
  /** Where the backup is. */
  file: string;

  private constructor(folder: TempFolder, bot: Peer, friend: Peer) {
    this.folder = folder;
    this.bot = bot;
    this.friend = friend;
    this.file = join(folder.path, 'file');
  }

  static async make(): Promise<BackupScene> {
    const folder = await tempFolder();
    const bot = await makePeer();
    const friend = await makePeer();
    await introduce(bot, friend);
    const batch = bot.store.batch();
    pluginState.put(batch, 'a', 'b', fromUtf8('c'));
    pluginVolatile.put(batch, 'a', 'b', fromUtf8('nonce'));
    seenMarks.put(batch, 1, 'mark', 2);
    senderKeys.put(batch, friend.aci, 2, 'd', fromUtf8('e'));
    lastResortUses.put(batch, 'aci', '1.2.3', 4);
    await batch.commit();
    return new BackupScene(folder, bot, friend);
  }

  backUp(store: Store = this.bot.store, passphrase = 'of the file'): ReturnType<typeof writeBackup> {
    return writeBackup(this.file, { store, platform, passphrase, scrypt: CHEAP_SCRYPT }, never);
  }

  restore(
    passphrase = 'of the file',
    to = this.folder.data,
    signal = never,
  ): ReturnType<typeof restoreBackup> {
    const parts = { platform, passphrase, secret: PASSPHRASE, scrypt: CHEAP_SCRYPT };
    return restoreBackup(this.file, to, parts, signal);
  }

  async put(rows: Iterable<readonly [string, Bytes]>): Promise<void> {
    const batch = this.bot.store.batch();
    for (const [key, value] of rows) batch.put(key, value);
    await batch.commit();
  }

  remove(): Promise<void> {
    return this.folder.remove();
  }
}
