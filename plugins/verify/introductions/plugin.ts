/**
 * Introductions in the plugin: takes in statements, follows changes of trust, lets expire what has expired, and does what
 * the operator asks.
 *
 * A change of trust that this plugin has not seen (a key accepted on the command line while no bot ran) is caught up
 * with at the start.
 * Spec: verification brief, section 10.
 */
import {
  BotError,
  isAci,
  systemPlatform,
  type Aci,
  type ActCall,
  type Host,
  type Random,
} from '../../../src/index.ts';
import { isSame } from '../messages/wire.ts';
import { Book, type BookParts, type Receipt } from './book.ts';
import { conflictError } from './conflict.ts';
import { findGiven, Issuing } from './issuing.ts';
import { chainOf, givenLine, labelOf, listIntroductions } from './listing.ts';
import { allGiven, allGot } from './rows.ts';
import { INTRODUCTION } from './tag.ts';

export interface IntroductionOptions {
  /** How many introducers have to name the same key; 1 if unsaid. */
  readonly introducers?: number;
  /**
   * Whether an account is in a group (32-byte id) now. Bots have no groups of Signal's yet, so it is the configuration that
   * names their members; if unsaid, nobody is in any, and statements for a group are refused (V-34).
   */
  readonly isMember?: BookParts['isMember'];
  /** Contacts who may vouch for more than 50 others, or ourselves. */
  readonly directories?: readonly Aci[];
  readonly random?: Random;
  /** Told after each statement, with what became of it. Returns at once and does not throw. */
  readonly onReceipt?: (receipt: Receipt) => void;
}

export interface Introducing {
  readonly book: Book;
  readonly issuing: Issuing;
}

/** So late at most is looked again for what has expired. */
const LOOK_MS = 3_600_000;
const DAYS = 30;
const MAX_DAYS = 90;
const MAX_RECIPIENTS = 100;

/** Registers all of it. The plugin needs the permissions `send` and `identities`. */
export function setUpIntroductions(host: Host, options: IntroductionOptions = {}): Introducing {
  const { random = systemPlatform().random, introducers: needed = 1, onReceipt } = options;
  const { isMember = () => false, directories = [] } = options;
  const now = (): number => host.clock.now();
  const { own } = host.trust;
  const book = new Book({ own: own.aci, now, needed, isMember, directories });
  const issuing = new Issuing({ own, now, random, isDirectory: directories.includes(own.aci) });
  const look = new Look();

  host.app(INTRODUCTION, async (ctx) => {
    const { serviceId } = ctx.sender;
    if (ctx.toPni || !isAci(serviceId)) return;
    const bearer = { aci: serviceId, identityKey: ctx.identityKey };
    // In a commit of its own: what is told has happened. A message that is handled again finds the statement known.
    const receipt = await host.update((tx) => book.receive(tx, ctx.value, bearer));
    await tell(host, receipt);
    onReceipt?.(receipt);
  });
  host.trust.onEvent((event) => {
    if (event.kind === 'state' && event.to === 'introduced') look.again();
  });
  host.trust.onTransition(async ({ aci, before, after }, tx) => {
    if (!isAci(aci) || (before.state === after.state && isSame(before.pin, after.pin))) return;
    await book.settle(tx, aci);
    await book.settleBy(tx, aci);
    await issuing.revokeStale(tx, aci);
  });
  host.run(async (signal) => {
    await catchUp(host, book, issuing);
    while (!signal.aborted) {
      const next = await host.update(async (tx) => {
        const times = [await book.expire(tx), await issuing.expire(tx)];
        return Math.min(...times.map((time) => time ?? Infinity));
      });
      await look.wait(host, Math.min(LOOK_MS, Math.max(1, next - now())), signal);
    }
  });
  host.act('introduce', (call) => introduce(host, issuing, call));
  host.act('introductions', () => host.update((tx) => listIntroductions(tx, now())));
  host.act('unintroduce', (call) => revoke(host, issuing, call));
  return { book, issuing };
}

