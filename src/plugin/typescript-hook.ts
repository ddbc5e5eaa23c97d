/**
 * A module hook, run by Node in a thread of its own: a plugin's .ts file is an ES module wherever it stands. Without a
 * package.json beside it it would count as CommonJS, and get a second copy of Countersign and no top-level await.
 */
import type { ResolveHook } from 'node:module';

export const resolve: ResolveHook = async (specifier, context, next) => {
  const found = await next(specifier, context);
  return found.format === 'commonjs' && /\.tsx?($|\?)/.test(found.url)
    ? { ...found, format: 'module' }
    : found;
};
