/**
 * Lies: the attack lab (`interceptor.ts`) as calls of the control API, for whoever tries what a bot does on a server that
 * cannot be trusted.
 *
 *   POST   /lies {"between": [ACI, ACI], "deceives"?: [ACI, ...]}   from now on; both are deceived if unsaid
 *   GET    /lies                                                    what is going on, and what was read
 *   DELETE /lies                                                    the server is honest again
 *
 * All three answer {"lies": [{"between", "falseKeys": {ACI: base64}, "relayed", "overheard": [{"from", "text"}]}]}.
 */
import { z } from 'zod';
import { toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { Interceptor } from './interceptor.ts';
import type { ServerState } from './state.ts';

const aci = z.uuid().transform((text) => text.toLowerCase());
export const LIE = z.strictObject({ between: z.tuple([aci, aci]), deceives: z.array(aci).min(1).optional() });

export interface LieReport {
  readonly between: readonly string[];
  /** Base64, 33 bytes each, by the account that it is given out for. */
  readonly falseKeys: Readonly<Record<string, string>>;
  /** Messages that were opened and sealed again. */
  readonly relayed: number;
  readonly overheard: readonly { readonly from: string; readonly text: string }[];
}

/** @throws BotError `USAGE` where somebody is to be deceived about a third, or about themselves */
export function lie(state: ServerState, { between, deceives }: z.infer<typeof LIE>): void {
  if (between[0] === between[1] || deceives?.some((one) => !between.includes(one)) === true)
    throw new BotError('USAGE', 'a lie is between two accounts, and deceives one of them or both');
  state.interceptors.push(new Interceptor(state, { between, ...(deceives && { deceives }) }));
}

export function endLies(state: ServerState): void {
  for (const interceptor of [...state.interceptors]) interceptor.stop();
}

export function liesOf({ interceptors }: ServerState): { readonly lies: readonly LieReport[] } {
  return {
    lies: interceptors.map((interceptor) => ({
      between: interceptor.between,
      falseKeys: Object.fromEntries(
        interceptor.between.map((account) => [account, toBase64(interceptor.falseKeyOf(account))]),
      ),
      relayed: interceptor.relayed,
      overheard: interceptor.overheard,
    })),
  };
}
