/**
 * Signing policy: what this bot signs without its operator, from the plugin's configuration. Without a rule it signs nothing
 * by itself; a proposal that fits no rule is left to the operator, and logged.
 *
 *   {"sign": [{"keys": [HEX], "proposers": [ACI], "prefix": TEXT, "maxBytes": 1024, "perHour": 10}]}
 *
 * A rule names keys and proposers; who proposes is known by the identity key of the key's party set, which this bot has
 * verified. What a proposer may have signed is bounded by how the message begins, how long it is, and how often.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Clock, Log, State } from '../../src/index.ts';
import { sameParties, topicOf, type Entry, type Proposal } from '../../src/rounds/index.ts';
import { toHex } from './key-share.ts';
import { outlinesOf, shareOf } from './shares.ts';
import { sign, type SignParams } from './sign.ts';

const HOUR_MS = 3_600_000;
/** Longest message that goes along with a proposal, bytes; of a longer one this bot sees nothing that it could judge. */
const MAX_BYTES = 32_000;
/** So many proposals are remembered as logged. */
const MAX_LOGGED = 256;

const rule = z.strictObject({
  /** Public keys, 96 bytes, hex. */
  keys: z.array(z.string().regex(/^[0-9a-f]{192}$/, 'is no public key: 96 bytes in small hex')).min(1),
  /** ACIs of parties of the key. */
  proposers: z.array(z.uuid().toLowerCase()).min(1),
  /** How the message must begin, as UTF-8; absent: as it likes. */
  prefix: z.string().min(1).optional(),
  maxBytes: z.int().min(0).max(MAX_BYTES).default(1_024),
  /** By this rule, within 60 minutes. */
  perHour: z.int().min(1).max(1_000).default(10),
});

export const config = z.strictObject({ sign: z.array(rule).max(100).default([]) });

export type Rule = z.infer<typeof rule>;
export type Config = z.infer<typeof config>;
export type Invited = NonNullable<Entry['invited']>;

/** What the policy asks of its host. */
export interface PolicyHost {
  readonly clock: Clock;
  readonly log: Log;
}

/** The hook of the signing protocol. */
export function signingPolicy(rules: readonly Rule[], { clock, log }: PolicyHost): Invited {
  const logged = new Set<string>();
  const leave = (proposal: Proposal, from: number, why: string): void => {
    const topic = topicOf(proposal);
    if (logged.has(topic)) return;
    if (logged.size >= MAX_LOGGED) logged.clear();
    logged.add(topic);
    const proposer = proposal.parties[from - 1]?.aci;
    log.warn(
      { topic, proposer, why },
      'a proposal to sign does not fit the signing policy and is left alone',
    );
  };
  return async (proposal, from, tx) => {
    if (rules.length === 0) return undefined;
    const { epoch, parties, signers } = proposal;
    const params = sign.params.decode(proposal.params);
    // What is public of it is enough to refuse: points are dear, and any party of the key can propose.
    const held = (await outlinesOf(tx.state, params.publicKey)).find(
      (outline) => outline.epoch === epoch && Buffer.compare(outline.sharing, params.sharing) === 0,
    );
    if (held === undefined || !sameParties(held.parties, parties)) {
      leave(proposal, from, 'there is no share here of that key, epoch and party set');
      return undefined;
    }
    if (params.threshold !== held.threshold) {
      leave(proposal, from, 'the key has another threshold');
      return undefined;
    }
    if (!signers.includes(held.index)) return undefined;
    const misfits = rules.map((one) => misfit(one, proposal, params, from));
    const fitting = rules.filter((_, at) => misfits[at] === undefined);
    if (fitting.length === 0) {
      leave(proposal, from, [...new Set(misfits)].join('; '));
      return undefined;
    }
    const share = await shareOf(tx, params.publicKey, epoch, params.sharing);
    if (share?.isUsable !== true) {
      leave(proposal, from, 'not all parties have confirmed their shares of this key');
      return undefined;
    }
    for (const one of fitting) {
      const turn = await turnOf(tx.volatile, one, clock.now());
      if (turn === undefined) continue;
      const joined = (): void => {
        turn();
        log.info({ topic: topicOf(proposal) }, 'signs by the signing policy');
      };
      return { input: share.share, joined };
    }
    leave(proposal, from, 'as many messages were signed within an hour as the policy allows');
    return undefined;
  };
}

/** Why a proposal does not fit a rule; undefined when it does. */
function misfit(
  { keys, proposers, prefix = '', maxBytes }: Rule,
  { message, parties }: Proposal,
  { publicKey }: SignParams,
  from: number,
): string | undefined {
  if (!keys.includes(toHex(publicKey))) return 'no rule for this key';
  if (!proposers.includes(parties[from - 1]?.aci ?? '')) return 'no rule for this proposer';
  if (message.length > maxBytes) return `the message is longer than ${String(maxBytes)} bytes`;
  const start = Buffer.from(prefix);
  return start.equals(message.subarray(0, start.length)) ? undefined : 'the message begins otherwise';
}

/**
 * Whether a rule has not let through enough. Row `policy/RULE`: times in ms.
 * @returns what counts one more; undefined: it has
 */
async function turnOf(rows: State, one: Rule, now: number): Promise<(() => void) | undefined> {
  const key = `policy/${createHash('sha256').update(JSON.stringify(one)).digest('hex')}`;
  const stored = (await rows.getJson(key, z.array(z.number()))) ?? [];
  const recent = stored.filter((at) => at > now - HOUR_MS && at <= now);
  if (recent.length >= one.perHour) return undefined;
  return () => {
    rows.putJson(key, [...recent, now]);
  };
}
