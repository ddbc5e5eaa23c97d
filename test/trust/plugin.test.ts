/** What plugins can do with identities, and what is asked of contacts before a plugin is called. */
import {
  KEMKeyPair,
  KyberPreKeyRecord,
  PreKeyRecord,
  PrivateKey,
  SignedPreKeyRecord,
} from '@signalapp/libsignal-client';
import { describe, expect, it } from 'vitest';
import { fromBase64, toBase64, type Bytes } from '../../src/bytes.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import type { Transaction } from '../../src/context.ts';
import { Dispatcher } from '../../src/inbox/dispatcher.ts';
import { Plugins } from '../../src/plugin.ts';
import type { Host, Plugin } from '../../src/plugin/contract.ts';
import { VERIFY_TAG } from '../../src/session/carrier.ts';
import type { Policy, Proof } from '../../src/store/identity-row.ts';
import { identityRows, inboxRows, outboxRows, pluginState } from '../../src/store/tables.ts';
import { appType } from '../../src/router.ts';
import { policy } from '../../src/trust/operator.ts';
import type { OperatorRules } from '../../src/trust/policy.ts';
import { verifyPniBlock, verifySignature } from '../../src/trust/own-key.ts';
import type { RunBundle, RunPrekeys, Transition, TrustEvent } from '../../src/trust.ts';
import { inboxRow } from '../support/inbox-row.ts';
import { keyPair, makePeer, type Peer } from '../support/peer.ts';
import { trustOf } from '../support/trust.ts';

const NOW = 1_700_000_000_000;
const PROOF: Proof = { kind: 'safety-number', by: 'operator', at: NOW };

/** A plugin on a peer's store. */
async function hostOf(
  peer: Peer,
  declared: Partial<Plugin> = { permissions: ['identities', 'send'] },
  setup: (host: Host) => void = () => undefined,
  rules?: OperatorRules,
): Promise<{ host: Host; plugins: Plugins }> {
  const trust = await trustOf(peer, rules);
  const { store, platform, aci: self } = peer;
  let last = NOW;
  const plugins = new Plugins({ self, store, platform, trust, stamp: () => ++last, onRow: () => undefined });
  let host: Host | undefined;
  const plugin: Plugin = {
    name: 'p',
    version: '1',
    ...declared,
    setup: (given) => {
      host = given;
      setup(given);
    },
  };
  await plugins.install(plugin);
  if (host === undefined) throw new Error('not set up');
  return { host, plugins };
}

function keyOf({ account }: Peer): Bytes {
  return fromBase64(account.identity.publicKey);
}

/** Prekeys of one run, as a plugin makes them. */
function runPrekeys(host: Host): { bundle: RunBundle; prekeys: RunPrekeys } {
  const { own } = host.trust;
  const [ec, signed, kem] = [PrivateKey.generate(), PrivateKey.generate(), KEMKeyPair.generate()];
  const signedKey = signed.getPublicKey();
  const kemKey = kem.getPublicKey().serialize();
  const [signature, kemSignature] = [own.signPrekey(signedKey.serialize()), own.signPrekey(kemKey)];
  return {
    bundle: {
      deviceId: own.deviceId,
      registrationId: own.registrationId,
      prekey: { id: 1, publicKey: ec.getPublicKey().serialize() },
      signedPrekey: { id: 2, publicKey: signedKey.serialize(), signature },
      kyberPrekey: { id: 3, publicKey: kemKey, signature: kemSignature },
    },
    prekeys: {
      prekey: PreKeyRecord.new(1, ec.getPublicKey(), ec).serialize(),
      signedPrekey: SignedPreKeyRecord.new(2, NOW, signedKey, signed, signature).serialize(),
      kyberPrekey: KyberPreKeyRecord.new(3, NOW, kem, kemSignature).serialize(),
    },
  };
}

