/**
 * Verify: contacts whose identity key two people have confirmed with a spoken code.
 */
import { definePlugin, type Plugin } from '../../src/index.ts';
import { bare } from './bare/command.ts';

export default function verify(): Plugin {
  return definePlugin({
    name: 'verify',
    version: '1.0.0',
    subcommands: [bare],
    setup() {
      // Nothing of it reacts to messages yet.
    },
  });
}
