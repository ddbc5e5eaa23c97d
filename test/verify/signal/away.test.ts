/** Runs with a side that is offline, ends in between, or has several devices (sections 4 and 6). */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scene } from '../../support/scene.ts';
import { codeOf, failure, peerOf, until, wholeRun, type Peer } from './support/duo.ts';

let scene: Scene;
let alice: Peer;
let bob: Peer;

beforeEach(async () => {
  scene = await Scene.start();
  [alice, bob] = [await peerOf(scene), await peerOf(scene)];
});

afterEach(() => scene.close());

/** What is pushed to this account from now on comes with its next connection. */
function losesDeliveries(peer: Peer): void {
  scene.server.faults.add({ path: '/api/v1/message', aci: peer.aci, count: 50, action: { drop: true } });
}

async function restart(peer: Peer): Promise<void> {
  await peer.stop();
  scene.server.faults.clear();
  await peer.restart();
}

async function bothVerified(): Promise<void> {
  await until(async () => (await alice.stateOfRun(bob)) === 'verified', 'alice has verified');
  await until(async () => (await bob.stateOfRun(alice)) === 'finished', 'bob has finished');
  expect([(await alice.view(bob)).state, (await bob.view(alice)).state]).toEqual(['verified', 'verified']);
  expect([(await alice.status()).guesses, (await bob.status()).guesses]).toEqual([[], []]);
}

describe('who is offline', () => {
  it('the enterer, at OFFER: it rings when he is back', async () => {
    await bob.stop();
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await bob.restart();
    await Promise.all([bob.enter(alice, code).end, starting.end]);
    await bothVerified();
  });

  it('the operator who creates it, before there is a code: nothing rings', async () => {
    const starting = alice.start(bob);
    starting.stop();
    expect(await failure(starting.end)).toContain('the operator has gone');
    expect((await alice.status()).runs).toEqual([]);
  });

  it('the creator, at REPLY: V-16, the run is taken up where it was', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'it rings');
    await alice.stop();
    starting.stop();
    const entering = bob.enter(alice, code);
    await until(() => entering.steps.length > 0, 'the code is typed');
    await alice.restart();
    expect(await entering.end).toMatchObject({ event: 'verified', acknowledged: true });
    await bothVerified();
  });

  it('the enterer, at PROOF: the creator waits for his bot', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'it rings');
    losesDeliveries(bob);
    const entering = bob.enter(alice, code);
    await until(() => starting.steps.includes(3), 'the code was right');
    expect(starting.told.at(-1)).toEqual({ event: 'step', step: 3, waitingFor: 'peer-bot' });
    expect((await alice.view(bob)).state).not.toBe('verified');
    entering.stop();
    await restart(bob);
    expect(await starting.end).toMatchObject({ event: 'verified' });
    await bothVerified();
  });

  it('V-18: the creator, at ACCEPT: the enterer has verified, and both are told how it is', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    const entering = bob.enter(alice, code);
    await until(() => entering.steps.includes(2), 'the code is typed');
    losesDeliveries(alice);
    await until(async () => (await bob.stateOfRun(alice)) !== 'ringing', 'it is typed');
    starting.stop();
    await restart(alice);
    expect(await entering.end).toMatchObject({ event: 'verified' });
    await bothVerified();
  });

  it('the enterer, at DONE: he hears of it when he is back', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    const entering = bob.enter(alice, code, { fresh: true });
    await until(() => entering.steps.includes(3), 'bob trusts');
    entering.stop();
    await restart(bob);
    await starting.end;
    await bothVerified();
  });
});

describe('several devices of the enterer', () => {
  let second: Peer;

  beforeEach(async () => {
    second = await peerOf(scene, { phone: bob.running.phone });
  });

  it('V-21: all ring, and those that the code was not typed on stop', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'the first rings');
    await until(async () => (await second.stateOfRun(alice)) === 'ringing', 'the second rings');
    await Promise.all([second.enter(alice, code).end, starting.end]);
    await until(async () => (await bob.stateOfRun(alice)) === undefined, 'the first rings no more');
    // Told at once, and not kept for the next run.
    expect(await failure(bob.enter(alice, code).end)).toBe('VERIFY_SUPERSEDED');
    await wholeRun(alice, bob);
    expect((await alice.view(bob)).state).toBe('verified');
    expect((await alice.status()).guesses).toEqual([]);
  });

  it('one code typed on two: the first REPLY is bound with its device, the other run ends by itself', async () => {
    const starting = alice.start(bob);
    const code = await codeOf(starting);
    await until(async () => (await bob.stateOfRun(alice)) === 'ringing', 'the first rings');
    await until(async () => (await second.stateOfRun(alice)) === 'ringing', 'the second rings');
    const typed = [bob.enter(alice, code), second.enter(alice, code)];
    await starting.end;
    await until(() => typed.some(({ steps }) => steps.includes(4)), 'one is through');
    const ends = typed.map(({ end }) =>
      Promise.race([failure(end), new Promise((go) => setTimeout(go, 5_000))]),
    );
    expect(['no failure', 'CODE_REJECTED', 'VERIFY_SUPERSEDED', undefined]).toContain(await ends[1]);
    expect((await alice.view(bob)).state).toBe('verified');
    const states = [await bob.stateOfRun(alice), await second.stateOfRun(alice)];
    expect(states).toContain('finished');
    for (const entering of typed) entering.stop();
    // Nothing of this stands in the way of another run.
    await bob.act('cancel');
    await second.act('cancel');
    await wholeRun(alice, bob);
  });
});
