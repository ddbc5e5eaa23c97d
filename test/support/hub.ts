/**
 * A server small enough to read: it knows the devices of some peers, gives out their keys, checks device lists as the
 * Java servers do (stale before missing), and keeps what was sent as envelopes. Answers can be scripted in front of it.
 */
import { EMPTY, fromBase64, fromUtf8, toBase64, toUtf8, type Bytes } from '../../src/bytes.ts';
import type { Request, Requester, Response } from '../../src/transport/request.ts';
import { wireEnvelope, type Peer } from './peer.ts';

export interface Answer {
  readonly status: number;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

interface SentEntry {
  readonly type: number;
  readonly destinationDeviceId: number;
  readonly destinationRegistrationId: number;
  readonly content: string;
}

export interface Letter {
  readonly to: Peer;
  readonly from: Peer;
  readonly type: number;
  readonly timestamp: number;
  /** Protobuf `Envelope`. */
  readonly envelope: Bytes;
}

export class Hub {
  readonly peers: Peer[] = [];
  readonly letters: Letter[] = [];
  readonly requests: Request[] = [];
  /** Asked first; undefined lets the request through. May throw. */
  before: (request: Request, from: Peer) => Answer | undefined | Promise<Answer | undefined> = () =>
    undefined;

  add(...peers: Peer[]): this {
    this.peers.push(...peers);
    return this;
  }

  remove(peer: Peer): void {
    this.peers.splice(this.peers.indexOf(peer), 1);
  }

  requester(from: Peer): Requester {
    return {
      request: async (request): Promise<Response> => {
        await Promise.resolve();
        this.requests.push(request);
        const {
          status,
          body,
          headers = {},
        } = (await this.before(request, from)) ?? this.#answer(request, from);
        return {
          status,
          message: '',
          headers,
          body: body === undefined ? EMPTY : fromUtf8(JSON.stringify(body)),
        };
      },
    };
  }

  /** Requests whose path begins so. */
  asked(verb: string, path: string): Request[] {
    return this.requests.filter((request) => request.verb === verb && request.path.startsWith(path));
  }

  #answer(request: Request, from: Peer): Answer {
    const [, version, what, id, device] = request.path.split('?')[0]?.split('/') ?? [];
    if (version === 'v1' && what === 'devices') {
      return {
        status: 200,
        body: { devices: this.#devices(from.aci).map(({ account }) => ({ id: account.deviceId })) },
      };
    }
    if (version === 'v2' && what === 'keys') return this.#keys(id ?? '', device ?? '*');
    if (version === 'v1' && what === 'messages') return this.#messages(request, id ?? '', from);
    return { status: 404 };
  }

  #keys(id: string, device: string): Answer {
    const peers = this.#devices(id).filter(
      ({ account }) => device === '*' || String(account.deviceId) === device,
    );
    if (peers.length === 0) return { status: 404 };
    const bundles = peers.map((peer) => peer.bundle());
    return {
      status: 200,
      body: {
        identityKey: toBase64(bundles[0]?.identityKey ?? EMPTY),
        devices: bundles.flatMap(({ devices }) =>
          devices.map(({ deviceId, registrationId, signedPrekey, prekey, kyberPrekey }) => ({
            deviceId,
            registrationId,
            signedPreKey: keyJson(signedPrekey),
            preKey: prekey === undefined ? null : keyJson(prekey),
            pqPreKey: keyJson(kyberPrekey),
          })),
        ),
      },
    };
  }

  #messages(request: Request, id: string, from: Peer): Answer {
    const { messages, timestamp } = JSON.parse(toUtf8(request.body ?? EMPTY)) as {
      messages: SentEntry[];
      timestamp: number;
    };
    const targets = this.#devices(id).filter((peer) => peer !== from);
    if (targets.length === 0) return { status: 404 };
    const listed = (peer: Peer): SentEntry | undefined =>
      messages.find((entry) => entry.destinationDeviceId === peer.account.deviceId);
    const stale = targets.filter((peer) => {
      const entry = listed(peer);
      return entry !== undefined && entry.destinationRegistrationId !== peer.account.registrationId;
    });
    if (stale.length > 0)
      return { status: 410, body: { staleDevices: stale.map((peer) => peer.account.deviceId) } };
    const missing = targets.filter((peer) => listed(peer) === undefined).map((peer) => peer.account.deviceId);
    const extra = messages
      .map((entry) => entry.destinationDeviceId)
      .filter((deviceId) => !targets.some((peer) => peer.account.deviceId === deviceId));
    if (missing.length + extra.length > 0) {
      return { status: 409, body: { missingDevices: missing, extraDevices: extra } };
    }
    for (const to of targets) {
      const entry = listed(to);
      if (entry === undefined) continue;
      const envelope = wireEnvelope(from, to, entry.type, fromBase64(entry.content), { timestamp });
      this.letters.push({ to, from, type: entry.type, timestamp, envelope });
    }
    return { status: 200, body: { needsSync: this.#devices(from.aci).length > 1 } };
  }

  #devices(id: string): Peer[] {
    return this.peers.filter(({ aci }) => aci === id);
  }
}

function keyJson(key: { id: number; publicKey: Bytes; signature?: Bytes }): object {
  const { id: keyId, publicKey, signature } = key;
  return { keyId, publicKey: toBase64(publicKey), ...(signature ? { signature: toBase64(signature) } : {}) };
}
