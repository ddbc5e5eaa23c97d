/**
 * Profile text: a profile written out again, with its CA in it, for the process that runs the bot.
 */
import { toBase64 } from '../bytes.ts';
import type { Profile } from '../service/profile.ts';

/** JSON that `parseProfile` reads back as the same profile, wherever it is read. */
export function writeProfile(profile: Profile): string {
  const { serverPublicParams, sealedSender, ...plain } = profile;
  return JSON.stringify({
    ...plain,
    ...(serverPublicParams !== undefined && { serverPublicParams: toBase64(serverPublicParams) }),
    sealedSender: { ...sealedSender, trustRoots: sealedSender.trustRoots.map(toBase64) },
  });
}
