/**
 * A linked device by hand: provisioning, link request, keys, encryption, straight on libsignal. Each step can be altered, so
 * that tests can send the wrong thing.
 */
import {
  CiphertextMessageType,
  KEMKeyPair,
  KEMPublicKey,
  KyberPreKeyRecord,
  PreKeyBundle,
  PreKeyRecord,
  PrivateKey,
  processPreKeyBundle,
  ProtocolAddress,
  PublicKey,
  sealedSenderDecryptToUsmc,
  sealedSenderEncrypt,
  SenderCertificate,
  ContentHint,
  signalEncrypt,
  SignedPreKeyRecord,
  UnidentifiedSenderMessageContent,
} from '@signalapp/libsignal-client';
import { uuidFromBytes } from '../../src/address.ts';
import { concat, copy, decodeProto, fromBase64, fromBigInt, toBase64, type Bytes } from '../../src/bytes.ts';
import type { DevServer } from '../../src/devserver/devserver.ts';
import {
  AnyIdentity,
  MemoryKyberPrekeys,
  MemoryPrekeys,
  MemorySessions,
  MemorySignedPrekeys,
  openSealed,
} from '../../src/devserver/memory-stores.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { signal } from '../../src/proto/messages.js';
import { RawSocket, type RawOptions, type RawResponse } from './raw-client.ts';
import { provision, type Provisioned } from './raw-provisioning.ts';
import { until } from './until.ts';

export interface WireKey {
  keyId: number;
  publicKey: string;
  signature?: string;
}

export const ALL_CAPABILITIES: Readonly<Record<string, boolean>> = {
  deleteSync: true,
  versionedExpirationTimer: true,
  ssre2: true,
  spqr: true,
  attachmentBackfill: true,
  usernameChangeSyncMessage: true,
};

export interface LinkBody {
  verificationCode: string;
  accountAttributes: Record<string, unknown>;
  aciSignedPreKey: WireKey;
  pniSignedPreKey: WireKey;
  aciPqLastResortPreKey: WireKey;
  pniPqLastResortPreKey: WireKey;
  [field: string]: unknown;
}

type Kind = 'aci' | 'pni';

/** One identity with its keys. */
class RawIdentity {
  readonly key: PrivateKey;
  readonly registrationId: number;
  readonly prekeys = new MemoryPrekeys();
  readonly signed = new MemorySignedPrekeys();
  readonly kyber = new MemoryKyberPrekeys();
  #nextId = 1;

  constructor(key: PrivateKey, registrationId: number) {
    this.key = key;
    this.registrationId = registrationId;
  }

  ec(count: number): WireKey[] {
    return Array.from({ length: count }, () => {
      const key = PrivateKey.generate();
      const id = this.#nextId++;
      this.prekeys.records.set(id, PreKeyRecord.new(id, key.getPublicKey(), key));
      return { keyId: id, publicKey: toBase64(key.getPublicKey().serialize()) };
    });
  }

  kyberKeys(count: number): Required<WireKey>[] {
    return Array.from({ length: count }, () => {
      const pair = KEMKeyPair.generate();
      const id = this.#nextId++;
      const publicKey = pair.getPublicKey().serialize();
      const signature = this.key.sign(publicKey);
      this.kyber.records.set(id, KyberPreKeyRecord.new(id, Date.now(), pair, signature));
      return { keyId: id, publicKey: toBase64(publicKey), signature: toBase64(signature) };
    });
  }

  signedKey(): Required<WireKey> {
    const key = PrivateKey.generate();
    const id = this.#nextId++;
    const signature = this.key.sign(key.getPublicKey().serialize());
    this.signed.records.set(id, SignedPreKeyRecord.new(id, Date.now(), key.getPublicKey(), key, signature));
    return { keyId: id, publicKey: toBase64(key.getPublicKey().serialize()), signature: toBase64(signature) };
  }
}

export interface RawDeviceOptions {
  /** Changes the link body before it is sent. */
  readonly alter?: (body: LinkBody) => void;
  /** One-time keys of each kind and identity that are uploaded after linking; default 4. */
  readonly keys?: number;
}

export class RawDevice {
  readonly server: DevServer;
  readonly aci: string;
  readonly profileKey: Bytes;
  readonly identities: Readonly<Record<Kind, RawIdentity>>;
  readonly password = toBase64(crypto.getRandomValues(new Uint8Array(16))).replace('==', '');
  readonly sessions = new MemorySessions();
  readonly stores: AnyIdentity;
  deviceId = 0;

