/** A bot that is backed up while it runs, goes on, ends, and comes up elsewhere: nothing lost, nothing doubled. */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAci } from '../../src/address.ts';
import { writeBackup } from '../../src/backup/backup.ts';
import { restoreBackup } from '../../src/backup/restore.ts';
import type { Bot } from '../../src/bot.ts';
import { isBotError } from '../../src/errors.ts';
import { systemPlatform } from '../../src/platform.ts';
import { openLevel } from '../../src/store/level.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import type { Store } from '../../src/store/store.ts';
import {
  account as accountCell,
  outboxRows,
  pluginState,
  prekeys,
  quarantineRows,
  sessions,
} from '../../src/store/tables.ts';
import { encodeText } from '../../src/content/encode.ts';
import { counting } from '../support/crash-plugin.ts';
import { received, Scene, type RunningBot } from '../support/scene.ts';
import { watchSentKeys } from '../support/sent-keys.ts';
import { CHEAP_SCRYPT, openOrMake, PASSPHRASE, tempFolder } from '../support/store-folder.ts';

const platform = systemPlatform();
const never = new AbortController().signal;
let scene: Scene;
let folder: Awaited<ReturnType<typeof tempFolder>>;
let watch: ReturnType<typeof watchSentKeys>;
let stores: Store[];

beforeEach(async () => {
  folder = await tempFolder();
  watch = watchSentKeys();
  stores = [];
});

afterEach(async () => {
  await scene.close();
  for (const store of stores) await store.close();
  watch.stop();
  await folder.remove();
});

function count(bot: Bot): void {
  bot.use(counting);
}

/** How often the plugin's handler took effect for each text, by `ACI.device.timestamp`: the hash behind it is left out. */
async function effects(store: Store): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for await (const [key, value] of pluginState.scan(store, ['counting']))
    found[key.split('.', 3).join('.')] = Number(Buffer.from(value).toString());
  return found;
}

async function quarantined(store: Store): Promise<string[]> {
  const found: string[] = [];
  for await (const [, row] of quarantineRows.scan(store))
    found.push(`${row.source}.${String(row.sourceDevice)}.${String(row.timestamp)}`);
  return found;
}

async function sizeOf(rows: AsyncIterable<unknown>): Promise<number> {
  let size = 0;
  for await (const row of rows) if (row !== undefined) size++;
  return size;
}

async function restored(name: string): Promise<Store> {
  const data = join(folder.path, 'elsewhere');
  const parts = { platform, passphrase: 'of the file', secret: PASSPHRASE, scrypt: CHEAP_SCRYPT };
  await restoreBackup(join(folder.path, name), data, parts, never);
  const store = await openLevel(data, { secret: PASSPHRASE });
  stores.push(store);
  return store;
}

async function backUp(bot: RunningBot, name: string): Promise<void> {
  const parts = { store: bot.store, platform, passphrase: 'of the file', scrypt: CHEAP_SCRYPT };
  await writeBackup(join(folder.path, name), parts, never);
}

/** Texts that a bot has seen, each as often as its handler was called. */
function listening(seen: string[]): (bot: Bot) => void {
  return (bot) => {
    bot.handle((on) => {
      on.text(({ text }) => {
        seen.push(text);
      });
    });
  };
}

/**
 * Unsealed, the message keys can be seen from outside. The mock's phones send unsealed in any case: what they seal has the
 * hint Default, and is not asked for again (6.7).
 */
const SERVERS = [
  ['jun25', 'off'],
  ['dec25', 'off'],
  ['aug26', 'off'],
  ['aug26', 'auto'],
] as const;

