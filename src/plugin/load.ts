/**
 * Loading: a plugin by the name of a built-in one, by path, or by package name; JavaScript or TypeScript.
 */
import { existsSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { BotError, describe } from '../errors.ts';
import { systemPlatform, type Clock } from '../platform.ts';
import { checkPlugin } from './check-plugin.ts';
import type { Plugin } from './contract.ts';
import { inTime } from './in-time.ts';

const TYPESCRIPT = /\.[mc]?tsx?$/;
/** Whether this very file runs as TypeScript: what loads it can load a plugin as well. */
const RUNS_TYPESCRIPT = TYPESCRIPT.test(import.meta.url);

/**
 * @param nameOrPath a bare word for a built-in plugin (`echo`), else a package name; a path begins with `.` or `/`, or is a
 *   `file:` URL. The module's default export, or its export `plugin`, is a plugin or a function that makes one.
 * @param baseDir what paths and packages are found from
 * @param options.signal ends the wait for one that does not load
 * @throws BotError `PLUGIN_INVALID` with what was tried, and where it was not ready in 30 s; the signal's reason
 */
export async function loadPlugin(
  nameOrPath: string,
  baseDir: string,
  { signal, clock = systemPlatform().clock }: { signal?: AbortSignal; clock?: Clock } = {},
): Promise<Plugin> {
  return inTime(make(nameOrPath, baseDir), `the plugin ${nameOrPath}`, clock, signal);
}

async function make(nameOrPath: string, baseDir: string): Promise<Plugin> {
  const module = await load(nameOrPath, locate(nameOrPath, baseDir));
  const exported = module['default'] ?? module['plugin'];
  try {
    return checkPlugin(typeof exported === 'function' ? await (exported as () => unknown)() : exported);
  } catch (cause) {
    throw new BotError('PLUGIN_INVALID', `${nameOrPath} is no plugin: ${describe(cause)}`, { cause });
  }
}

/** @returns a `file:` URL */
function locate(nameOrPath: string, baseDir: string): string {
  if (nameOrPath.startsWith('file:')) return nameOrPath;
  if (nameOrPath.startsWith('.') || isAbsolute(nameOrPath)) {
    const file = resolve(baseDir, nameOrPath);
    if (existsSync(file)) return pathToFileURL(file).href;
    throw new BotError('PLUGIN_INVALID', `there is no plugin at ${file}`);
  }
  const builtIn = new URL(
    `../../plugins/${nameOrPath}/index.${RUNS_TYPESCRIPT ? 'ts' : 'js'}`,
    import.meta.url,
  );
  if (/^[a-z0-9-]+$/.test(nameOrPath) && existsSync(fileURLToPath(builtIn))) return builtIn.href;
  try {
    return pathToFileURL(createRequire(resolve(baseDir, 'plugin.js')).resolve(nameOrPath)).href;
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND' ? 'was not found' : describe(cause);
    throw new BotError(
      'PLUGIN_INVALID',
      `${nameOrPath} is no built-in plugin, and as a package from ${baseDir} it ${reason}; a path begins with ./ or /`,
      { cause },
    );
  }
}

async function load(name: string, url: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    if (TYPESCRIPT.test(url) && !RUNS_TYPESCRIPT) await (learned ??= learnTypeScript());
    if (!hooked) hookModules();
    return (await import(url)) as Record<string, unknown>;
  } catch (cause) {
    const message = `the plugin ${name} could not be loaded: ${describe(cause)}`;
    throw new BotError('PLUGIN_INVALID', message, requiresUs(cause) ? { cause, next: IMPORT_US } : { cause });
  }
}

/** What a CommonJS file can do: the hooks below are not asked by `require`. */
const IMPORT_US =
  "In a CommonJS plugin export a function that gets it: module.exports = async () => { const { definePlugin } = await import('countersign'); ... }";

function requiresUs(cause: unknown): boolean {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code === 'MODULE_NOT_FOUND' && /^Cannot find module 'countersign['/]/.test(message);
}

let hooked = false;

/**
 * Module hooks, run by Node in a thread of their own. Where a plugin's folder has no package `countersign`, it gets this
 * one, and where it has no `zod`, ours; and its .ts files are ES modules wherever they stand (without a package.json
 * beside them they would count as CommonJS, and get no top-level await). As text: the same for the sources and for the
 * build.
 */
const HOOKS = `
let parentURL;
export function initialize(ours) { parentURL = ours; }
export async function resolve(specifier, context, next) {
  const found = await find(specifier, context, next);
  // What tsx would look through as CommonJS it marks behind the name.
  const url = found.url.replace(/(%3F|\\?)tsx-commonjs.*$/, '');
  const isScript = found.format === 'commonjs' && /\\.tsx?($|\\?)/.test(url);
  return isScript ? { ...found, url, format: 'module' } : found;
}
async function find(specifier, context, next) {
  if (!/^(countersign|zod)($|\\/)/.test(specifier)) return next(specifier, context);
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return next(specifier, { ...context, parentURL });
  }
}`;

function hookModules(): void {
  hooked = true;
  register(`data:text/javascript,${encodeURIComponent(HOOKS)}`, { data: import.meta.url });
}

let learned: Promise<void> | undefined;

/** From here on this process can import TypeScript. The plugin shares this very package with us, its errors among others. */
async function learnTypeScript(): Promise<void> {
  const { register: registerTsx } = await import('tsx/esm/api');
  registerTsx({ tsconfig: false });
  hookModules(); // once more, where a plugin was loaded before: the last one registered is asked first
}
