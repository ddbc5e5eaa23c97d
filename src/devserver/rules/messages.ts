/**
 * Sending: PUT /v1/messages/{service id} (protocol brief, sections 5.1, 5.2 and 5.4), checked in the order of the Java
 * servers: the body, who asks, sizes, access, limits, devices. What passes is for the mock to hand out.
 */
import { z } from 'zod';
import { isPni, type ServiceId } from '../../address.ts';
import { toBase64 } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import { packType } from '../send-flags.ts';
import { checkAccess, interceptorOf, readServiceId } from './access.ts';
import { compareDevices } from './device-lists.ts';
import { limitRate } from './limits.ts';
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
          // A byte: up to 255 it wraps, and is no device of anybody.
          destinationDeviceId: z
            .int()
            .min(-128)
            .max(255)
            .transform((id) => (id << 24) >> 24),
          destinationRegistrationId: z
            .int()
            .nullish()
            .transform((id) => id ?? 0),
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
  { verb: 'POST', path: '/v1/messages/report/:source/:guid', auth: 'device', handle: report },
];

async function send(call: Call): Promise<Answer> {
  const { state, device } = call;
  const target = readServiceId(call.params[0] ?? '');
  const body = readJson(call, BODY);
  if (body.messages === undefined) throw new Refusal(state.dialect.missingObject);
  if (body.messages.length === 0 && state.dialect.emptyList !== undefined)
    throw new Refusal(state.dialect.emptyList);
  const story = call.query.get('story') === 'true';
  if (story && call.headers['group-send-token'] !== undefined) throw new Refusal(400);
  if (isPni(target) && device?.pni === (target as string)) throw new Refusal(403);
  if (body.messages.some(({ content }) => content.length > state.dialect.maxContent)) {
    throw new Refusal(413, { code: 413, message: 'HTTP 413 Request Entity Too Large' });
  }
  const bytes = body.messages.reduce((sum, { content }) => sum + content.length, 0);
  limitRate(call, 'inboundBytes', target, bytes);
  if (!story) await checkAccess(call, target);
  const liar = interceptorOf(call, target);
  if (liar !== undefined && device === undefined) throw new Refusal(401);
  const timestamp = body.timestamp === 0 ? state.clock.now() : body.timestamp;
  const devices = await state.mock.devicesOf(target);
  if (devices.length > 0 && !state.mock.server.isUnregistered(target as string as Device['aci'])) {
    const isSync = device?.aci === (target as string);
    if (device !== undefined && !isSync) limitRate(call, 'messages', `${device.aci} ${target}`);
    if (story) limitRate(call, 'stories', target);
    checkDevices(call, target, devices, body.messages);
  }
  const flags = { urgent: body.urgent, online: body.online, story };
  const messages =
    liar === undefined || device === undefined
      ? body.messages
      : await liar.relay(device, target, body.messages);
  const answer = await call.forward({
    body: {
      messages: messages.map((message) => ({
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

/**
 * Every device of the account must be there, but not the own one; registration ids come first.
 * @throws Refusal 410, 409
 */
function checkDevices(
  { device, state }: Call,
  target: ServiceId,
  devices: readonly Device[],
  messages: readonly Message[],
): void {
  const listed = messages.map(({ destinationDeviceId, destinationRegistrationId }) => {
    return { deviceId: destinationDeviceId, registrationId: destinationRegistrationId };
  });
  const own = device?.aci === (target as string) ? device.deviceId : undefined;
  const compared = compareDevices(state, target, devices, listed, own);
  const { staleDevices, missingDevices, extraDevices } = compared;
  if (staleDevices.length > 0) throw new Refusal(410, { staleDevices });
  if (missingDevices.length + extraDevices.length > 0)
    throw new Refusal(409, { missingDevices, extraDevices });
}

/** Spam is taken note of by nobody here (6.2). */
function report(call: Call): Answer {
  readServiceId(call.params[0] ?? '');
  return { status: 202 };
}
