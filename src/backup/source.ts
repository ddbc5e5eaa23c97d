/**
 * Source: a backup file that is read from any place.
 */
import { open } from 'node:fs/promises';
import type { Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Source } from './chunks.ts';
import { damaged } from './header.ts';

/**
 * @param use done with the file when it settles
 * @throws BotError `USAGE` the file cannot be read; what `use` throws
 */
export async function withSource<T>(file: string, use: (source: Source) => Promise<T>): Promise<T> {
  const handle = await open(file, 'r').catch((cause: unknown) => {
    throw new BotError('USAGE', `the backup ${file} cannot be read`, { cause, next: 'Is this its name?' });
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new BotError('USAGE', `${file} is not a file`, { next: 'Is this its name?' });
    return await use({
      size: stat.size,
      read: async (position, length) => {
        const bytes: Bytes = new Uint8Array(length);
        for (let filled = 0; filled < length;) {
          const { bytesRead } = await handle.read(bytes, filled, length - filled, position + filled);
          if (bytesRead === 0) throw damaged('the backup became shorter while it was read');
          filled += bytesRead;
        }
        return bytes;
      },
    });
  } finally {
    await handle.close();
  }
}
