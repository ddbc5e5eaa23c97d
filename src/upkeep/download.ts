/**
 * Download: an attachment from the operator's CDN. Spec: protocol brief, sections 1.1 and 10.3.
 */
import { request } from 'undici';
import { concat, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { atCdn } from '../service/origin-agent.ts';
import type { Profile } from '../service/profile.ts';

export interface AttachmentPlace {
  readonly cdnNumber: number;
  /** Key, or decimal id, of the object. */
  readonly name: string;
}

/**
 * @param maxBytes more than this is not read
 * @returns the blob, or `not-offered` when the profile names no such CDN
 * @throws BotError `SERVER_UNREACHABLE`, `REQUEST_REFUSED` (any status but 200), `CONTENT_INVALID` too large; the
 *   signal's reason
 */
export async function downloadAttachment(
  profile: Profile,
  place: AttachmentPlace,
  maxBytes: number,
  signal: AbortSignal,
): Promise<Bytes | 'not-offered'> {
  const base = (profile.cdn as Readonly<Record<string, string | undefined>>)[String(place.cdnNumber)];
  if (base === undefined) return 'not-offered';
  const url = `${base.replace(/\/+$/, '')}/attachments/${encodeURIComponent(place.name)}`;
  return atCdn(profile, signal, async (agent) => {
    const response = await request(url, { dispatcher: agent, signal });
    if (response.statusCode !== 200) {
      throw new BotError('REQUEST_REFUSED', `the CDN answered ${String(response.statusCode)}`);
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > maxBytes)
        throw new BotError('CONTENT_INVALID', `the attachment has more than ${String(maxBytes)} bytes`);
      chunks.push(chunk);
    }
    return concat(...chunks);
  });
}
