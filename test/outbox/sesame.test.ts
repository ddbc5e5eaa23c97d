import { describe, expect, it } from 'vitest';
import { parseTag } from '../../src/content/app-message.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import type { Result } from '../../src/outbox/settled.ts';
import { newRow, type NewRow } from '../../src/store/outbox-row.ts';
import { facts, identityRows, outboxRows, peers } from '../../src/store/tables.ts';
import { Hub } from '../support/hub.ts';
import { outboxOf, read } from '../support/outbox.ts';
import { makePeer, type Peer } from '../support/peer.ts';
import { noteTags } from '../../src/session/peer-tags.ts';

const NOW = 1_700_000_000_000;
const TAG = parseTag('example.org/chess/1');
let time = NOW;

function text(to: Peer, body = 'hello'): NewRow {
  const timestamp = ++time;
  return { recipient: to.aci, timestamp, kind: 'text', content: encodeText(body, timestamp) };
}

async function deliver(hub: Hub, from: Peer, row: NewRow): Promise<Result> {
  return outboxOf(from, hub).sesame.deliver(newRow(row), new AbortController().signal);
}

async function pair(): Promise<{ hub: Hub; alice: Peer; bob: Peer }> {
  const [alice, bob] = [await makePeer(), await makePeer()];
  return { hub: new Hub().add(alice, bob), alice, bob };
}