  private constructor(server: DevServer, { message, aci }: Provisioned) {
    this.server = server;
    this.aci = aci;
    this.profileKey = copy(message.profileKey ?? new Uint8Array(0));
    const key = (bytes: Uint8Array | null): PrivateKey =>
      PrivateKey.deserialize(copy(bytes ?? new Uint8Array(0)));
    const id = (): number => 1 + Math.floor(Math.random() * 0x3fff);
    this.identities = {
      aci: new RawIdentity(key(message.aciIdentityKeyPrivate), id()),
      pni: new RawIdentity(key(message.pniIdentityKeyPrivate), id()),
    };
    this.stores = new AnyIdentity(this.identities.aci.key, this.identities.aci.registrationId);
  }

  /** Links in full. @throws Error naming the status when the server refuses */
  static async link(server: DevServer, phone: Phone, options: RawDeviceOptions = {}): Promise<RawDevice> {
    const provisioned = await provision(server, phone);
    const { device, response } = await RawDevice.register(server, provisioned, options);
    if (response.status !== 200) throw new Error(`link answered ${String(response.status)}`);
    const count = options.keys ?? 4;
    const socket = await device.connect();
    for (const kind of ['aci', 'pni'] as const) {
      const identity = device.identities[kind];
      await expectOk(
        socket.request('PUT', `/v2/keys?identity=${kind}`, { json: { preKeys: identity.ec(count) } }),
      );
      await expectOk(
        socket.request('PUT', `/v2/keys?identity=${kind}`, {
          json: { preKeys: [], pqPreKeys: identity.kyberKeys(count) },
        }),
      );
    }
    await device.leave(socket);
    if (count > 0) await provisioned.scanned;
    return device;
  }

  /** Sends only the link request. */
  static async register(
    server: DevServer,
    provisioned: Provisioned,
    options: RawDeviceOptions & { username?: string; basic?: boolean } = {},
  ): Promise<{ device: RawDevice; response: RawResponse }> {
    const device = new RawDevice(server, provisioned);
    const { aci, pni } = device.identities;
    const body: LinkBody = {
      verificationCode: provisioned.message.provisioningCode ?? '',
      accountAttributes: {
        fetchesMessages: true,
        registrationId: aci.registrationId,
        pniRegistrationId: pni.registrationId,
        name: toBase64(new Uint8Array(40)),
        capabilities: { ...ALL_CAPABILITIES },
      },
      aciSignedPreKey: aci.signedKey(),
      pniSignedPreKey: pni.signedKey(),
      aciPqLastResortPreKey: aci.kyberKeys(1)[0] ?? { keyId: 0, publicKey: '' },
      pniPqLastResortPreKey: pni.kyberKeys(1)[0] ?? { keyId: 0, publicKey: '' },
    };
    options.alter?.(body);
    const socket = await RawSocket.open(server.url);
    const basic = Buffer.from(`${options.username ?? device.aci}:${device.password}`).toString('base64');
    const headers = options.basic === false ? [] : [`authorization:Basic ${basic}`];
    const response = await socket.request('PUT', '/v1/devices/link', { json: body, headers });
    await socket.close();
    if (response.status === 200) device.deviceId = (response.json as { deviceId: number }).deviceId;
    return { device, response };
  }

  /** Closes a socket and waits until the server has seen it go: what it is sent meanwhile would count for that socket. */
  async leave(socket: RawSocket): Promise<void> {
    const open = async (): Promise<number> => (await this.server.stats()).sockets.authenticated;
    const before = await open();
    await socket.close();
    await until(async () => (await open()) < before, 'the end of the socket');
  }

  connect(options: RawOptions = {}): Promise<RawSocket> {
    const username = `${this.aci}.${String(this.deviceId)}`;
    return RawSocket.open(this.server.url, { username, password: this.password, ...options });
  }

