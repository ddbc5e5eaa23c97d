/**
 * Access of anonymous requests: the key of 5.6, or a group token.
 */
import { isPni, parseServiceId, type ServiceId } from '../../address.ts';
import { equal, fromBase64, type Bytes } from '../../bytes.ts';
import { Refusal, type Call } from './rule.ts';

/** @throws Refusal 404 when the path names no service id */
export function readServiceId(text: string): ServiceId {
  try {
    return parseServiceId(text);
  } catch {
    throw new Refusal(404);
  }
}

/**
 * Lets authenticated requests through, and anonymous ones with the target's access key or a group token.
 * @throws Refusal 400 a token beside other auth, 401 wrong or no access, or an unknown target; 404 no service id
 */
export async function checkAccess(call: Call, target: string): Promise<void> {
  const serviceId = readServiceId(target);
  const key = call.headers['unidentified-access-key'];
  if (call.headers['group-send-token'] !== undefined) {
    if (call.device !== undefined || key !== undefined) throw new Refusal(400);
    return;
  }
  if (call.device !== undefined) return;
  const [primary] = await call.state.mock.devicesOf(serviceId);
  const wanted = primary?.accessKey;
  if (key === undefined || wanted === undefined || isPni(serviceId)) throw new Refusal(401);
  if (!equal(readKey(key), wanted)) throw new Refusal(401);
}

function readKey(text: string): Bytes {
  try {
    return fromBase64(text);
  } catch {
    throw new Refusal(401);
  }
}
