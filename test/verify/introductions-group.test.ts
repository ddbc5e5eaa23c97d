/** A group of five on the development server: one has verified a newcomer, and the others do without a run of their own. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import verify from '../../plugins/verify/index.ts';
import type { Introductions } from '../../plugins/verify/introductions/listing.ts';
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import type { Bot } from '../../src/bot.ts';
import { revokeIdentity } from '../../src/trust/operator.ts';
import { sessions } from '../../src/store/tables.ts';
import { Scene } from '../support/scene.ts';
import { Peer, until, wholeRun } from './signal/support/duo.ts';
import { ENV } from './support/party.ts';

let scene: Scene;
let alice: Peer;
let newcomer: Peer;
let others: Peer[];
/** Texts that the newcomer got, by sender. */
const heard: string[] = [];

async function peer(configure: (bot: Bot) => void = () => undefined): Promise<Peer> {
  const whole = (bot: Bot): void => {
    bot.use(verify({ env: ENV }), { mayBeIntroduced: true });
    configure(bot);
  };
  return new Peer(await scene.bot(whole), scene, whole, {});
}

beforeAll(async () => {
  scene = await Scene.start();
  newcomer = await peer((bot) => {
    bot.handle((handlers) => {
      handlers.text((ctx) => {
        heard.push(`${ctx.sender.serviceId}: ${ctx.text}`);
        ctx.reply('welcome yourself');
      });
    });
  });
  alice = await peer();
  others = [await peer(), await peer(), await peer(), await peer()];
}, 60_000);

afterAll(() => scene.close());

async function introduce(subject: Peer, to: readonly Peer[]): Promise<void> {
  await alice.running.bot.act('verify', 'introduce', {
    contact: subject.running.aci,
    contacts: to.map(({ running }) => running.aci),
    input: {},
    signal: AbortSignal.timeout(10_000),
    tell: () => undefined,
  });
}

function sent(from: Peer, timestamp: number): Promise<{ readonly state: string }> {
  return from.running.bot.sent(newcomer.running.aci, timestamp, AbortSignal.timeout(10_000));
}

async function say(from: Peer, text: string): Promise<{ readonly state: string }> {
  const { timestamp } = await from.running.bot.send(newcomer.running.aci, { kind: 'text', text });
  return sent(from, timestamp);
}

describe('a group of five, one of whom has verified a newcomer', () => {
  it('V-36: has the newcomer’s agreement from the run', async () => {
    for (const other of others) await wholeRun(alice, other);
    await wholeRun(alice, newcomer);
    const { evidence } = await alice.view(newcomer);
    expect(evidence.at(-1)).toMatchObject({ kind: 'pake', mayBeIntroduced: true });
  });

  it('V-38: has all others hold the true key, and know by whom', async () => {
    await introduce(newcomer, others);
    for (const other of others) {
      await until(async () => (await other.view(newcomer)).state === 'introduced', 'it is introduced');
      expect((await other.view(newcomer)).pin).toEqual(fromBase64(newcomer.key));
      const { received } = (await other.act('introductions')) as Introductions;
      expect(received).toMatchObject([{ introducer: alice.aci, subject: newcomer.aci, state: 'used' }]);
      expect(received[0]?.chain).toMatch(
        new RegExp(
          `^${newcomer.aci}, introduced by ${alice.aci} \\(you verified ${alice.aci} on \\d{4}-.*\\)$`,
        ),
      );
      const notices = other.running.events.flatMap((event) => (event.kind === 'notice' ? event.message : []));
      expect(notices).toContain(received[0]?.chain);
    }
  });

  it('opens sessions with the newcomer under that key, and nobody runs a second time', async () => {
    for (const other of others.slice(0, 3)) {
      expect(await say(other, `hello from ${other.aci}`)).toMatchObject({ state: 'sent' });
      await until(() => heard.includes(`${other.aci}: hello from ${other.aci}`), 'the newcomer hears');
      const { deviceId } = newcomer.running.account;
      const batch = other.running.store.batch();
      expect(await sessions.get(batch, 'aci', newcomer.running.aci, deviceId)).toBeDefined();
      expect((await other.view(newcomer)).state).toBe('introduced');
      expect((await other.status()).runs.filter(({ aci }) => aci === newcomer.aci)).toEqual([]);
    }
  });

  it('opens none under another key, whatever the server gives out', async () => {
    const last = others[3];
    if (last === undefined) throw new Error('there are four');
    const middle = scene.server.intercept({ between: [last.aci, newcomer.aci] });
    const { timestamp } = await last.running.bot.send(newcomer.running.aci, {
      kind: 'text',
      text: 'a secret',
    });
    expect(await sent(last, timestamp)).toMatchObject({
      state: 'failed',
      error: { code: 'IDENTITY_CHANGED' },
    });
    expect(middle.overheard).toEqual([]);
    const contact = await last.view(newcomer);
    expect(contact).toMatchObject({ state: 'changed', pin: fromBase64(newcomer.key) });
    expect(toBase64(contact.candidate ?? new Uint8Array(0))).toBe(toBase64(middle.falseKeyOf(newcomer.aci)));
    middle.stop();
  });

  it('V-39: loses it when the introduction is taken back', async () => {
    const { issued } = (await alice.act('introductions')) as Introductions;
    expect(issued).toHaveLength(4);
    const mine = issued.find(({ to }) => to.includes(others[0]?.running.aci ?? alice.running.aci));
    await alice.act('unintroduce', undefined, { id: mine?.id });
    await until(async () => (await others[0]?.view(newcomer))?.state === 'tofu', 'it is taken back');
    expect((await others[1]?.view(newcomer))?.state).toBe('introduced');
  });

  it('V-39: loses it when the key of the newcomer turns out to be bad where it was verified', async () => {
    const { trust } = alice.running.bot;
    if (trust === undefined) throw new Error('the bot does not run');
    await revokeIdentity(trust, newcomer.running.aci);
    for (const other of others.slice(1, 3)) {
      await until(async () => (await other.view(newcomer)).state === 'tofu', 'it is taken back');
      expect((await other.view(newcomer)).pin).toEqual(fromBase64(newcomer.key));
    }
    const { issued } = (await alice.act('introductions')) as Introductions;
    expect(issued.map(({ state }) => state)).toEqual(['revoked', 'revoked', 'revoked', 'revoked']);
  });
});
