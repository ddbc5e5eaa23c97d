/**
 * The configuration file of `run`: `{"plugins": {NAME: {...}}, "policy": {NAME: {"inbound", "outbound", "commands"}},
 * "listen": "all" or "tagged"}`.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BotError, describe } from '../errors.ts';
import { LISTEN, type Listen } from '../inbox/listening.ts';
import { policyRulesSchema, type OperatorRules } from '../trust/policy.ts';

const configSchema = z.strictObject({
  plugins: z.record(z.string(), z.unknown()).default({}),
  policy: policyRulesSchema.default({}),
  listen: z.enum(LISTEN).optional(),
});

export interface RunConfig {
  readonly plugins: Readonly<Record<string, unknown>>;
  /** What is asked of contacts, by plugin. */
  readonly policy: OperatorRules;
  /** What is opened; the command line goes before it. */
  readonly listen?: Listen | undefined;
}

/** Reads the configuration file. @throws BotError `PLUGIN_INVALID` */
export async function readPluginConfig(file: string): Promise<RunConfig> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new BotError('PLUGIN_INVALID', `the configuration ${file} cannot be read: ${describe(cause)}`, {
      cause,
    });
  }
  const result = configSchema.safeParse(parsed);
  if (result.success) return result.data;
  throw new BotError(
    'PLUGIN_INVALID',
    `the configuration ${file} is wrong: ${z.prettifyError(result.error)}`,
    {
      next: 'It is {"plugins": {NAME: {...}}, "policy": {NAME: {...}}, "listen": "all" or "tagged"}.',
    },
  );
}
