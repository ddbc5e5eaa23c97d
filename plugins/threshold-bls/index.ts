/**
 * Threshold BLS: n bots make a key that none of them holds, and any t + 1 sign with it.
 *
 * `math/` is the curve and the sharing, `dealing.ts`, `keygen.ts` and `sign.ts` the pure machines, `ceremonies.ts` what the
 * plugin does with their results, `commands.ts` the command line, `policy.ts` what is signed without an operator.
 */
import { definePlugin, type Plugin } from '../../src/index.ts';
import { rounds } from '../../src/rounds/index.ts';
import { acts, entriesUnder } from './ceremonies.ts';
import { blsCommands } from './commands.ts';
import { config, signingPolicy, type Config, type Invited } from './policy.ts';

export default function thresholdBls(): Plugin<Config> {
  let policy: Invited | undefined;
  const ceremonies = rounds(entriesUnder((...proposed) => policy?.(...proposed)));
  return definePlugin<Config>({
    name: 'threshold-bls',
    version: '1.0.0',
    ...ceremonies.declares,
    config,
    subcommands: blsCommands,
    async setup(host) {
      policy = signingPolicy(host.config.sign, host);
      await ceremonies.attach(host);
      for (const [name, act] of Object.entries(acts(host, ceremonies))) host.act(name, act);
    },
  });
}
