/**
 * Linked: the lines about a linked device, asked over its own credentials. The bot that runs asks them over the
 * connection it has; where none runs, a socket is opened for them, and no message is taken from it.
 */
import { Aci, Pni } from '@signalapp/libsignal-client';
import {
  AuthCredentialWithPniResponse, ClientZkAuthOperations, ServerPublicParams,
} from '@signalapp/libsignal-client/dist/zkgroup/index.js'; // prettier-ignore
import { BotError, describe } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { senderCertificate } from '../service/account.ts';
import { fetchUploadForm } from '../service/attachments.ts';
import { nextOfRemoved, otherServer, withRemedy } from '../service/own-device.ts';
import type { Profile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import type { Requester } from '../transport/request.ts';
import { fail, failureOf, ok, skip, walk, warn, type Check, type Finding, type Step } from './check.ts';
import { fetchGroupCredentials, fetchSelf, fetchStorageLogin } from './endpoints.ts';
import { statusOf } from './origins.ts';
import { checkPrekeyCounts, checkSignedPrekeys } from './own-keys.ts';
import { checkSenderCertificate } from './sealed-sender.ts';

/** The way to the server that a linked device has. */
export interface OwnLine {
  readonly requester: Requester;
  checkQueue(signal: AbortSignal): Promise<Finding> | Finding;
}

export interface LinkedParts {
  readonly profile: Profile;
  readonly platform: Platform;
  readonly store: Store;
  readonly account: Account;
  /** Opens it, or gives the one that is open. @throws BotError as `Socket.open` */
  open(signal: AbortSignal): Promise<OwnLine> | OwnLine;
  readonly blocked?: Set<string>;
}

const NAMES = [
  'linked server', 'authenticated socket', 'queue', 'signed prekeys', 'one-time prekeys', 'sealed sender',
  'group credential', 'storage login', 'attachment form',
] as const; // prettier-ignore

/** The lines where no linked device can be asked. */
export function withoutDevice(why: string): Check[] {
  return NAMES.map((name) => ({ name, ...skip(why) }));
}

/** Each line as soon as it is known. Throws nothing but the signal's reason. */
export async function* examineLinked(parts: LinkedParts, signal: AbortSignal): AsyncGenerator<Check> {
  const { clock } = parts.platform;
  yield* walk(linkedSteps(parts), { clock, blocked: parts.blocked ?? new Set() }, signal);
}

function linkedSteps(parts: LinkedParts): Step[] {
  const { profile, platform, store, account } = parts;
  const { clock } = platform;
  let line: OwnLine | undefined;
  const online = (
    use: (line: OwnLine, signal: AbortSignal) => Promise<Finding> | Finding,
  ): Omit<Step, 'name'> => ({
    needs: ['authenticated socket'],
    run: (signal) => {
      if (line === undefined) throw new BotError('INTERNAL', 'there is no socket');
      return use(line, signal);
    },
  });
  const steps: Record<(typeof NAMES)[number], Omit<Step, 'name'>> = {
    'linked server': { run: () => checkServer(account, profile) },
    'authenticated socket': {
      needs: ['upgrade', 'linked server'],
      run: async (signal) => {
        try {
          line = await parts.open(signal);
          return await checkSelf(line.requester, account, signal);
        } catch (error) {
          throw withRemedy(error, account);
        }
      },
    },
    queue: online((own, signal) => own.checkQueue(signal)),
    'signed prekeys': online(({ requester }) => checkSignedPrekeys(requester, store, account)),
    'one-time prekeys': online(({ requester }) => checkPrekeyCounts(requester, account)),
    'sealed sender': {
      ...online(async ({ requester }) => {
        if (profile.sealedSender.mode === 'off')
          return skip('the profile turns it off, or names no trust roots');
        const certificate = await senderCertificate(requester);
        return checkSenderCertificate(certificate, account, profile, clock.now());
      }),
      needs: ['authenticated socket', 'trust roots'],
    },
    'group credential': {
      ...online(({ requester }, signal) => checkGroupCredential(requester, parts, signal)),
      needs: ['authenticated socket', 'server public params'],
    },
    'storage login': {
      ...online(({ requester }, signal) => checkStorageLogin(requester, profile, signal)),
      needs: ['authenticated socket', 'storage'],
    },
    'attachment form': online(({ requester }, signal) => checkAttachmentForm(requester, profile, signal)),
  };
  return NAMES.map((name) => ({ name, ...steps[name] }));
}

/** What keeps the bot from starting fails here, in the words that the bot has for it. */
function checkServer(account: Account, profile: Profile): Finding {
  if (account.unlinkedAt !== null) return fail('the server has removed this device', nextOfRemoved(account));
  if (account.server !== profile.chat) return failureOf(otherServer(account.server, profile.chat));
  return ok(`linked as device ${String(account.deviceId)} of ${account.aci}`);
}

async function checkSelf(requester: Requester, account: Account, signal: AbortSignal): Promise<Finding> {
  const self = await fetchSelf(requester, signal);
  if (self.aci !== account.aci) {
    return fail(
      `the server takes this device for one of ${self.aci}`,
      'The data directory and the server do not belong together: link again, or give the right ones.',
    );
  }
  if (account.pni !== null && self.pni !== account.pni) {
    return warn(
      'the account has another phone-number identity than when this device was linked',
      'Link again, if messages to the number are to be read.',
    );
  }
  return ok(`the credentials are good${self.namesSalt ? '; the server is from August 2026 or later' : ''}`);
}

async function checkGroupCredential(
  requester: Requester,
  { profile, platform, account }: LinkedParts,
  signal: AbortSignal,
): Promise<Finding> {
  if (profile.serverPublicParams === undefined) return skip('the profile names no server public params');
  if (account.pni === null) return skip('this account has no number; its credentials are of another kind');
  const credentials = await fetchGroupCredentials(requester, platform.clock.now(), signal);
  if (credentials === 'not-offered') return skip('this server gives no group credentials');
  const operations = new ClientZkAuthOperations(new ServerPublicParams(profile.serverPublicParams));
  try {
    for (const { credential, redemptionTime } of credentials) {
      operations.receiveAuthCredentialWithPniAsServiceId(
        Aci.parseFromServiceIdString(account.aci),
        Pni.parseFromServiceIdString(account.pni),
        redemptionTime,
        new AuthCredentialWithPniResponse(credential),
      );
    }
  } catch (error) {
    return fail(
      `a group credential of the server does not fit "serverPublicParams" (${describe(error)})`,
      'Put the public half of the zk parameters that this server runs with into the profile.',
    );
  }
  return ok(`${String(credentials.length)} credentials fit the server public params`);
}

async function checkStorageLogin(
  requester: Requester,
  profile: Profile,
  signal: AbortSignal,
): Promise<Finding> {
  if (profile.storage === undefined) return skip('the profile names no storage');
  const login = await fetchStorageLogin(requester, signal);
  if (login === 'not-offered') return skip('this server gives no login for a storage service');
  const basic = Buffer.from(`${login.username}:${login.password}`).toString('base64');
  const url = `${profile.storage}/v1/storage/manifest`;
  const status = await statusOf(profile, url, { authorization: `Basic ${basic}` }, signal);
  if (status === 200 || status === 204) return ok('the storage service takes the login');
  if (status === 404) return ok('the storage service takes the login; there is nothing stored yet');
  return fail(
    `the storage service answers ${String(status)} to the login that the chat server gave`,
    'Give both servers the same secret for storage credentials, and the same clock.',
  );
}

/** Asks where a blob of one byte would go; nothing is uploaded. */
async function checkAttachmentForm(
  requester: Requester,
  profile: Profile,
  signal: AbortSignal,
): Promise<Finding> {
  const form = await fetchUploadForm(requester, 1, { signal });
  if (form === 'not-offered') return skip('this server gives no form to upload attachments with');
  if (form === 'too-large') {
    return warn(
      'the server does not even take an attachment of one byte',
      'Raise the size of attachments in its configuration.',
    );
  }
  const cdn = String(form.cdn);
  const text = `uploads go to CDN ${cdn} at ${new URL(form.location).host}`;
  if ((profile.cdn as Readonly<Record<string, string | undefined>>)[cdn] !== undefined) return ok(text);
  return warn(
    `${text}, which the profile does not name: what others send cannot be read`,
    `Add ${JSON.stringify(cdn)} to "cdn" in the profile.`,
  );
}
