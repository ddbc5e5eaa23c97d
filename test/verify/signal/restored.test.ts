/** `restore` of a backup from every state of a run: none of it is revived, and the next run is as good as any (V-16). */
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeBackup } from '../../../src/backup/backup.ts';
import { restoreBackup } from '../../../src/backup/restore.ts';
import { systemPlatform } from '../../../src/platform.ts';
import { openLevel } from '../../../src/store/level.ts';
import type { Store } from '../../../src/store/store.ts';
import { Scene } from '../../support/scene.ts';
import { CHEAP_SCRYPT, PLAIN, tempFolder } from '../../support/store-folder.ts';
import { codeOf, failure, until, wholeRun, type Acting, type Peer, type Told } from './support/duo.ts';
import { Talk } from './support/talk.ts';

const PASSPHRASE = 'of the backup';
const never = new AbortController().signal;

let scene: Scene;
let talk: Talk;
let folder: Awaited<ReturnType<typeof tempFolder>>;
const opened: Store[] = [];

beforeEach(async () => {
  folder = await tempFolder();
  scene = await Scene.start();
  talk = await Talk.begin(scene);
});

afterEach(async () => {
  await scene.close();
  await Promise.all(opened.splice(0).map((store) => store.close()));
  await folder.remove();
});

/** The bot ends, its store is lost, and another one is made from the backup. */
async function restore(peer: Peer, file: string): Promise<void> {
  const platform = systemPlatform();
  const data = join(folder.path, 'restored');
  const parts = { platform, passphrase: PASSPHRASE, secret: PLAIN, scrypt: CHEAP_SCRYPT };
  await restoreBackup(file, data, parts, never);
  const store = await openLevel(data, { secret: PLAIN });
  opened.push(store);
  await peer.restart(store);
}

function losesDeliveries(peer: Peer): void {
  scene.server.faults.add({ path: '/api/v1/message', aci: peer.aci, count: 50, action: { drop: true } });
}

interface Stage {
  readonly who: 'alice' | 'bob';
  readonly state: string;
  /** Who must not hear from then on, so that the state stays. */
  readonly deaf: 'alice' | 'bob' | undefined;
  /** The code is typed. */
  readonly typed: boolean;
}

const STAGES: readonly Stage[] = [
  { who: 'alice', state: 'offered', deaf: undefined, typed: false },
  { who: 'alice', state: 'proved', deaf: 'bob', typed: true },
  { who: 'alice', state: 'verified', deaf: undefined, typed: true },
  { who: 'bob', state: 'ringing', deaf: undefined, typed: false },
  { who: 'bob', state: 'replied', deaf: 'alice', typed: true },
  { who: 'bob', state: 'accepted', deaf: 'alice', typed: true },
  { who: 'bob', state: 'finished', deaf: undefined, typed: true },
];

describe.each(STAGES)('a backup of $who in $state', ({ who, state, deaf, typed }) => {
  it('V-16: revives nothing, and leaves the way free for the next run', async () => {
    const { alice, bob } = talk;
    const [side, other] = who === 'alice' ? [alice, bob] : [bob, alice];
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'it rings');
    const acts: Acting[] = [starting];
    const deafen = ({ step }: Told): void => {
      if (step === 2) losesDeliveries(alice);
    };
    // The code rings already: all that Bob still has to get is PROOF.
    if (state === 'proved') losesDeliveries(bob);
    if (state === 'replied') losesDeliveries(alice);
    if (state === 'accepted') starting.onTold = deafen;
    if (typed) {
      acts.push(bob.enter(alice, code, { fresh: true }));
    }
    await until(async () => (await side.stateOfRun(other)) === state, state);

    const file = join(folder.path, 'backup');
    const { store } = side.running;
    const parts = { store, platform: systemPlatform(), passphrase: PASSPHRASE, scrypt: CHEAP_SCRYPT };
    await writeBackup(file, parts, never);
    const trusted = (await side.view(other)).state;
    for (const act of acts) act.stop();
    await side.stop();
    scene.server.faults.clear();
    await restore(side, file);
    if (deaf !== undefined) {
      await other.stop(); // what it did not hear comes with its next connection
      await other.restart();
    }

    expect((await side.status()).runs).toEqual([]);
    expect((await side.view(other)).state).toBe(trusted);
    // The code is worth nothing there any more: neither to be typed, nor to be answered.
    await other.act('cancel', side);
    if (who === 'bob' && !typed) {
      expect(await failure(side.enter(other, code, { waitMs: 50 }).end)).toBe('CODE_EXPIRED');
    }
    await side.act('unlock', other);
    await other.act('unlock', side);
    const { a, b } = await wholeRun(alice, bob);
    expect([a.acknowledged, b.acknowledged, b.check]).toEqual([true, true, a.check]);
    await talk.tell(alice, 'in the new session');
    await talk.tell(bob, 'which is the only one');
  }, 60_000);
});
