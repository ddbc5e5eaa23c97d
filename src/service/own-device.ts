/**
 * Own device: what is said, wherever it shows, of a device that cannot be used with the server that the profile names.
 */
import { BotError, isBotError } from '../errors.ts';

/** A primary device is removed by another one that was registered in its place. */
const NEXT_OF_PRIMARY = 'Register the number again; what is stored here is kept.';
const NEXT_OF_LINKED = 'Link again; what is stored here is kept.';
const PRIMARY = 1;

/**
 * The device's password is shown to no server but its own.
 * @param linked origin of the server where the device was linked
 * @param named origin that the profile names
 */
export function otherServer(linked: string, named: string): BotError {
  return new BotError(
    'PROFILE_INVALID',
    `this device was linked at ${linked}, and the profile names ${named}`,
    {
      next: 'Use the profile of the server that it was linked at; if that server has moved, keep its old address reachable.',
    },
  );
}

/** What to do once the server has removed the device. */
export function nextOfRemoved({ deviceId }: { readonly deviceId: number }): string {
  return deviceId === PRIMARY ? NEXT_OF_PRIMARY : NEXT_OF_LINKED;
}

/** `DEVICE_UNLINKED` with what to do about this device; other errors as they are. */
export function withRemedy(error: unknown, device: { readonly deviceId: number }): unknown {
  if (!isBotError(error, 'DEVICE_UNLINKED')) return error;
  return new BotError(error.code, error.message, { cause: error, next: nextOfRemoved(device) });
}
