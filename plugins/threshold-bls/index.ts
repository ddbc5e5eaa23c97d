/**
 * Threshold BLS: n bots make a key that none of them holds, and any t + 1 sign with it.
 *
 * `math/` is the curve and the sharing, `dealing.ts`, `keygen.ts` and `sign.ts` the pure machines, `ceremonies.ts` what the
 * plugin does with their results, `commands.ts` the command line.
 */
import { definePlugin, type Plugin } from '../../src/index.ts';
import { rounds } from '../../src/rounds/index.ts';
import { acts, entries } from './ceremonies.ts';
import { blsCommands } from './commands.ts';

export default function thresholdBls(): Plugin {
  const ceremonies = rounds(entries());
  return definePlugin({
    name: 'threshold-bls',
    version: '1.0.0',
    ...ceremonies.declares,
    subcommands: blsCommands,
    async setup(host) {
      await ceremonies.attach(host);
      for (const [name, act] of Object.entries(acts(host, ceremonies))) host.act(name, act);
    },
  });
}
