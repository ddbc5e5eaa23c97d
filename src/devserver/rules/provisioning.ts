/**
 * The primary device's side of linking (protocol brief, section 2.8), with its traps. Scripted phones do not come by here.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Token } from '../state.ts';
import { deviceInfo } from './devices.ts';
import { limitRate } from './limits.ts';
import { MAX_DEVICES } from './link.ts';
import { readJson, Refusal, requireDevice, type Answer, type Call, type Rule } from './rule.ts';
import { base64 } from './shapes.ts';

const MAX_ENVELOPE = 262_144;
const MAX_WAIT_S = 3_600;
const DEFAULT_WAIT_S = 30;

const ENVELOPE = z.object({ body: base64.refine((bytes) => bytes.length > 0, 'the body is empty') });

export const PROVISIONING_RULES: readonly Rule[] = [
  { verb: 'GET', path: '/v1/devices/provisioning/code', auth: 'device', handle: giveToken },
  { verb: 'PUT', path: '/v1/provisioning/:address', auth: 'device', handle: relay },
  { verb: 'GET', path: '/v1/devices/wait_for_linked_device/:token', auth: 'device', handle: awaitDevice },
];

/** The limit comes before the question who asks. @throws Refusal 429, 411, 401 */
async function giveToken(call: Call): Promise<Answer> {
  const { state } = call;
  const device = requireDevice(call);
  limitRate(call, 'allocateDevice', device.aci);
  const { length: current } = await state.mock.devicesOf(device.aci);
  if (current >= MAX_DEVICES) throw new Refusal(411, { current, max: MAX_DEVICES });
  if (device.deviceId !== 1) throw new Refusal(401);
  const code = await state.mock.giveToken(device.aci);
  return { status: 200, body: { verificationCode: code, tokenIdentifier: identifierOf(code) } };
}

function relay(call: Call): Answer {
  const { body } = readJson(call, ENVELOPE);
  if (body.length > MAX_ENVELOPE) throw new Refusal(400);
  const deliver = call.state.provisioning.get(call.params[0] ?? '');
  if (deliver === undefined) throw new Refusal(404);
  deliver(body);
  return { status: 204 };
}

/**
 * Looks once, at the beginning: as where the server's Redis tells nobody of the link, a call that is open meanwhile is not
 * woken. As long as the primary's own queue holds messages the answer is no.
 */
async function awaitDevice(call: Call): Promise<Answer | undefined> {
  const { state } = call;
  const device = requireDevice(call);
  const timeout = call.query.get('timeout') ?? String(DEFAULT_WAIT_S);
  const seconds = Number(timeout);
  if (!/^\d+$/.test(timeout) || seconds < 1 || seconds > MAX_WAIT_S) throw new Refusal(400);
  if (device.deviceId !== 1) throw new Refusal(500);
  limitRate(call, 'waitForDevice', device.aci);
  const token = tokenOf(call, device.aci);
  if (token?.device !== undefined && state.queueOf(device).length === 0) {
    return { status: 200, body: await deviceInfo(state, token.device) };
  }
  return state.clock.sleep(seconds * 1_000, call.ended).then(
    () => ({ status: 204 }),
    () => undefined,
  );
}

function tokenOf({ state, params }: Call, aci: string): Token | undefined {
  const entry = [...state.tokens].find(([code]) => identifierOf(code) === params[0]);
  return entry?.[1].aci === aci ? entry[1] : undefined;
}

/** Unpadded url-safe base64 of SHA-256. */
function identifierOf(code: string): string {
  return createHash('sha256').update(code).digest('base64url');
}
