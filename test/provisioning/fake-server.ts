/**
 * A server as far as linking sees it: provisioning addresses, devices with passwords, key uploads. Every request can be
 * made to fail, before or after it took effect.
 */
import { createHash } from 'node:crypto';
import { fromUtf8, toUtf8, type Bytes, EMPTY } from '../../src/bytes.ts';
import { BotError } from '../../src/errors.ts';
import type { signal as proto } from '../../src/proto/messages.js';
import type { CodeSocket, LinkTransport } from '../../src/provisioning/link-transport.ts';
import { parseLinkUrl } from '../../src/session/link-url.ts';
import type { Credentials, Request, Requester, Response } from '../../src/transport/request.ts';
import { PublicKey } from '@signalapp/libsignal-client';
import { encodeMessage, provisionMessage, seal, type PhoneAccount } from './seal.ts';

export interface FakeDevice {
  readonly id: number;
  readonly password: string;
  readonly body: { accountAttributes: { registrationId: number; name: string } };
}

export type Fault = (request: Request, take: () => Response) => Response;

interface Listener {
  readonly push: (envelope: Bytes) => void;
  readonly close: () => void;
}

export class FakeServer implements LinkTransport {
  readonly phone: PhoneAccount;
  readonly devices: FakeDevice[] = [];
  /** By `identity kind`: how many one-time keys were uploaded last. */
  readonly keys = new Map<string, number>();
  readonly requests: string[] = [];
  readonly upgrades: string[] = [];
  /** Answers in place of the server; `take` gives its own answer. */
  fault: Fault = (_, take) => take();
  codes = 0;
  readonly #listeners = new Map<string, Listener>();

  constructor(phone: PhoneAccount) {
    this.phone = phone;
  }

  openCode(): Promise<CodeSocket> {
    this.codes += 1;
    const address = `address-${String(this.codes)}`;
    const queue: Bytes[] = [];
    let wake: () => void = () => undefined;
    let ended = false;
    let settle: () => void = () => undefined;
    const closed = new Promise<void>((resolve) => {
      settle = resolve;
    });
    const close = (): void => {
      ended = true;
      this.#listeners.delete(address);
      settle();
      wake();
    };
    this.#listeners.set(address, {
      close,
      push: (envelope) => {
        queue.push(envelope);
        wake();
      },
    });
    async function* messages(): AsyncGenerator<Bytes> {
      for (;;) {
        const next = queue.shift();
        if (next) yield next;
        else if (ended) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    }
    return Promise.resolve({ address, messages, closed, close });
  }

  get listening(): number {
    return this.#listeners.size;
  }

  /** What a phone does with a code. @returns false when nobody listens to it any more (404) */
  scan(url: string, change: proto.ProvisionMessage.$Properties = {}): boolean {
    const { publicKey } = parseLinkUrl(url);
    return this.deliver(
      url,
      seal(encodeMessage(provisionMessage(this.phone, change)), PublicKey.deserialize(publicKey)),
    );
  }

  deliver(url: string, envelope: Bytes): boolean {
    const listener = this.#listeners.get(parseLinkUrl(url).address);
    listener?.push(envelope);
    return listener !== undefined;
  }

  closeCode(url: string): void {
    this.#listeners.get(parseLinkUrl(url).address)?.close();
  }

  async connected<T>(
    credentials: Credentials | undefined,
    use: (requester: Requester) => Promise<T>,
  ): Promise<T> {
    const device = credentials && this.#device(credentials);
    if (credentials) this.upgrades.push(credentials.username);
    if (credentials && !device) throw new BotError('DEVICE_UNLINKED', 'the upgrade was refused: 403');
    const request = (what: Request): Promise<Response> => {
      this.requests.push(`${what.verb} ${what.path}`);
      return Promise.resolve().then(() => this.fault(what, () => this.#take(what, device)));
    };
    return use({ request });
  }

  #device({ username, password }: Credentials): FakeDevice | undefined {
    return this.devices.find(
      ({ id, password: own }) => username === `${this.phone.aci}.${String(id)}` && own === password,
    );
  }

  #take(request: Request, device: FakeDevice | undefined): Response {
    const body: unknown = request.body ? JSON.parse(toUtf8(request.body)) : {};
    if (request.path === '/v1/devices/link') {
      const login = Buffer.from(request.headers?.['authorization']?.slice(6) ?? '', 'base64').toString();
      const [aci, password] = login.split(':');
      if (aci !== this.phone.aci || !password) return answer(400);
      const id = 2 + this.devices.length;
      this.devices.push({ id, password, body: body as FakeDevice['body'] });
      return answer(200, { uuid: this.phone.aci, pni: this.phone.pni, deviceId: id });
    }
    if (!device) return answer(401);
    if (request.path === '/v1/accounts/whoami') {
      return answer(200, { uuid: this.phone.aci, pni: this.phone.pni, number: '+15555550123' });
    }
    const identity = /^\/v2\/keys\?identity=(aci|pni)$/.exec(request.path)?.[1];
    if (request.verb !== 'PUT' || identity === undefined) return answer(404);
    const { preKeys, pqPreKeys } = body as { preKeys?: unknown[]; pqPreKeys?: unknown[] };
    if (preKeys?.length) this.keys.set(`${identity} ec`, preKeys.length);
    if (pqPreKeys?.length) this.keys.set(`${identity} kyber`, pqPreKeys.length);
    return answer(204);
  }
}

export function answer(status: number, body?: object, headers: Record<string, string> = {}): Response {
  return { status, message: '', headers, body: body ? fromUtf8(JSON.stringify(body)) : EMPTY };
}

/** A random source that gives the same bytes in each run. */
export function scriptedRandom(seed: string): { bytes(length: number): Bytes } {
  let count = 0;
  return {
    bytes: (length) => {
      const out = new Uint8Array(length);
      for (let at = 0; at < length; at += 32) {
        const block = createHash('sha256')
          .update(`${seed} ${String(count++)}`)
          .digest();
        out.set(block.subarray(0, Math.min(32, length - at)), at);
      }
      return out;
    },
  };
}
