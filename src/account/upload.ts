/**
 * Upload: a blob to the operator's CDN, by the form that the chat server gave. Spec: protocol brief, section 10.3.
 */
import { request, type Agent } from 'undici';
import { toBase64, fromUtf8, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import type { UploadForm } from '../service/attachments.ts';
import { atCdn } from '../service/origin-agent.ts';
import type { Profile } from '../service/profile.ts';

/**
 * @throws BotError `SERVER_UNREACHABLE`; `REQUEST_REFUSED` any status but success, and a CDN whose way of uploading is not
 *   known; the signal's reason
 */
export async function uploadAttachment(
  profile: Profile,
  form: UploadForm,
  blob: Bytes,
  signal: AbortSignal,
): Promise<void> {
  await atCdn(profile, signal, async (agent) => {
    if (form.cdn === 3) await uploadTus(agent, form, blob, signal);
    else if (form.cdn === 2) await uploadResumable(agent, form, blob, signal);
    else throw new BotError('REQUEST_REFUSED', `uploads to CDN ${String(form.cdn)} are not known`);
  });
}

/** Creation with upload: one request. */
async function uploadTus(agent: Agent, form: UploadForm, blob: Bytes, signal: AbortSignal): Promise<void> {
  const response = await request(form.location, {
    dispatcher: agent,
    signal,
    method: 'POST',
    headers: {
      ...withoutHost(form.headers),
      'tus-resumable': '1.0.0',
      'upload-length': String(blob.length),
      'upload-metadata': `filename ${toBase64(fromUtf8(form.key))}`,
      'content-type': 'application/offset+octet-stream',
    },
    body: blob,
  });
  await response.body.dump();
  if (response.statusCode !== 201) throw refused(response.statusCode);
}

async function uploadResumable(
  agent: Agent,
  form: UploadForm,
  blob: Bytes,
  signal: AbortSignal,
): Promise<void> {
  const begun = await request(form.location, {
    dispatcher: agent,
    signal,
    method: 'POST',
    headers: { ...withoutHost(form.headers), 'content-length': '0' },
  });
  await begun.body.dump();
  const { location } = begun.headers;
  if (begun.statusCode !== 201 && begun.statusCode !== 200) throw refused(begun.statusCode);
  if (typeof location !== 'string')
    throw new BotError('REQUEST_REFUSED', 'the CDN did not say where to upload to');
  const response = await request(new URL(location, form.location), {
    dispatcher: agent,
    signal,
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: blob,
  });
  await response.body.dump();
  if (response.statusCode !== 200 && response.statusCode !== 201) throw refused(response.statusCode);
}

/** The client's own, which names where it really connects. */
function withoutHost(headers: UploadForm['headers']): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'host'));
}

function refused(status: number): BotError {
  return new BotError('REQUEST_REFUSED', `the CDN answered an upload with ${String(status)}`);
}
