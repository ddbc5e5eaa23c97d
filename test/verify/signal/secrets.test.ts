/** Copies of secrets in memory: the row alone has them (V-16). */
import { beforeEach, expect, it } from 'vitest';
import { dammDigit } from '../../../plugins/verify/code.ts';
import type { Slot } from '../../../plugins/verify/machine/slot.ts';
import { secretsOf } from '../../../plugins/verify/machine/state.ts';
import { Mhf, type CodeInput } from '../../../plugins/verify/math/mhf.ts';
import { opensslScrypt } from '../../../plugins/verify/math/node.ts';
import { makeShare } from '../../../plugins/verify/math/spake2.ts';
import { scanSlots } from '../../../plugins/verify/rows.ts';
import { LiveCodes } from '../../../plugins/verify/signal/codes.ts';
import { Operator } from '../../../plugins/verify/signal/operator.ts';
import { Runs } from '../../../plugins/verify/signal/runs.ts';
import type { Start } from '../../../plugins/verify/machine/step.ts';
import { offlineHost } from '../../../src/bot/offline-host.ts';
import type { Bytes } from '../../../src/bytes.ts';
import type { Host } from '../../../src/plugin/contract.ts';
import { makePeer } from '../../support/peer.ts';
import { WatchedStore } from '../../support/watched-store.ts';
import { CHEAP, ENV, Party, random, T0 } from '../support/party.ts';

let host: Host;
let runs: Runs;
/** Commits, from now on. */
let fails = false;
const alice = new Party();

beforeEach(async () => {
  const { store: inner, platform } = await makePeer();
  fails = false;
  const store = new WatchedStore(inner, (commit) =>
    fails ? Promise.reject(new Error('no disk')) : commit(),
  );
  const permissions = ['send', 'sync', 'identities'] as const;
  host = await offlineHost(store, platform, { name: 'verify', version: '0', permissions });
  runs = new Runs({ host, env: ENV, random, codes: new LiveCodes() });
});

function start(): Start {
  const [runId, w] = [random.bytes(16), random.bytes(32).fill(0, 0, 1)];
  const { aci, deviceId, registrationId, identityKey, pni } = host.trust.own;
  const own = { aci, device: deviceId, registrationId, identityKey, pni, mayBeIntroduced: false };
  return {
    ...{ kind: 'start', own, peer: alice.own.aci, profile: 1, format: 1, mhf: CHEAP, lifetimeMs: 600_000 },
    ...{ runId, w, share: makeShare(ENV.primitives.p256, 'A', w, random), nonce: random.bytes(32) },
    ...{ channel: new Uint8Array(0), now: T0 },
  };
}

function secrets({ run }: Slot): readonly Bytes[] {
  const found = run === undefined ? [] : secretsOf(run);
  expect(found.length).toBeGreaterThan(0);
  return found;
}

const areOverwritten = (found: readonly Bytes[]): boolean =>
  found.every((secret) => secret.every((byte) => byte === 0));

it('V-16: what a step has read and made is overwritten after it, whatever comes of it', async () => {
  const step = await runs.give(alice.own.aci, start);
  expect(step && areOverwritten(secrets(step.slot))).toBe(true);
  let seen: Slot | undefined;
  for (const isThrown of [false, true]) {
    const given = runs.give(alice.own.aci, (_tx, slot) => {
      seen = slot;
      expect(areOverwritten(secrets(slot))).toBe(false); // the row has them
      if (isThrown) throw new Error('no event');
      return { kind: 'tick', now: T0 };
    });
    await given.catch(() => undefined);
    expect(seen && areOverwritten(secrets(seen))).toBe(true);
  }
});

it('V-16: what was typed is overwritten, also where its step could not be written', async () => {
  const { aci, deviceId: device } = host.trust.own;
  alice.now = host.clock.now();
  await alice.start(new Party({ aci, device }), '482913');
  const frame = { bytes: alice.frame('offer'), from: alice.address, openedUnder: alice.own.identityKey };
  await runs.give(alice.own.aci, () => ({ kind: 'frame', ...frame, gate: 'open', now: alice.now }));
  const stretched: Bytes[] = [];
  class KeepingMhf extends Mhf {
    override async codeToW(input: CodeInput): Promise<Bytes> {
      const w = await super.codeToW(input);
      stretched.push(w);
      fails = true; // from the commit of `typed` on
      return w;
    }
  }
  const mhf = new KeepingMhf(opensslScrypt, { params: CHEAP, minLog2N: 4, maxLog2N: 4 });
  const env = { ...ENV, primitives: { ...ENV.primitives, mhf } };
  const operator = new Operator({ host, runs, codes: new LiveCodes(), env, random, mayBeIntroduced: false });
  const input = { code: '482913' + String(dammDigit('482913')) };
  const { signal } = new AbortController();
  const call = { contact: alice.own.aci, input, signal, tell: () => undefined };
  await expect(operator.enter(call)).rejects.toThrow('no disk');
  expect(stretched.length).toBe(1);
  expect(areOverwritten(stretched)).toBe(true);
});

it('V-16: what was looked through is overwritten', async () => {
  await runs.give(alice.own.aci, start);
  const seen: Slot[] = [];
  await host.update(async (tx) => {
    for await (const [, slot] of scanSlots(tx)) {
      seen.push(slot);
      expect(areOverwritten(secrets(slot))).toBe(false);
      break; // which is no way around it
    }
  });
  expect(seen.map((slot) => areOverwritten(secrets(slot)))).toEqual([true]);
});