  /** Encrypts a content for one device of another account, fetching its keys when there is no session. */
  async encrypt(
    socket: RawSocket,
    aci: string,
    deviceId: number,
    content: signal.Content.$Properties,
  ): Promise<{
    type: number;
    destinationDeviceId: number;
    destinationRegistrationId: number;
    content: string;
  }> {
    const remote = ProtocolAddress.new(aci, deviceId);
    if (!this.sessions.records.has(`${aci}.${String(deviceId)}`))
      await this.startSession(socket, aci, deviceId);
    const padded = concat(signal.Content.encode(content).finish(), Uint8Array.of(0x80, 0, 0, 0));
    const message = await signalEncrypt(padded, remote, this.#address(), this.sessions, this.stores);
    const record = await this.sessions.getSession(remote);
    return {
      type: isWhisper(message.type()) ? 1 : 3,
      destinationDeviceId: deviceId,
      destinationRegistrationId: record?.remoteRegistrationId() ?? 0,
      content: toBase64(message.serialize()),
    };
  }

  /** The same under sealed sender. */
  async seal(
    socket: RawSocket,
    aci: string,
    deviceId: number,
    content: signal.Content.$Properties,
  ): ReturnType<RawDevice['encrypt']> {
    const { json } = await socket.request('GET', '/v1/certificate/delivery?includeE164=false');
    const certificate = SenderCertificate.deserialize(
      fromBase64((json as { certificate: string }).certificate),
    );
    if (!this.sessions.records.has(`${aci}.${String(deviceId)}`))
      await this.startSession(socket, aci, deviceId);
    const remote = ProtocolAddress.new(aci, deviceId);
    const padded = concat(signal.Content.encode(content).finish(), Uint8Array.of(0x80, 0));
    const message = await signalEncrypt(padded, remote, this.#address(), this.sessions, this.stores);
    const usmc = UnidentifiedSenderMessageContent.new(message, certificate, ContentHint.Default, null);
    const record = await this.sessions.getSession(remote);
    return {
      type: 6,
      destinationDeviceId: deviceId,
      destinationRegistrationId: record?.remoteRegistrationId() ?? 0,
      content: toBase64(await sealedSenderEncrypt(usmc, remote, this.stores)),
    };
  }

  async registrationIdOf(socket: RawSocket, aci: string, deviceId: number): Promise<number> {
    const { json } = await socket.request('GET', `/v2/keys/${aci}/${String(deviceId)}`);
    return (json as { devices: { registrationId: number }[] }).devices[0]?.registrationId ?? 0;
  }

  async startSession(socket: RawSocket, aci: string, deviceId: number): Promise<void> {
    const { json } = await socket.request('GET', `/v2/keys/${aci}/${String(deviceId)}`);
    const bundle = json as {
      identityKey: string;
      devices: {
        registrationId: number;
        signedPreKey: Required<WireKey>;
        preKey: WireKey | null;
        pqPreKey: Required<WireKey>;
      }[];
    };
    const [keys] = bundle.devices;
    if (keys === undefined) throw new Error('no keys');
    const { preKey, signedPreKey, pqPreKey } = keys;
    const prekeys = PreKeyBundle.new(
      keys.registrationId,
      deviceId,
      preKey?.keyId ?? null,
      preKey === null ? null : PublicKey.deserialize(fromBase64(preKey.publicKey)),
      signedPreKey.keyId,
      PublicKey.deserialize(fromBase64(signedPreKey.publicKey)),
      fromBase64(signedPreKey.signature),
      PublicKey.deserialize(fromBase64(bundle.identityKey)),
      pqPreKey.keyId,
      KEMPublicKey.deserialize(fromBase64(pqPreKey.publicKey)),
      fromBase64(pqPreKey.signature),
    );
    await processPreKeyBundle(
      prekeys,
      ProtocolAddress.new(aci, deviceId),
      this.#address(),
      this.sessions,
      this.stores,
    );
  }

  /** Opens an envelope that is addressed to the ACI. */
  async open(envelope: signal.Envelope): Promise<signal.Content> {
    const source = envelope.sourceServiceIdBinary;
    const from = source === null ? (envelope.sourceServiceId ?? '') : uuidFromBytes(source);
    const content = copy(envelope.content ?? new Uint8Array(0));
    if (envelope.type === signal.Envelope.Type.UNIDENTIFIED_SENDER) {
      const usmc = await sealedSenderDecryptToUsmc(content, this.stores);
      const certificate = usmc.senderCertificate();
      const type = isWhisper(usmc.msgType()) ? 1 : 3;
      return this.#decrypt(type, usmc.contents(), certificate.senderUuid(), certificate.senderDeviceId());
    }
    return this.#decrypt(envelope.type ?? 0, content, from, envelope.sourceDevice ?? 0);
  }

  async #decrypt(type: number, bytes: Bytes, aci: string, deviceId: number): Promise<signal.Content> {
    const remote = ProtocolAddress.new(aci, deviceId);
    const { prekeys, signed, kyber } = this.identities.aci;
    const [identities, sessions] = [this.stores, this.sessions];
    const stores = { identities, sessions, prekeys, signedPrekeys: signed, kyberPrekeys: kyber };
    const padded = await openSealed(stores, this.#address(), remote, type, bytes);
    return decodeProto(signal.Content, padded.subarray(0, padded.lastIndexOf(0x80)), 'content');
  }

  #address(): ProtocolAddress {
    return ProtocolAddress.new(this.aci, this.deviceId);
  }
}

const WHISPER: number = CiphertextMessageType.Whisper; // 2; on the wire it is 1

function isWhisper(type: number): boolean {
  return type === WHISPER;
}

export function textContent(body: string, timestamp: number): signal.Content.$Properties {
  const time = fromBigInt(BigInt(timestamp)) as unknown as signal.DataMessage['timestamp'];
  return { dataMessage: { body, timestamp: time } };
}

async function expectOk(pending: Promise<RawResponse>): Promise<void> {
  const { status } = await pending;
  if (status < 200 || status > 299) throw new Error(`answered ${String(status)}`);
}
