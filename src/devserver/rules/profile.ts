/**
 * The own profile (protocol brief, section 7), and the form for uploads (10.3), which the mock gives over gRPC only.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { readJson, Refusal, requireDevice, type Answer, type Call, type Rule } from './rule.ts';
import { base64, optional } from './shapes.ts';

const NAME_SIZES = [81, 285];
const ABOUT_SIZES = [0, 156, 282, 540];
const EMOJI_SIZES = [0, 60];
const SHARING_SIZES = [0, 29];
const MAX_UPLOAD = 100 * 1024 * 1024;
const COMMITMENT_LENGTH = 97;

function sized(sizes: readonly number[]): z.ZodType<Uint8Array | undefined> {
  return optional(
    base64.refine((bytes) => sizes.includes(bytes.length), 'has a size that is not one of the fixed ones'),
  );
}

const PROFILE = z.object({
  version: z.string().regex(/^[0-9a-f]{64}$/),
  commitment: base64.refine((bytes) => bytes.length === COMMITMENT_LENGTH),
  name: sized(NAME_SIZES),
  about: sized(ABOUT_SIZES),
  aboutEmoji: sized(EMOJI_SIZES),
  phoneNumberSharing: sized(SHARING_SIZES),
  avatar: z.boolean().default(false),
  sameAvatar: z.boolean().default(false),
});

export const PROFILE_RULES: readonly Rule[] = [
  { verb: 'PUT', path: '/v1/profile', auth: 'device', handle: putProfile },
  { verb: 'GET', path: '/v4/attachments/form/upload', auth: 'device', handle: uploadForm },
];

async function putProfile(call: Call): Promise<Answer> {
  const { state } = call;
  const device = requireDevice(call);
  const profile = readJson(call, PROFILE);
  const devices = await state.mock.devicesOf(device.aci);
  const allHaveV2 = devices.every((each) => state.factsOf(each).capabilities.includes('profiles_v2'));
  if (state.dialect.name === 'aug26' && allHaveV2) throw new Refusal(412);
  const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('base64');
  const answer = await call.forward({
    body: {
      commitment: text(profile.commitment),
      version: profile.version,
      name: text(profile.name),
      avatar: false,
      sameAvatar: false,
    },
  });
  if (answer.status !== 200) return answer;
  const [primary] = devices;
  if (primary !== undefined) state.factsOf(primary).profileVersion = profile.version;
  return { status: 200 };
}

async function uploadForm(call: Call): Promise<Answer> {
  const text = call.query.get('uploadLength');
  if (text !== null && call.state.dialect.name === 'aug26') {
    const length = Number(text);
    if (!Number.isInteger(length) || length <= 0) throw new Refusal(400);
    if (length > MAX_UPLOAD) throw new Refusal(413);
  }
  return {
    status: 200,
    body: await call.state.mock.server.getAttachmentUploadForm('attachments', randomUUID()),
  };
}
