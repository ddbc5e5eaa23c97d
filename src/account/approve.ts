/**
 * Approve: the primary device's side of linking.
 *
 *   link --token--> provision message, sealed --relayed--> new device registers --device list--> its id and name
 *
 * Spec: protocol brief, sections 2.3, 2.4, 2.7 and 2.8.
 */
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { deviceLimit, listDevices, type DeviceInfo } from '../service/devices.ts';
import {
  fetchLinkToken,
  sendProvision,
  waitForLinkedDevice,
  type LinkToken,
} from '../service/provisioning.ts';
import { readDeviceName } from '../session/device-name.ts';
import { parseLinkUrl, type LinkTarget } from '../session/link-url.ts';
import { encodeProvisionMessage } from '../session/provision-message.ts';
import { sealProvisionEnvelope } from '../session/provisioning-cipher.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell, facts } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { MEDIA_KEY } from './pending-registration.ts';

export interface ApproveParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Authenticated as the primary device. */
  readonly requester: Requester;
}

export interface ApprovedDevice {
  readonly deviceId: number;
  /** Null when it has none, or none that the account's key opens. */
  readonly name: string | null;
}

export const NEXT_REGISTER =
  'Register first: countersign account register --number NUMBER --server FILE --data DIR';
/** ms between two looks at the device list. */
const LOOK_MS = 1_000;
/** Looks between two calls that wait for the device: the server allows one of those in 30 s. */
const LOOKS_PER_WAIT = 30;

/**
 * @param link as the new device shows it
 * @param waitMs how long the new device may take; its token is good for ten minutes
 * @throws BotError `USAGE` (the link), `NOT_PRIMARY`, `DEVICE_LIMIT`, `LINK_EXPIRED` nobody waits at the link's address, or
 *   no device came of it in time; `RATE_LIMITED`, `REQUEST_REFUSED`, `SERVER_UNREACHABLE`, `REQUEST_TIMEOUT`; the
 *   signal's reason
 */
export async function approve(
  parts: ApproveParts,
  link: string,
  waitMs: number,
  signal: AbortSignal,
): Promise<ApprovedDevice> {
  const target = parseLinkUrl(link);
  const account = await primaryAccount(parts.store);
  const before = new Set((await devicesOf(parts.requester)).map(({ id }) => id));
  const token = await takeToken(parts);
  await provide(parts, account, target, token);
  const device = await awaitDevice(parts, token, before, waitMs, signal);
  return { deviceId: device.id, name: readDeviceName(device.encryptedName, account.identity) };
}

/** @throws BotError `NOT_LINKED`, `NOT_PRIMARY` */
export async function primaryAccount(store: Store): Promise<Account> {
  const account = await accountCell.get(store.batch());
  if (account === undefined) {
    throw new BotError('NOT_LINKED', 'this data directory has no account', { next: NEXT_REGISTER });
  }
  if (account.deviceId === 1) return account;
  throw new BotError('NOT_PRIMARY', `this is device ${String(account.deviceId)}, a linked one`);
}

async function takeToken({ requester, platform }: ApproveParts): Promise<LinkToken> {
  const outcome = await fetchLinkToken(requester);
  switch (outcome.kind) {
    case 'token':
      return outcome.token;
    case 'limit':
      throw deviceLimit(outcome, 'Remove one: countersign account devices, countersign account remove ID');
    case 'not-offered':
      throw new BotError('REQUEST_REFUSED', 'this server gives out no link tokens');
    case 'unauthorized':
      throw new BotError('NOT_PRIMARY', 'the server gives link tokens to the primary device only');
    case 'rate-limited':
      throw tooSoon(platform.clock.now() + outcome.retryAfterMs);
    case 'unavailable':
      throw new BotError(
        'SERVER_UNREACHABLE',
        `the server answered ${String(outcome.status)} to a link token`,
      );
    case 'refused':
      throw new BotError('REQUEST_REFUSED', `the server refused a link token with ${String(outcome.status)}`);
  }
}

async function provide(
  { store, requester, platform }: ApproveParts,
  account: Account,
  target: LinkTarget,
  token: LinkToken,
): Promise<void> {
  const mediaKey = await facts.get(store.batch(), MEDIA_KEY);
  const message = encodeProvisionMessage(
    { ...account, code: token.code },
    typeof mediaKey === 'string' ? { mediaRootBackupKey: mediaKey } : {},
  );
  const envelope = sealProvisionEnvelope(target.publicKey, message, platform.random);
  message.fill(0);
  const outcome = await sendProvision(requester, target.address, envelope);
  switch (outcome.kind) {
    case 'sent':
      return;
    case 'gone':
      throw new BotError(
        'LINK_EXPIRED',
        'nobody waits for this link any more: it is used, replaced or too old',
        {
          next: 'Give the newest link that the new device shows, within a minute.',
        },
      );
    case 'rate-limited':
      throw tooSoon(platform.clock.now() + outcome.retryAfterMs);
    case 'unavailable':
      throw new BotError('SERVER_UNREACHABLE', `the server answered ${String(outcome.status)} to the link`);
    case 'unauthorized':
    case 'too-large':
    case 'refused':
      throw new BotError('REQUEST_REFUSED', `the server refused to relay the link (${outcome.kind})`);
  }
}

async function awaitDevice(
  { requester, platform: { clock } }: ApproveParts,
  { identifier }: LinkToken,
  before: ReadonlySet<number>,
  waitMs: number,
  signal: AbortSignal,
): Promise<DeviceInfo> {
  const end = clock.now() + waitMs;
  for (let look = 0; ; look++) {
    // Servers that list no devices can only be asked about the token; others seldom answer that call in time (2.8).
    const told =
      identifier !== undefined && look % LOOKS_PER_WAIT === LOOKS_PER_WAIT - 1
        ? await unlessAway(waitForLinkedDevice(requester, identifier, 1))
        : undefined;
    const devices = await unlessAway(devicesOf(requester));
    const found = devices?.find(({ id }) => id === told || !before.has(id));
    if (found !== undefined) return found;
    if (told !== undefined) {
      return { id: told, encryptedName: undefined, lastSeen: undefined, registrationId: undefined };
    }
    if (clock.now() >= end) {
      throw new BotError('LINK_EXPIRED', 'the new device has the link data, and did not register in time', {
        next: 'Look at what the new device says, then show and approve a new link.',
      });
    }
    await clock.sleep(LOOK_MS, signal);
  }
}

/** The new device has all it needs: a server that is away for a moment says only "not yet". */
async function unlessAway<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isBotError(error, 'SERVER_UNREACHABLE') || isBotError(error, 'REQUEST_TIMEOUT')) return undefined;
    throw error;
  }
}

async function devicesOf(requester: Requester): Promise<readonly DeviceInfo[]> {
  const devices = await listDevices(requester);
  return devices === 'not-offered' ? [] : devices;
}

function tooSoon(retryAt: number): BotError {
  return new BotError('RATE_LIMITED', 'the server asks to wait before another link', {
    retryAt,
    next: 'Wait until the time given, then approve again.',
  });
}
