/**
 * Register: makes this store the primary device of an account, for servers that no phone app exists for.
 *
 *   nothing --session, captcha, code--> verified --keys durable, request--> account --keys, profile--> registered
 *
 * Each arrow ends in a commit, so a start after a crash knows where to go on. Spec: protocol brief, section 14.
 */
import { fromBase64 } from '../bytes.ts';
import { BotError, isBotError } from '../errors.ts';
import type { Platform } from '../platform.ts';
import { connected, credentialsOf } from '../service/connected.ts';
import { uploadKeys } from '../service/keys.ts';
import { padName, putProfile } from '../service/own-profile.ts';
import type { Profile } from '../service/profile.ts';
import { registerAccount, type RegistrationOutcome } from '../service/registration.ts';
import { supplyFirstKeys } from '../session/first-supply.ts';
import { writeAgainOnConflict } from '../store/again.ts';
import type { Store } from '../store/store.ts';
import { noteUnlinked } from '../store/unlinked.ts';
import type { Account } from '../store/rows.ts';
import { account as accountCell, pendingLink } from '../store/tables.ts';
import type { Credentials, Requester } from '../transport/request.ts';
import {
  beginRegistration,
  completeRegistration,
  dropKeys,
  dropRegistration,
  makeKeys,
  noteProgress,
  readPendingRegistration,
  type PendingRegistration,
} from './pending-registration.ts';
import { refusal } from './refusal.ts';
import { recoveryPasswordOf, registrationBody, type Proof } from './registration-body.ts';
import { verifyNumber, type CodeTransport, type Questions } from './verify-number.ts';

/** Runs `use` with a chat connection; that of the profile unless a test says otherwise. */
export type Connect = <T>(
  credentials: Credentials | undefined,
  use: (requester: Requester) => Promise<T>,
  signal: AbortSignal,
) => Promise<T>;

export interface AccountParts {
  readonly store: Store;
  readonly profile: Profile;
  readonly platform: Platform;
  readonly connect?: Connect;
}

export interface RegisterParts extends AccountParts {
  /** E.164 */
  readonly number: string;
  /** Of the profile: 1 to 257 bytes, and not only spaces. */
  readonly name: string;
  /** How the code is sent, where that is asked for: then a code that came the other way does not count any more. */
  readonly transport?: CodeTransport;
  /** Has another code sent, in place of one that is lost. */
  readonly newCode?: boolean;
  readonly questions: RegisterQuestions;
}

export interface RegisterQuestions extends Questions {
  /** Whether an account that exists may be taken over; its linked devices are removed. @param why a sentence */
  takeOver(why: string): Promise<boolean>;
}

export type RegisterEvent =
  | { readonly kind: 'verified' }
  | { readonly kind: 'registering' }
  | { readonly kind: 'keys' }
  /** Done but for something that the account works without. */
  | { readonly kind: 'warning'; readonly message: string };

export interface RegisteredAccount {
  readonly account: Account;
  /** The server had the account already, and has removed its linked devices; not so where a lost answer was its own. */
  readonly reregistration: boolean;
}

/**
 * Resolves when the account can be used. A registration that was begun here is taken up.
 * @throws BotError `USAGE` (number, name), `ALREADY_LINKED`, `CONFIRMATION_NEEDED`, `TRANSFER_POSSIBLE`, `CAPTCHA_NEEDED`,
 *   `CAPTCHA_REFUSED`, `CODE_NEEDED`, `CODE_WRONG`, `REGISTRATION_LOCKED`, `REGISTRATION_REFUSED`, `TOTP_NEEDED`,
 *   `CLIENT_OUTDATED`, `CHALLENGE_REQUIRED`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_TIMEOUT`; those of the store;
 *   the signal's reason
 */
export async function register(
  parts: RegisterParts,
  onProgress: (event: RegisterEvent) => void,
  signal: AbortSignal,
): Promise<RegisteredAccount> {
  checkWanted(parts);
  return new Registering(parts, onProgress, signal).run();
}

/** For callers that make the store, before they do. @throws BotError `USAGE` number or name are not as they must be */
export function checkWanted({ number, name }: Pick<RegisterParts, 'number' | 'name'>): void {
  if (!/^\+[1-9]\d{1,19}$/.test(number)) {
    throw new BotError('USAGE', 'the number is not in international form', {
      next: 'Give + and digits, beginning with the country code: +15550001111',
    });
  }
  if (name.trim() === '') throw new BotError('USAGE', 'the name is empty');
  padName(name);
}

/**
 * Finishes a registration whose account exists on the server and whose keys are not all there.
 * @returns the account, done
 */
