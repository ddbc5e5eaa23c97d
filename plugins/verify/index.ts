/**
 * Verify: contacts whose identity key two people have confirmed with a spoken code.
 *
 * `signal/` is the plugin between linked bots (mode 1), `bare/` the same over any connection (mode 2), `machine/` the
 * pure steps of both, `introductions/` what verified contacts say about others.
 */
import { z } from 'zod';
import { definePlugin, type Plugin } from '../../src/index.ts';
import { bare } from './bare/command.ts';
import { introduceCommands } from './introductions/commands.ts';
import { setUpIntroductions, type IntroductionOptions } from './introductions/plugin.ts';
import { INTRODUCTION } from './introductions/tag.ts';
import { signalCommands } from './signal/commands.ts';
import { setUpSignal, type VerifyOptions } from './signal/plugin.ts';
import { FRAME, TYPED } from './signal/tags.ts';

const config = z.strictObject({
  /** Whether contacts who have verified this account may vouch for it towards others. */
  mayBeIntroduced: z.boolean().default(false),
  /** How many verified contacts have to vouch for the same key before somebody counts as introduced. */
  introducers: z.int().min(1).max(10).default(1),
});

export default function verify(
  options: Omit<VerifyOptions, 'mayBeIntroduced'> & Pick<IntroductionOptions, 'isMember'> = {},
): Plugin<z.infer<typeof config>> {
  return definePlugin({
    name: 'verify',
    version: '1.0.0',
    tags: [FRAME, TYPED, INTRODUCTION],
    volatile: [FRAME, TYPED],
    permissions: ['send', 'sync', 'identities'],
    config,
    subcommands: [bare, ...signalCommands, ...introduceCommands],
    setup(host) {
      setUpSignal(host, { ...options, mayBeIntroduced: host.config.mayBeIntroduced });
      setUpIntroductions(host, { ...options, introducers: host.config.introducers });
    },
  });
}
