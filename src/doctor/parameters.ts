/**
 * Parameters: the keys that the profile holds, looked at without the server (protocol brief, 5.6 and 8.5).
 */
import { PublicKey } from '@signalapp/libsignal-client';
import { ServerPublicParams } from '@signalapp/libsignal-client/dist/zkgroup/index.js';
import { describe } from '../errors.ts';
import type { Profile } from '../service/profile.ts';
import { fail, ok, skip, type Finding } from './check.ts';

export function checkTrustRoots({ sealedSender }: Profile): Finding {
  if (sealedSender.mode === 'off') {
    return skip(
      'the profile turns sealed sender off, or names no trust roots: sealed messages cannot be read',
    );
  }
  for (const [index, root] of sealedSender.trustRoots.entries()) {
    try {
      PublicKey.deserialize(root);
    } catch (error) {
      return fail(
        `number ${String(index + 1)} is no public key (${describe(error)})`,
        'Copy the public key of the sealed-sender root anew into "sealedSender" "trustRoots".',
      );
    }
  }
  const count = sealedSender.trustRoots.length;
  return ok(count === 1 ? 'one public key' : `${String(count)} public keys`);
}

export function checkPublicParams({ serverPublicParams }: Profile): Finding {
  if (serverPublicParams === undefined) return skip('the profile names none: no groups');
  try {
    new ServerPublicParams(serverPublicParams);
  } catch (error) {
    return fail(
      `${String(serverPublicParams.length)} bytes that are no server public params (${describe(error)})`,
      "Copy the public half of the server's zk parameters anew, in base64, or leave the line out.",
    );
  }
  return ok('well-formed');
}