export function finishRegistration(
  parts: AccountParts,
  account: Account,
  onProgress: (event: RegisterEvent) => void,
  signal: AbortSignal,
): Promise<Account> {
  const { store, platform } = parts;
  onProgress({ kind: 'keys' });
  return connectOf(parts)(
    credentialsOf(account),
    async (requester) => {
      const left = await supplyFirstKeys(
        {
          store,
          ...platform,
          upload: (identity, keys) => uploadKeys(requester, identity, keys),
          isStored: (outcome) => outcome.kind === 'stored',
        },
        account,
      );
      if (left !== undefined) {
        const { identity, outcome } = left;
        const message = `the account is registered, but the server did not take its ${identity} keys: ${outcome.kind}`;
        throw new BotError('REQUEST_REFUSED', message, {
          next: 'Run register again: the upload is taken up where it stopped.',
        });
      }
      if (account.profileKey !== null) {
        const key = fromBase64(account.profileKey);
        const profile = { aci: account.aci, key, name: account.name };
        const outcome = await putProfile(requester, profile, platform.random);
        if (outcome.kind !== 'stored') {
          platform.log.warn({ outcome }, 'the server did not take the profile');
          const message = `the server did not take the profile (${outcome.kind}): contacts see the number`;
          onProgress({ kind: 'warning', message });
        }
      }
      return writeAgainOnConflict(store, async (batch) => {
        const done: Account = { ...((await accountCell.get(batch)) ?? account), keysUploaded: true };
        accountCell.put(batch, done);
        return done;
      });
    },
    signal,
  );
}

class Registering {
  readonly #parts: RegisterParts;
  readonly #onProgress: (event: RegisterEvent) => void;
  readonly #signal: AbortSignal;
  /** Opens a socket for each request: between two of them a person may take minutes. */
  readonly #anonymous: Requester;

