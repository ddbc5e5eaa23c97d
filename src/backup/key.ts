/**
 * Key: from the passphrase of a backup and its salt to the key of its chunks.
 */
import { equal, fromBase64, toBase64 } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { Random } from '../platform.ts';
import type { ScryptParameters } from '../store/header.ts';
import { passphraseKey } from '../store/secret.ts';
import { proofOf } from './chunks.ts';
import { SALT_BYTES, type BackupHeader } from './header.ts';

/** The key of a new file, and what its header says of it. @throws BotError `PASSPHRASE_NEEDED` the passphrase is empty */
export async function newKey(
  passphrase: string,
  scrypt: ScryptParameters,
  random: Random,
): Promise<{ key: Uint8Array } & Pick<BackupHeader, 'scrypt' | 'salt' | 'proof'>> {
  const salt = random.bytes(SALT_BYTES);
  const key = await passphraseKey(passphrase, salt, scrypt);
  return { key, scrypt, salt: toBase64(salt), proof: toBase64(proofOf(key)) };
}

/** @throws BotError `PASSPHRASE_NEEDED` it is empty; `PASSPHRASE_WRONG` */
export async function keyOf(header: BackupHeader, passphrase: string): Promise<Uint8Array> {
  const key = await passphraseKey(passphrase, fromBase64(header.salt), header.scrypt);
  if (equal(proofOf(key), fromBase64(header.proof))) return key;
  throw new BotError('PASSPHRASE_WRONG', 'the passphrase does not open this backup', {
    next: 'Try again with the passphrase that this backup was made with.',
  });
}