describe.each(SERVERS)('on a server of %s, sealed sender %s,', (dialect, mode) => {
  it('goes on from its backup in both directions', { timeout: 120_000 }, async () => {
    scene = await Scene.start({ dialect });
    const profile = { ...scene.profile, sealedSender: { ...scene.profile.sealedSender, mode } };
    const first = await openOrMake(folder.data, PASSPHRASE);
    stores.push(first);
    const bot = await scene.bot(count, { store: first, profile });
    const seen: string[] = [];
    const peer = await scene.bot(listening(seen), { profile });
    const friend = await scene.server.createPhone();
    const sent: string[] = [];
    let n = 0;
    /** From the friend and from the other bot; each is answered. */
    const exchange = async (pairs: number): Promise<void> => {
      for (let i = 0; i < pairs; i++) {
        const [one, two] = [`friend ${String(n)}`, `peer ${String(n)}`];
        n++;
        const { timestamp } = await friend.send(bot.aci, one);
        sent.push(`${friend.aci}.1.${String(timestamp)}`);
        const row = await peer.bot.send(bot.aci, { kind: 'text', text: two });
        sent.push(`${peer.aci}.${String(peer.account.deviceId)}.${String(row.timestamp)}`);
      }
    };
    const answered = async (): Promise<void> => {
      const wanted = Array.from({ length: n }, (_, i) => String(i));
      const missing = async (): Promise<string[]> => {
        const texts = [...seen, ...(await received(friend, 'text', 0)).map(({ text }) => text)];
        const answers = wanted.flatMap((i) => [`seen friend ${i}`, `seen peer ${i}`]);
        return answers.filter((text) => !texts.includes(text));
      };
      await expect.poll(missing, { timeout: 30_000 }).toEqual([]);
    };
    await exchange(3);
    await bot.bot.send(bot.aci, { kind: 'text', text: 'to our own phone' });
    await answered();
    // Waits at the time of the backup, and is sent by the old process and by the new one.
    const waiting = newRow({
      recipient: parseAci(peer.aci),
      timestamp: Date.now(),
      kind: 'text',
      content: encodeText('waits', Date.now(), undefined),
    });
    const late = { ...waiting, content: encodeText('waits', waiting.timestamp, undefined) };
    const put = async (store: Store, retryAt: number): Promise<void> => {
      const batch = store.batch();
      outboxRows.put(batch, late.recipient, late.timestamp, { ...late, retryAt });
      await batch.commit();
    };
    await put(first, Date.now() + 3_600_000);
    await backUp(bot, 'file');
    const before = await effects(first);

    await put(first, 0);
    bot.bot.ring();
    await exchange(13); // 26 texts and their 26 answers
    await answered();
    await expect.poll(() => seen.filter((text) => text === 'waits')).toHaveLength(1);
    await bot.stop();
    const lost = sent.splice(0);

    await exchange(12); // while nobody is there: more than the five retry requests of an hour
    await scene.server.phones.get(bot.aci)?.send(friend.aci, 'from our own phone');
    const store = await restored('file');
    expect(await effects(store)).toEqual(before);
    expect(await sizeOf(sessions.scan(store))).toBe(0);
    expect(await sizeOf(prekeys.scan(store))).toBe(0);
    await put(store, 0);
    const account = await accountCell.get(store.batch());
    if (account === undefined) throw new Error('no account');
    expect(account).toEqual(bot.account);
    const again = await scene.run(bot.phone, account, store, count, { profile });
    const counts = (): Promise<Record<string, number>> => effects(store);
    await expect
      .poll(async () => Object.keys(await counts()).length, { timeout: 30_000 })
      .toBeGreaterThan(24);
    await exchange(3);
    await answered();
    await again.bot.send(parseAci(friend.aci), { kind: 'text', text: 'unasked' });
    await again.bot.send(peer.aci, { kind: 'text', text: 'unasked' });
    await expect.poll(() => seen.includes('unasked')).toBe(true);
    await expect.poll(async () => (await received(friend, 'text', 0)).at(-1)?.text).toBe('unasked');

    // Each text once: those of before the backup are known from it, those after it are lost with the old process.
    const after = await counts();
    for (const name of sent) expect([name, after[name]]).toEqual([name, 1]);
    const known = new Set(Object.keys(before));
    for (const name of lost) expect([name, after[name]]).toEqual([name, known.has(name) ? 1 : undefined]);
    // Each undecryptable text was asked for, and came again.
    const unopened = await quarantined(store);
    expect(unopened.length).toBeGreaterThanOrEqual(24);
    expect(unopened.filter((name) => sent.includes(name) && after[name] !== 1)).toEqual([]);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toHaveLength(n + 2);
    for (const phone of [friend, bot.phone]) {
      expect(await received(phone, 'undecodable', 0)).toEqual([]);
      const texts = (await received(phone, 'text', 0)).map(({ text }) => text);
      expect(new Set(texts).size).toBe(texts.length);
    }
    expect(await quarantined(peer.store)).toEqual([]);
    if (mode === 'off') expect(watch.keys.size).toBeGreaterThan(100);
    expect(watch.keys.reused).toEqual([]);
  });
});

