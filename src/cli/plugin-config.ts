/**
 * The configuration file of `run`: `{"plugins": {NAME: {...}}}`.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BotError, describe } from '../errors.ts';

const configSchema = z.strictObject({ plugins: z.record(z.string(), z.unknown()).default({}) });

/** The `plugins` of the configuration file. @throws BotError `PLUGIN_INVALID` */
export async function readPluginConfig(file: string): Promise<Readonly<Record<string, unknown>>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new BotError('PLUGIN_INVALID', `the configuration ${file} cannot be read: ${describe(cause)}`, {
      cause,
    });
  }
  const result = configSchema.safeParse(parsed);
  if (result.success) return result.data.plugins;
  throw new BotError(
    'PLUGIN_INVALID',
    `the configuration ${file} is wrong: ${z.prettifyError(result.error)}`,
    {
      next: 'It is {"plugins": {NAME: {...}}}.',
    },
  );
}
