/**
 * Access of anonymous requests: the key of 5.6, or a group token.
 */
import { Aci, Pni } from '@signalapp/libsignal-client';
import {
  GroupSendDerivedKeyPair, GroupSendFullToken, ServerSecretParams,
} from '@signalapp/libsignal-client/dist/zkgroup/index.js'; // prettier-ignore
import { isPni, parseServiceId, type ServiceId } from '../../address.ts';
import { copy, equal, type Bytes } from '../../bytes.ts';
import type { Interceptor } from '../interceptor.ts';
import type { ServerState } from '../state.ts';
import { Refusal, type Call } from './rule.ts';
import { base64 } from './shapes.ts';

/** Before 2026 the key of an account that takes everybody's may have any length. */
const ACCESS_KEY_LENGTH = 16;

/** @throws Refusal 404 when the path names no service id */
export function readServiceId(text: string): ServiceId {
  try {
    return parseServiceId(text);
  } catch {
    throw new Refusal(404);
  }
}

/**
 * Lets authenticated requests through, and anonymous ones with the target's access key or a group token for it.
 * @throws Refusal 400 a token beside other auth, 401 wrong or no access, or an unknown target; 404 no service id
 */
export async function checkAccess(call: Call, target: string): Promise<void> {
  const serviceId = readServiceId(target);
  const key = call.headers['unidentified-access-key'];
  const token = call.headers['group-send-token'];
  if (token !== undefined) {
    if (call.device !== undefined || key !== undefined) throw new Refusal(400);
    if (!isEndorsed(call.state, [serviceId], token)) throw new Refusal(401);
    return;
  }
  if (call.device !== undefined) return;
  if (key === undefined || isPni(serviceId)) throw new Refusal(401);
  const [primary] = await call.state.mock.devicesOf(serviceId);
  const given = readKey(key);
  if (primary === undefined || given === undefined) throw new Refusal(401);
  if (call.state.factsOf(primary).isUnrestricted === true) {
    if (call.state.dialect.accessKeyRequired && given.length !== ACCESS_KEY_LENGTH) throw new Refusal(401);
  } else if (primary.accessKey === undefined || !equal(given, primary.accessKey)) throw new Refusal(401);
}

/** Who sits between the caller and this account. */
export function interceptorOf({ state, device }: Call, target: string): Interceptor | undefined {
  return state.interceptors.find((interceptor) => interceptor.isBetween(device?.aci, target));
}

function readKey(text: string): Bytes | undefined {
  return base64.safeParse(text).data;
}

/** The server's secret parameters, private in the mock's types. */
interface Secrets {
  readonly zkSecret: { serialize(): Uint8Array };
}

/** Whether the token is of an endorsement of these very recipients that has not expired. */
export function isEndorsed(state: ServerState, serviceIds: readonly ServiceId[], text: string): boolean {
  try {
    const token = new GroupSendFullToken(readKey(text) ?? new Uint8Array(0));
    const { zkSecret } = state.mock.server as unknown as Secrets;
    const secrets = new ServerSecretParams(copy(zkSecret.serialize()));
    const keys = GroupSendDerivedKeyPair.forExpiration(token.getExpiration(), secrets);
    token.verify(serviceIds.map(toLibsignal), keys, new Date(state.clock.now()));
    return true;
  } catch {
    return false;
  }
}

function toLibsignal(serviceId: ServiceId): Aci | Pni {
  return isPni(serviceId) ? Pni.parseFromServiceIdString(serviceId) : Aci.parseFromServiceIdString(serviceId);
}
