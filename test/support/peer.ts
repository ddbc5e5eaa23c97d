/**
 * A linked device without a server: account, prekeys and sessions over a store, and the envelopes that it would send.
 */
import { randomUUID } from 'node:crypto';
import { PrivateKey } from '@signalapp/libsignal-client';
import { parseAci, parsePni, serviceIdToBytes, type Aci, type IdentityKind } from '../../src/address.ts';
import { fromBase64, own, toBase64, type Bytes } from '../../src/bytes.ts';
import { Identities } from '../../src/identities/identities.ts';
import type { Platform } from '../../src/platform.ts';
import { signal } from '../../src/proto/messages.js';
import type { Bundle } from '../../src/service/keys.ts';
import { ownKeys } from '../../src/session/own-identity.ts';
import {
  generateEcPrekeys,
  generateKyberPrekeys,
  generateLastResort,
  generateSignedPrekey,
  publicEcPrekey,
  publicSignedPrekey,
  putPrekeys,
} from '../../src/session/prekey-generation.ts';
import { Session, type Seal } from '../../src/session/session.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account, StoredKeyPair } from '../../src/store/rows.ts';
import { account as accountRow, peers } from '../../src/store/tables.ts';
import { testPlatform } from './clock.ts';

export function keyPair(): StoredKeyPair & { readonly key: PrivateKey } {
  const key = PrivateKey.generate();
  return { key, publicKey: toBase64(key.getPublicKey().serialize()), privateKey: toBase64(key.serialize()) };
}

export interface Peer {
  readonly account: Account;
  readonly aci: Aci;
  readonly store: Store;
  readonly platform: Platform;
  readonly identities: Identities;
  readonly session: Session;
  /** The keys that a server would give out; each call takes a one-time key as long as there are some. */
  bundle(kind?: IdentityKind): Bundle;
}

export interface PeerOptions {
  readonly platform?: Platform;
  readonly store?: Store;
  readonly trustRoots?: readonly Bytes[];
  /** Another device of this account. */
  readonly deviceOf?: Account;
  readonly deviceId?: number;
  /** Of an account that was set up anew, with other keys: a new phone, or somebody in the middle. */
  readonly aci?: Aci;
  readonly oneTimeKeys?: number;
}

export async function makePeer(options: PeerOptions = {}): Promise<Peer> {
  const platform = options.platform ?? testPlatform();
  const store = options.store ?? openMemory();
  const account = newAccount(options.deviceOf, options.deviceId ?? 2, options.aci);
  const now = platform.clock.now();
  const made = await Promise.all(
    (['aci', 'pni'] as const).map(async (kind) => {
      const pair = kind === 'aci' ? account.identity : account.pniIdentity;
      if (pair === null) throw new Error('the account has no PNI');
      const count = options.oneTimeKeys ?? 3;
      const keys = {
        signed: generateSignedPrekey(7, pair, now),
        lastResort: generateLastResort(9, pair, now),
        ec: await generateEcPrekeys(100, count, now),
        kyber: await generateKyberPrekeys(200, count, pair, now),
      };
      return [kind, { pair, ...keys }] as const;
    }),
  );
  const batch = store.batch();
  accountRow.put(batch, account);
  for (const [kind, { signed, lastResort, ec, kyber }] of made) {
    putPrekeys(batch, kind, [signed, lastResort, ...ec, ...kyber]);
  }
  await batch.commit();
  const identities = new Identities(platform.clock, ownKeys(account));
  const session = new Session({ account, identities, platform, trustRoots: options.trustRoots ?? [] });
  const keys = new Map(made);
  return {
    account,
    aci: account.aci,
    store,
    platform,
    identities,
    session,
    bundle: (kind = 'aci') => {
      const of = keys.get(kind);
      if (of === undefined) throw new Error('no such identity');
      const ec = of.ec.shift();
      const kyber = of.kyber.shift() ?? of.lastResort;
      return {
        identityKey: fromBase64(of.pair.publicKey),
        devices: [
          {
            deviceId: account.deviceId,
            registrationId: kind === 'aci' ? account.registrationId : (account.pniRegistrationId ?? 0),
            signedPrekey: publicSignedPrekey('signed', of.signed.row.record),
            prekey: ec === undefined ? undefined : publicEcPrekey(ec.row.record),
            kyberPrekey: publicSignedPrekey('kyber', kyber.row.record),
          },
        ],
      };
    },
  };
}

function newAccount(deviceOf: Account | undefined, deviceId: number, aci?: Aci): Account {
  const registrationId = 1 + Math.floor(Math.random() * 16_000);
  if (deviceOf !== undefined) return { ...deviceOf, deviceId, registrationId };
  return {
    aci: aci ?? parseAci(randomUUID()),
    pni: parsePni(randomUUID()),
    number: '+15550100',
    deviceId,
    password: 'a password of this test',
    name: 'bot',
    server: 'http://127.0.0.1:1',
    registrationId,
    pniRegistrationId: registrationId + 1,
    identity: keyPair(),
    pniIdentity: keyPair(),
    profileKey: toBase64(new Uint8Array(32).fill(5)),
    accountEntropyPool: null,
    masterKey: null,
    linkedAt: 0,
    keysUploaded: true,
    unlinkedAt: null,
  };
}

/** Begins a session from `from` to `to`, as after a key fetch. */
export async function introduce(from: Peer, to: Peer): Promise<void> {
  const { identityKey, devices } = to.bundle();
  const batch = from.store.batch();
  for (const device of devices) await from.session.begin(batch, to.aci, identityKey, device);
  await batch.commit();
}

export interface EnvelopeOptions {
  readonly timestamp: number;
  readonly guid?: string;
  readonly seal?: Seal;
}

/** Seals a content and wraps it as the server would hand it over. */
export async function envelopeFrom(
  from: Peer,
  to: Peer,
  content: Bytes,
  options: EnvelopeOptions,
): Promise<Bytes> {
  const batch = from.store.batch();
  const known = await peers.get(batch, 'aci', to.aci);
  if (known === undefined) await introduce(from, to);
  const fresh = from.store.batch();
  const address = { serviceId: to.aci, deviceId: to.account.deviceId };
  const sealed = await from.session.seal(fresh, address, content, options.seal);
  if (sealed === undefined) throw new Error('there is no session');
  await fresh.commit();
  return wireEnvelope(from, to, sealed.type, sealed.content, options);
}

export function wireEnvelope(
  from: Peer,
  to: Peer,
  type: number,
  content: Bytes,
  options: EnvelopeOptions,
): Bytes {
  return own(
    signal.Envelope.encode({
      type,
      clientTimestamp: options.timestamp,
      serverTimestamp: options.timestamp,
      content,
      ...(type === 6 ? {} : { sourceServiceId: from.aci, sourceDevice: from.account.deviceId }),
      destinationServiceIdBinary: serviceIdToBytes(to.aci),
      ...(options.guid === undefined ? {} : { serverGuid: options.guid }),
    }).finish(),
  );
}
