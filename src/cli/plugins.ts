/**
 * Plugins named on the command line: one that comes with Countersign, a file, or an installed package.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { register } from 'tsx/esm/api';
import { z } from 'zod';
import { BotError, describe, isBotError } from '../errors.ts';
import { isPlugin, type AnyPlugin } from '../plugin.ts';

const BUILT_IN: Readonly<Record<string, () => Promise<object>>> = {
  echo: () => import('../../plugins/echo/index.ts'),
};

const configSchema = z.strictObject({ plugins: z.record(z.string(), z.unknown()).default({}) });

/** The `plugins` of the configuration file. @throws BotError `PLUGIN_INVALID` */
export async function readPluginConfig(file: string): Promise<Readonly<Record<string, unknown>>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new BotError('PLUGIN_INVALID', `the configuration ${file} cannot be read: ${describe(cause)}`, {
      cause,
    });
  }
  const result = configSchema.safeParse(parsed);
  if (result.success) return result.data.plugins;
  throw new BotError(
    'PLUGIN_INVALID',
    `the configuration ${file} is wrong: ${z.prettifyError(result.error)}`,
    {
      next: 'It is {"plugins": {NAME: {...}}}.',
    },
  );
}

/**
 * @param wanted the name of a plugin that comes along, a path (TypeScript or JavaScript), or a package name
 * @param cwd where paths and packages are looked for
 * @throws BotError `PLUGIN_INVALID`
 */
export async function loadPlugin(wanted: string, cwd: string): Promise<AnyPlugin> {
  try {
    const module = await load(wanted, cwd);
    const plugin = pluginOf(module);
    if (plugin !== undefined) return plugin;
  } catch (cause) {
    if (isBotError(cause)) throw cause;
    throw new BotError('PLUGIN_INVALID', `the plugin ${wanted} cannot be loaded: ${describe(cause)}`, {
      cause,
    });
  }
  throw new BotError('PLUGIN_INVALID', `${wanted} has no plugin as its default export`);
}

async function load(wanted: string, cwd: string): Promise<object> {
  const builtIn = Object.hasOwn(BUILT_IN, wanted) ? BUILT_IN[wanted] : undefined;
  if (builtIn !== undefined) return builtIn();
  const file = pathOf(wanted, cwd) ?? createRequire(join(cwd, 'plugins.js')).resolve(wanted);
  if (!/\.[cm]?ts$/.test(file)) return importFile(file);
  const unregister = register();
  try {
    return await importFile(file);
  } finally {
    await unregister();
  }
}

async function importFile(file: string): Promise<object> {
  return (await import(pathToFileURL(file).href)) as object;
}

/** Undefined when it is a package name. */
function pathOf(wanted: string, cwd: string): string | undefined {
  if (!/^\.{0,2}\//.test(wanted) && !isAbsolute(wanted) && !/\.[cm]?[jt]s$/.test(wanted)) return undefined;
  const file = resolve(cwd, wanted);
  if (existsSync(file)) return file;
  throw new BotError('PLUGIN_INVALID', `there is no plugin file ${file}`);
}
