import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { serviceIdToBytes } from '../../src/address.ts';
import { own, type Bytes } from '../../src/bytes.ts';
import { encodeText, encodeTranscript } from '../../src/content/encode.ts';
import { decodeEnvelope } from '../../src/content/envelope.ts';
import { lastListen, noteListen } from '../../src/inbox/listening.ts';
import { signal } from '../../src/proto/messages.js';
import { OUTER_BYTES } from '../../src/session/outer-tag.ts';
import { aciIdentity } from '../../src/session/own-identity.ts';
import { openMemory } from '../../src/store/memory.ts';
import { peers } from '../../src/store/tables.ts';
import { ManualClock } from '../support/clock.ts';
import { envelopeFrom, makePeer, wireEnvelope } from '../support/peer.ts';
import { announced, Authority, befriend, tagged } from '../support/tagged.ts';

import {
  botOf,
  DAY_MS,
  delivery,
  dropped,
  NOW,
  platformAt,
  receive,
  scene,
  textOf,
  uuid,
} from '../support/listening-bot.ts';

describe('tagged listening', () => {
  it('opens what bears a tag, and drops what bears none, acked, counted and unwritten', async () => {
    const { alice, bob, bot } = await scene();
    const stranger = await makePeer({ platform: platformAt(NOW) });
    await receive(bot, await tagged(alice, bob, await textOf(alice, bob, 'heard'), { timestamp: NOW }));
    expect(bot.texts).toEqual(['heard']);
    expect(bot.intake.drops.untagged).toBe(0);
    await dropped(
      bot,
      await textOf(alice, bob, 'without a tag'),
      await textOf(stranger, bob, 'a stranger'),
      own(randomBytes(200)),
      wireEnvelope(stranger, bob, 6, own(randomBytes(300)), { timestamp: NOW }),
      wireEnvelope(stranger, bob, 1, own(randomBytes(OUTER_BYTES)), { timestamp: NOW }),
      wireEnvelope(stranger, bob, 8, own(randomBytes(40)), { timestamp: NOW }),
      wireEnvelope(stranger, bob, 0, own(randomBytes(40)), { timestamp: NOW }),
    );
  });

  it('drops what it accepts by hand, too', async () => {
    const { alice, bob, bot } = await scene();
    const given = delivery(await textOf(alice, bob, 'without a tag'));
    expect(await bot.receiver.accept(given)).toBe('dropped');
    expect(given.acked).toBe(1);
    expect(bot.intake.drops.untagged).toBe(1);
  });

  it('finds the tag of a sealed sender before the seal is opened', async () => {
    const authority = new Authority();
    const { alice, bob, bot } = await scene('tagged', [authority.trustRoot]);
    const seal = authority.seal(alice, NOW);
    const sealedText = (text: string): Promise<Bytes> =>
      envelopeFrom(alice, bob, encodeText(text, NOW), { timestamp: NOW, seal });
    await receive(bot, await tagged(alice, bob, await sealedText('sealed'), { timestamp: NOW }));
    expect(bot.texts).toEqual(['sealed']);
    await dropped(bot, await sealedText('sealed, and without a tag'));
  });

  it('drops tags that are forged, cut, of another device, of another pair or of the other direction', async () => {
    const { alice, bob, bot } = await scene();
    const [mallory, carol] = [
      await makePeer({ platform: platformAt(NOW) }),
      await makePeer({ platform: platformAt(NOW) }),
    ];
    await befriend(mallory, bob, NOW);
    await befriend(carol, bob, NOW);
    bot.listening.noteChange(mallory.aci); // known as ours; of Carol it was not told
    const genuine = await tagged(alice, bob, await textOf(alice, bob, 'genuine'), { timestamp: NOW });
    const content = decodeEnvelope(genuine).content;
    const inEnvelope = (bytes: Uint8Array, from = alice): Bytes =>
      wireEnvelope(from, bob, 1, own(bytes), { timestamp: NOW });
    const changed = Uint8Array.from(content);
    changed[5] = (changed[5] ?? 0) ^ 1;
    await dropped(
      bot,
      inEnvelope(changed),
      inEnvelope(content.subarray(0, -1)),
      inEnvelope(content.subarray(0, -OUTER_BYTES)),
      inEnvelope(Buffer.concat([content.subarray(0, -12), randomBytes(12)])),
      inEnvelope(Buffer.concat([content.subarray(0, -24), randomBytes(24)])),
      inEnvelope(Buffer.concat([Buffer.from('another ciphertext'), content.subarray(-OUTER_BYTES)])),
      // Mallory knows Bob's route key, and sends under Alice's name, or what Alice has tagged under his own.
      await tagged(mallory, bob, await textOf(mallory, bob, 'x'), { timestamp: NOW, as: alice }),
      inEnvelope(content, mallory),
      // Bob's own tag for Alice comes back.
      await tagged(bob, alice, await textOf(alice, bob, 'x'), {
        timestamp: NOW,
        device: announced(bob),
        as: alice,
      }),
      await tagged(carol, bob, await textOf(carol, bob, 'x'), { timestamp: NOW }),
    );
    await receive(
      bot,
      genuine,
      await tagged(mallory, bob, await textOf(mallory, bob, 'm'), { timestamp: NOW }),
    );
    expect(bot.texts).toEqual(['genuine', 'm']);
  });

  it('takes a tag of the day on which the server took the message, and of the days beside it', async () => {
    const { alice, bob, bot } = await scene();
    const from = (days: number, text: string, server = NOW): Promise<Bytes> =>
      textOf(alice, bob, text, server).then((envelope) =>
        tagged(alice, bob, envelope, {
          timestamp: server,
          clock: new ManualClock(server + days * DAY_MS),
        }),
      );
    await receive(bot, await from(-1, 'yesterday'), await from(0, 'today'), await from(1, 'tomorrow'));
    await dropped(bot, await from(-2, 'too old'), await from(2, 'to come'), await from(-400, 'long ago'));
    // It has waited in the server's queue for a month.
    await receive(bot, await from(0, 'late', NOW - 30 * DAY_MS));
    expect(bot.texts).toEqual(['yesterday', 'today', 'tomorrow', 'late']);
  });

  it('takes the same tagged message again as what it is: a copy', async () => {
    const { alice, bob, bot } = await scene();
    const envelope = await tagged(alice, bob, await textOf(alice, bob, 'once'), { timestamp: NOW });
    await receive(bot, envelope, envelope);
    await receive(bot, envelope);
    expect(bot.texts).toEqual(['once']);
    expect(bot.intake.drops.untagged).toBe(0);
  });

  it('lets through what comes from our own account, and the receipts of the server', async () => {
    const { alice, bob, bot } = await scene();
    const phone = await makePeer({ platform: platformAt(NOW), deviceOf: bob.account, deviceId: 1 });
    const transcript = encodeTranscript(encodeText('from the phone', NOW), alice.aci, NOW, false);
    if (transcript === undefined) throw new Error('nothing to show');
    await receive(
      bot,
      await envelopeFrom(phone, bob, transcript, { timestamp: NOW }),
      own(
        signal.Envelope.encode({
          type: 5,
          clientTimestamp: NOW,
          sourceServiceId: alice.aci,
          sourceDevice: 2,
          destinationServiceIdBinary: serviceIdToBytes(bob.aci),
        }).finish(),
      ),
    );
    expect(bot.texts.toSorted()).toEqual(['a receipt', 'a transcript']);
    // Our own name under a seal proves nothing before the seal is open.
    await dropped(bot, wireEnvelope(phone, bob, 6, own(randomBytes(300)), { timestamp: NOW }));
  });

  it('hears a peer from the moment that it is told of, and under its new key from the moment of that', async () => {
    const { bob, bot } = await scene();
    const carol = await makePeer({ platform: platformAt(NOW) });
    await befriend(carol, bob, NOW);
    await dropped(bot, await tagged(carol, bob, await textOf(carol, bob, 'early'), { timestamp: NOW }));
    bot.listening.noteChange(carol.aci);
    expect(bot.listening.isStale).toBe(true);
    await receive(bot, await tagged(carol, bob, await textOf(carol, bob, 'told'), { timestamp: NOW }));
    expect(bot.listening.isStale).toBe(false);
    expect(bot.texts).toEqual(['told']);

    const renewed = await makePeer({ platform: platformAt(NOW), aci: carol.aci });
    const hello = await tagged(renewed, bob, await textOf(renewed, bob, 'who?'), { timestamp: NOW });
    await dropped(bot, hello);
    const batch = bob.store.batch();
    const key = aciIdentity(renewed.account).keys.publicKey.serialize();
    await bob.identities.save(batch, carol.aci, key);
    await bob.identities.change(batch, carol.aci, { kind: 'accepted', key });
    await batch.commit();
    bot.listening.noteChange(carol.aci);
    await receive(bot, hello);
    expect(bot.texts).toEqual(['told', 'who?']);
  });

  it('forgets a device that is gone, and keeps those to whom nothing was told silent', async () => {
    const authority = new Authority();
    const { alice, bob, bot } = await scene('tagged', [authority.trustRoot]);
    const seal = authority.seal(alice, NOW);
    // Nothing but the tag says whose it is.
    const sealed = await tagged(
      alice,
      bob,
      await envelopeFrom(alice, bob, encodeText('sealed', NOW), { timestamp: NOW, seal }),
      { timestamp: NOW },
    );
    expect(bot.listening.hears(sealed)).toBe(true);
    const patch = async (announcedHash: string | undefined, devices: 'none' | 'all'): Promise<void> => {
      const batch = bob.store.batch();
      const known = await peers.get(batch, 'aci', alice.aci);
      peers.put(batch, 'aci', alice.aci, {
        devices: devices === 'none' ? [] : (known?.devices ?? []),
        ...(announcedHash === undefined ? {} : { announced: announcedHash }),
      });
      await batch.commit();
      bot.listening.noteChange(alice.aci);
    };
    const next = async (): Promise<Bytes> =>
      tagged(alice, bob, await textOf(alice, bob, 'x'), { timestamp: NOW });
    await patch(undefined, 'all');
    await dropped(bot, await next());
    await patch('', 'all');
    await receive(bot, await next());
    await patch('', 'none');
    await dropped(bot, await next());
    expect(bot.listening.hears(sealed)).toBe(false);
  });

  it('finds one of a thousand peers by one look, and makes each key once', async () => {
    const { alice, bob } = await scene();
    const batch = bob.store.batch();
    for (let n = 0; n < 1000; n++) {
      const { account, aci } = { account: alice.account, aci: uuid(n) };
      await bob.identities.save(batch, aci, aciIdentity(account).keys.publicKey.serialize());
      peers.put(batch, 'aci', aci, { devices: [{ id: 2, registrationId: 1 }], announced: 'our tags' });
    }
    await batch.commit();
    const bot = await botOf(bob);
    await receive(bot, await tagged(alice, bob, await textOf(alice, bob, 'found'), { timestamp: NOW }));
    expect(bot.texts).toEqual(['found']);
    const envelope = await textOf(alice, bob, 'no tag');
    const began = performance.now();
    for (let n = 0; n < 2000; n++) expect(bot.listening.hears(envelope)).toBe(false);
    // Trying a thousand keys would take a thousand times as long as it does: milliseconds each.
    expect((performance.now() - began) / 2000).toBeLessThan(0.5);
  });
});

