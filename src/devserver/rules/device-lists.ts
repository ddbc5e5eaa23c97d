/**
 * Device lists of sends, against the devices that an account has (protocol brief, section 5.4).
 */
import { isPni, type ServiceId } from '../../address.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';

export interface Comparison {
  readonly missingDevices: readonly number[];
  readonly extraDevices: readonly number[];
  /** Listed with the registration id of a former device. */
  readonly staleDevices: readonly number[];
}

/** @param own the sending device, where the account is its own: it is not to be listed */
export function compareDevices(
  state: ServerState,
  target: ServiceId,
  devices: readonly Device[],
  listed: readonly { readonly deviceId: number; readonly registrationId: number }[],
  own?: number,
): Comparison {
  const kind = isPni(target) ? state.mock.kinds.PNI : state.mock.kinds.ACI;
  const wanted = new Map(devices.map((each): [number, Device] => [each.deviceId, each]));
  const staleDevices = listed
    .filter(({ deviceId, registrationId }) => {
      const device = wanted.get(deviceId);
      return device !== undefined && device.getCheckedRegistrationId(kind) !== registrationId;
    })
    .map(({ deviceId }) => deviceId);
  if (own !== undefined) wanted.delete(own);
  const ids = new Set(listed.map(({ deviceId }) => deviceId));
  return {
    staleDevices,
    missingDevices: [...wanted.keys()].filter((id) => !ids.has(id)),
    extraDevices: [...ids].filter((id) => !wanted.has(id)),
  };
}
