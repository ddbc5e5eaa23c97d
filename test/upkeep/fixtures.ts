/** An account in a memory store, and a server that counts keys and hands out certificates. */
import { PrivateKey, SenderCertificate, ServerCertificate } from '@signalapp/libsignal-client';
import type { Aci, Pni } from '../../src/address.ts';
import { EMPTY, fromUtf8, toBase64, toUtf8 } from '../../src/bytes.ts';
import type { Profile } from '../../src/service/profile.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { Account } from '../../src/store/rows.ts';
import { account as accountCell } from '../../src/store/tables.ts';
import type { Request, Requester, Response } from '../../src/transport/request.ts';

export const ACI = 'c0ffee00-1234-4abc-8def-0123456789ab' as Aci;
const PNI = 'PNI:deadbeef-4321-4cba-9fed-ba9876543210' as Pni;
export const identity = PrivateKey.generate();
export const pniIdentity = PrivateKey.generate();
export const root = PrivateKey.generate();

export function answer(status: number, body?: object): Response {
  return { status, message: '', headers: {}, body: body ? fromUtf8(JSON.stringify(body)) : EMPTY };
}

export function profileWith(trustRoot?: PrivateKey): Profile {
  return {
    name: 'test',
    chat: 'https://chat.example:443',
    cdn: { '0': undefined, '2': 'http://127.0.0.1:9', '3': undefined },
    storage: undefined,
    ca: undefined,
    serverPublicParams: undefined,
    sealedSender: trustRoot
      ? { trustRoots: [trustRoot.getPublicKey().serialize()], mode: 'auto' }
      : { trustRoots: [], mode: 'off' },
  };
}

export async function linkedStore(change: Partial<Account> = {}): Promise<Store> {
  const store = openMemory();
  const batch = store.batch();
  const pair = (key: PrivateKey): { publicKey: string; privateKey: string } => ({
    publicKey: toBase64(key.getPublicKey().serialize()),
    privateKey: toBase64(key.serialize()),
  });
  accountCell.put(batch, {
    aci: ACI,
    pni: PNI,
    number: '+15555550123',
    deviceId: 2,
    password: 'secret',
    name: 'bot',
    server: 'https://chat.example:443',
    registrationId: 1,
    pniRegistrationId: 2,
    identity: pair(identity),
    pniIdentity: pair(pniIdentity),
    profileKey: null,
    accountEntropyPool: null,
    masterKey: null,
    linkedAt: 0,
    keysUploaded: true,
    unlinkedAt: null,
    ...change,
  });
  await batch.commit();
  return store;
}

/** A certificate as a server signs it. */
export function certificateFor(options: {
  expiresAt: number;
  signer?: PrivateKey;
  deviceId?: number;
  key?: PrivateKey;
}): Uint8Array<ArrayBuffer> {
  const signerKey = PrivateKey.generate();
  const server = ServerCertificate.new(1, signerKey.getPublicKey(), options.signer ?? root);
  const key = (options.key ?? identity).getPublicKey();
  return SenderCertificate.new(
    ACI,
    null,
    options.deviceId ?? 2,
    key,
    options.expiresAt,
    server,
    signerKey,
  ).serialize();
}

interface KeyJson {
  readonly keyId: number;
  readonly publicKey: string;
  readonly signature?: string;
}

export interface Upload {
  readonly identity: string;
  readonly preKeys: readonly KeyJson[];
  readonly pqPreKeys?: readonly KeyJson[];
  readonly signedPreKey?: KeyJson;
  readonly pqLastResortPreKey?: KeyJson;
}

export class FakeKeyServer implements Requester {
  readonly counts = new Map<string, number>([
    ['aci ec', 100],
    ['aci kyber', 100],
    ['pni ec', 100],
    ['pni kyber', 100],
  ]);
  readonly uploads: Upload[] = [];
  readonly log: string[] = [];
  check = 200;
  certificate: Uint8Array = new Uint8Array();
  fault: (request: Request, take: () => Response) => Response = (_, take) => take();

  request(request: Request): Promise<Response> {
    this.log.push(`${request.verb} ${request.path}`);
    return Promise.resolve().then(() => this.fault(request, () => this.#take(request)));
  }

  #take(request: Request): Response {
    const name = /identity=(aci|pni)$/.exec(request.path)?.[1] ?? '';
    if (request.path.startsWith('/v1/certificate'))
      return answer(200, { certificate: toBase64(this.certificate) });
    if (request.path === '/v2/keys/check') return answer(this.check);
    if (request.verb === 'GET') {
      return answer(200, { count: this.counts.get(`${name} ec`), pqCount: this.counts.get(`${name} kyber`) });
    }
    const body = JSON.parse(toUtf8(request.body ?? EMPTY)) as Omit<Upload, 'identity'>;
    this.uploads.push({ identity: name, ...body });
    if (body.preKeys.length > 0) this.counts.set(`${name} ec`, body.preKeys.length);
    if (body.pqPreKeys?.length) this.counts.set(`${name} kyber`, body.pqPreKeys.length);
    return answer(204);
  }
}