/** What has happened while this plugin was not there to see it. */
async function catchUp(host: Host, book: Book, issuing: Issuing): Promise<void> {
  const [got, given] = await host.update(async ({ state }) => [await allGot(state), await allGiven(state)]);
  const subjects = new Set([...got, ...given].map(({ signed }) => signed.statement.subject));
  for (const subject of subjects) {
    await host.update(async (tx) => {
      await book.settle(tx, subject);
      await issuing.revokeStale(tx, subject);
    });
  }
}

async function tell(host: Host, receipt: Receipt): Promise<void> {
  switch (receipt.kind) {
    case 'refused':
      host.log.warn({ code: 'INTRODUCTION_INVALID', reason: receipt.reason }, 'an introduction is refused');
      return;
    case 'conflict': {
      const { code, message, next } = conflictError(receipt);
      host.log.warn(
        { code, contact: receipt.subject, introducer: receipt.introducer },
        'introductions differ',
      );
      host.notify(`${code}: ${message} ${next}`);
      return;
    }
    case 'revoked': {
      const { introducer, subject } = receipt.statement;
      const [by, of] = await host.update(async (tx) => [
        await labelOf(tx, introducer),
        await labelOf(tx, subject),
      ]);
      host.notify(`${by.whole} has taken back the introduction of ${of.whole}`);
      return;
    }
    case 'used':
    case 'shown': {
      const { state } = await host.trust.get(receipt.statement.subject);
      const chain = await host.update((tx) => chainOf(tx, receipt.statement));
      host.notify(state === 'introduced' ? chain : `${chain}; the contact is ${state}`);
      return;
    }
    case 'known':
      return;
  }
}

async function introduce(host: Host, issuing: Issuing, call: ActCall): Promise<object> {
  const { days = DAYS, agreed, unsigned } = call.input;
  if (typeof days !== 'number' || !Number.isInteger(days) || days < 1 || days > MAX_DAYS)
    throw new BotError('USAGE', `--days is a whole number from 1 to ${String(MAX_DAYS)}`);
  const [subject, ...to] = [call.contact, ...(call.contacts ?? [])].map(aciOf);
  if (subject === undefined || to.length === 0 || to.length > MAX_RECIPIENTS)
    throw new BotError('USAGE', `an introduction is for 1 to ${String(MAX_RECIPIENTS)} contacts`);
  const request = { subject, to: [...new Set(to)], days };
  const flags = { hasAgreed: agreed === true, isUnsigned: unsigned === true };
  const given = await host.update((tx) => issuing.issue(tx, { ...request, ...flags }));
  return { introductions: given.map((one) => givenLine(one, host.clock.now())) };
}

async function revoke(host: Host, issuing: Issuing, { input }: ActCall): Promise<object> {
  const { id } = input;
  if (typeof id !== 'string') throw new BotError('USAGE', 'which introduction?');
  return host.update(async (tx) => {
    await issuing.revoke(tx, await findGiven(tx, id));
    return givenLine(await findGiven(tx, id), host.clock.now());
  });
}

/** @throws BotError `RECIPIENT_UNKNOWN` for a phone-number identity, which nobody can vouch for */
function aciOf(serviceId: ActCall['contact']): Aci {
  if (serviceId !== undefined && isAci(serviceId)) return serviceId;
  throw new BotError('RECIPIENT_UNKNOWN', 'introductions are of accounts, and for accounts');
}

/** Waits until something expires, or there is something new that may. */
class Look {
  #sooner = new AbortController();

  again(): void {
    this.#sooner.abort();
  }

  async wait({ clock }: Host, ms: number, signal: AbortSignal): Promise<void> {
    try {
      await clock.sleep(ms, AbortSignal.any([signal, this.#sooner.signal]));
    } catch {
      // told to look now, or to end: the loop asks which
    }
    if (this.#sooner.signal.aborted) this.#sooner = new AbortController();
  }
}
