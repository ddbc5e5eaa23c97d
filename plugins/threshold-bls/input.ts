/**
 * Input: what acts are given, checked.
 */
import { z } from 'zod';
import { BotError } from '../../src/index.ts';

/** Longest message that is signed, bytes: each ceremony keeps its own for a day. */
export const MAX_MESSAGE = 1_048_576;
/** A message in small hex. No group in it: a long text would overflow the stack. */
export const messageHex = z
  .string()
  .max(2 * MAX_MESSAGE, `a message has at most ${String(MAX_MESSAGE)} bytes`)
  .regex(/^[0-9a-f]*$/)
  .refine(({ length }) => length % 2 === 0, 'is no hex');

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
