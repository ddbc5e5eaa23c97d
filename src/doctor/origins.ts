/**
 * Origins: storage and the CDNs, which are reached by ordinary HTTPS (protocol brief, 1.1, 8.1, 9 and 10.3).
 */
import { request } from 'undici';
import { toHex } from '../bytes.ts';
import type { Platform } from '../platform.ts';
import { originAgent } from '../service/origin-agent.ts';
import type { Profile } from '../service/profile.ts';
import { fail, ok, skip, warn, type Finding } from './check.ts';
import { codeOf } from './network.ts';

/** ms */
const TIMEOUT_MS = 10_000;

/** The status of a GET whose body is not read. @throws what the network throws */
export async function statusOf(
  profile: Profile,
  url: string,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<number> {
  const agent = originAgent(profile, TIMEOUT_MS);
  try {
    const response = await request(url, { dispatcher: agent, signal, headers });
    response.body.on('error', () => undefined); // it is cut off below
    response.body.destroy();
    return response.statusCode;
  } finally {
    await agent.destroy();
  }
}

/** Without credentials the storage service answers 401. */
export async function checkStorage(profile: Profile, signal: AbortSignal): Promise<Finding> {
  const { storage } = profile;
  if (storage === undefined) return skip('the profile names none: no groups, and no contacts from there');
  return await reach(profile, '"storage"', `${storage}/v1/storage/manifest`, signal, (status) => {
    if (status === 401 || status === 403 || status === 400)
      return ok(`${storage} answers as a storage service`);
    return warn(
      `${storage} answers ${String(status)}, where a storage service asks for credentials (401)`,
      'Is "storage" in the profile the base address of the storage service, with its path if it has one?',
    );
  });
}

/** An object that does not exist is 404, or 403 where the store behind does not tell. */
export async function checkCdn(
  profile: Profile,
  number: '0' | '2' | '3',
  { random }: Platform,
  signal: AbortSignal,
): Promise<Finding> {
  const base = profile.cdn[number];
  if (base === undefined) return skip('the profile names none: attachments there cannot be read');
  const url = `${base}/attachments/${toHex(random.bytes(10))}`;
  return await reach(profile, `"cdn" "${number}"`, url, signal, (status) => {
    if (status === 404 || status === 403 || status === 400) return ok(`${base} answers`);
    return warn(
      `${base} answers ${String(status)} for an attachment that does not exist, where 404 is expected`,
      `Is "cdn" "${number}" in the profile the base address below which /attachments/ lies?`,
    );
  });
}

async function reach(
  profile: Profile,
  field: string,
  url: string,
  signal: AbortSignal,
  judge: (status: number) => Finding,
): Promise<Finding> {
  let status: number;
  try {
    status = await statusOf(profile, url, {}, signal);
  } catch (error) {
    signal.throwIfAborted();
    return fail(
      `${new URL(url).origin} cannot be reached (${codeOf(error)})`,
      `Correct ${field} in the profile (its certificate must lead to the same CA), or leave it out.`,
    );
  }
  if (status >= 500) {
    return fail(
      `${new URL(url).origin} answers ${String(status)}`,
      `Look at the log of the service behind ${field}, or leave the line out.`,
    );
  }
  return judge(status);
}
