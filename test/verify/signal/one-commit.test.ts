/**
 * What is stored, commit by commit: after each one, state, trust, counters and frames say the same (V-15, V-17, V-21, V-22);
 * and no code is in any row or line of the log (V-19).
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import { decodeCounters } from '../../../plugins/verify/counters-row.ts';
import { decodeSlot } from '../../../plugins/verify/machine/row.ts';
import { decodeFrame, type Profile } from '../../../plugins/verify/messages/frame.ts';
import { FRAME } from '../../../plugins/verify/signal/tags.ts';
import { fromUtf8, toBase64, toHex, type Bytes } from '../../../src/bytes.ts';
import { decodeContent } from '../../../src/content/content.ts';
import { silentLog } from '../../../src/platform.ts';
import type { Store } from '../../../src/store/store.ts';
import { identityRows, outboxRows, pluginState, pluginVolatile } from '../../../src/store/tables.ts';
import { settle } from '../../support/clock.ts';
import { WatchedStore } from '../../support/watched-store.ts';
import { Party } from '../support/party.ts';
import { failure } from './support/duo.ts';
import { Solo } from './support/solo.ts';

const CODE = '482913';
/** With its check digit. */
const TYPED = CODE + String(dammDigit(CODE));

const PROFILES: readonly Profile[] = [1, 2];

/** What a commit has left behind. */
interface Stored {
  readonly run: string | undefined;
  readonly trust: string | undefined;
  readonly charges: number;
  readonly typed: number;
  /** Types of the frames that wait to be sent, oldest first. */
  readonly frames: string[];
}

let alice: Party;
let solo: Solo;
/** After each commit. */
const stored: Stored[] = [];

beforeEach(async () => {
  stored.length = 0;
  alice = new Party();
  solo = await Solo.begin(
    (store) =>
      new WatchedStore(store, async (commit) => {
        await commit();
        stored.push(await look(store));
      }),
  );
  await met();
});

afterEach(() => {
  vi.restoreAllMocks();
});

async function met(): Promise<void> {
  alice.now = solo.clock.now();
  await solo.meet(alice);
  await solo.answer(alice);
  stored.length = 0;
}

/** @returns the code, as it is read out */
function start(profile: Profile): Promise<string> {
  return new Promise((resolve, reject) => {
    solo
      .act('start', alice, { profile }, (event) => {
        if ('code' in event) resolve(String(event.code));
      })
      .catch(reject);
  });
}

async function look(store: Store): Promise<Stored> {
  const batch = store.batch();
  const row = await pluginVolatile.get(batch, 'verify', `run/${alice.own.aci}`);
  const counters = await pluginState.get(batch, 'verify', 'counters');
  const { charges = [], typed = [] } = (counters && decodeCounters(counters)) ?? {};
  const frames: string[] = [];
  for await (const [, { content: bytes }] of outboxRows.scan(store, [alice.own.aci])) {
    const content = decodeContent(bytes);
    if (content.kind !== 'app' || content.tag !== FRAME.tag) continue;
    frames.push(decodeFrame(content.payload)?.body.type ?? 'none');
  }
  return {
    run: (row && decodeSlot(row))?.run?.kind,
    trust: (await identityRows.get(batch, alice.own.aci))?.state,
    ...{ charges: charges.length, typed: typed.length, frames },
  };
}

const soloAsParty = (): Party => new Party({ aci: solo.aci, device: 2 });

async function theOnly(type: Parameters<Solo['sent']>[0]): Promise<Bytes> {
  const [frame, ...others] = await solo.sent(type, alice);
  if (frame === undefined || others.length > 0) throw new Error(`not one ${type}`);
  return frame;
}

/** The account types the code, and the other side shows its PROOF. */
async function enterAndProve(code = TYPED): Promise<Bytes | undefined> {
  await alice.start(soloAsParty(), CODE);
  await solo.take(alice.frame('offer'), alice);
  await solo.enter(alice, code);
  const asParty = soloAsParty();
  await alice.take(await theOnly('reply'), asParty);
  return alice.kind === 'proved' ? alice.frame('proof') : undefined;
}

/** Each different thing that was there, in order. */
function changes(): Stored[] {
  return stored.filter((now, i) => JSON.stringify(now) !== JSON.stringify(stored[i - 1]));
}

describe('one commit', () => {
  it.each(PROFILES)(
    'V-15, V-21, V-22: of the enterer has charge, typed code and REPLY; then refund, trust and ACCEPT (profile %d)',
    async (profile) => {
      alice = new Party({ aci: alice.own.aci, profile });
      await met();
      const proof = await enterAndProve();
      if (proof === undefined) throw new Error('no PROOF');
      await solo.take(proof, alice);
      const tofu = { trust: 'tofu', typed: 0, charges: 0, frames: [] };
      const replied = { ...tofu, run: 'replied', charges: 1, typed: 1, frames: ['reply'] };
      expect(changes()).toEqual([
        { ...tofu, run: 'ringing' },
        replied,
        { ...replied, run: 'accepted', trust: 'verified', charges: 0, frames: ['reply', 'accept'] },
      ]);
    },
  );

  it.each(PROFILES)(
    'V-15, V-17, V-22: of the creator has the charge with REPLY, PROOF by itself, then refund, trust and DONE (profile %d)',
    async (profile) => {
      const code = await start(profile);
      await alice.take(await theOnly('offer'), soloAsParty());
      await alice.type(code.replaceAll(' ', '').slice(0, 6));
      await solo.take(alice.frame('reply'), alice);
      await alice.take(await theOnly('proof'), soloAsParty());
      await solo.take(alice.frame('accept'), alice);
      const tofu = { trust: 'tofu', typed: 0, charges: 0, frames: ['offer'] };
      expect(changes()).toEqual([
        { ...tofu, run: 'offered' },
        { ...tofu, run: 'checking', charges: 1 },
        { ...tofu, run: 'proved', charges: 1, frames: ['offer', 'proof'] },
        { ...tofu, run: 'verified', trust: 'verified', frames: ['offer', 'proof', 'done'] },
      ]);
    },
  );

  it('V-15: of a run that fails changes no trust, and keeps the charge', async () => {
    const wrong = '482914';
    await enterAndProve(wrong + String(dammDigit(wrong)));
    await solo.take(alice.frame('abort'), alice);
    expect(stored.at(-1)).toMatchObject({ run: 'closed', trust: 'tofu', charges: 1, typed: 1 });
    const before = { ...stored.at(-1) };
    const { code } = await solo.start(alice);
    await alice.take((await solo.sent('offer', alice)).at(-1) ?? new Uint8Array(0), soloAsParty());
    await alice.type(code.startsWith('1') ? '222222' : '111111');
    await solo.take(alice.frame('reply'), alice);
    expect(stored.at(-1)).toMatchObject({ run: 'closed', trust: 'tofu', charges: 2, typed: before.typed });
    expect(stored.some(({ trust }) => trust !== 'tofu')).toBe(false);
    expect(await solo.sent('proof', alice)).toEqual([]);
  });
});

