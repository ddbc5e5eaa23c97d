/**
 * Policy: what is asked of a contact before a handler is called for them, and before a message goes to them (V-32).
 *
 * Looked up from the operator's word down: the settings of `countersign trust policy`, the configuration file, the
 * handler, the plugin, the default of their purpose. Of each, what names the command counts before what names the plugin.
 */
import { z } from 'zod';
import type { Policy } from '../store/identity-row.ts';
import type { Staging, Store } from '../store/store.ts';
import { facts } from '../store/tables.ts';
import type { PolicyRule, Purpose } from '../trust.ts';

const POLICIES = ['any', 'tofu', 'introduced', 'verified'] as const;
export const policySchema = z.enum(POLICIES);
const directions = { inbound: policySchema.optional(), outbound: policySchema.optional() };

const policyRuleSchema = z.strictObject({
  ...directions,
  commands: z.record(z.string(), z.strictObject(directions)).optional(),
});
/** By plugin; in the configuration beside `plugins`. */
export const policyRulesSchema = z.record(z.string(), policyRuleSchema);

export type OperatorRule = z.infer<typeof policyRuleSchema>;
export type OperatorRules = Readonly<Record<string, OperatorRule>>;

/** What the operator has set, kept in the store. */
export interface PolicySettings {
  /** `follow`: a first-use key may be replaced by another one, with an event; `block`: it makes the contact `changed`. */
  readonly keyChange: 'block' | 'follow';
  readonly plugins: OperatorRules;
}

const settingsSchema = z.object({
  keyChange: z.enum(['block', 'follow']).default('block'),
  plugins: policyRulesSchema.default({}),
});

const DEFAULTS: Readonly<Record<Purpose, Policy>> = {
  administration: 'verified',
  signing: 'verified',
  other: 'tofu',
};

const FACT = 'trustPolicy';

/** What is not readable counts as not set. */
export async function readSettings(batch: Staging): Promise<PolicySettings> {
  const parsed = settingsSchema.safeParse((await facts.get(batch, FACT)) ?? {});
  const { keyChange, plugins } = parsed.success ? parsed.data : settingsSchema.parse({});
  return { keyChange, plugins };
}

export function putSettings(batch: Staging, settings: PolicySettings): void {
  facts.put(batch, FACT, settings);
}

export function isPolicy(value: unknown): value is Policy {
  return (POLICIES as readonly unknown[]).includes(value);
}

/** The rules of a running bot. */
export class Policies {
  readonly #configured: OperatorRules;
  #settings: PolicySettings = { keyChange: 'block', plugins: {} };

  /** @param configured of the configuration file */
  constructor(configured: OperatorRules = {}) {
    this.#configured = configured;
  }

  get settings(): PolicySettings {
    return this.#settings;
  }

  /** Reads the operator's settings; again when they were changed. */
  async load(store: Store): Promise<void> {
    this.#settings = await readSettings(store.batch());
  }

  /** @param rules of the handler, then of its plugin */
  of(
    direction: 'inbound' | 'outbound',
    plugin: string,
    command: string | undefined,
    ...rules: readonly (PolicyRule | undefined)[]
  ): Policy {
    for (const operator of [this.#settings.plugins[plugin], this.#configured[plugin]]) {
      const named = command === undefined ? undefined : operator?.commands?.[command]?.[direction];
      const found = named ?? operator?.[direction];
      if (found !== undefined) return found;
    }
    for (const rule of rules) {
      const found = rule?.[direction] ?? (rule?.purpose && DEFAULTS[rule.purpose]);
      if (found !== undefined) return found;
    }
    return DEFAULTS.other;
  }
}

/** The one that asks for more. */
export function stricter(a: Policy, b: Policy): Policy {
  return POLICIES.indexOf(a) >= POLICIES.indexOf(b) ? a : b;
}
