/** A protocol that is asked for and not there: what to give instead. */
import { BotError } from '../errors.ts';

/**
 * @param given what stands in the place of a name; a program in JavaScript may give the protocol itself
 * @param known names of those there are
 * @throws BotError `USAGE`
 */
export function unknownProtocol(given: unknown, known: Iterable<string>): never {
  const names = [...known];
  if (typeof given === 'string') {
    const next = `Known are: ${names.join(', ')}.`;
    throw new BotError('USAGE', `the protocol ${given} is not known here`, { next });
  }
  const own: unknown =
    typeof given === 'object' && given !== null && 'name' in given ? given.name : undefined;
  const meant = names.includes(String(own)) ? [String(own)] : names;
  const next = `Give its name: ${meant.map((name) => `protocol: '${name}'`).join(' or ')}.`;
  throw new BotError('USAGE', 'a protocol is asked for by its name, and something else was given', { next });
}
