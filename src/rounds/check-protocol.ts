/** Check protocol: whether what a plugin gives as a protocol can go over the network, asked where the plugin is set up. */
import { BotError } from '../errors.ts';
import type { Protocol } from './protocol.ts';
import { MAX_BODY } from './run.ts';

const NAME = /^[a-z0-9.-]{1,100}$/;
const MAX_VERSION = 65_535;
const MAX_ROUNDS = 255;

/** @throws BotError `PLUGIN_INVALID` */
export function assertProtocol({ name, version, rounds }: Protocol): void {
  const isWhole = (value: number, max: number): boolean =>
    Number.isInteger(value) && value >= 1 && value <= max;
  if (!NAME.test(name)) throw invalid(name, 'its name is of a-z, 0-9, dots and hyphens, 100 at most');
  if (!isWhole(version, MAX_VERSION)) throw invalid(name, `its version is 1 to ${String(MAX_VERSION)}`);
  if (!isWhole(rounds.length, MAX_ROUNDS)) throw invalid(name, `it has 1 to ${String(MAX_ROUNDS)} rounds`);
  for (const [at, { broadcast, private: isPrivate, maxBytes = MAX_BODY }] of rounds.entries()) {
    const round = `round ${String(at + 1)}`;
    if (broadcast !== true && isPrivate !== true) throw invalid(name, `nothing is sent in ${round}`);
    if (!isWhole(maxBytes, MAX_BODY))
      throw invalid(name, `a body of ${round} has at most 1 to ${String(MAX_BODY)} bytes`);
  }
}

function invalid(name: string, what: string): BotError {
  return new BotError('PLUGIN_INVALID', `the protocol ${name} cannot be used: ${what}`);
}
