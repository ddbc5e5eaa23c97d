/**
 * Devices of the own account, and what this one declares that it can do (protocol brief, 2.6, 2.9 and 4).
 */
import { z } from 'zod';
import type { DeviceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Requester } from '../transport/request.ts';
import {
  base64,
  deviceIdSchema,
  failure,
  isSuccess,
  maybe,
  readJson,
  registrationIdSchema,
} from './answer.ts';

/** One set for all servers: names that one does not know are ignored there. Always sent whole (2.6). */
export const CAPABILITIES = {
  deleteSync: true,
  versionedExpirationTimer: true,
  ssre2: true,
  spqr: true,
  attachmentBackfill: true,
  usernameChangeSyncMessage: true,
} as const;

export interface DeviceInfo {
  readonly id: DeviceId;
  /** Protobuf DeviceName, encrypted to the own ACI identity; undefined when there is none, or it is no base64. */
  readonly encryptedName: Bytes | undefined;
  /** ms since 1970, rounded to the day by the server. */
  readonly lastSeen: number | undefined;
  readonly registrationId: number | undefined;
}

const devicesSchema = z.object({
  devices: z
    .array(
      z.object({
        id: deviceIdSchema,
        name: maybe(base64(1, 1024)).catch(undefined), // some clients register a name in plain text
        lastSeen: maybe(z.number().min(0).max(8_640_000_000_000_000)),
        registrationId: maybe(registrationIdSchema).catch(undefined),
      }),
    )
    .max(127),
});

/**
 * What a device limit says, as the token for a new device and the new device itself may meet it.
 * @param next what to do, if not the usual
 */
export function deviceLimit(
  { current, max }: { readonly current: number | undefined; readonly max: number | undefined },
  next?: string,
): BotError {
  const counts = current === undefined || max === undefined ? '' : `: ${String(current)} of ${String(max)}`;
  const message = `the account has all the devices that it may have${counts}`;
  return new BotError('DEVICE_LIMIT', message, next === undefined ? {} : { next });
}

/** @throws BotError `ANSWER_INVALID`, `DEVICE_UNLINKED`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED` */
export async function listDevices(requester: Requester): Promise<readonly DeviceInfo[] | 'not-offered'> {
  const response = await requester.request({ verb: 'GET', path: '/v1/devices' });
  if (response.status === 404) return 'not-offered';
  if (!isSuccess(response)) throw failure(response, 'the device list');
  const { devices } = readJson(devicesSchema, response, 'the device list');
  return devices.map(({ id, name, lastSeen, registrationId }) => ({
    id,
    encryptedName: name,
    lastSeen,
    registrationId,
  }));
}

/**
 * A linked device can remove only itself; doing so it mostly loses its socket (4401) before the answer (2.9).
 * @returns `refused`: not allowed to this device
 * @throws BotError as `listDevices`, but for `DEVICE_UNLINKED`
 */
export async function removeDevice(
  requester: Requester,
  id: DeviceId,
): Promise<'removed' | 'not-offered' | 'refused'> {
  const response = await requester.request({ verb: 'DELETE', path: `/v1/devices/${String(id)}` });
  if (isSuccess(response)) return 'removed';
  if (response.status === 404) return 'not-offered';
  if (response.status === 401 || response.status === 403) return 'refused';
  throw failure(response, 'removing a device');
}
