/**
 * Options of the plugin's commands that are whole numbers.
 */
import { BotError, type SubcommandCall } from '../../src/index.ts';

/** @throws BotError `USAGE`, with the option and its range */
export function wholeNumber(
  { options }: SubcommandCall,
  name: string,
  unsaid: number,
  [lowest, highest]: readonly [number, number],
): number {
  const given = options[name];
  if (typeof given !== 'string') return unsaid;
  const value = Number(given);
  if (/^\d+$/.test(given) && value >= lowest && value <= highest) return value;
  const range = `${String(lowest)} to ${String(highest)}`;
  throw new BotError('USAGE', `--${name} is a whole number from ${range}`);
}
