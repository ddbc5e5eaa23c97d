/**
 * Signal's mock server with the few changes that a strict front needs.
 *
 * - What the mock would deliver (to linked devices and to its own primaries) comes out as `Mail`; queues, guids and
 *   acknowledgements are the front's.
 * - A scan names the provisioning socket that it is for; the mock knows only "the next one".
 * - Key uploads merge: the mock drops Kyber keys when EC keys come alone, and fails on a second upload while linking.
 * - Device ids are the lowest free ones, as on a real server.
 */
import { randomUUID } from 'node:crypto';
import type { Socket as NetSocket } from 'node:net';
import type { Device, PrimaryDevice, Server } from '@signalapp/mock-server';
import { isPni, parseServiceId, serviceIdFromBytes, uuidFromBytes } from '../address.ts';
import { copy, decodeProto, EMPTY, fromBase64, toTime } from '../bytes.ts';
import type { Mail } from './dialect.ts';
import type { Library } from './mock-library.ts';
import { signal } from '../proto/messages.js';
import { unpackType } from './send-flags.ts';

export type { Device, PrimaryDevice } from '@signalapp/mock-server';
export type KeyKind = Parameters<Device['popSingleUseKey']>[0] & string;

/** What the front is told. */
export interface MockListener {
  onMail(target: Device, source: Device | undefined, mail: Mail): void;
  onToken(token: string, provisioningId: string, aci: string): void;
  onLinked(token: string, device: Device): void;
  onKeys(device: Device, kind: KeyKind, parts: { ec: boolean; kyber: boolean }): void;
}

/** Parts of the mock that its types keep private. */
interface DeviceKeysHolder {
  readonly keys: ReadonlyMap<KeyKind, Parameters<Device['setKeys']>[1]>;
}
interface ServerParts {
  readonly devices: Map<string, Device[]>;
  readonly primaryByServiceId: Map<string, Device>;
  readonly devicesByAuth: Map<string, unknown>;
  generateNumber: () => Promise<string>;
  /** Who waits for the device that comes of a token; the mock insists on one. */
  readonly provisionResultQueueByCode: Map<string, object>;
}

export interface Mock {
  readonly server: Server;
  readonly port: number;
  /** The mock's names for the two identities. */
  readonly kinds: Library['ServiceIdKind'];
  /** The keys that a device has on the mock. */
  keysOf(device: Device, kind: KeyKind): Parameters<Device['setKeys']>[1] | undefined;
  devicesOf(serviceId: string): Promise<readonly Device[]>;
  /** The devices of the account that has this number, the primary first; none where nobody has it. */
  devicesOfNumber(number: string): readonly Device[];
  createPrimary(name: string, number: string | undefined): Promise<PrimaryDevice>;
  /** A verification session of this number that is done. @returns its id */
  addVerified(number: string): string;
  /** Has a primary decrypt and handle a message. @throws Error whatever goes wrong with it there */
  handOver(primary: PrimaryDevice, source: Device | undefined, mail: Mail): Promise<void>;
  /** A link token for an account whose primary is a client. */
  giveToken(aci: Device['aci']): Promise<string>;
  /** Answers the open provisioning socket `id` as a phone that scanned `url`; false when no such socket is open. */
  scan(id: string, url: string, primary: PrimaryDevice): Promise<boolean>;
  close(): Promise<void>;
}

type Id = Parameters<Server['getProvisioningResponse']>[0];

/** A provisioning address: a scan may come before the client has answered that it took the address. */
interface ShownAddress {
  /** @param scan lets the mock's side go on; undefined: the socket has gone */
  readonly taken: (scan: (() => void) | undefined) => void;
  readonly whenTaken: Promise<(() => void) | undefined>;
}

function showAddress(): ShownAddress {
  let taken: ShownAddress['taken'] = () => undefined;
  const whenTaken = new Promise<(() => void) | undefined>((resolve) => {
    taken = resolve;
  });
  return { taken, whenTaken };
}

