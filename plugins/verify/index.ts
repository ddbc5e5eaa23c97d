/**
 * Verify: contacts whose identity key two people have confirmed with a spoken code.
 *
 * `signal/` is the plugin between linked bots (mode 1), `bare/` the same over any connection (mode 2), `machine/` the
 * pure steps of both.
 */
import { z } from 'zod';
import { definePlugin, type Plugin } from '../../src/index.ts';
import { bare } from './bare/command.ts';
import { signalCommands } from './signal/commands.ts';
import { setUpSignal, type VerifyOptions } from './signal/plugin.ts';
import { FRAME, TYPED } from './signal/tags.ts';

const config = z.strictObject({
  /** Whether contacts who have verified this account may vouch for it towards others. */
  mayBeIntroduced: z.boolean().default(false),
});

export default function verify(
  options: Omit<VerifyOptions, 'mayBeIntroduced'> = {},
): Plugin<z.infer<typeof config>> {
  return definePlugin({
    name: 'verify',
    version: '1.0.0',
    tags: [FRAME, TYPED],
    volatile: [FRAME, TYPED],
    permissions: ['send', 'sync', 'identities'],
    config,
    subcommands: [bare, ...signalCommands],
    setup(host) {
      setUpSignal(host, { ...options, mayBeIntroduced: host.config.mayBeIntroduced });
    },
  });
}
