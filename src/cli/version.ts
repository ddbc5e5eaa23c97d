/**
 * The version of this package, read from its package.json, which is two folders up in the source and three in the build.
 */
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';

const places = ['../../package.json', '../../../package.json'].map((path) => new URL(path, import.meta.url));
const place = places.find((url) => existsSync(url));

export const VERSION: string =
  place === undefined
    ? 'unknown'
    : z.object({ version: z.string() }).parse(JSON.parse(readFileSync(place, 'utf8'))).version;
