/**
 * What is left: what tells the generations apart (12.3), sender certificates, and profiles, of which the mock checks neither
 * the access nor the version.
 */
import { createHmac } from 'node:crypto';
import { isPni } from '../../address.ts';
import { toBase64 } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';
import { checkAccess, readServiceId } from './access.ts';
import { giveCertificate } from './certificate.ts';
import { Refusal, requireDevice, type Answer, type Call, type Rule } from './rule.ts';

export const OTHER_RULES: readonly Rule[] = [
  { verb: 'GET', path: '/v1/config', auth: 'any', handle: config },
  { verb: 'GET', path: '/v2/config', auth: 'any', handle: config },
  { verb: 'GET', path: '/v1/messages', auth: 'any', handle: fetchMessages },
  { verb: 'GET', path: '/v1/certificate/delivery', auth: 'device', handle: giveCertificate },
  { verb: 'GET', path: '/v1/profile/:id', auth: 'any', handle: profile },
  { verb: 'GET', path: '/v1/profile/:id/:version', auth: 'any', handle: profile },
  { verb: 'GET', path: '/v1/profile/:id/:version/:request', auth: 'any', handle: profile },
];

/** What of an account its devices make together: shown in its profile (2.6). */
const VISIBLE: Readonly<Record<ServerState['dialect']['name'], Readonly<Record<string, 'primary' | 'all'>>>> =
  {
    jun25: { deleteSync: 'all', ssre2: 'all', attachmentBackfill: 'primary', spqr: 'all' },
    dec25: { attachmentBackfill: 'primary', spqr: 'all' },
    aug26: {
      attachmentBackfill: 'primary',
      spqr: 'all',
      usernameChangeSyncMessage: 'all',
      profiles_v2: 'all',
    },
  };

/** The fields of a version that is unknown. */
const NOTHING = {
  name: null,
  about: null,
  aboutEmoji: null,
  avatar: null,
  paymentAddress: null,
  phoneNumberSharing: null,
};

/** A path that a generation does not have is 404 before it is asked who asks. */
function config(call: Call): Promise<Answer> {
  if (call.path !== call.state.dialect.configPath) throw new Refusal(404);
  requireDevice(call);
  return call.forward();
}

/** There until June 2026. What waits is handed out on sockets alone, so that a device gets no more than a refusal. */
function fetchMessages(call: Call): Answer {
  if (!call.state.dialect.restMessages) throw new Refusal(404);
  requireDevice(call);
  throw new Refusal(501);
}

async function profile(call: Call): Promise<Answer> {
  const { state } = call;
  const [target = '', version, request] = call.params;
  if (version !== undefined && call.headers['group-send-token'] !== undefined) throw new Refusal(400);
  await checkAccess(call, target);
  const serviceId = readServiceId(target);
  const devices = await state.mock.devicesOf(serviceId);
  const [primary] = devices;
  const isGone = state.mock.server.isUnregistered(serviceId as string as Device['aci']);
  if (primary === undefined || isGone) throw new Refusal(404);
  const kind = isPni(serviceId) ? state.mock.kinds.PNI : state.mock.kinds.ACI;
  const { profileVersion, isUnrestricted } = state.factsOf(primary);
  const name = version === profileVersion ? primary.profileName : undefined;
  return {
    status: 200,
    body: {
      identityKey: toBase64((await primary.getIdentityKey(kind)).serialize()),
      unidentifiedAccess: primary.accessKey === undefined ? null : verifierOf(primary.accessKey),
      unrestrictedUnidentifiedAccess: isUnrestricted === true,
      capabilities: capabilitiesOf(state, devices),
      badges: [],
      uuid: target,
      ...(version !== undefined && { ...NOTHING, name: name === undefined ? null : toBase64(name) }),
      ...(request !== undefined && (await credential(call))),
    },
  };
}

/** Only the mock can issue one. */
async function credential(call: Call): Promise<object> {
  const { status, body } = await call.forward();
  if (status !== 200) throw new Refusal(status, body);
  return { credential: (body as { credential?: string }).credential ?? null };
}

/** HMAC-SHA256(access key, 32 zero bytes), base64: shows who has the key that it is right. */
function verifierOf(accessKey: Uint8Array): string {
  return createHmac('sha256', accessKey).update(new Uint8Array(32)).digest('base64');
}

/** One device that lacks a capability takes it from the account. */
function capabilitiesOf(state: ServerState, devices: readonly Device[]): Record<string, boolean> {
  const rows = Object.entries(VISIBLE[state.dialect.name]).map(([name, mode]): [string, boolean] => {
    const asked = mode === 'primary' ? devices.slice(0, 1) : devices;
    return [name, asked.every((device) => state.factsOf(device).capabilities.includes(name))];
  });
  return Object.fromEntries(rows);
}