describe('Sesame', () => {
  it('fetches keys once and sends in the session from then on', async () => {
    const { hub, alice, bob } = await pair();
    expect(await deliver(hub, alice, text(bob))).toMatchObject({
      kind: 'delivered',
      devices: [2],
      sealed: false,
    });
    expect(await deliver(hub, alice, text(bob, 'two'))).toMatchObject({ kind: 'delivered' });
    expect(hub.asked('GET', '/v2/keys')).toHaveLength(1);
    const contents = [];
    for (const letter of hub.letters) contents.push(await read(bob, letter.envelope));
    expect(contents).toMatchObject([{ text: 'hello' }, { text: 'two' }]);
  });

  it('adds a device that the server misses, and drops one that is gone', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    const second = await makePeer({ deviceOf: bob.account, deviceId: 3 });
    hub.add(second);
    expect(await deliver(hub, alice, text(bob))).toMatchObject({ kind: 'delivered', devices: [2, 3] });
    hub.remove(bob);
    expect(await deliver(hub, alice, text(bob))).toMatchObject({ kind: 'delivered', devices: [3] });
  });

  it('renews the session of a device that was relinked, with its new registration id', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    hub.remove(bob);
    const relinked = await makePeer({ deviceOf: bob.account, deviceId: 2 });
    hub.add(relinked);
    expect(await deliver(hub, alice, text(bob, 'new'))).toMatchObject({ kind: 'delivered' });
    expect(await read(relinked, hub.letters.at(-1)?.envelope ?? new Uint8Array(0))).toMatchObject({
      text: 'new',
    });
  });

  it('goes on through a stale device and then a missing one', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    hub.remove(bob);
    hub.add(
      await makePeer({ deviceOf: bob.account, deviceId: 2 }),
      await makePeer({ deviceOf: bob.account, deviceId: 3 }),
    );
    expect(await deliver(hub, alice, text(bob))).toMatchObject({ kind: 'delivered', devices: [2, 3] });
    const statuses = hub.asked('PUT', '/v1/messages').length;
    expect(statuses).toBe(4);
  });

  it('gives up for now when the devices never settle', async () => {
    const { hub, alice, bob } = await pair();
    hub.before = ({ verb }) =>
      verb === 'PUT' ? { status: 409, body: { missingDevices: [2], extraDevices: [] } } : undefined;
    const result = await deliver(hub, alice, text(bob));
    expect(result).toMatchObject({ kind: 'later', error: { code: 'DEVICES_UNSETTLED' } });
    expect(hub.asked('PUT', '/v1/messages')).toHaveLength(6);
  });

  it('never sends the same ciphertext twice', async () => {
    const { hub, alice, bob } = await pair();
    let refusals = 3;
    hub.before = ({ verb }) =>
      verb === 'PUT' && refusals-- > 0 ? { status: 410, body: { staleDevices: [2] } } : undefined;
    await deliver(hub, alice, text(bob));
    const bodies = hub.asked('PUT', '/v1/messages').map(({ body }) => Buffer.from(body ?? []).toString());
    expect(new Set(bodies).size).toBe(bodies.length);
    expect(bodies).toHaveLength(4);
  });

  it('has the ratchet step on disk before the ciphertext leaves', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    hub.before = ({ verb }) => {
      if (verb === 'PUT') throw new Error('the process dies here');
      return undefined;
    };
    await expect(deliver(hub, alice, text(bob))).rejects.toThrow('dies here');
    const lost = hub.asked('PUT', '/v1/messages').at(-1);
    hub.before = () => undefined;
    await deliver(hub, alice, text(bob));
    const next = hub.asked('PUT', '/v1/messages').at(-1);
    expect(next?.body).not.toEqual(lost?.body);
    expect(await read(bob, hub.letters[0]?.envelope ?? new Uint8Array(0))).toMatchObject({ kind: 'text' });
    expect(await read(bob, hub.letters[1]?.envelope ?? new Uint8Array(0))).toMatchObject({ kind: 'text' });
  });

  it.each([
    [404, {}, 'failed', 'RECIPIENT_UNREGISTERED'],
    [413, {}, 'failed', 'PAYLOAD_TOO_LARGE'],
    [403, {}, 'failed', 'REQUEST_REFUSED'],
    [422, {}, 'failed', 'REQUEST_REFUSED'],
    [508, {}, 'failed', 'REQUEST_REFUSED'],
    [401, {}, 'later', 'REQUEST_REFUSED'],
    [428, { token: 't', options: ['captcha'] }, 'later', 'CHALLENGE_REQUIRED'],
    [429, {}, 'later', 'RATE_LIMITED'],
    [503, {}, 'later', 'SERVER_UNREACHABLE'],
  ] as const)('answers %i of the server in kind', async (status, body, kind, code) => {
    const { hub, alice, bob } = await pair();
    hub.before = ({ verb }) =>
      verb === 'PUT' ? { status, body, headers: { 'retry-after': '7' } } : undefined;
    const result = await deliver(hub, alice, text(bob));
    expect(result).toMatchObject({ kind, error: { code } });
    if (status === 429) expect(result.kind === 'later' && result.error.retryAt).toBe(NOW + 7000);
  });

  it('leaves an account alone for a day when it is not registered', async () => {
    const { hub, alice } = await pair();
    const nobody = await makePeer();
    expect(await deliver(hub, alice, text(nobody))).toMatchObject({
      error: { code: 'RECIPIENT_UNREGISTERED' },
    });
    const asked = hub.requests.length;
    expect(await deliver(hub, alice, text(nobody))).toMatchObject({
      error: { code: 'RECIPIENT_UNREGISTERED' },
    });
    expect(hub.requests).toHaveLength(asked);
  });

  it('fails when the server gives another identity key, and notes it as a candidate', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    hub.remove(bob);
    const impostor = await makePeer();
    hub.add({ ...impostor, aci: bob.aci, account: { ...impostor.account, aci: bob.aci } });
    expect(await deliver(hub, alice, text(bob))).toMatchObject({
      kind: 'held',
      error: { code: 'IDENTITY_CHANGED' },
    });
    expect(await identityRows.get(alice.store.batch(), bob.aci)).toMatchObject({ state: 'changed' });
  });

  it('asks the policy again before it seals: the server chooses how long its answers take', async () => {
    const { hub, alice, bob } = await pair();
    const known = { key: bob.account.identity.publicKey, since: NOW } as const;
    const note = async (state: 'verified' | 'tofu'): Promise<void> => {
      const batch = alice.store.batch();
      identityRows.put(batch, bob.aci, { ...known, state });
      await batch.commit();
    };
    await note('verified');
    hub.before = async ({ path }) => {
      if (path.startsWith('/v2/keys')) await note('tofu');
      return undefined;
    };
    const row = { ...text(bob), policy: 'verified' as const };
    expect(await deliver(hub, alice, row)).toMatchObject({
      kind: 'held',
      error: { code: 'PEER_UNVERIFIED' },
    });
    expect(hub.requests.map(({ verb }) => verb)).not.toContain('PUT');
  });

  it('tries again later when the server gives keys that do not hold', async () => {
    const { hub, alice, bob } = await pair();
    const bundle = bob.bundle();
    const forged = { ...bob, bundle: () => ({ ...bundle, identityKey: alice.bundle().identityKey }) };
    hub.remove(bob);
    hub.add(forged);
    expect(await deliver(hub, alice, text(bob))).toMatchObject({
      kind: 'later',
      error: { code: 'CONTENT_INVALID' },
    });
  });

  it('takes an account for registered again once a message of theirs was opened', async () => {
    const { hub, alice, bob } = await pair();
    hub.remove(bob);
    expect(await deliver(hub, alice, text(bob))).toMatchObject({ error: { code: 'RECIPIENT_UNREGISTERED' } });
    hub.add(bob);
    const batch = alice.store.batch();
    const { unregisteredUntil, ...rest } = (await peers.get(batch, 'aci', bob.aci)) ?? { devices: [] };
    expect(unregisteredUntil).toBeDefined();
    peers.put(batch, 'aci', bob.aci, rest);
    await batch.commit();
    expect(await deliver(hub, alice, text(bob))).toMatchObject({ kind: 'delivered' });
  });

  it('never sends an empty list: devices without keys are waited for', async () => {
    const { hub, alice } = await pair();
    hub.before = ({ path }) => (path.startsWith('/v2/keys') ? { status: 404 } : undefined);
    hub.add(await makePeer({ deviceOf: alice.account, deviceId: 1 }));
    const request: NewRow = {
      recipient: alice.aci,
      timestamp: ++time,
      kind: 'sync',
      content: encodeText('x', time),
    };
    expect(await deliver(hub, alice, request)).toMatchObject({
      kind: 'later',
      error: { code: 'DEVICES_UNSETTLED' },
    });
    expect(hub.asked('PUT', '/v1/messages')).toEqual([]);
  });

  it('sends a note to self again as a transcript too', async () => {
    const { hub, alice } = await pair();
    const phone = await makePeer({ deviceOf: alice.account, deviceId: 1 });
    hub.add(phone);
    await deliver(hub, alice, { ...text(alice, 'again'), kind: 'resend', devices: [1] });
    expect(await read(phone, hub.letters[0]?.envelope ?? new Uint8Array(0))).toMatchObject({
      kind: 'sync',
      sync: { type: 'sent', content: { text: 'again' } },
    });
  });

  it('waits for an update when the server calls us outdated', async () => {
    const { hub, alice, bob } = await pair();
    hub.before = ({ verb }) => (verb === 'PUT' ? { status: 499 } : undefined);
    expect(await deliver(hub, alice, text(bob))).toMatchObject({
      kind: 'later',
      error: { code: 'CLIENT_OUTDATED' },
    });
  });

  it('trusts no key for our own account but the one of the link', async () => {
    const { hub, alice } = await pair();
    const impostor = await makePeer({ deviceId: 1 });
    hub.add({ ...impostor, aci: alice.aci, account: { ...impostor.account, aci: alice.aci, deviceId: 1 } });
    expect(await deliver(hub, alice, text(alice))).toMatchObject({
      kind: 'failed',
      error: { code: 'IDENTITY_CHANGED' },
    });
    expect(hub.letters).toEqual([]);
    expect(await identityRows.get(alice.store.batch(), alice.aci)).toBeUndefined();
  });

  it('sends a note to self as a transcript to our other devices, and nothing where there is none', async () => {
    const { hub, alice } = await pair();
    expect(await deliver(hub, alice, text(alice))).toMatchObject({ kind: 'delivered', devices: [] });
    const phone = await makePeer({ deviceOf: alice.account, deviceId: 1 });
    hub.add(phone);
    expect(await deliver(hub, alice, text(alice, 'remember'))).toMatchObject({
      kind: 'delivered',
      devices: [1],
    });
    expect(await read(phone, hub.letters[0]?.envelope ?? new Uint8Array(0))).toMatchObject({
      kind: 'sync',
      sync: { type: 'sent', destination: alice.aci, content: { text: 'remember' } },
    });
  });

  describe('app messages', () => {
    const row = (to: Peer, more: Partial<NewRow> = {}): NewRow => {
      const content = encodeApp(TAG, new Uint8Array(100).fill(1));
      return { recipient: to.aci, timestamp: ++time, kind: 'app', content, tag: TAG, ...more };
    };

    it('V-9: go to every device that has not said that it lacks the tag; the others get a filler of the same size', async () => {
      const { hub, alice, bob } = await pair();
      const phone = await makePeer({ deviceOf: bob.account, deviceId: 1 });
      const other = await makePeer({ deviceOf: bob.account, deviceId: 3 });
      hub.add(phone, other);
      expect(await deliver(hub, alice, row(bob))).toMatchObject({ devices: [1, 2, 3] });
      const batch = alice.store.batch();
      await noteTags(batch, { serviceId: bob.aci, deviceId: 2 }, [TAG]);
      await noteTags(batch, { serviceId: bob.aci, deviceId: 3 }, [parseTag('other/1')]);
      await batch.commit();
      expect(await deliver(hub, alice, row(bob))).toMatchObject({ devices: [1, 2] });
      const [, , , first, second, third] = hub.letters;
      const sizes = [first, second, third].map((letter) => letter?.envelope.length);
      expect(new Set(sizes).size).toBe(1);
      const filler = hub.letters.at(-1);
      expect(filler?.to).toBe(other);
      await read(other, hub.letters[2]?.envelope ?? new Uint8Array(0));
      expect(await read(other, filler?.envelope ?? new Uint8Array(0))).toMatchObject({ kind: 'null' });
    });

    it('go to one device when asked', async () => {
      const { hub, alice, bob } = await pair();
      hub.add(await makePeer({ deviceOf: bob.account, deviceId: 3 }));
      expect(await deliver(hub, alice, row(bob, { devices: [3] }))).toMatchObject({ devices: [3] });
      expect(hub.letters).toHaveLength(2);
    });

    it('bring an announcement of our tags with the first, and none with the next', async () => {
      const { hub, alice, bob } = await pair();
      const outbox = outboxOf(alice, hub, { tags: [TAG] });
      const left = async (): Promise<string[]> => {
        const kinds: string[] = [];
        for await (const [, { kind }] of outboxRows.scan(alice.store)) kinds.push(kind);
        return kinds;
      };
      await outbox.sesame.deliver(newRow(row(bob)), new AbortController().signal);
      expect(await left()).toEqual(['announce']);
      await outbox.sesame.deliver(newRow(row(bob)), new AbortController().signal);
      expect(await left()).toEqual(['announce']);
    });

    it('fail when no device of the recipient is meant', async () => {
      const { hub, alice, bob } = await pair();
      await deliver(hub, alice, row(bob));
      const batch = alice.store.batch();
      await noteTags(batch, { serviceId: bob.aci, deviceId: 2 }, []);
      await batch.commit();
      expect(await deliver(hub, alice, row(bob))).toMatchObject({
        error: { code: 'RECIPIENT_LACKS_PLUGIN' },
      });
      expect(await deliver(hub, alice, row(bob, { devices: [9] }))).toMatchObject({
        error: { code: 'RECIPIENT_UNKNOWN' },
      });
    });

    it('fail when they are too large for the number of devices', async () => {
      const { hub, alice, bob } = await pair();
      const content = new Uint8Array(100_000);
      expect(await deliver(hub, alice, row(bob, { content }))).toMatchObject({
        kind: 'failed',
        error: {
          code: 'PAYLOAD_TOO_LARGE',
          message: expect.stringMatching(/at most 9\d{4} fit for 1 devices/) as string,
        },
      });
    });
  });

  it('sends a retry request unencrypted to all devices', async () => {
    const { hub, alice, bob } = await pair();
    const plaintext = Uint8Array.of(0xc0, 1, 2, 0x80);
    const request: NewRow = {
      recipient: bob.aci,
      timestamp: ++time,
      kind: 'retry',
      content: new Uint8Array(0),
      plaintext,
    };
    expect(await deliver(hub, alice, request)).toMatchObject({ kind: 'delivered' });
    expect(hub.letters).toMatchObject([{ type: 8 }]);
  });

  it('leaves nothing in the outbox table by itself', async () => {
    const { hub, alice, bob } = await pair();
    await deliver(hub, alice, text(bob));
    for await (const row of outboxRows.scan(alice.store)) throw new Error(`left ${row[0]}`);
    expect(await peers.get(alice.store.batch(), 'aci', bob.aci)).toMatchObject({ devices: [{ id: 2 }] });
    expect(await facts.get(alice.store.batch(), 'senderCertificate')).toBeUndefined();
  });
});
