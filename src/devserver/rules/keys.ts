/**
 * Keys: upload, counts, check, fetch (protocol brief, section 3).
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { equal, toBase64 } from '../../bytes.ts';
import type { Device, KeyKind } from '../mock.ts';
import { checkAccess, interceptorOf } from './access.ts';
import { limitRate } from './limits.ts';
import { writeKey } from './link.ts';
import { readJson, Refusal, requireDevice, type Answer, type Call, type Rule } from './rule.ts';
import { base64, ecPrekey, isKeyId, isSigned, kyberPrekey, optional, signedEcPrekey } from './shapes.ts';

const MAX_KEYS = 100;

const UPLOAD = z.object({
  preKeys: optional(z.array(ecPrekey).max(MAX_KEYS)),
  pqPreKeys: optional(z.array(kyberPrekey).max(MAX_KEYS)),
  signedPreKey: optional(signedEcPrekey),
  pqLastResortPreKey: optional(kyberPrekey),
});

const CHECK = z.object({
  identityType: z
    .string()
    .transform((text) => text.toUpperCase())
    .pipe(z.enum(['ACI', 'PNI'])),
  digest: base64.refine((bytes) => bytes.length === 32, 'a digest has 32 bytes'),
});

export const KEY_RULES: readonly Rule[] = [
  { verb: 'PUT', path: '/v2/keys', auth: 'device', handle: uploadKeys },
  { verb: 'POST', path: '/v2/keys/check', auth: 'device', handle: checkKeys },
  { verb: 'GET', path: '/v2/keys/:id/:device', auth: 'any', handle: fetchKeys },
];

/** @throws Refusal 400 */
function kindOf(call: Call): KeyKind {
  const identity = (call.query.get('identity') ?? 'aci').toUpperCase();
  if (identity !== 'ACI' && identity !== 'PNI') throw new Refusal(400);
  return call.state.mock.kinds[identity];
}

async function uploadKeys(call: Call): Promise<Answer> {
  const device = requireDevice(call);
  const kind = kindOf(call);
  const body = readJson(call, UPLOAD);
  const identity = (await device.getIdentityKey(kind)).serialize();
  const signed = [...(body.pqPreKeys ?? []), body.signedPreKey, body.pqLastResortPreKey].filter(
    (key) => key !== undefined,
  );
  if (!signed.every((key) => isSigned(identity, key))) throw new Refusal(422);
  const ids = [...(body.preKeys ?? []), ...signed].map((key) => key.keyId);
  if (call.state.dialect.keyIdsChecked && !ids.every(isKeyId)) throw new Refusal(422);
  const { status } = await call.forward({
    body: {
      preKeys: (body.preKeys ?? []).map(({ keyId, publicKey }) => ({
        keyId,
        publicKey: toBase64(publicKey),
      })),
      ...(body.pqPreKeys !== undefined && { pqPreKeys: body.pqPreKeys.map(writeKey) }),
      ...(body.signedPreKey !== undefined && { signedPreKey: writeKey(body.signedPreKey) }),
      ...(body.pqLastResortPreKey !== undefined && { pqLastResortPreKey: writeKey(body.pqLastResortPreKey) }),
    },
  });
  return { status: status === 200 ? 204 : status };
}

/** Compares the digest of 3.2 with what the mock has. */
function checkKeys(call: Call): Answer {
  const device = requireDevice(call);
  const { identityType, digest } = readJson(call, CHECK);
  const keys = call.state.mock.keysOf(device, call.state.mock.kinds[identityType]);
  if (keys?.signedPreKey === undefined || keys.lastResortKey === undefined) return { status: 409 };
  const ours = createHash('sha256')
    .update(keys.identityKey.serialize())
    .update(id64(keys.signedPreKey.keyId))
    .update(keys.signedPreKey.publicKey.serialize())
    .update(id64(keys.lastResortKey.keyId))
    .update(keys.lastResortKey.publicKey.serialize())
    .digest();
  return { status: equal(ours, digest) ? 200 : 409 };
}

function id64(id: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(id));
  return bytes;
}

async function fetchKeys(call: Call): Promise<Answer> {
  const [target = '', deviceId = ''] = call.params;
  const number = Number(deviceId);
  if (deviceId !== '*' && !(Number.isInteger(number) && number >= 1 && number <= 127)) throw new Refusal(422);
  await checkAccess(call, target);
  if (call.device !== undefined) {
    const [primary] = await call.state.mock.devicesOf(target);
    if (primary === undefined) throw new Refusal(404);
    limitRate(call, 'keyFetch', `${nameOf(call, call.device)} ${target} ${deviceId}`);
  }
  const answer = await call.forward();
  if (answer.status !== 200) return answer;
  const liar = interceptorOf(call, target);
  if (liar?.deceives(call.device?.aci, target, deviceId) !== true)
    return { ...answer, body: withoutPadding(answer.body) };
  return { ...answer, body: await liar.serve(target, (answer.body as KeysBody).devices) };
}

interface KeysBody {
  readonly devices: readonly { readonly deviceId: number; readonly registrationId: number }[];
}

/** Who fetches, as the bucket is named: since December 2025 a relinked device begins anew. */
function nameOf({ state }: Call, device: Device): string {
  const id = `${device.aci}.${String(device.deviceId)}`;
  if (state.dialect.name === 'jun25') return id;
  return `${id} ${String(device.getCheckedRegistrationId(state.mock.kinds.ACI))}`;
}

/** The Java servers write signatures without padding. */
function withoutPadding(body: unknown): unknown {
  const text = JSON.stringify(body, (key, value: unknown) =>
    key === 'signature' && typeof value === 'string' ? value.replace(/=+$/, '') : value,
  );
  return JSON.parse(text) as unknown;
}

/** Keys of one kind that are left on the server, as GET /v2/keys counts them. */
export async function countKeys(device: Device, kind: KeyKind): Promise<{ ec: number; kyber: number }> {
  return { ec: await device.getPreKeyCount(kind), kyber: await device.getKyberPreKeyCount(kind) };
}
