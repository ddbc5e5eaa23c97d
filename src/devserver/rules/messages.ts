/**
 * Sending: PUT /v1/messages/{service id} (protocol brief, sections 5.1, 5.2 and 5.4). The mock decides between 200, 404, 409
 * and 410; everything that it does not look at is checked here.
 */
import { z } from 'zod';
import { isPni, type ServiceId } from '../../address.ts';
import { toBase64 } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import { packType } from '../send-flags.ts';
import { checkAccess, readServiceId } from './access.ts';
import { takeToken } from './limits.ts';
import { readJson, Refusal, type Answer, type Call, type Rule } from './rule.ts';
import { base64, optional } from './shapes.ts';

const TYPES = [0, 1, 3, 6, 8];
const MAX_TIME = 8_640_000_000_000_000;

const BODY = z.object({
  messages: optional(
    z
      .array(
        z.object({
          type: z.int().refine((type) => TYPES.includes(type), 'no such type'),
          destinationDeviceId: z.int().min(-128).max(127),
          destinationRegistrationId: z.int().default(0),
          content: base64.refine((bytes) => bytes.length > 0, 'content is empty'),
        }),
      )
      .refine(
        (all) => new Set(all.map((each) => each.destinationDeviceId)).size === all.length,
        'a device comes twice',
      ),
  ),
  online: z.boolean().default(false),
  urgent: z.boolean().default(true),
  timestamp: z.int().min(0).max(MAX_TIME).default(0),
});

type Message = NonNullable<z.output<typeof BODY>['messages']>[number];

export const MESSAGE_RULES: readonly Rule[] = [
  { verb: 'PUT', path: '/v1/messages/:id', auth: 'any', handle: send },
];

async function send(call: Call): Promise<Answer> {
  const { state, device } = call;
  const target = readServiceId(call.params[0] ?? '');
  const body = readJson(call, BODY);
  if (body.messages === undefined) throw new Refusal(state.dialect.missingObject);
  if (body.messages.length === 0 && state.dialect.emptyList !== undefined)
    throw new Refusal(state.dialect.emptyList);
  const story = call.query.get('story') === 'true';
  if (!story) await checkAccess(call, target);
  if (isPni(target) && device?.pni === (target as string)) throw new Refusal(403);
  limit(call, target);
  if (body.messages.some(({ content }) => content.length > state.dialect.maxContent)) {
    throw new Refusal(413, { code: 413, message: 'HTTP 413 Request Entity Too Large' });
  }
  const timestamp = body.timestamp === 0 ? state.clock.now() : body.timestamp;
  if (device?.aci === (target as string)) await refuseOwnDevice(call, device, body.messages, timestamp);
  const flags = { urgent: body.urgent, online: body.online, story };
  const answer = await call.forward({
    body: {
      messages: body.messages.map((message) => ({
        ...message,
        type: packType(message.type, flags),
        content: toBase64(message.content),
      })),
      timestamp,
    },
  });
  if (answer.status === 200) state.stats.sends += 1;
  return rewrite(call, target, answer, story);
}

/** The Java answers where the mock has its own. */
async function rewrite(call: Call, target: ServiceId, answer: Answer, story: boolean): Promise<Answer> {
  const { device, state } = call;
  if (answer.status === 404 && story) return { status: 200, body: { needsSync: false } };
  if (answer.status !== 200) return answer;
  const others = device === undefined ? [] : await state.mock.devicesOf(device.aci);
  return { status: 200, body: { needsSync: others.length > 1 && device?.aci !== (target as string) } };
}

/** @throws Refusal 429 */
function limit({ state, device }: Call, target: ServiceId): void {
  if (!state.faults.rateLimits || device === undefined || device.aci === (target as string)) return;
  const retryAfter = takeToken(state, 'messages', `${device.aci} ${target}`);
  if (retryAfter !== undefined) throw new Refusal(429, undefined, { 'Retry-After': String(retryAfter) });
}

/**
 * In a send to the own account the sending device is extra; the mock would take it.
 * @throws Refusal 410, 409
 */
async function refuseOwnDevice(
  call: Call,
  device: Device,
  messages: readonly Message[],
  timestamp: number,
): Promise<void> {
  const own = messages.find((message) => message.destinationDeviceId === device.deviceId);
  if (own === undefined) return;
  const { server } = call.state.mock;
  const others = messages
    .filter((message) => message !== own)
    .map((message) => ({ ...message, content: '' })) as unknown as Parameters<
    typeof server.prepareMultiDeviceMessage
  >[2];
  const verdict = await server.prepareMultiDeviceMessage(device, device.aci, others, BigInt(timestamp));
  if (verdict.status === 'stale') throw new Refusal(410, { staleDevices: verdict.staleDevices });
  const { missingDevices, extraDevices } =
    verdict.status === 'incomplete' ? verdict : { missingDevices: [], extraDevices: [] };
  throw new Refusal(409, { missingDevices, extraDevices: [...extraDevices, device.deviceId] });
}
