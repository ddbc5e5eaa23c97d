/**
 * Check options: what a plugin says of its handlers. Plugins are loaded without a type check, and a policy that is misspelt
 * must not let everybody in.
 */
import { z } from 'zod';
import { BotError } from '../errors.ts';
import { policySchema } from '../trust/policy.ts';

const rule = z.strictObject({
  purpose: z.enum(['administration', 'signing', 'other']).optional(),
  inbound: policySchema.optional(),
  outbound: policySchema.optional(),
});

const callable = z.custom((value) => typeof value === 'function', 'is no function');

const handlerOptions = z.strictObject({
  lane: callable.optional(),
  deadlineMs: z.number().positive().optional(),
  policy: rule.optional(),
  discards: callable.optional(),
});

/** What a plugin may say of itself; `Plugin` tells what it means. */
const FIELDS: readonly string[] = [
  ...['name', 'version', 'tags', 'volatile', 'commands', 'config', 'permissions', 'policy', 'subcommands'],
  'setup',
];

/** The policy, and that nothing is beside it that is never read. @throws BotError `PLUGIN_INVALID` */
export function checkDefinition(plugin: string, value: { readonly policy?: unknown }): void {
  const unknown = Object.keys(value).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0)
    throw new BotError(
      'PLUGIN_INVALID',
      `the plugin ${plugin} says what nobody reads: ${unknown.join(', ')}`,
      { next: `A plugin has: ${FIELDS.join(', ')}. What it keeps for itself belongs into setup.` },
    );
  check(plugin, 'a policy', rule.optional(), value.policy);
}

/** @throws BotError `PLUGIN_INVALID` */
export function checkHandlerOptions(plugin: string, value: unknown): void {
  check(plugin, 'options of a handler', handlerOptions.optional(), value);
}

function check(plugin: string, what: string, schema: z.ZodType, value: unknown): void {
  const { success, error } = schema.safeParse(value);
  if (success) return;
  const issues = error.issues.map(({ path, message }) => `${path.join('.') || 'all of it'}: ${message}`);
  throw new BotError(
    'PLUGIN_INVALID',
    `the plugin ${plugin} has ${what} that cannot be used: ${issues.join('; ')}`,
  );
}
