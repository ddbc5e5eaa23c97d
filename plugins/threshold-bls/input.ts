/**
 * Input: what acts are given, checked.
 */
import { z } from 'zod';
import { BotError } from '../../src/index.ts';

/** A public key: 96 bytes in small hex. */
export const keyHex = z.string().regex(/^[0-9a-f]{192}$/);

/** @throws BotError `USAGE` */
export function read<T>(schema: z.ZodType<T>, input: unknown): T {
  const { success, data, error } = schema.safeParse(input);
  if (success) return data;
  throw usage(error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}

export function usage(message: string): BotError {
  return new BotError('USAGE', message);
}