  constructor(parts: RegisterParts, onProgress: (event: RegisterEvent) => void, signal: AbortSignal) {
    this.#parts = parts;
    this.#onProgress = onProgress;
    this.#signal = signal;
    const connect = connectOf(parts);
    this.#anonymous = {
      request: (request, options) =>
        connect(undefined, (requester) => requester.request(request, options), signal),
    };
  }

  async run(): Promise<RegisteredAccount> {
    const { store, profile, number, name } = this.#parts;
    const batch = store.batch();
    let known = await this.#known();
    let pending = await readPendingRegistration(batch);
    if (pending !== undefined && (pending.number !== number || pending.server !== profile.chat)) {
      if (pending.keys !== null) throw otherRegistration(pending);
      await dropRegistration(store, pending);
      pending = undefined;
    }
    if (known?.keysUploaded === false && known.unlinkedAt === null && pending === undefined) {
      try {
        return { account: await this.#finish(known), reregistration: false };
      } catch (error) {
        // Another device has registered the number since: it can only be registered again.
        if (!isBotError(error, 'DEVICE_UNLINKED')) throw error;
        await noteUnlinked(store, this.#parts.platform.clock.now());
        known = (await accountCell.get(store.batch())) ?? known;
      }
    }
    if (known !== undefined && pending?.takeOver !== true) await this.#confirm(known);
    pending ??= await beginRegistration(
      this.#parts,
      { number, name, server: profile.chat, takeOver: known !== undefined },
      known,
    );
    if (known !== undefined && !pending.takeOver)
      pending = await noteProgress(store, pending, { takeOver: true });
    const { pending: sent, outcome } = await this.#request(pending);
    const account = await completeRegistration(store, sent, outcome, this.#parts.platform.clock.now());
    return { account: await this.#finish(account), reregistration: outcome.reregistration };
  }

  /** The account that was registered here before. @throws BotError `ALREADY_LINKED` */
  async #known(): Promise<Account | undefined> {
    const { store, profile, number } = this.#parts;
    const batch = store.batch();
    const account = await accountCell.get(batch);
    const isLinking = (await pendingLink.get(batch)) !== undefined;
    if (isLinking || (account !== undefined && account.deviceId !== 1)) {
      throw new BotError('ALREADY_LINKED', 'this data directory holds a linked device', {
        next: 'Use another --data for the primary device.',
      });
    }
    if (account === undefined) return undefined;
    if (account.number === number && account.server === profile.chat) return account;
    throw new BotError(
      'ALREADY_LINKED',
      `this data directory holds the account ${account.number ?? account.aci} of ${account.server}`,
      { next: 'Use another --data for another account.' },
    );
  }

  async #confirm({ aci }: Account): Promise<void> {
    const why = `${this.#parts.number} is registered here (${aci}); registering again removes all its linked devices`;
    if (await this.#parts.questions.takeOver(why)) return;
    throw new BotError('CONFIRMATION_NEEDED', why);
  }

  /** Until the server has taken the registration. */
  async #request(begun: PendingRegistration): Promise<{
    pending: PendingRegistration;
    outcome: Extract<RegistrationOutcome, { kind: 'registered' }>;
  }> {
    const { store, number, platform } = this.#parts;
    let pending = begun;
    // A request that was sent and not answered needs no new verification, as long as its session lives.
    let sessionId = pending.keys === null ? null : pending.sessionId;
    // That request may have been carried out: then these keys are the account's, whatever the next one is answered.
    let isOpen = pending.keys !== null;
    for (;;) {
      if (sessionId === null) {
        pending = await this.#verify(pending);
        sessionId = pending.sessionId ?? '';
      }
      pending = await makeKeys(this.#parts, pending);
      this.#onProgress({ kind: 'registering' });
      const outcome = await this.#ask(pending, { sessionId });
      if (outcome.kind === 'registered') return { pending, outcome };
      if (outcome.kind === 'unverified' && begun.keys !== null && pending.sessionId === begun.sessionId) {
        pending = await noteProgress(store, pending, { sessionId: null, codeRequested: false });
        sessionId = null;
        continue;
      }
      if (outcome.kind === 'transfer' && !pending.takeOver) {
        const made = await this.#recover(pending);
        if (made !== undefined) return { pending, outcome: made };
        isOpen = false; // it is somebody else's
        const why = `${number} has an account already; registering it here takes it over and removes its linked devices`;
        if (await this.#parts.questions.takeOver(why)) {
          pending = await noteProgress(store, pending, { takeOver: true });
          continue;
        }
      }
      // Only an answer that says no to every request frees the keys: after any other they may be the account's.
      if (outcome.kind !== 'unavailable' && !isOpen) pending = await dropKeys(store, pending);
      // A captcha goes with a new session only.
      if (outcome.kind === 'unverified' || outcome.kind === 'challenge')
        await noteProgress(store, pending, { sessionId: null, codeRequested: false });
      throw refusal(outcome, platform.clock.now());
    }
  }

  /**
   * The number has an account that may not be taken over unasked. It is ours when an earlier request of this record made it
   * and only the answer was lost: then, and only then, the server knows the recovery password of the record.
   */
  async #recover(
    pending: PendingRegistration,
  ): Promise<Extract<RegistrationOutcome, { kind: 'registered' }> | undefined> {
    const outcome = await this.#ask(pending, { recoveryPassword: recoveryPasswordOf(pending) });
    // What the server had already is what the lost request has made: nobody else lost a device.
    if (outcome.kind === 'registered') return { ...outcome, reregistration: false };
    // Not known whether it is ours: the keys are kept, and the next call finds out.
    const isUnknown = outcome.kind === 'rate-limited' || outcome.kind === 'unavailable';
    if (isUnknown) throw refusal(outcome, this.#parts.platform.clock.now());
    return undefined;
  }

  async #verify(begun: PendingRegistration): Promise<PendingRegistration> {
    const { store, number, platform, questions, transport, newCode = false } = this.#parts;
    let pending = begun;
    const sessionId = await verifyNumber(
      {
        requester: this.#anonymous,
        clock: platform.clock,
        questions,
        transport,
        newCode,
        note: async (progress) => {
          pending = await noteProgress(store, pending, progress);
        },
      },
      number,
      begun,
    );
    this.#onProgress({ kind: 'verified' });
    return pending.sessionId === sessionId ? pending : noteProgress(store, pending, { sessionId });
  }

  async #ask(pending: PendingRegistration, proof: Proof): Promise<RegistrationOutcome> {
    const { number, store } = this.#parts;
    const body = await registrationBody(store.batch(), pending, proof);
    try {
      return await registerAccount(this.#anonymous, { number, password: pending.password, body });
    } catch (error) {
      this.#signal.throwIfAborted();
      if (!(error instanceof BotError)) throw error;
      throw new BotError(error.code, `it is not known whether the account was registered: ${error.message}`, {
        cause: error,
        next: 'Run register again: it takes up what was begun.',
      });
    }
  }

  #finish(account: Account): Promise<Account> {
    return finishRegistration(this.#parts, account, this.#onProgress, this.#signal);
  }
}

function connectOf({ connect, profile, platform }: AccountParts): Connect {
  return (
    connect ?? ((credentials, use, signal) => connected({ profile, platform }, credentials, use, signal))
  );
}

function otherRegistration({ number, server }: PendingRegistration): BotError {
  const message = `a registration of ${number} at ${server} was begun here, and its answer is not known`;
  return new BotError('ALREADY_LINKED', message, {
    next: 'Run register once more for that number and server; or use another --data.',
  });
}
