/**
 * Registration: POST /v1/registration (protocol brief, section 14, step 5). What the Java servers want is checked here and
 * written anew for the mock, whose schema is another.
 */
import { z } from 'zod';
import { equal, toBase64, toHex, type Bytes } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';
import { limitRate } from './limits.ts';
import { names, writeKey } from './link.ts';
import { readJson, Refusal, type Answer, type Call, type Rule } from './rule.ts';
import { base64, identityKey, isKeyId, isSigned, kyberPrekey, optional, signedEcPrekey } from './shapes.ts';
import { E164, isVerified, liveVerification } from './verification.ts';

const registrationId = z.int().min(1).max(0x3fff);
const ACCESS_KEY_LENGTH = 16;
/** Here the padding is not optional; an array of numbers is taken too. */
const accessKey = z
  .union([
    z
      .string()
      .regex(/^[A-Za-z0-9+/]{22}==$/, 'an access key is padded base64 of 16 bytes')
      .pipe(base64),
    z
      .array(z.int().min(-128).max(255))
      .length(ACCESS_KEY_LENGTH)
      .transform((bytes): Bytes => Uint8Array.from(bytes)),
  ])
  .refine((bytes) => bytes.length === ACCESS_KEY_LENGTH);

const BODY = z
  .object({
    sessionId: optional(z.string()),
    recoveryPassword: optional(base64),
    skipDeviceTransfer: z.boolean().default(false),
    aciIdentityKey: identityKey,
    pniIdentityKey: identityKey,
    aciSignedPreKey: signedEcPrekey,
    pniSignedPreKey: signedEcPrekey,
    aciPqLastResortPreKey: kyberPrekey,
    pniPqLastResortPreKey: kyberPrekey,
    accountAttributes: optional(
      z.object({
        fetchesMessages: z.boolean().default(false),
        registrationId,
        pniRegistrationId: registrationId,
        discoverableByPhoneNumber: z.boolean().default(true),
        unidentifiedAccessKey: optional(accessKey),
        unrestrictedUnidentifiedAccess: z.boolean().default(false),
        registrationLock: optional(z.string().regex(/^[0-9a-f]{64}$/)),
        recoveryPassword: optional(base64.refine((bytes) => bytes.length === 32)),
        name: optional(base64),
        capabilities: optional(z.record(z.string(), z.boolean())),
      }),
    ),
    apnToken: optional(z.object({ apnRegistrationId: z.string() })),
    gcmToken: optional(z.object({ gcmRegistrationId: z.string() })),
  })
  .refine((body) => (body.sessionId === undefined) !== (body.recoveryPassword === undefined));

type Body = z.output<typeof BODY>;
type Attributes = NonNullable<Body['accountAttributes']>;

/** What a registration lock leaves to wait, ms. */
const LOCK_MS = 7 * 86_400_000;
/** From closing the sockets of an account to taking it over, ms. */
const RECLAIM_MS = 30;

export const REGISTRATION_RULES: readonly Rule[] = [
  { verb: 'POST', path: '/v1/registration', auth: 'any', handle: register },
];

async function register(call: Call): Promise<Answer> {
  const { state } = call;
  const body = readJson(call, BODY);
  const attributes = body.accountAttributes;
  if (attributes === undefined) throw new Refusal(state.dialect.missingAttributes);
  const { number, password } = readBasic(call);
  limitRate(call, 'registration', number);
  const mockId = verified(state, body, number);
  check(state, body, attributes);
  const former = state.mock.devicesOfNumber(number);
  refuseLocked(state, former[0], attributes);
  refuseTransfer(state, former[0], body);
  if (state.dialect.required.some((name) => !names(attributes.capabilities ?? {}).includes(name))) {
    throw new Refusal(499);
  }
  await disconnect(state, former);
  const answer = await call.forward({
    authorization: `Basic ${Buffer.from(`${number}:${password}`).toString('base64')}`,
    body: forMock(body, attributes, mockId),
  });
  if (answer.status !== 200 || typeof answer.body !== 'object') return answer;
  await replace(state, former);
  const [device] = state.mock.devicesOfNumber(number);
  if (device !== undefined) note(state, device, attributes);
  // Kept from one registration to the next, as Java does; a registration without one leaves it alone.
  const { recoveryPassword } = attributes;
  if (recoveryPassword !== undefined) state.recoveryPasswords.set(number, recoveryPassword);
  const nothing = { usernameHash: null, usernameLinkHandle: null };
  return { status: 200, body: { ...answer.body, ...nothing, reregistration: former.length > 0 } };
}

/** @throws Refusal 400 */
function readBasic(call: Call): { number: string; password: string } {
  const encoded = /^Basic\s+(\S+)$/i.exec(call.headers['authorization'] ?? '')?.[1];
  const [, number, password] = /^([^:]*):(.+)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? [];
  if (number === undefined || password === undefined || !E164.safeParse(number).success)
    throw new Refusal(400);
  return { number, password };
}

/**
 * @returns the mock's id of the session
 * @throws Refusal 403 not the recovery password of the number; 401 no such session, or not verified; 400 another number's
 */
