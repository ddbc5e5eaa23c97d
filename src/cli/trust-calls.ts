/**
 * The calls of `trust …` and `safety-number`, answered with a running bot's own view of trust, or with one made for the call.
 */
import { z } from 'zod';
import type { ServiceId } from '../address.ts';
import { Stamps } from '../bot/stamps.ts';
import { linkedAccount, resolveRecipient } from '../inspect.ts';
import type { Platform } from '../platform.ts';
import type { PluginInfo } from '../plugin/contract.ts';
import type { Store } from '../store/store.ts';
import { buildTrust, type Trust } from '../trust/build.ts';
import { policySchema, type PolicySettings } from '../trust/policy.ts';
import {
  acceptIdentity,
  compareSafetyNumber,
  importTrust,
  keyOf,
  policy,
  revokeIdentity,
  showTrust,
} from '../trust/operator.ts';

export const trustCalls = [
  z.object({ call: z.literal('trust show'), contact: z.string() }),
  z.object({ call: z.literal('trust accept'), contact: z.string(), key: z.string().optional() }),
  z.object({ call: z.literal('trust revoke'), contact: z.string(), key: z.string().optional() }),
  z.object({
    call: z.literal('trust policy'),
    keyChange: z.enum(['block', 'follow']).optional(),
    plugin: z.string().optional(),
    command: z.string().optional(),
    inbound: policySchema.optional(),
    outbound: policySchema.optional(),
    remove: z.boolean().optional(),
  }),
  z.object({
    call: z.literal('trust import'),
    fileHash: z.string(),
    contacts: z.array(z.object({ aci: z.string(), identityKey: z.string() })).max(10_000),
  }),
  z.object({ call: z.literal('safety number'), contact: z.string(), digits: z.string().optional() }),
] as const;

export type TrustCall = z.infer<(typeof trustCalls)[number]>;

export interface PolicyAnswer extends PolicySettings {
  /** What the rule that was set may have wrong. */
  readonly hint?: string;
}

export interface TrustCallParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Absent when the call is answered from the rows alone. */
  readonly bot: { readonly trust: Trust | undefined; readonly installed: readonly PluginInfo[] } | undefined;
}

/** @throws BotError `NOT_LINKED`, `RECIPIENT_UNKNOWN`, `ROW_UNKNOWN`, `CONTENT_INVALID`, `USAGE` */
export async function answerTrust(parts: TrustCallParts, call: TrustCall): Promise<object> {
  const trust = parts.bot?.trust ?? (await makeTrust(parts));
  const contact = (): Promise<ServiceId> =>
    resolveRecipient(parts.store, 'contact' in call ? call.contact : '');
  switch (call.call) {
    case 'trust show':
      return showTrust(trust, await contact());
    case 'trust accept':
      return acceptIdentity(trust, await contact(), call.key === undefined ? undefined : keyOf(call.key));
    case 'trust revoke':
      return revokeIdentity(trust, await contact(), call.key === undefined ? undefined : keyOf(call.key));
    case 'trust policy':
      return withHint(await policy(trust, call), call, parts.bot?.installed);
    case 'trust import':
      return importTrust(trust, call.contacts, call.fileHash);
    case 'safety number':
      return compareSafetyNumber(trust, await contact(), call.digits);
  }
}

/** A rule for what the running bot does not have is kept, and may be a slip. */
function withHint(
  settings: PolicySettings,
  { plugin, command, remove }: Extract<TrustCall, { call: 'trust policy' }>,
  installed: readonly PluginInfo[] | undefined,
): PolicyAnswer {
  if (installed === undefined || plugin === undefined || remove === true) return settings;
  const found = installed.find(({ name }) => name === plugin);
  const whose = found === undefined ? 'the bot that runs' : `the plugin ${plugin}`;
  const missing = found === undefined ? `plugin ${plugin}` : `command ${command ?? ''}`;
  const known = found === undefined ? installed.map(({ name }) => name) : found.commands;
  if (found !== undefined && (command === undefined || known.includes(command))) return settings;
  const others = known.length === 0 ? 'none' : known.join(', ');
  return { ...settings, hint: `${whose} has no ${missing}; it has ${others}` };
}

async function makeTrust({ store, platform }: TrustCallParts): Promise<Trust> {
  const stamps = new Stamps(platform.clock);
  await stamps.open(store);
  return buildTrust({ store, platform, account: await linkedAccount(store), stamp: stamps.next });
}
