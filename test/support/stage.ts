/**
 * A development server with a linked device that is spoken by hand, for tests that send the wrong thing: one device, its
 * socket, an anonymous one, and a peer to send to.
 */
import { toBase64 } from '../../src/bytes.ts';
import { startDevServer, type DevServer, type DevServerOptions } from '../../src/devserver/devserver.ts';
import type { Phone } from '../../src/devserver/phone.ts';
import { RawSocket, type RawResponse } from './raw-client.ts';
import { RawDevice } from './raw-device.ts';

export const DIALECTS = ['jun25', 'dec25', 'aug26'] as const;

/** An entry of a send. */
export interface Entry {
  type: number;
  destinationDeviceId: number;
  destinationRegistrationId?: number | null;
  content?: string;
}

export class Stage {
  readonly server: DevServer;
  readonly phone: Phone;
  readonly peer: Phone;
  readonly device: RawDevice;
  readonly socket: RawSocket;
  readonly anonymous: RawSocket;

  private constructor(parts: Pick<Stage, 'server' | 'phone' | 'peer' | 'device' | 'socket' | 'anonymous'>) {
    this.server = parts.server;
    this.phone = parts.phone;
    this.peer = parts.peer;
    this.device = parts.device;
    this.socket = parts.socket;
    this.anonymous = parts.anonymous;
  }

  static async open(options: DevServerOptions = {}): Promise<Stage> {
    const server = await startDevServer(options);
    const [phone, peer] = [await server.createPhone(), await server.createPhone()];
    const device = await RawDevice.link(server, phone);
    const [socket, anonymous] = [await device.connect(), await RawSocket.open(server.url)];
    return new Stage({ server, phone, peer, device, socket, anonymous });
  }

  async close(): Promise<void> {
    await Promise.all([this.socket.close(), this.anonymous.close()]);
    await this.server.close();
  }

  /** The registration id of a device, from its keys. */
  async registrationId(serviceId: string, deviceId: number): Promise<number> {
    const path = `/v2/keys/${encodeURIComponent(serviceId)}/${String(deviceId)}`;
    const { json } = await this.socket.request('GET', path);
    return (json as { devices: { registrationId: number }[] }).devices[0]?.registrationId ?? 0;
  }

  /** An entry for the peer's phone: nothing that it can open, with its registration id. */
  async entry(change: Partial<Entry> = {}, to = this.peer.aci): Promise<Entry> {
    const destinationDeviceId = change.destinationDeviceId ?? 1;
    const destinationRegistrationId = await this.registrationId(to, 1);
    return {
      type: 1,
      destinationDeviceId,
      destinationRegistrationId,
      content: toBase64(new Uint8Array(40)),
      ...change,
    };
  }

  /** PUT /v1/messages; the body's other fields and the query by `more`. */
  send(
    messages: unknown,
    more: {
      to?: string;
      query?: string;
      body?: object;
      from?: RawSocket;
      headers?: readonly string[];
    } = {},
  ): Promise<RawResponse> {
    const path = `/v1/messages/${encodeURIComponent(more.to ?? this.peer.aci)}${more.query ?? ''}`;
    const json = { messages, timestamp: this.server.clock.now(), ...more.body };
    return (more.from ?? this.socket).request('PUT', path, { json, headers: more.headers ?? [] });
  }

  get(path: string, from = this.socket, headers: readonly string[] = []): Promise<RawResponse> {
    return from.request('GET', path, { headers });
  }

  async put(path: string, json: unknown): Promise<number> {
    return (await this.socket.request('PUT', path, { json })).status;
  }
}

export function accessKey(key: Uint8Array): string {
  return `unidentified-access-key:${toBase64(key)}`;
}
