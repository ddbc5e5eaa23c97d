/**
 * All that trust is made of, built for one account: for a bot that runs, and for a command that opens the store itself.
 */
import type { Address, ServiceId } from '../address.ts';
import type { Bytes } from '../bytes.ts';
import { Identities } from '../identities/identities.ts';
import type { Guard } from '../outbox/gate.ts';
import type { Platform } from '../platform.ts';
import { Carrier } from '../session/carrier.ts';
import { ownKeys } from '../session/own-identity.ts';
import { RunSessions } from '../session/run-sessions.ts';
import type { Store } from '../store/store.ts';
import type { Account } from '../store/rows.ts';
import { Desk } from './desk.ts';
import { ownKeyOf } from './own-key.ts';
import { Policies, type OperatorRules } from './policy.ts';
import type { TrustParts } from './transaction.ts';

export interface TrustNeeds {
  readonly store: Store;
  readonly account: Account;
  readonly platform: Platform;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  /** Those that a session asks already; made anew if absent. */
  readonly identities?: Identities;
  /** Of the configuration file. */
  readonly policy?: OperatorRules | undefined;
  /** Runs alone among all that touches a peer's sessions; absent where nothing else does. */
  readonly exclusive?: <T>(peer: ServiceId, work: () => Promise<T>) => Promise<T>;
  /** Asks the service for an identity key; absent where there is none to ask. */
  readonly servedKey?: (of: Address) => Promise<Bytes | undefined>;
}

export interface Trust extends TrustParts {
  readonly policies: Policies;
  /** ms since 1970. */
  readonly now: () => number;
}

/** @throws BotError `STORE_DAMAGED` */
export async function buildTrust(needs: TrustNeeds): Promise<Trust> {
  const { store, account, platform, stamp, policy } = needs;
  const exclusive = needs.exclusive ?? (<T>(_peer: ServiceId, work: () => Promise<T>): Promise<T> => work());
  const { identities = new Identities(platform.clock, ownKeys(account)) } = needs;
  identities.stamp = stamp;
  const policies = new Policies(policy);
  const guards: Guard[] = [];
  const trust: Trust = {
    store,
    identities,
    policies,
    guards,
    exclusive,
    servedKey: needs.servedKey ?? (() => Promise.resolve(undefined)),
    now: () => platform.clock.now(),
    ownAci: account.aci,
    own: ownKeyOf(account),
    carrier: new Carrier({ store, account, identities, platform }),
    runs: new RunSessions({ account, identities, clock: platform.clock }),
    desk: new Desk({ store, identities, ownAci: account.aci, stamp }),
  };
  await reload(trust);
  return trust;
}

/** The operator's settings may have changed. */
export async function reload({ store, identities, policies }: Trust): Promise<void> {
  await policies.load(store);
  identities.relaxed = policies.settings.keyChange === 'follow';
}
