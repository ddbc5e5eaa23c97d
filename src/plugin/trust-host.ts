/**
 * `host.trust`: our own key, and the onlookers of one plugin. Whether the plugin may is asked when it uses one of them.
 */
import { StagedTransaction, trustOf, type ContextParts, type Scope, type Transaction } from '../context.ts';
import type { TrustHost } from '../trust.ts';
import type { TrustParts } from '../trust/transaction.ts';

/** As `host.update`. */
type Update = <T>(work: (transaction: Transaction) => T | Promise<T>) => Promise<T>;

export function trustHost(parts: ContextParts, scope: Scope, update: Update): TrustHost<Transaction> {
  const allowed = (): TrustParts => trustOf(parts, scope);
  return {
    get own() {
      return allowed().own;
    },
    get: async (serviceId) => allowed().identities.get(parts.store.batch(), serviceId),
    list: () => allowed().identities.list(parts.store),
    onEvent: (listener) => {
      allowed().desk.onEvent(listener);
    },
    onTransition: (hook) => {
      allowed().identities.onStep((batch, { serviceId, before, after }) =>
        hook({ aci: serviceId, before, after }, new StagedTransaction(parts, scope, batch)),
      );
    },
    guard: (hook) => {
      allowed().guards.push(hook);
    },
    servedKey: async (of) => allowed().servedKey(of),
    update: async (aci, work) => allowed().exclusive(aci, () => update(work)),
  };
}
