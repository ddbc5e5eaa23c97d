/** The outbound guard: which codes it looks for, where they are going, and how long (V-20). */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Scene } from '../../support/scene.ts';
import { codeOf, failure, until } from './support/duo.ts';
import { Talk } from './support/talk.ts';

const CODE = 'correct horse battery';

let scene: Scene;
let talk: Talk;

beforeEach(async () => {
  scene = await Scene.start();
  talk = await Talk.begin(scene);
});

afterEach(() => scene.close());

/** @returns how the sending of this text from Bob has ended */
async function sentByBob(text: string, to = talk.alice.running.aci): Promise<object> {
  const { bot } = talk.bob.running;
  const { timestamp } = await bot.send(to, { kind: 'text', text });
  return bot.sent(to, timestamp, AbortSignal.timeout(10_000));
}

it('V-20: refuses the code that was typed here, too, as long as it lives, and not after that', async () => {
  const { alice, bob } = talk;
  expect(await sentByBob(`before: ${CODE}`)).toMatchObject({ state: 'sent' });
  const starting = alice.start(bob, { code: CODE });
  await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'it rings');
  scene.server.faults.add({ path: '/api/v1/message', aci: alice.aci, count: 50, action: { drop: true } });
  const entering = bob.enter(alice, CODE);
  await until(async () => (await bob.stateOfRun(alice)) === 'replied', 'it is typed');
  expect(await sentByBob('Correct-Horse-Battery!')).toMatchObject({
    ...{ state: 'failed', error: { code: 'CODE_IN_TEXT' } },
  });
  expect(await failure(entering.end)).toBe('CODE_IN_TEXT');
  expect((await bob.status()).guesses).toMatchObject([{ aci: alice.aci, inARow: 1 }]);
  expect(talk.heard).not.toContain('Correct-Horse-Battery!');
  starting.stop();
  scene.server.faults.clear();
  expect(await sentByBob(`after: ${CODE}`)).toMatchObject({ state: 'sent' });
});

it('V-20: refuses it to anybody, and lets a code go that its run has outlived', async () => {
  const { alice, bob } = talk;
  const starting = bob.start(alice);
  const code = await codeOf(starting);
  const entering = alice.enter(bob, code);
  await Promise.all([starting.end, entering.end]);
  expect(await sentByBob(`it was ${code}`)).toMatchObject({ state: 'sent' });

  const again = bob.start(alice);
  const live = await codeOf(again);
  const note = await sentByBob(`remember ${live}`, bob.running.aci);
  expect(note).toMatchObject({ state: 'failed', error: { code: 'CODE_IN_TEXT' } });
  expect(await failure(again.end)).toBe('CODE_IN_TEXT');
});
