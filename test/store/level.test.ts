import { openOrMake, PASSPHRASE, PLAIN, tempFolder } from '../support/store-folder.ts';
import { storeConformance } from './conformance.ts';

for (const [name, secret, cacheBytes] of [
  ['a plain store on LevelDB', PLAIN, 512 * 1024],
  ['an encrypted store on LevelDB', PASSPHRASE, 512 * 1024],
  ['an encrypted store that caches nothing', PASSPHRASE, 0],
] as const) {
  storeConformance(name, async () => {
    const folder = await tempFolder();
    return { open: () => openOrMake(folder.data, secret, { cacheBytes }), remove: folder.remove };
  });
}