describe('counters', () => {
  it('V-24: are the same after a restart, with their times, and for another device of the peer', async () => {
    const wrong = '482914';
    await enterAndProve(wrong + String(dammDigit(wrong)));
    await solo.take(alice.frame('abort'), alice);
    const at = solo.clock.now();
    await solo.clock.advance(60_000);
    const next = await solo.again();
    const guesses = [{ aci: alice.own.aci, inARow: 1, times: [at], locked: false, lockedUntil: null }];
    expect(await next.act('status', alice)).toMatchObject({ guesses });
    // A new phone, and a new device.
    const device = new Party({ aci: alice.own.aci, device: 9 });
    device.now = next.clock.now();
    await device.start(soloAsParty(), CODE);
    await next.take(device.frame('offer'), device);
    await next.enter(device, TYPED);
    expect(await next.act('status', alice)).toMatchObject({ guesses: [{ inARow: 2 }] });
  });

  it('V-21: know a code that was typed before, in the next process too', async () => {
    await enterAndProve();
    const next = await solo.again();
    await next.act('cancel', alice);
    alice.now = next.clock.now();
    await alice.reset().start(soloAsParty(), CODE);
    await next.take(alice.frame('offer'), alice);
    const before = (await next.sent('reply', alice)).length;
    expect(await failure(next.act('enter', alice, { code: TYPED }))).toBe('CODE_REJECTED');
    expect((await next.sent('reply', alice)).length).toBe(before);
    await next.clock.advance(24 * 3_600_000);
    alice.now = next.clock.now();
    await alice.reset().start(soloAsParty(), CODE);
    await next.take(alice.frame('offer'), alice);
    await next.enter(alice, TYPED);
    expect((await next.sent('reply', alice)).length).toBe(before + 1);
  });
});

describe('a code', () => {
  /** Whether a text is anywhere in the store, as it is or in a form that rows have. */
  async function holds(text: string): Promise<boolean> {
    const bytes = fromUtf8(text);
    // In base64 wherever it begins: without what its neighbours have a part in.
    const inBase64 = [0, 1, 2].map((shift) =>
      toBase64(fromUtf8(' '.repeat(shift) + text)).slice(shift === 0 ? 0 : shift + 1, -4),
    );
    for await (const [key, value] of solo.store.scan('')) {
      const row = Buffer.from(value).toString('latin1');
      const forms = [Buffer.from(bytes).toString('latin1'), toHex(bytes), ...inBase64];
      if (forms.some((form) => row.includes(form) || key.includes(form))) return true;
    }
    return false;
  }

  const SECRET = 'a code that nobody has written down';

  it('V-19: that was agreed, made or typed here is shown once, and is in no row and no line of the log', async () => {
    const logged: string[] = [];
    for (const level of ['debug', 'info', 'warn', 'error'] as const)
      vi.spyOn(silentLog, level).mockImplementation((...line) => logged.push(JSON.stringify(line)));
    const made: object[] = [];
    const { code } = await solo.start(alice, (event) => made.push(event));
    expect(made.filter((event) => JSON.stringify(event).includes(code))).toEqual([{ event: 'code', code }]);
    expect(JSON.stringify(await solo.act('status', alice))).not.toContain(code.slice(0, 7));
    await solo.act('cancel', alice);

    const events: object[] = [];
    const ended = failure(solo.act('start', alice, { code: SECRET }, (event) => events.push(event)));
    while ((await solo.state(alice)) !== 'offered') await settle();
    expect([await holds(SECRET), await holds(alice.own.aci)]).toEqual([false, true]);
    await solo.act('cancel', alice);
    expect(await ended).toBe('INTERRUPTED');

    await alice.reset().start(soloAsParty(), SECRET);
    const frame = decodeFrame(alice.frame('offer'));
    if (frame?.body.type !== 'offer') throw new Error('no OFFER');
    alice.now = solo.clock.now();
    await solo.take(alice.frame('offer'), alice);
    expect(await failure(solo.enter(alice, SECRET))).toBe('CODE_MISTYPED'); // the OFFER says digits
    await solo.enter(alice, TYPED);
    expect(await solo.state(alice)).toBe('replied');
    expect(await holds(SECRET)).toBe(false);
    const told = [...solo.lines, ...logged, ...events.map((event) => JSON.stringify(event))].join('\n');
    for (const text of [SECRET, code, TYPED, CODE]) expect(told).not.toContain(text);
  });
});
