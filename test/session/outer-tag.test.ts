import { createHmac, createPrivateKey, createPublicKey, diffieHellman, hkdfSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { serviceIdToBytes } from '../../src/address.ts';
import { concat, fromUtf8, type Bytes } from '../../src/bytes.ts';
import { isTag, parseTag } from '../../src/content/app-message.ts';
import {
  addTag,
  dayOf,
  dayWithin,
  holds,
  OUTER_BYTES,
  outerMark,
  pairKey,
  peelTag,
  readMark,
  rotationOf,
  routeKeyOf,
  type OuterEnd,
} from '../../src/session/outer-tag.ts';
import { aciIdentity, type OwnIdentity } from '../../src/session/own-identity.ts';
import { makePeer } from '../support/peer.ts';

const DAY = 20_778;

async function identity(deviceId = 2): Promise<OwnIdentity> {
  return aciIdentity((await makePeer({ deviceId })).account);
}

function endOf({ serviceId, deviceId, keys }: OwnIdentity): OuterEnd {
  return { serviceId, deviceId, identityKey: keys.publicKey.serialize() };
}

function secretOf(from: OwnIdentity, to: OwnIdentity, by: 'from' | 'to'): Bytes {
  const [ours, theirs] = by === 'from' ? [from, to] : [to, from];
  return pairKey(ours.keys.privateKey, endOf(theirs).identityKey, endOf(from), endOf(to));
}

/** X25519 and HKDF by OpenSSL, from the words of the document. */
function independentSecret(from: OwnIdentity, to: OwnIdentity): Buffer {
  const pkcs8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
  const spki = Buffer.from('302a300506032b656e032100', 'hex');
  const der = (prefix: Buffer, key: Uint8Array): Buffer => Buffer.concat([prefix, key]);
  const shared = diffieHellman({
    privateKey: createPrivateKey({
      key: der(pkcs8, from.keys.privateKey.serialize()),
      format: 'der',
      type: 'pkcs8',
    }),
    publicKey: createPublicKey({
      key: der(spki, to.keys.publicKey.serialize().subarray(1)),
      format: 'der',
      type: 'spki',
    }),
  });
  const end = (of: OwnIdentity): Uint8Array =>
    concat(serviceIdToBytes(of.serviceId), Uint8Array.of(of.deviceId), of.keys.publicKey.serialize());
  const info = concat(fromUtf8('countersign outer tag 1'), end(from), end(to));
  return Buffer.from(hkdfSync('sha256', shared, '', info, 32));
}

describe('the key of a pair', () => {
  it('is the same for both sides, and what OpenSSL makes of the documented inputs', async () => {
    const [alice, bob] = [await identity(), await identity(3)];
    const secret = Buffer.from(secretOf(alice, bob, 'from'));
    expect(Buffer.from(secretOf(alice, bob, 'to'))).toEqual(secret);
    expect(independentSecret(alice, bob)).toEqual(secret);
  });

  it('has a direction, and is another one for another device, account or key', async () => {
    const [alice, bob, eve] = [await identity(), await identity(), await identity()];
    const one = endOf(alice);
    const variants: OuterEnd[] = [
      one,
      { ...one, deviceId: 3 },
      { ...one, serviceId: eve.serviceId },
      { ...one, identityKey: endOf(eve).identityKey },
    ];
    const keys = variants.map((from) =>
      pairKey(bob.keys.privateKey, endOf(alice).identityKey, from, endOf(bob)),
    );
    keys.push(secretOf(bob, alice, 'from'));
    expect(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size).toBe(keys.length);
  });
});

describe('the route key', () => {
  it('belongs to one device and identity key, and travels as a line that is shaped like a tag', async () => {
    const alice = await identity();
    const route = routeKeyOf(alice);
    const mark = outerMark(route);
    expect(isTag(mark)).toBe(true);
    expect(readMark([parseTag('example.org/chess/1'), mark])?.export()).toEqual(route.export());
    expect(routeKeyOf({ ...alice, deviceId: 3 }).export()).not.toEqual(route.export());
    expect(routeKeyOf(await identity()).export()).not.toEqual(route.export());
  });

  it('is not found in other lines, or in one of another version', () => {
    expect(readMark(undefined)).toBeUndefined();
    expect(readMark([])).toBeUndefined();
    const hex = '0123456789abcdef0123456789abcdef';
    for (const line of [`countersign.outer/${hex}/2`, `countersign.outer/${hex}0/1`, 'countersign.outer/1'])
      expect(readMark([line])).toBeUndefined();
  });
});

describe('a tag', () => {
  const content = fromUtf8('a ciphertext of some length');

  it('is taken off by its recipient, and holds under the key of its day', async () => {
    const [alice, bob] = [await identity(), await identity()];
    const rotation = rotationOf(secretOf(alice, bob, 'from'), DAY);
    const tagged = addTag(content, routeKeyOf(bob), rotation);
    expect(tagged.length).toBe(content.length + OUTER_BYTES);
    expect(tagged.subarray(0, content.length)).toEqual(content);
    const peeled = peelTag(tagged, routeKeyOf(bob));
    if (peeled === undefined) throw new Error('no tag');
    expect(Buffer.from(peeled.content)).toEqual(Buffer.from(content));
    expect(peeled.hint).toBe(rotation.hint);
    expect(dayWithin(peeled.rotation, DAY)).toBe(DAY);
    expect(holds(peeled, rotation.key)).toBe(true);
    expect(holds(peeled, rotationOf(secretOf(alice, bob, 'to'), DAY + 1).key)).toBe(false);
    expect(holds(peeled, rotationOf(secretOf(bob, alice, 'to'), DAY).key)).toBe(false);
  });

  it('ends with what the document says', async () => {
    const [alice, bob] = [await identity(), await identity()];
    const secret = secretOf(alice, bob, 'from');
    const day = Buffer.from([0, 0, DAY >> 8, DAY & 255]);
    const info = Buffer.concat([Buffer.from('countersign outer rotation 1'), day]);
    const made = Buffer.from(hkdfSync('sha256', secret, '', info, 38));
    const mac = createHmac('sha256', made.subarray(0, 32)).update(content).digest().subarray(0, 12);
    const box = Buffer.concat([Buffer.from('c54f5401', 'hex'), day.subarray(2), made.subarray(32)]);
    const mask = createHmac('sha256', routeKeyOf(bob)).update(mac).digest();
    const masked = box.map((byte, i) => byte ^ (mask[i] ?? 0));
    const tagged = addTag(content, routeKeyOf(bob), rotationOf(secret, DAY));
    expect(Buffer.from(tagged)).toEqual(Buffer.concat([content, masked, mac]));
  });

  it('has no byte in common with the next one that would tell them as a pair', async () => {
    const [alice, bob] = [await identity(), await identity()];
    const rotation = rotationOf(secretOf(alice, bob, 'from'), DAY);
    const columns = Array.from({ length: OUTER_BYTES }, () => new Set<number>());
    for (let n = 0; n < 64; n++) {
      const tagged = addTag(fromUtf8(`message ${String(n)}`), routeKeyOf(bob), rotation);
      tagged.subarray(-OUTER_BYTES).forEach((byte, i) => columns[i]?.add(byte));
    }
    // 64 random bytes have 57 values on average; below 40 there is a pattern.
    for (const values of columns) expect(values.size).toBeGreaterThan(40);
  });

  it('is not there for anybody else, nor in what is cut, changed or too short', async () => {
    const [alice, bob] = [await identity(), await identity()];
    const route = routeKeyOf(bob);
    const rotation = rotationOf(secretOf(alice, bob, 'from'), DAY);
    const tagged = addTag(content, route, rotation);
    expect(peelTag(tagged, routeKeyOf(alice))).toBeUndefined();
    expect(peelTag(content, route)).toBeUndefined();
    for (let cut = 1; cut <= OUTER_BYTES; cut++)
      expect(peelTag(tagged.subarray(0, tagged.length - cut), route)).toBeUndefined();
    expect(peelTag(tagged.subarray(content.length), route)).toBeUndefined();
    for (let at = 0; at < tagged.length; at++) {
      const changed = Uint8Array.from(tagged);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const peeled = peelTag(changed, route);
      const isWhole =
        peeled?.hint === rotation.hint &&
        dayWithin(peeled.rotation, DAY) === DAY &&
        holds(peeled, rotation.key);
      expect(isWhole, `with byte ${String(at)} changed`).toBe(false);
    }
  });

  it('counts on its day, the one before and the one after, also where the counter begins anew', () => {
    const day = dayOf(1_795_300_000_000);
    expect(day).toBe(DAY);
    for (const near of [-1, 0, 1]) expect(dayWithin((day + near) % 65_536, day)).toBe(day + near);
    for (const far of [-2, 2, 300]) expect(dayWithin((day + far) % 65_536, day)).toBeUndefined();
    expect(dayWithin(65_535, 65_536)).toBe(65_535);
    expect(dayWithin(0, 65_535)).toBe(65_536);
  });
});
