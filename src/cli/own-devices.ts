/**
 * The devices of the own account: listing them, and removing this one.
 */
import { BotError, isBotError } from '../errors.ts';
import { linkedAccount } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import { readDeviceName } from '../session/device-name.ts';
import { whoami } from '../service/account.ts';
import { listDevices, removeDevice } from '../service/devices.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { noteUnlinked } from '../store/unlinked.ts';
import type { Requester } from '../transport/request.ts';

const PRIMARY = 1;

export interface OwnDevice {
  readonly id: number;
  /** Null when it has none, or none that this account's key opens. */
  readonly name: string | null;
  /** ms, rounded to the day by the server. */
  readonly lastSeen: number | null;
}

export interface Unlinked {
  readonly aci: string;
  readonly deviceId: number;
}

/** @throws BotError `REQUEST_REFUSED` when the server has no such list, and what the request throws */
export async function listOwnDevices(
  account: Account,
  requester: Requester,
): Promise<{ devices: readonly OwnDevice[] }> {
  const found = await listDevices(requester);
  if (found === 'not-offered') throw new BotError('REQUEST_REFUSED', 'this server does not list devices');
  return {
    devices: found.map(({ id, encryptedName, lastSeen }) => ({
      id,
      name: readDeviceName(encryptedName, account.identity),
      lastSeen: lastSeen ?? null,
    })),
  };
}

/**
 * Removes this device on the server, then notes it in the account's row. All else stays.
 * @throws BotError `REQUEST_REFUSED` it is the primary device, or the server does not let a device remove itself
 */
export async function unlinkOwnDevice(
  { store, platform }: { store: Store; platform: Platform },
  requester: Requester,
): Promise<Unlinked> {
  const { aci, deviceId } = await linkedAccount(store);
  if (deviceId === PRIMARY) {
    throw new BotError('REQUEST_REFUSED', 'this is the primary device of the account, and no linked one', {
      next: 'A linked device is removed by: countersign account remove ID. The primary device stays as long as its account.',
    });
  }
  if (!(await isRemoved(requester, deviceId))) {
    throw new BotError('REQUEST_REFUSED', 'the server does not let this device remove itself', {
      next: 'Remove it on the phone: settings, linked devices.',
    });
  }
  await noteUnlinked(store, platform.clock.now());
  return { aci, deviceId };
}

/** The socket mostly closes before the answer (2.9); a device that the server then refuses is gone. */
async function isRemoved(requester: Requester, deviceId: number): Promise<boolean> {
  try {
    return (await removeDevice(requester, deviceId)) === 'removed';
  } catch (error) {
    if (isBotError(error, 'DEVICE_UNLINKED')) return true;
    if (!isBotError(error, 'SERVER_UNREACHABLE')) throw error;
  }
  try {
    return (await whoami(requester)) === 'unauthorized';
  } catch (error) {
    if (isBotError(error, 'DEVICE_UNLINKED')) return true;
    throw error;
  }
}
