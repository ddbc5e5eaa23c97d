/**
 * Linking: PUT /v1/devices/link (protocol brief, sections 2.5 and 2.6).
 */
import { z } from 'zod';
import { toBase64 } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState, Token } from '../state.ts';
import { limitRate } from './limits.ts';
import { Refusal, readJson, type Answer, type Call, type Rule } from './rule.ts';
import {
  base64,
  isKeyId,
  isSigned,
  kyberPrekey,
  optional,
  signedEcPrekey,
  type SignedKey,
} from './shapes.ts';

const TOKEN_LIFE_MS = 600_000;
/** Devices of an account, the primary included. */
export const MAX_DEVICES = 6;

const registrationId = z.int().min(1).max(0x3fff);

const BODY = z.object({
  verificationCode: z.string(),
  accountAttributes: optional(
    z.object({
      fetchesMessages: z.boolean().default(false),
      registrationId,
      pniRegistrationId: optional(registrationId),
      name: optional(base64.refine((bytes) => bytes.length <= 225, 'a name has at most 225 bytes')),
      capabilities: z.record(z.string(), z.boolean()),
    }),
  ),
  aciSignedPreKey: signedEcPrekey,
  pniSignedPreKey: signedEcPrekey,
  aciPqLastResortPreKey: kyberPrekey,
  pniPqLastResortPreKey: kyberPrekey,
  apnToken: optional(z.object({ apnRegistrationId: z.string() })),
  gcmToken: optional(z.object({ gcmRegistrationId: z.string() })),
});

type Body = z.output<typeof BODY>;
type Attributes = NonNullable<Body['accountAttributes']>;

export const LINK_RULES: readonly Rule[] = [
  { verb: 'PUT', path: '/v1/devices/link', auth: 'any', handle: linkDevice },
];

async function linkDevice(call: Call): Promise<Answer> {
  const { state } = call;
  const password = readPassword(call);
  const body = readJson(call, BODY);
  const attributes = body.accountAttributes;
  if (attributes === undefined) throw new Refusal(state.dialect.missingObject);
  if (attributes.pniRegistrationId === undefined) throw new Refusal(state.dialect.missingPniRegistrationId);
  const token = usableToken(state, body.verificationCode);
  limitRate(call, 'verifyDevice', token.aci); // what is refused below has cost a token too
  try {
    await check(state, token.aci, attributes, body);
  } catch (error) {
    if (error instanceof Refusal) {
      token.refusal = error.answer;
      state.bell.ring();
    }
    throw error;
  }
  token.refusal = undefined;
  const name = attributes.name === undefined ? null : toBase64(attributes.name);
  const answer = await call.forward({
    // The Java servers take any username and the mock only the ACI; both keep the password.
    authorization: `Basic ${Buffer.from(`${token.aci}:${password}`).toString('base64')}`,
    body: {
      verificationCode: body.verificationCode,
      accountAttributes: { ...attributes, name: name ?? '' },
      aciSignedPreKey: writeKey(body.aciSignedPreKey),
      pniSignedPreKey: writeKey(body.pniSignedPreKey),
      aciPqLastResortPreKey: writeKey(body.aciPqLastResortPreKey),
      pniPqLastResortPreKey: writeKey(body.pniPqLastResortPreKey),
    },
  });
  if (token.device !== undefined) {
    const facts = state.factsOf(token.device);
    facts.name = name;
    facts.capabilities = names(attributes.capabilities);
  }
  return answer;
}

/** @throws Refusal 400, or 500 in June 2025 */
function readPassword(call: Call): string {
  const encoded = /^Basic\s+(\S+)$/i.exec(call.headers['authorization'] ?? '')?.[1];
  const [, password] = /^[^:]*:(.+)$/s.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? [];
  if (password === undefined) throw new Refusal(call.state.dialect.missingBasic);
  return password;
}

/** @throws Refusal 403 when it is unknown, used or too old */
function usableToken(state: ServerState, code: string): Token {
  const token = state.tokens.get(code);
  if (token === undefined || token.device !== undefined) throw new Refusal(403);
  if (state.clock.now() - token.issuedAt > TOKEN_LIFE_MS) throw new Refusal(403);
  return token;
}

/** @throws Refusal 422, 411 or 409; none of them uses the token up */
async function check(state: ServerState, aci: string, attributes: Attributes, body: Body): Promise<void> {
  const devices = await state.mock.devicesOf(aci);
  const [primary] = devices;
  if (primary === undefined) throw new Refusal(403);
  const kinds = [
    ['ACI', body.aciSignedPreKey, body.aciPqLastResortPreKey],
    ['PNI', body.pniSignedPreKey, body.pniPqLastResortPreKey],
  ] as const;
  for (const [kind, signed, lastResort] of kinds) {
    const identity = (await primary.getIdentityKey(state.mock.kinds[kind])).serialize();
    if (!isSigned(identity, signed) || !isSigned(identity, lastResort)) throw new Refusal(422);
    if (state.dialect.keyIdsChecked && !(isKeyId(signed.keyId) && isKeyId(lastResort.keyId)))
      throw new Refusal(422);
  }
  // Exactly one way to reach the device: it fetches, or a push token of one kind.
  const ways = [attributes.fetchesMessages, body.apnToken !== undefined, body.gcmToken !== undefined].filter(
    Boolean,
  );
  if (ways.length !== 1) throw new Refusal(422);
  if (devices.length >= MAX_DEVICES) throw new Refusal(411, { current: devices.length, max: MAX_DEVICES });
  if (lacksCapability(state, devices, names(attributes.capabilities))) throw new Refusal(409);
}

function lacksCapability(
  state: ServerState,
  devices: readonly Device[],
  declared: readonly string[],
): boolean {
  const { required, noDowngrade } = state.dialect;
  const asked = noDowngrade.filter((name) =>
    devices.every((device) => state.factsOf(device).capabilities.includes(name)),
  );
  return [...required, ...asked].some((name) => !declared.includes(name));
}

/** The capabilities that are said to be there. */
export function names(capabilities: Readonly<Record<string, boolean>>): string[] {
  return Object.keys(capabilities).filter((name) => capabilities[name] === true);
}

export function writeKey(key: SignedKey): { keyId: number; publicKey: string; signature: string } {
  return { keyId: key.keyId, publicKey: toBase64(key.publicKey), signature: toBase64(key.signature) };
}
