/**
 * Own keys: does the server hold the ones that this device has, and enough of them (protocol brief, 3.1 to 3.4)?
 * Asking changes nothing: counts and a digest go over the line, no keys.
 */
import type { IdentityKind } from '../address.ts';
import { fromBase64 } from '../bytes.ts';
import { checkKeys, countKeys, keysDigest } from '../service/keys.ts';
import { publicSignedPrekey } from '../session/prekey-generation.ts';
import type { Store } from '../store/store.ts';
import type { Account, StoredKeyPair } from '../store/rows.ts';
import { prekeys, prekeyStates } from '../store/tables.ts';
import type { Requester } from '../transport/request.ts';
import { fail, ok, skip, warn, type Finding } from './check.ts';

/** A device refills below this. */
const FEW = 10;
const START = 'Start the bot: it uploads fresh ones by itself.';

interface Own {
  readonly kind: IdentityKind;
  readonly pair: StoredKeyPair;
}

function identitiesOf(account: Account): Own[] {
  const pni: Own[] = account.pniIdentity ? [{ kind: 'pni', pair: account.pniIdentity }] : [];
  return [{ kind: 'aci', pair: account.identity }, ...pni];
}

/** Compares the signed prekey and the last-resort key of each identity. */
export async function checkSignedPrekeys(
  requester: Requester,
  store: Store,
  account: Account,
): Promise<Finding> {
  const differing: string[] = [];
  for (const { kind, pair } of identitiesOf(account)) {
    const batch = store.batch();
    const state = await prekeyStates.get(batch, kind);
    const signed = await prekeys.get(batch, kind, 'signed', state?.signedId ?? 0);
    const lastResort = await prekeys.get(batch, kind, 'kyber', state?.lastResortId ?? 0);
    if (!signed || !lastResort) {
      differing.push(`${kind.toUpperCase()}: this device has none`);
      continue;
    }
    const signedKey = publicSignedPrekey('signed', signed.record);
    const lastResortKey = publicSignedPrekey('kyber', lastResort.record);
    const answer = await checkKeys(
      requester,
      kind,
      keysDigest({
        identityKey: fromBase64(pair.publicKey),
        signedId: signedKey.id,
        signedPublic: signedKey.publicKey,
        lastResortId: lastResortKey.id,
        lastResortPublic: lastResortKey.publicKey,
      }),
    );
    if (answer === 'not-offered') return skip('this server does not compare keys');
    if (answer === 'differs') differing.push(`${kind.toUpperCase()}: the server holds others`);
  }
  if (differing.length === 0)
    return ok('the server holds the signed prekeys and last-resort keys of this device');
  return fail(`new sessions with this device fail (${differing.join('; ')})`, START);
}

/** Counts what is left on the server. */
export async function checkPrekeyCounts(requester: Requester, account: Account): Promise<Finding> {
  const texts: string[] = [];
  let isLow = false;
  for (const { kind } of identitiesOf(account)) {
    const { ec, kyber } = await countKeys(requester, kind);
    texts.push(`${kind.toUpperCase()} ${String(ec)} EC, ${String(kyber)} Kyber`);
    isLow ||= ec < FEW || kyber < FEW;
  }
  const text = `left on the server: ${texts.join('; ')}`;
  if (!isLow) return ok(text);
  return warn(
    `${text}; without one-time keys, new sessions use the last-resort key`,
    `${START} If Kyber keys stay at 0, the server's store for them (S3) does not work.`,
  );
}
