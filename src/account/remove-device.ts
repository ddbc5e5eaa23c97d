/**
 * Remove device: the primary device's way to end a linked one. Spec: protocol brief, section 2.9.
 */
import { BotError } from '../errors.ts';
import { listDevices, removeDevice } from '../service/devices.ts';
import type { Store } from '../store/store.ts';
import type { Requester } from '../transport/request.ts';
import { primaryAccount } from './approve.ts';

/**
 * Removes a linked device of the account that this is the primary device of.
 * @throws BotError `NOT_PRIMARY`; `DEVICE_UNKNOWN`; `REQUEST_REFUSED`, and what the request throws
 */
export async function removeLinkedDevice(
  store: Store,
  requester: Requester,
  deviceId: number,
): Promise<{ deviceId: number }> {
  await primaryAccount(store);
  const devices = await listDevices(requester);
  if (devices !== 'not-offered' && !devices.some(({ id }) => id === deviceId)) {
    throw new BotError('DEVICE_UNKNOWN', `the account has no device ${String(deviceId)}`);
  }
  if ((await removeDevice(requester, deviceId)) === 'removed') return { deviceId };
  throw new BotError('REQUEST_REFUSED', 'the server does not let this device remove others');
}
