/**
 * The account's devices, and who am I (protocol brief, sections 2.9 and 4).
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { z } from 'zod';
import { fromUtf8, toBase64, type Bytes } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';
import { names } from './link.ts';
import { readJson, Refusal, requireDevice, type Answer, type Call, type Rule } from './rule.ts';
import { base64, optional } from './shapes.ts';

const DAY_MS = 86_400_000;
const MAX_NAME = 225;

const NAME = z.object({
  deviceName: base64.refine(
    (bytes) => bytes.length > 0 && bytes.length <= MAX_NAME,
    'a name has 1 to 225 bytes',
  ),
});

const ATTRIBUTES = z.object({
  unidentifiedAccessKey: optional(
    base64.refine((bytes) => bytes.length === 16, 'an access key has 16 bytes'),
  ),
  unrestrictedUnidentifiedAccess: z.boolean().default(false),
  registrationLock: optional(z.string().regex(/^[0-9a-f]{64}$/)),
  capabilities: optional(z.record(z.string(), z.boolean())),
});

export const DEVICE_RULES: readonly Rule[] = [
  { verb: 'GET', path: '/v1/devices', auth: 'device', handle: listDevices },
  { verb: 'DELETE', path: '/v1/devices/:id', auth: 'device', handle: removeDevice },
  { verb: 'PUT', path: '/v1/devices/capabilities', auth: 'device', handle: setCapabilities },
  { verb: 'PUT', path: '/v1/accounts/name', auth: 'device', handle: setName },
  { verb: 'PUT', path: '/v1/accounts/attributes/', auth: 'device', handle: setAttributes },
  { verb: 'GET', path: '/v1/accounts/whoami', auth: 'device', handle: whoami },
];

async function listDevices(call: Call): Promise<Answer> {
  const devices = await call.state.mock.devicesOf(requireDevice(call).aci);
  return {
    status: 200,
    body: { devices: await Promise.all(devices.map((device) => deviceInfo(call.state, device))) },
  };
}

/** A device as lists show it (4). */
export async function deviceInfo(state: ServerState, device: Device): Promise<Record<string, unknown>> {
  const { name, createdAt, lastSeen } = state.factsOf(device);
  const registrationId = device.getCheckedRegistrationId(state.mock.kinds.ACI);
  const row = { id: device.deviceId, name, lastSeen: lastSeen - (lastSeen % DAY_MS) };
  if (state.dialect.createdAt === 'plain') return { ...row, created: createdAt };
  const sealed = sealCreatedAt(
    (await device.getIdentityKey()).serialize(),
    device.deviceId,
    registrationId,
    createdAt,
  );
  const full = { ...row, registrationId, createdAtCiphertext: toBase64(sealed) };
  return state.dialect.createdAt === 'both' ? { ...full, created: createdAt } : full;
}

function sealCreatedAt(
  identity: Bytes,
  deviceId: number,
  registrationId: number,
  createdAt: number,
): Uint8Array {
  const time = Buffer.alloc(8);
  time.writeBigInt64BE(BigInt(createdAt));
  const associated = Buffer.alloc(5);
  associated.writeUInt8(deviceId);
  associated.writeUInt32BE(registrationId, 1);
  return PublicKey.deserialize(identity).seal(
    new Uint8Array(time),
    fromUtf8('deviceCreatedAt'),
    new Uint8Array(associated),
  );
}

async function removeDevice(call: Call): Promise<Answer | undefined> {
  const device = requireDevice(call);
  const id = Number(call.params[0]);
  if (!Number.isInteger(id)) throw new Refusal(404);
  if (device.deviceId !== 1 && id !== device.deviceId) throw new Refusal(401);
  if (id === 1) throw new Refusal(403);
  await call.state.removeDevice(device.aci, id);
  // Who removes himself sees his socket close with 4401, and mostly no answer.
  return id === device.deviceId ? undefined : { status: 204 };
}

async function setCapabilities(call: Call): Promise<Answer> {
  const capabilities = readJson(call, z.record(z.string(), z.boolean()));
  const { status } = await call.forward();
  if (status !== 200) return { status };
  call.state.factsOf(requireDevice(call)).capabilities = names(capabilities);
  return { status: 204 };
}

/** The own name, or any by the primary. */
async function setName(call: Call): Promise<Answer> {
  const device = requireDevice(call);
  const { deviceName } = readJson(call, NAME);
  const id = Number(call.query.get('deviceId') ?? device.deviceId);
  if (device.deviceId !== 1 && id !== device.deviceId) throw new Refusal(403);
  const named = (await call.state.mock.devicesOf(device.aci)).find((each) => each.deviceId === id);
  if (named === undefined) throw new Refusal(404);
  call.state.factsOf(named).name = toBase64(deviceName);
  return { status: 204 };
}

/** Holds for the whole account, whichever of its devices asks: that is the trap of section 4. */
async function setAttributes(call: Call): Promise<Answer> {
  const { state } = call;
  const device = requireDevice(call);
  const body = readJson(call, ATTRIBUTES);
  const { capabilities, registrationLock, unidentifiedAccessKey, unrestrictedUnidentifiedAccess } = body;
  const lacksKey = unidentifiedAccessKey === undefined && !unrestrictedUnidentifiedAccess;
  if (state.dialect.accessKeyRequired && lacksKey) throw new Refusal(422);
  const [primary = device] = await state.mock.devicesOf(device.aci);
  const facts = state.factsOf(primary);
  facts.isUnrestricted = unrestrictedUnidentifiedAccess;
  facts.registrationLock = registrationLock;
  if (unidentifiedAccessKey !== undefined) primary.accessKey = Buffer.from(unidentifiedAccessKey);
  if (capabilities !== undefined) state.factsOf(device).capabilities = names(capabilities);
  return { status: 204 };
}

async function whoami(call: Call): Promise<Answer> {
  const answer = await call.forward();
  if (answer.status !== 200 || typeof answer.body !== 'object') return answer;
  const entitlements = { badges: [], backup: null };
  const rest = { usernameHash: null, usernameLinkHandle: null, storageCapable: true, entitlements };
  const salt = call.state.dialect.name === 'aug26' ? { authCredentialSalt: null } : {};
  return { status: 200, body: { ...answer.body, ...rest, ...salt } };
}