describe('a restored bot', () => {
  it('has given the server new prekeys of every kind when it is ready, and none of the old is left', async () => {
    scene = await Scene.start();
    const bot = await scene.bot(count);
    await backUp(bot, 'file');
    const old = await keysOf(bot.store);
    await bot.stop();
    const store = await restored('file');
    await scene.run(bot.phone, bot.account, store, count);
    const keys = await keysOf(store);
    expect(keys.filter((key) => old.includes(key))).toEqual([]);
    const { aci, deviceId } = bot.account;
    for (const kind of ['aci', 'pni'] as const) {
      const counts = await scene.server.keyCounts(aci, deviceId, kind);
      expect(counts.ec).toBeGreaterThan(90);
      expect(counts.kyber).toBeGreaterThan(90);
      expect(keys.filter((key) => key.startsWith(`${kind}/signed`))).toHaveLength(1);
      expect(keys.filter((key) => key.startsWith(`${kind}/kyber`))).toHaveLength(101);
      expect(keys.filter((key) => key.startsWith(`${kind}/ec`))).toHaveLength(100);
    }
  });

  it('takes the connection over from the old process, which says so', async () => {
    scene = await Scene.start();
    const bot = await scene.bot(count);
    const friend = await scene.server.createPhone();
    await friend.send(bot.aci, 'one');
    await received(friend, 'text', 1);
    await backUp(bot, 'file');
    await scene.run(bot.phone, bot.account, await restored('file'), count);
    expect(isBotError(await bot.ended, 'CONNECTED_ELSEWHERE')).toBe(true);
    await friend.send(bot.aci, 'two');
    expect((await received(friend, 'text', 2)).map(({ text }) => text)).toEqual(['seen one', 'seen two']);
  });

  it('waits for a server that does not take its new keys yet', async () => {
    scene = await Scene.start();
    const bot = await scene.bot(count);
    await backUp(bot, 'file');
    await bot.stop();
    scene.server.faults.add({ verb: 'PUT', path: '/v2/keys', count: 2, action: { status: 503 } });
    const again = await scene.run(bot.phone, bot.account, await restored('file'), count);
    expect(again.events.filter(({ kind }) => kind === 'warning').length).toBeGreaterThanOrEqual(1);
    const friend = await scene.server.createPhone();
    await friend.send(bot.aci, 'one');
    expect(await received(friend, 'text', 1)).toMatchObject([{ text: 'seen one' }]);
  });

  it('ends when the server has removed the device since', async () => {
    scene = await Scene.start();
    const bot = await scene.bot(count);
    await backUp(bot, 'file');
    await bot.phone.removeDevice(bot.account.deviceId);
    await bot.ended;
    const run = scene.run(bot.phone, bot.account, await restored('file'), count);
    await expect(run).rejects.toMatchObject({ code: 'DEVICE_UNLINKED' });
    expect((await accountCell.get(stores[0]?.batch() ?? bot.store.batch()))?.unlinkedAt).not.toBeNull();
  });
});

/** Prekeys by identity, kind and what they are. */
async function keysOf(store: Store): Promise<string[]> {
  const found: string[] = [];
  for (const identity of ['aci', 'pni'] as const) {
    for await (const [rest, { record }] of prekeys.scan(store, [identity]))
      found.push(`${identity}/${rest.split('/')[0] ?? ''}/${Buffer.from(record).toString('base64')}`);
  }
  return found;
}
