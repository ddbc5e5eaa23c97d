/**
 * Check: whether what a module has exported is a plugin, its configuration fits it, and it does what it declares.
 */
import type { Permission } from '../context.ts';
import { BotError } from '../errors.ts';
import { checkDefinition } from './check-options.ts';
import type { Plugin } from './contract.ts';

const NAME = /^[a-z0-9][a-z0-9-]*$/;
export const PERMISSIONS: readonly Permission[] = ['send', 'sync', 'identities'];

/**
 * Whatever a module has exported, as a plugin.
 * @throws BotError `PLUGIN_INVALID`
 */
export function checkPlugin(value: unknown): Plugin {
  const plugin = (typeof value === 'object' ? value : null) as Partial<Plugin> | null;
  const name = plugin?.name;
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw new BotError('PLUGIN_INVALID', 'a plugin needs a name of a-z, 0-9 and -');
  }
  if (typeof plugin?.version !== 'string') throw invalid(name, 'needs a version');
  if (typeof plugin.setup !== 'function') throw invalid(name, 'needs a function setup');
  const unknown = plugin.permissions?.find((permission) => !PERMISSIONS.includes(permission));
  if (unknown !== undefined) throw invalid(name, `asks for an unknown permission: ${unknown}`);
  checkDefinition(name, plugin);
  return plugin as Plugin;
}

/** @throws BotError `PLUGIN_INVALID` */
export function readConfig(plugin: Plugin, config: unknown): unknown {
  const { name, config: schema } = plugin;
  if (schema === undefined) {
    if (config === undefined) return undefined;
    throw invalid(name, 'takes no configuration');
  }
  const result = schema.safeParse(config ?? {});
  if (result.success) return result.data;
  const issues = result.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.') || 'all of it'}: ${message}`,
  );
  throw invalid(name, `has a configuration that does not fit: ${issues.join('; ')}`);
}

/** What is declared and what is registered have to be the same. @throws BotError `PLUGIN_INVALID` */
export function checkDeclared(
  name: string,
  what: string,
  declared: readonly string[] | undefined,
  registered: ReadonlySet<string>,
): void {
  if (declared === undefined) return;
  const undeclared = [...registered].find((item) => !declared.includes(item));
  if (undeclared !== undefined)
    throw invalid(name, `handles a ${what} that it does not declare: ${undeclared}`);
  const unhandled = declared.find((item) => !registered.has(item));
  if (unhandled !== undefined)
    throw invalid(name, `declares a ${what} that it does not handle: ${unhandled}`);
}

export function invalid(name: string, what: string, cause?: unknown): BotError {
  return new BotError('PLUGIN_INVALID', `the plugin ${name} ${what}`, { cause });
}
