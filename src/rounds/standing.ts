/**
 * Standing: whether a ceremony may be held with these parties. Asked when it is opened, and again of each frame.
 */
import { equal } from '../bytes.ts';
import type { Transaction } from '../context.ts';
import { BotError } from '../errors.ts';
import type { PartySet } from './party-set.ts';

/**
 * Why one of these parties is not to be dealt with: `IDENTITY_CHANGED`, `PEER_UNVERIFIED`; undefined when all are.
 * @param policy what is asked of each
 */
export async function mistrusted(
  { trust }: Transaction,
  parties: PartySet,
  policy: 'introduced' | 'verified',
): Promise<BotError | undefined> {
  for (const { aci, identityKey, index } of parties) {
    const { state, pin } = await trust.identities.get(aci);
    const who = `party ${String(index)} (${aci})`;
    if (pin !== undefined && !equal(pin, identityKey))
      return new BotError('IDENTITY_CHANGED', `the group has another key for ${who} than is known here`, {
        next: `Ask that party for its line of the group (countersign me --json), by a way that is not the server's: the group is wrong, or the key has changed. What is known here: countersign trust show ${aci}.`,
      });
    const isMet = state === 'verified' || (state === 'introduced' && policy === 'introduced');
    if (!isMet)
      return new BotError('PEER_UNVERIFIED', `${who} is ${state}, and must be ${policy}`, {
        next: `Verify it: countersign verify start ${aci}; or, where the group came by a way that is not the server's, pin its keys: countersign trust import GROUP.`,
      });
  }
  return undefined;
}