/** @param attachments an existing folder, for the mock's CDN 3 */
export async function startMock(
  library: Library,
  attachments: string,
  listener: MockListener,
): Promise<Mock> {
  const addresses = new Map<string, ShownAddress>();

  class FrontedServer extends library.Server {
    override async generateProvisionId(): Promise<Id> {
      const id = await super.generateProvisionId();
      addresses.set(id, showAddress());
      return id;
    }

    override async releaseProvisionId(id: Id): Promise<void> {
      addresses.get(id)?.taken(undefined);
      addresses.delete(id);
      return super.releaseProvisionId(id);
    }

    /** Called once the client has answered the address; goes on once a phone has scanned it. */
    override async getProvisioningResponse(
      id: Id,
      abortSignal?: AbortSignal,
    ): ReturnType<Server['getProvisioningResponse']> {
      await new Promise<void>((resolve, reject) => {
        addresses.get(id)?.taken(resolve);
        abortSignal?.addEventListener('abort', () => {
          reject(new Error('the provisioning socket closed'));
        });
      }).finally(() => addresses.delete(id));
      return super.getProvisioningResponse(id, abortSignal);
    }

    override async getProvisioningCode(
      ...args: Parameters<Server['getProvisioningCode']>
    ): ReturnType<Server['getProvisioningCode']> {
      const code = await super.getProvisioningCode(...args);
      listener.onToken(code, args[0], args[1]);
      return code;
    }

    override async provisionDevice(options: Parameters<Server['provisionDevice']>[0]): Promise<Device> {
      const device = await super.provisionDevice(options);
      listener.onLinked(options.provisioningCode, device);
      return device;
    }

    override async registerDevice(options: Parameters<Server['registerDevice']>[0]): Promise<Device> {
      const { devices } = this as unknown as ServerParts;
      // Only a registration of a client names a provisioning id; the mock would give its number a second account.
      const former = options.provisionId === undefined ? undefined : primaryOf(this, options.number);
      if (former !== undefined) {
        forgetAccount(this, former);
        const { registrationId, pniRegistrationId, password } = options;
        const secret = password === undefined ? {} : { password };
        return super.registerDevice({ primary: former, registrationId, pniRegistrationId, ...secret });
      }
      const all = options.primary === undefined ? undefined : devices.get(options.primary.aci);
      if (options.primary === undefined || all === undefined) return super.registerDevice(options);
      // The mock counts its list; given only the devices below the first gap, it arrives at the lowest free id.
      const taken = new Set(all.map((device) => device.deviceId as number));
      let free = 1;
      while (taken.has(free)) free++;
      devices.set(options.primary.aci, all.slice(0, free - 1));
      const pending = super.registerDevice(options); // synchronous up to its end when a primary is given
      const below = devices.get(options.primary.aci) ?? [];
      devices.set(options.primary.aci, [...below, ...all.slice(free - 1)]);
      return pending;
    }

    override async updateDeviceKeys(
      device: Device,
      kind: KeyKind,
      keys: Parameters<Server['updateDeviceKeys']>[2],
    ): Promise<void> {
      const identityKey = await identityOf(this, device, kind);
      const old = keysOf(device, kind);
      const ec = keys.preKeys !== undefined && keys.preKeys.length > 0;
      const kyber = keys.kyberPreKeys !== undefined && keys.kyberPreKeys.length > 0;
      const signedPreKey = keys.signedPreKey ?? old?.signedPreKey;
      const lastResortKey = keys.lastResortKey ?? old?.lastResortKey;
      await device.setKeys(kind, {
        ...old,
        ...keys,
        ...(signedPreKey !== undefined && { signedPreKey }),
        ...(lastResortKey !== undefined && { lastResortKey }),
        preKeys: (ec ? keys.preKeys : old?.preKeys) ?? [],
        kyberPreKeys: (kyber ? keys.kyberPreKeys : old?.kyberPreKeys) ?? [],
        identityKey,
      });
      listener.onKeys(device, kind, { ec, kyber });
    }

    override handlePreparedMultiDeviceMessage(
      ...[source, serviceId, prepared]: Parameters<Server['handlePreparedMultiDeviceMessage']>
    ): Promise<void> {
      for (const [target, message] of prepared.targets) {
        const { type, ...flags } = unpackType(message.type);
        listener.onMail(target, source, {
          type,
          ...flags,
          source: source === undefined ? undefined : addressOf(source),
          destination: parseServiceId(serviceId),
          clientTimestamp: Number(prepared.timestamp),
          content: fromBase64(message.content),
        });
      }
      return Promise.resolve();
    }

    /** What the mock's own primaries send comes by here, already as an envelope. */
    override async send(target: Device, message: Buffer<ArrayBuffer>): Promise<void> {
      const envelope = decodeProto(signal.Envelope, message, 'an envelope of the mock');
      const {
        sourceServiceIdBinary: source,
        destinationServiceIdBinary: destination,
        updatedPniBinary,
      } = envelope;
      const deviceId = envelope.sourceDevice ?? 0;
      const sender = source === null ? undefined : serviceIdFromBytes(source);
      listener.onMail(
        target,
        sender === undefined
          ? undefined
          : await this.getDeviceByServiceId(sender as string as Device['aci'], deviceId),
        {
          type: envelope.type ?? 0,
          source: sender === undefined ? undefined : { serviceId: sender, deviceId },
          destination: destination === null ? parseServiceId(target.aci) : serviceIdFromBytes(destination),
          clientTimestamp: toTime(envelope.clientTimestamp ?? 0),
          content: envelope.content === null ? EMPTY : copy(envelope.content),
          urgent: true,
          story: false,
          online: false,
          ...(updatedPniBinary === null ? {} : { updatedPni: uuidFromBytes(updatedPniBinary) }),
        },
      );
    }

    /** Its sockets, so that closing does not wait for idle ones. */
    get listening(): FrontedServer['https'] {
      return this.https;
    }
  }

  // Undefined switches the mock's own 60 s timers off; its type would have the key absent.
  const config = { cdn3Path: attachments, timeout: undefined } as unknown as ConstructorParameters<
    typeof FrontedServer
  >[0];
  const server = new FrontedServer(config);
  const sockets = new Set<NetSocket>();
  await server.listen(0, '127.0.0.1');
  server.listening?.on('connection', (socket: NetSocket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const originalNumber = (server as unknown as ServerParts).generateNumber.bind(server);

  return {
    server,
    port: server.address().port,
    kinds: library.ServiceIdKind,
    keysOf,
    devicesOf: (serviceId) => server.getAllDevicesByServiceId(serviceId as Device['aci']),
    devicesOfNumber: (number) => {
      const primary = primaryOf(server, number);
      return primary === undefined
        ? []
        : [...((server as unknown as ServerParts).devices.get(primary.aci) ?? [])];
    },
    createPrimary: (name, number) => {
      (server as unknown as ServerParts).generateNumber =
        number === undefined ? originalNumber : (): Promise<string> => Promise.resolve(number);
      return server.createPrimaryDevice({ profileName: name });
    },
    addVerified: (number) => {
      const id = randomUUID();
      const asked = {
        nextSms: null,
        nextCall: null,
        nextVerificationAttempt: null,
        requestedInformation: [],
      };
      const session = { id, ...asked, allowedToRequestCode: true, verified: true };
      server.saveVerificationSession({ number, session });
      return id;
    },
    handOver: (primary, source, mail) => {
      const { CipherText, PreKey, SealedSender, Plaintext } = library.EnvelopeType;
      const types = new Map([
        [1, CipherText],
        [3, PreKey],
        [6, SealedSender],
        [8, Plaintext],
      ]);
      const type = types.get(mail.type);
      if (type === undefined) return Promise.reject(new Error('a type that no client reads'));
      const kind = isPni(mail.destination) ? library.ServiceIdKind.PNI : library.ServiceIdKind.ACI;
      return primary.handleEnvelope(source, kind, type, Buffer.from(copy(mail.content)));
    },
    giveToken: async (aci) => {
      const code = await server.getProvisioningCode('nobody' as Id, aci);
      // Never looked at: who linked, and with which keys, is told by onLinked and onKeys.
      (server as unknown as ServerParts).provisionResultQueueByCode.set(code, {});
      return code;
    },
    scan: async (id, url, primaryDevice) => {
      const scanned = await addresses.get(id)?.whenTaken;
      if (scanned === undefined) return false;
      const next = server.waitForProvision(); // waits before the socket's side runs, so it gets this very one
      scanned();
      const pending = await next;
      // Never settles: who linked, and with which keys, is told by onLinked and onKeys.
      pending.complete({ provisionURL: url, primaryDevice }).catch(() => undefined);
      return true;
    },
    close: async () => {
      const closed = server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function keysOf(device: Device, kind: KeyKind): Parameters<Device['setKeys']>[1] | undefined {
  return (device as unknown as DeviceKeysHolder).keys.get(kind);
}

function primaryOf(server: Server, number: string | undefined): Device | undefined {
  if (number === undefined) return undefined;
  for (const [primary] of (server as unknown as ServerParts).devices.values()) {
    if (primary?.number === number) return primary;
  }
  return undefined;
}

/** Makes room for a new primary device with the same ids. */
function forgetAccount(server: Server, { aci, pni }: Device): void {
  const { devices, primaryByServiceId, devicesByAuth } = server as unknown as ServerParts;
  for (const { deviceId } of devices.get(aci) ?? []) devicesByAuth.delete(`${aci}.${String(deviceId)}`);
  devices.set(aci, []);
  primaryByServiceId.delete(aci);
  if (pni !== undefined) primaryByServiceId.delete(pni);
}

async function identityOf(
  server: Server,
  device: Device,
  kind: KeyKind,
): ReturnType<Device['getIdentityKey']> {
  const primary = await server.getDeviceByServiceId(device.aci);
  if (primary === undefined) throw new Error('the account has no primary device');
  return primary.getIdentityKey(kind);
}

function addressOf(device: Device): NonNullable<Mail['source']> {
  return { serviceId: parseServiceId(device.aci), deviceId: device.deviceId };
}
