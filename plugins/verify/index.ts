/**
 * Verify: contacts whose identity key two people have confirmed with a spoken code.
 *
 * `signal/` is the plugin between linked bots (mode 1), `bare/` the same over any connection (mode 2), `machine/` the
 * pure steps of both, `introductions/` what verified contacts say about others.
 */
import { z } from 'zod';
import { definePlugin, isAci, type Aci, type Plugin } from '../../src/index.ts';
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
  /** Who may vouch for more than 50 contacts: a key directory, here and at those who believe it. */
  directories: z.array(z.string().toLowerCase().refine(isAci, 'an ACI')).max(100).default([]),
  /** Who is in which group, for introductions to groups: ACIs by the group's id (32 bytes, base64). */
  groups: z
    .record(z.string().regex(/^[A-Za-z0-9+/]{43}=$/), z.array(z.string().refine(isAci, 'an ACI')).max(1_000))
    .default({}),
});

/** As the configuration says; a program that knows better brings its own. */
function memberOf(
  groups: Readonly<Record<string, readonly Aci[]>>,
): NonNullable<IntroductionOptions['isMember']> {
  return (group, aci) => {
    const id = Buffer.from(group).toString('base64');
    return Object.hasOwn(groups, id) && groups[id]?.includes(aci) === true;
  };
}

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
      const { introducers, groups, directories } = host.config;
      setUpIntroductions(host, { isMember: memberOf(groups), ...options, introducers, directories });
    },
  });
}