describe('host.trust and transaction.trust', () => {
  it('are for plugins with the permission alone', async () => {
    const { host } = await hostOf(await makePeer(), { permissions: ['send'] });
    const peer = await makePeer();
    expect(() => host.trust.own).toThrow(expect.objectContaining({ code: 'PERMISSION_NEEDED' }));
    await expect(host.update((tx) => tx.trust.identities.get(peer.aci))).rejects.toMatchObject({
      code: 'PERMISSION_NEEDED',
    });
    const frame = { tag: VERIFY_TAG, payload: new Uint8Array(1) };
    await expect(host.update((tx) => tx.send(peer.aci, frame))).rejects.toMatchObject({
      code: 'PERMISSION_NEEDED',
    });
    const type = appType(VERIFY_TAG);
    const handles = (given: Host): void => {
      given.app(type, () => undefined);
    };
    await expect(hostOf(await makePeer(), {}, handles)).rejects.toThrow(
      'without the permission "identities"',
    );
  });

  it('sign with our key under a label of their own, and never as anything else', async () => {
    const peer = await makePeer();
    const { host } = await hostOf(peer);
    const bytes = new Uint8Array([1, 2, 3]);
    const signature = host.trust.own.sign('spake2-signal introduction v1', bytes);
    expect(verifySignature(keyOf(peer), 'spake2-signal introduction v1', bytes, signature)).toBe(true);
    expect(verifySignature(keyOf(peer), 'spake2-signal introduction v2', bytes, signature)).toBe(false);
    expect(() => host.trust.own.sign('Signal_PNI_Signature', bytes)).toThrow('spake2-signal');
    expect(() => host.trust.own.signPrekey(bytes)).toThrow('public key');
    expect(JSON.stringify(host.trust.own)).not.toContain(peer.account.identity.privateKey);
  });

  it('open the session of a run on both sides, with the exact calls of section 7', async () => {
    const [a, b] = [await makePeer(), await makePeer()];
    const [alice, bob] = [(await hostOf(a)).host, (await hostOf(b)).host];
    const { bundle, prekeys } = runPrekeys(alice);
    const [atAlice, atBob] = [
      { serviceId: b.aci, deviceId: 2 },
      { serviceId: a.aci, deviceId: 2 },
    ];
    const word = Buffer.from('initial');
    const initial = await bob.trust.update(a.aci, async ({ trust }) => {
      await trust.identities.pin(a.aci, keyOf(a), PROOF);
      return trust.sessions.openFromBundle(a.aci, keyOf(a), bundle, word);
    });
    const wrongId = alice.trust.update(b.aci, ({ trust }) =>
      trust.sessions.openInitial(atAlice, initial, prekeys, (b.account.registrationId % 16_383) + 1),
    );
    await expect(wrongId).rejects.toMatchObject({ code: 'CONTENT_INVALID' });
    const done = await alice.trust.update(b.aci, async ({ trust }) => {
      await trust.identities.pin(b.aci, keyOf(b), PROOF);
      const { registrationId } = b.account;
      expect(
        Buffer.from(await trust.sessions.openInitial(atAlice, initial, prekeys, registrationId)),
      ).toEqual(word);
      return trust.sessions.sealWhisper(atAlice, Buffer.from('done'));
    });
    const heard = await bob.trust.update(a.aci, ({ trust }) => trust.sessions.openWhisper(atBob, done));
    expect(Buffer.from(heard).toString()).toBe('done');
    const early = bob.trust.update(a.aci, ({ trust }) =>
      trust.sessions.openFromBundle(a.aci, keyOf(b), bundle, word),
    );
    await expect(early).rejects.toMatchObject({ code: 'IDENTITY_CHANGED' });
  });

  it('refuse an initial message under another key than the pin, and write nothing', async () => {
    const [a, b, middle] = [await makePeer(), await makePeer(), await makePeer()];
    const alice = (await hostOf(a)).host;
    const { bundle, prekeys } = runPrekeys(alice);
    const stranger = (await hostOf(await makePeer({ aci: b.aci }))).host;
    const initial = await stranger.trust.update(a.aci, async ({ trust }) => {
      await trust.identities.pin(a.aci, keyOf(a), PROOF);
      return trust.sessions.openFromBundle(a.aci, keyOf(a), bundle, new Uint8Array(1));
    });
    const taken = alice.trust.update(b.aci, async ({ trust }) => {
      await trust.identities.pin(b.aci, keyOf(b), PROOF);
      await trust.sessions.openInitial({ serviceId: b.aci, deviceId: 2 }, initial, prekeys);
    });
    await expect(taken).rejects.toMatchObject({ code: 'IDENTITY_CHANGED' });
    expect(await identityRows.get(a.store.batch(), b.aci)).toBeUndefined();
    expect(await identityRows.get(a.store.batch(), middle.aci)).toBeUndefined();
  });

  it('write trust, state and messages in one commit, with what onlookers add', async () => {
    const [a, b] = [await makePeer(), await makePeer()];
    const { host } = await hostOf(a);
    const events: TrustEvent[] = [];
    host.trust.onEvent((event) => events.push(event));
    host.trust.onTransition(({ aci, after }: Transition, { state }: Transaction) => {
      state.putJson('last', [aci, after.state]);
    });
    const failing = host.update(async ({ trust, state }) => {
      await trust.identities.pin(b.aci, keyOf(b), PROOF);
      state.putJson('run', 1);
      throw new Error('on second thought');
    });
    await expect(failing).rejects.toThrow('on second thought');
    expect(await identityRows.get(a.store.batch(), b.aci)).toBeUndefined();
    expect(events).toEqual([]);

    await host.update(async ({ trust }) => {
      expect(await trust.identities.wouldPin(b.aci, keyOf(b))).toBe('verified');
      await trust.identities.pin(b.aci, keyOf(b), PROOF);
    });
    expect(events).toMatchObject([{ kind: 'state', from: 'unknown', to: 'verified' }]);
    const noted = await pluginState.get(a.store.batch(), 'p', 'last');
    expect(JSON.parse(Buffer.from(noted ?? []).toString())).toEqual([b.aci, 'verified']);
    expect(await host.trust.get(b.aci)).toMatchObject({ state: 'verified', evidence: [PROOF] });
  });

  it('bind a PNI once both identities sign each other, and to nobody else', async () => {
    const [a, b, c] = [await makePeer(), await makePeer(), await makePeer()];
    const { host } = await hostOf(a);
    const block = (await hostOf(b)).host.trust.own.pni;
    if (block === undefined) throw new Error('there is no PNI');
    expect(verifyPniBlock(keyOf(b), block)).toBe(true);
    const unverified = host.update(({ trust }) => trust.identities.bindPni(b.aci, block));
    await expect(unverified).rejects.toMatchObject({ code: 'PEER_UNVERIFIED' });
    await host.update(async ({ trust }) => {
      await trust.identities.pin(b.aci, keyOf(b), PROOF);
      await trust.identities.pin(c.aci, keyOf(c), PROOF);
      await trust.identities.bindPni(b.aci, block);
    });
    for (const bad of [
      { ...block, signatureByAci: block.signatureByPni },
      { ...block, signatureByPni: block.signatureByAci },
    ]) {
      const binding = host.update(({ trust }) => trust.identities.bindPni(b.aci, bad));
      await expect(binding).rejects.toMatchObject({ code: 'CONTENT_INVALID' });
    }
    const stolen = host.update(({ trust }) => trust.identities.bindPni(c.aci, block));
    await expect(stolen).rejects.toMatchObject({ code: 'CONTENT_INVALID' });

    // The binding counts while the directory gives the bound key for the PNI.
    const { identities } = a;
    const batch = a.store.batch();
    expect(await identities.state(batch, block.pni)).toBe('unknown');
    await identities.save(batch, block.pni, block.key);
    expect(await identities.state(batch, block.pni)).toBe('verified');
    const other = a.store.batch();
    await identities.save(other, block.pni, keyOf(c));
    expect(await identities.state(other, block.pni)).toBe('tofu');
  });

  it('sends a frame by the carrier, and nothing else', async () => {
    const [a, b] = [await makePeer(), await makePeer()];
    const { host } = await hostOf(a);
    const frame = { tag: VERIFY_TAG, payload: new Uint8Array(1) };
    const timestamp = await host.update((tx) => tx.send(b.aci, frame, { carrier: true, devices: [2] }));
    expect(await outboxRows.get(a.store.batch(), b.aci, timestamp)).toMatchObject({
      carrier: true,
      log: false,
    });
    await expect(host.update((tx) => tx.send(b.aci, 'a text', { carrier: true }))).rejects.toMatchObject({
      code: 'CONTENT_INVALID',
    });
  });
});