function verified(state: ServerState, { sessionId, recoveryPassword }: Body, number: string): string {
  if (sessionId === undefined) {
    const known = state.recoveryPasswords.get(number);
    if (known === undefined || recoveryPassword === undefined || !equal(known, recoveryPassword))
      throw new Refusal(403);
    return state.mock.addVerified(number);
  }
  const verification = liveVerification(state, sessionId);
  if (verification === undefined || !isVerified(state, verification)) throw new Refusal(401);
  if (verification.number !== number) throw new Refusal(400);
  return verification.mockId;
}

/** @throws Refusal 422 */
function check(state: ServerState, body: Body, attributes: Attributes): void {
  const kinds = [
    [body.aciIdentityKey, body.aciSignedPreKey, body.aciPqLastResortPreKey],
    [body.pniIdentityKey, body.pniSignedPreKey, body.pniPqLastResortPreKey],
  ] as const;
  for (const [identity, ...keys] of kinds) {
    if (!keys.every((key) => isSigned(identity.serialize(), key))) throw new Refusal(422);
    if (state.dialect.keyIdsChecked && !keys.every(({ keyId }) => isKeyId(keyId))) throw new Refusal(422);
  }
  const { unidentifiedAccessKey, unrestrictedUnidentifiedAccess, fetchesMessages } = attributes;
  const lacksKey = unidentifiedAccessKey === undefined && !unrestrictedUnidentifiedAccess;
  if (state.dialect.accessKeyRequired && lacksKey) throw new Refusal(422);
  const ways = [fetchesMessages, body.apnToken !== undefined, body.gcmToken !== undefined].filter(Boolean);
  if (ways.length !== 1) throw new Refusal(422);
}

/** @throws Refusal 423 */
function refuseLocked(
  state: ServerState,
  former: Device | undefined,
  { registrationLock }: Attributes,
): void {
  const lock = former === undefined ? undefined : state.factsOf(former).registrationLock;
  if (lock === undefined || lock === registrationLock) return;
  throw new Refusal(423, { timeRemaining: LOCK_MS, svr2Credentials: null });
}

/** @throws Refusal 409 */
function refuseTransfer(state: ServerState, former: Device | undefined, { skipDeviceTransfer }: Body): void {
  if (former === undefined || skipDeviceTransfer) return;
  if (state.factsOf(former).capabilities.includes('transfer')) throw new Refusal(409);
}

/**
 * Java closes the sockets first and takes the account over after: who is back in between is let in with the old
 * credentials, and stays until the new device of his id connects (4409), or for as long as he likes.
 */
async function disconnect(state: ServerState, former: readonly Device[]): Promise<void> {
  if (former.length === 0) return;
  for (const device of former) state.disconnect(device);
  await state.clock.sleep(RECLAIM_MS, state.ended);
}

/** Devices of the account as it was: their queues go. */
async function replace(state: ServerState, former: readonly Device[]): Promise<void> {
  for (const device of former) await state.forgetDevice(device);
  if (former[0] !== undefined) state.recipients.delete(former[0].aci);
}

function note(state: ServerState, device: Device, attributes: Attributes): void {
  const facts = state.factsOf(device);
  facts.capabilities = names(attributes.capabilities ?? {});
  facts.registrationLock = attributes.registrationLock;
  facts.isUnrestricted = attributes.unrestrictedUnidentifiedAccess;
  const key = attributes.unidentifiedAccessKey;
  if (key !== undefined) device.accessKey = Buffer.from(key);
}

function forMock(body: Body, attributes: Attributes, sessionId: string): object {
  const capability = (name: string): boolean => attributes.capabilities?.[name] === true;
  return {
    sessionId,
    skipDeviceTransfer: true,
    accountAttributes: {
      fetchesMessages: attributes.fetchesMessages,
      registrationId: attributes.registrationId,
      pniRegistrationId: attributes.pniRegistrationId,
      capabilities: {
        attachmentBackfill: capability('attachmentBackfill'),
        spqr: capability('spqr'),
        usernameChangeSyncMessage: capability('usernameChangeSyncMessage'),
      },
      unidentifiedAccessKey: [...(attributes.unidentifiedAccessKey ?? new Uint8Array(ACCESS_KEY_LENGTH))],
      unrestrictedUnidentifiedAccess: attributes.unrestrictedUnidentifiedAccess,
      discoverableByPhoneNumber: attributes.discoverableByPhoneNumber,
      recoveryPassword: toHex(attributes.recoveryPassword ?? new Uint8Array(0)),
    },
    aciIdentityKey: toBase64(body.aciIdentityKey.serialize()),
    pniIdentityKey: toBase64(body.pniIdentityKey.serialize()),
    aciSignedPreKey: writeKey(body.aciSignedPreKey),
    pniSignedPreKey: writeKey(body.pniSignedPreKey),
    aciPqLastResortPreKey: writeKey(body.aciPqLastResortPreKey),
    pniPqLastResortPreKey: writeKey(body.pniPqLastResortPreKey),
  };
}
