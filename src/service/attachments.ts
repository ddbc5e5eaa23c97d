/**
 * Attachments: the form that says where a blob may be put (protocol brief, 10.3).
 */
import { z } from 'zod';
import type { Requester, RequestOptions } from '../transport/request.ts';
import { failure, isSuccess, readJson } from './answer.ts';

export interface UploadForm {
  /** 2: resumable upload; 3: TUS. */
  readonly cdn: number;
  /** What the blob will be fetched by. */
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly location: string;
}

const formSchema = z.object({
  cdn: z.number().int().min(0),
  key: z.string().min(1).max(1024),
  headers: z.record(z.string(), z.string()),
  signedUploadLocation: z.url().max(8192),
});

/**
 * @param length of the blob, bytes
 * @returns `too-large` for this server; `not-offered` where it stores no attachments
 * @throws BotError `ANSWER_INVALID`, `DEVICE_UNLINKED`, `RATE_LIMITED`, `SERVER_UNREACHABLE`, `REQUEST_REFUSED`
 */
export async function fetchUploadForm(
  requester: Requester,
  length: number,
  options: RequestOptions = {},
): Promise<UploadForm | 'too-large' | 'not-offered'> {
  const path = `/v4/attachments/form/upload?uploadLength=${String(length)}`;
  const response = await requester.request({ verb: 'GET', path }, options);
  if (response.status === 404) return 'not-offered';
  if (response.status === 413) return 'too-large';
  if (!isSuccess(response)) throw failure(response, 'an upload form');
  const { cdn, key, headers, signedUploadLocation } = readJson(formSchema, response, 'an upload form');
  return { cdn, key, headers, location: signedUploadLocation };
}