describe('policy', () => {
  /** Calls handlers with a text of a contact in a state; gives what they heard. */
  async function call(
    state: 'tofu' | 'introduced' | 'verified' | 'changed' | 'revoked',
    setup: (host: Host, heard: string[]) => void,
    declared: Partial<Plugin> = {},
    rules?: OperatorRules,
    content = encodeText('!sign it', NOW),
    change?: Parameters<typeof policy>[1],
    /** Under which key the message came; that of the contact if unsaid, `none` for a message of no session. */
    under?: Bytes | 'none',
    revoked: readonly Bytes[] = [],
  ): Promise<{ heard: string[]; outbound: (string | undefined)[] }> {
    const [a, b] = [await makePeer(), await makePeer()];
    const heard: string[] = [];
    if (change !== undefined) await policy(await trustOf(a), change);
    const { plugins } = await hostOf(
      a,
      declared,
      (host) => {
        setup(host, heard);
      },
      rules,
    );
    const batch = a.store.batch();
    const known = { key: toBase64(keyOf(b)), state, since: NOW, revoked: revoked.map(toBase64) };
    identityRows.put(batch, b.aci, known);
    const identityKey = under ?? keyOf(b);
    const row = inboxRow(b.aci, content);
    inboxRows.put(batch, 1, identityKey === 'none' ? row : { ...row, identityKey });
    await batch.commit();
    const { store, platform } = a;
    const dispatcher = new Dispatcher({ store, platform, router: plugins.router, onRow: () => undefined });
    const stop = new AbortController();
    const running = dispatcher.run(stop.signal);
    await dispatcher.idle();
    stop.abort();
    await running;
    const outbound = [];
    for await (const [, left] of outboxRows.scan(store)) outbound.push(left.policy);
    return { heard, outbound };
  }

  const command =
    (options?: Parameters<Host['command']>[2]) =>
    (host: Host, heard: string[]): void => {
      host.command(
        'sign',
        (ctx) => {
          heard.push(ctx.text);
          ctx.reply('done');
        },
        options,
      );
    };

  it('V-32: is tofu if nobody says more, and verified for administration and signing', async () => {
    expect((await call('tofu', command())).heard).toHaveLength(1);
    expect((await call('introduced', command({ policy: { purpose: 'administration' } }))).heard).toEqual([]);
    expect((await call('introduced', command(), { policy: { purpose: 'signing' } })).heard).toEqual([]);
    const signed = await call('verified', command(), { policy: { purpose: 'signing' } });
    expect(signed).toEqual({ heard: ['!sign it'], outbound: ['verified'] });
    expect((await call('introduced', command({ policy: { inbound: 'introduced' } }))).heard).toHaveLength(1);
  });

  it('V-32: changed and revoked satisfy no policy', async () => {
    for (const state of ['changed', 'revoked'] as const) {
      expect((await call(state, command({ policy: { inbound: 'any' } }))).heard).toEqual([]);
    }
  });

  it('V-32: speaks of the key that a message came under, not of who is trusted by the time it is handled', async () => {
    const other = fromBase64(keyPair().publicKey);
    const heard = async (inbound: Policy, under: Bytes | 'none', revoked: Bytes[] = []): Promise<number> => {
      const handler = command({ policy: { inbound } });
      const called = await call('verified', handler, {}, undefined, undefined, undefined, under, revoked);
      return called.heard.length;
    };
    for (const policy of ['introduced', 'verified'] as const) {
      expect([policy, await heard(policy, other)]).toEqual([policy, 0]);
      expect([policy, await heard(policy, 'none')]).toEqual([policy, 0]);
    }
    // Taken on first use at its time, and a first use is all that is asked for.
    expect(await heard('tofu', other)).toBe(1);
    expect(await heard('tofu', 'none')).toBe(1);
    for (const policy of ['any', 'tofu'] as const) expect(await heard(policy, other, [other])).toBe(0);
  });

  it("V-32: the operator's word goes before the plugin's, and that for a command before that for the plugin", async () => {
    const strict: OperatorRules = { p: { inbound: 'verified' } };
    expect((await call('tofu', command(), {}, strict)).heard).toEqual([]);
    const looser: OperatorRules = { p: { inbound: 'verified', commands: { sign: { inbound: 'tofu' } } } };
    expect((await call('tofu', command(), {}, looser)).heard).toHaveLength(1);
    const set = { plugin: 'p', command: 'sign', inbound: 'verified' } as const;
    expect((await call('tofu', command(), {}, looser, undefined, set)).heard).toEqual([]);
  });

  it('exempts verification frames: they come from whom nothing else is taken from', async () => {
    const type = appType(VERIFY_TAG);
    const frames = (host: Host, heard: string[]): void => {
      host.app(type, () => heard.push('a frame'));
    };
    const content = encodeApp(VERIFY_TAG, new Uint8Array(1));
    const declared: Partial<Plugin> = { permissions: ['identities'], policy: { purpose: 'signing' } };
    expect((await call('changed', frames, declared, undefined, content)).heard).toEqual(['a frame']);
  });
});
