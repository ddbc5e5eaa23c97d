import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeSteps } from '../../src/store/files.ts';
import { tempFolder } from '../support/store-folder.ts';

let folder: Awaited<ReturnType<typeof tempFolder>>;

beforeEach(async () => {
  folder = await tempFolder();
});
afterEach(() => folder.remove());

describe('making a folder', () => {
  it('makes those above it too, and gives the first that was not there', async () => {
    const first = join(folder.path, 'a');
    const last = join(first, 'b', 'c');
    expect(await makeSteps(last)).toBe(first);
    expect(statSync(last).mode & 0o777).toBe(0o700);
    expect(await makeSteps(last)).toBeUndefined();
    expect(await makeSteps(join(last, 'd'))).toBe(join(last, 'd'));
  });

  it('ends well when two make the same', async () => {
    mkdirSync(join(folder.path, 'a'));
    const last = join(folder.path, 'a', 'b', 'c', 'd');
    const first = join(folder.path, 'a', 'b');
    const made = await Promise.all(Array.from({ length: 8 }, () => makeSteps(last)));
    expect(made.filter((each) => each === first)).toHaveLength(1);
    expect(statSync(last).isDirectory()).toBe(true);
  });
});
