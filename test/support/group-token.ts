/** Group send tokens of the development server, as a member of a group gets them. */
import { readFile } from 'node:fs/promises';
import { Aci } from '@signalapp/libsignal-client';
import {
  ClientZkGroupCipher, GroupMasterKey, GroupSecretParams, GroupSendDerivedKeyPair, GroupSendEndorsement,
  GroupSendEndorsementsResponse, ServerPublicParams, ServerSecretParams,
} from '@signalapp/libsignal-client/dist/zkgroup/index.js'; // prettier-ignore
import { fromBase64, toBase64 } from '../../src/bytes.ts';
import type { DevServer } from '../../src/devserver/devserver.ts';

/** The mock's own, as it publishes them. */
const SECRETS = new URL('../../node_modules/@signalapp/mock-server/certs/zk-params.json', import.meta.url);
const DAY_MS = 86_400_000;

/** A token of the member `from` for all of `to`, base64. */
export async function groupToken(server: DevServer, from: string, to: readonly string[]): Promise<string> {
  const secrets = JSON.parse(await readFile(SECRETS, 'utf8')) as { secretParams: string };
  const params = GroupSecretParams.deriveFromMasterKey(new GroupMasterKey(new Uint8Array(32).fill(7)));
  const cipher = new ClientZkGroupCipher(params);
  const local = Aci.parseFromServiceIdString(from);
  const members = [...to.map((each) => Aci.parseFromServiceIdString(each)), local];
  const expiration = new Date(Math.floor(server.clock.now() / DAY_MS + 2) * DAY_MS);
  const response = GroupSendEndorsementsResponse.issue(
    members.map((member) => cipher.encryptServiceId(member)),
    GroupSendDerivedKeyPair.forExpiration(
      expiration,
      new ServerSecretParams(fromBase64(secrets.secretParams)),
    ),
  );
  const known = new ServerPublicParams(fromBase64(server.profile.serverPublicParams));
  const { endorsements } = response.receiveWithServiceIds(members, local, params, known);
  const endorsement = GroupSendEndorsement.combine(endorsements.slice(0, to.length));
  return toBase64(endorsement.toFullToken(params, expiration).serialize());
}
