/** Makes stores of format 1, as the first version wrote them: values not bound to their keys, no id among the rows. */
import { createCipheriv, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Level } from 'level';
import { fromUtf8 } from '../../src/bytes.ts';
import { systemPlatform } from '../../src/platform.ts';
import { formatHeader } from '../../src/store/header.ts';
import { newDataKey, protect, type Secret } from '../../src/store/secret.ts';
import { CHEAP_SCRYPT } from './store-folder.ts';

export async function makeFormat1(
  folder: string,
  secret: Secret,
  rows: Readonly<Record<string, string>>,
): Promise<void> {
  const { random } = systemPlatform();
  const id = randomBytes(16).toString('hex');
  const dataKey = newDataKey(secret, random);
  const protection = await protect(dataKey, secret, id, { random, scrypt: CHEAP_SCRYPT });
  await mkdir(folder, { recursive: true });
  const db = new Level<string, Uint8Array>(join(folder, 'db'), { valueEncoding: 'view' });
  await db.open();
  for (const [key, text] of Object.entries(rows)) await db.put(key, sealOld(dataKey, fromUtf8(text)));
  await db.close();
  await writeFile(join(folder, 'countersign.json'), formatHeader({ format: 1, id, db: 'db', protection }));
}

function sealOld(dataKey: Uint8Array | undefined, value: Uint8Array): Uint8Array {
  if (dataKey === undefined) return Buffer.concat([Buffer.from([0]), value]);
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', dataKey, nonce);
  const ciphertext = Buffer.concat([cipher.update(value), cipher.final()]);
  return Buffer.concat([Buffer.from([1]), nonce, ciphertext, cipher.getAuthTag()]);
}