describe('listening to all', () => {
  it('takes tags off and opens what is there, of whatever day and whoever made them', async () => {
    const { alice, bob, bot } = await scene('all');
    const clock = new ManualClock(NOW - 90 * DAY_MS);
    const stranger = await makePeer({ platform: platformAt(NOW) });
    await receive(
      bot,
      await textOf(alice, bob, 'plain'),
      await tagged(alice, bob, await textOf(alice, bob, 'tagged'), { timestamp: NOW }),
      await tagged(alice, bob, await textOf(alice, bob, 'with a wrong clock'), { timestamp: NOW, clock }),
      await tagged(stranger, bob, await textOf(stranger, bob, 'of a stranger'), { timestamp: NOW }),
    );
    expect(bot.texts.toSorted()).toEqual(['of a stranger', 'plain', 'tagged', 'with a wrong clock']);
    expect(bot.intake.drops.untagged).toBe(0);
  });
});

describe('how a store listens', () => {
  it('is to all until something else was said, and is remembered', async () => {
    const store = openMemory();
    expect(await lastListen(store)).toBe('all');
    await noteListen(store, 'tagged');
    expect(await lastListen(store)).toBe('tagged');
    await noteListen(store, 'all');
    expect(await lastListen(store)).toBe('all');
  });
});
