import { describe, expect, it } from 'vitest';
import { checkImports } from './imports.ts';

/** Checks files written as `path: imported paths`. */
function faults(files: Record<string, string>): string[] {
  return checkImports(new Map(Object.entries(files)));
}

describe('import direction', () => {
  it('takes imports that point down, or rightwards along a chain', () => {
    const files = {
      'src/cli/run.ts': "import { Bot } from '../bot.ts'; import { start } from '../devserver/devserver.ts';",
      'src/bot.ts': "import { Router } from './router.ts'; import type { Store } from './store/store.ts';",
      'src/session/open.ts': "import { trust } from '../identities/trust.ts';",
      'src/devserver/front.ts': "import type { Request } from '../transport/request.ts';",
      'src/address.ts': "import { copy } from './bytes.ts';",
      'src/index.ts': "export { Bot } from './bot.ts';",
      'plugins/echo/index.ts': "import { definePlugin } from '../../src/index.ts'; import './machine.ts';",
      'src/store/level.ts': "import { Level } from 'level'; import fs from 'node:fs'; import './tables.ts';",
    };
    expect(faults(files)).toEqual([]);
  });

  it.each([
    ['up', 'src/store/level.ts', "import { Session } from '../session/session.ts';", 'points up'],
    ['up by type', 'src/store/level.ts', "import type { Bot } from '../bot.ts';", 'points up'],
    ['up in a type', 'src/bytes.ts', "export type A = import('./address.ts').Aci;", 'points up|sideways'],
    ['up by a dynamic import', 'src/content/a.ts', "await import('../inbox/receiver.ts');", 'points up'],
    ['from flow to flow', 'src/inbox/a.ts', "import { Sender } from '../outbox/sender.ts';", 'sideways'],
    ['leftwards', 'src/identities/a.ts', "import { open } from '../session/open.ts';", 'sideways'],
    [
      'from plugin to the inside',
      'plugins/echo/index.ts',
      "import '../../src/store/store.ts';",
      'public entries',
    ],
    [
      'from plugin to plugin',
      'plugins/echo/index.ts',
      "import '../verify/index.ts';",
      'do not see each other',
    ],
    ['to a plugin, not dynamic', 'src/cli/run.ts', "import '../../plugins/echo/index.ts';", 'only the cli'],
    [
      'deep into a plugin',
      'src/cli/run.ts',
      "await import('../../plugins/echo/machine.ts');",
      'only the cli',
    ],
    [
      'to a plugin from the program',
      'src/bot.ts',
      "await import('../plugins/echo/index.ts');",
      'only the cli',
    ],
    ['from the far side', 'src/devserver/a.ts', "import '../service/keys.ts';", 'parts and leaves'],
    ['to the far side', 'src/web/a.ts', "import '../devserver/devserver.ts';", 'development server'],
    ['a new barrel', 'src/store/index.ts', "export * from './store.ts';", 'public entries are barrels'],
  ])('refuses an import %s', (_what, file, text, message) => {
    const found = faults({ [file]: text });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(message));
  });

  it('refuses a circle, of types too', () => {
    const found = faults({
      'src/store/a.ts': "import './b.ts';",
      'src/store/b.ts': "import './c.ts';",
      'src/store/c.ts': "import type { A } from './a.ts';",
    });
    expect(found).toEqual(['circle: src/store/a.ts -> src/store/b.ts -> src/store/c.ts -> src/store/a.ts']);
  });

  it('refuses a file that the table has no row for', () => {
    expect(faults({ 'src/utils/a.ts': '' })).toEqual(['src/utils/a.ts: utils has no row in the table']);
  });
});
