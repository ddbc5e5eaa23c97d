/**
 * One sealed message for many accounts: PUT /v1/messages/multi_recipient (protocol brief, section 5.6). The mock has it over
 * gRPC only, so that the front takes it apart, with libsignal's own parser, and hands it out itself.
 *
 * Checked in this order: form, access, sizes, devices; of those a wrong list (409) comes before a stale id (410).
 */
import SealedSenderMultiRecipientMessage from '@signalapp/libsignal-client/dist/SealedSenderMultiRecipientMessage.js';
import { isPni, parseServiceId, type ServiceId } from '../../address.ts';
import { copy, equal, type Bytes } from '../../bytes.ts';
import type { Device } from '../mock.ts';
import type { ServerState } from '../state.ts';
import { isEndorsed } from './access.ts';
import { compareDevices, type Comparison } from './device-lists.ts';
import { Refusal, type Answer, type Call, type Rule } from './rule.ts';
import { base64 } from './shapes.ts';

const CONTENT_TYPE = 'application/vnd.signal-messenger.mrm';
const MAX_RECIPIENTS = 5_000;
const ACCESS_KEY_LENGTH = 16;
const SEALED = 6;

export const MULTI_RECIPIENT_RULES: readonly Rule[] = [
  { verb: 'PUT', path: '/v1/messages/multi_recipient', auth: 'any', handle: sendToMany },
];

/** One account that the message is for. */
interface Target {
  readonly serviceId: ServiceId;
  /** As the message lists them. */
  readonly listed: readonly { readonly deviceId: number; readonly registrationId: number }[];
  /** What each of its devices gets. */
  readonly content: Bytes;
  /** Those it has; none where nobody is registered. */
  readonly devices: readonly Device[];
}

async function sendToMany(call: Call): Promise<Answer> {
  const { state } = call;
  if (call.headers['content-type']?.toLowerCase() !== CONTENT_TYPE) throw new Refusal(415);
  const clientTimestamp = Number(call.query.get('ts') ?? '');
  if (!Number.isSafeInteger(clientTimestamp) || clientTimestamp < 0) throw new Refusal(400);
  const flag = (name: string, otherwise: boolean): boolean =>
    (call.query.get(name) ?? String(otherwise)) === 'true';
  const flags = { online: flag('online', false), urgent: flag('urgent', true), story: flag('story', false) };
  const message = parse(call.body);
  const targets = await targetsOf(state, message);
  const known = targets.filter(({ devices }) => devices.length > 0);
  checkMany(call, message, targets, flags.story);
  if (targets.some(({ content }) => content.length > state.dialect.maxContent)) {
    throw new Refusal(413, { code: 413, message: 'HTTP 413 Request Entity Too Large' });
  }
  checkLists(state, known);
  for (const { serviceId: destination, content, devices } of known) {
    for (const device of devices) {
      const mail = { type: SEALED, source: undefined, destination, clientTimestamp, content, ...flags };
      state.onMail(device, undefined, mail);
    }
  }
  state.stats.sends += 1;
  const unknown = targets.filter(({ devices }) => devices.length === 0).map(({ serviceId }) => serviceId);
  return { status: 200, body: { uuids404: flags.story ? [] : unknown } };
}

/** @throws Refusal 400 */
function parse(body: Bytes): SealedSenderMultiRecipientMessage {
  try {
    return new SealedSenderMultiRecipientMessage(copy(body));
  } catch {
    throw new Refusal(400);
  }
}

/** @throws Refusal 400 */
async function targetsOf(state: ServerState, message: SealedSenderMultiRecipientMessage): Promise<Target[]> {
  const recipients = Object.entries(message.recipientsByServiceIdString());
  if (recipients.length > MAX_RECIPIENTS) throw new Refusal(400);
  return Promise.all(
    recipients.map(async ([text, recipient]): Promise<Target> => {
      const serviceId = parseServiceId(text);
      const isGone = state.mock.server.isUnregistered(serviceId as string as Device['aci']);
      return {
        serviceId,
        listed: recipient.deviceIds.map((deviceId, n) => ({
          deviceId,
          registrationId: recipient.registrationIds[n] ?? 0,
        })),
        content: copy(message.messageForRecipient(recipient)),
        devices: isGone ? [] : await state.mock.devicesOf(serviceId),
      };
    }),
  );
}

/**
 * A group token for all of them, or the keys of all of them in one; a story needs neither.
 * @throws Refusal 400 both, or a token for a story; 401 neither, or the wrong one; 404 a key for who is not there
 */
function checkMany(
  { state, headers }: Call,
  message: SealedSenderMultiRecipientMessage,
  targets: readonly Target[],
  story: boolean,
): void {
  const token = headers['group-send-token'];
  const key = headers['unidentified-access-key'];
  if (token !== undefined && (story || key !== undefined)) throw new Refusal(400);
  if (story) return;
  if (token !== undefined) {
    // Who is left out by name belongs to the group as well.
    const excluded = message.excludedRecipientServiceIdStrings().map((text) => parseServiceId(text));
    const all = [...targets.map(({ serviceId }) => serviceId), ...excluded];
    if (!isEndorsed(state, all, token)) throw new Refusal(401);
    return;
  }
  const given = base64.safeParse(key ?? '').data;
  if (given?.length !== ACCESS_KEY_LENGTH || targets.some(({ serviceId }) => isPni(serviceId)))
    throw new Refusal(401);
  if (targets.some(({ devices }) => devices.length === 0)) throw new Refusal(404);
  if (!equal(given, combinedKey(state, targets))) throw new Refusal(401);
}

/** XOR of the accounts' keys; those that take everybody's count for nothing. */
function combinedKey(state: ServerState, targets: readonly Target[]): Bytes {
  const sum = new Uint8Array(ACCESS_KEY_LENGTH);
  for (const { devices } of targets) {
    const [primary] = devices;
    if (primary === undefined || state.factsOf(primary).isUnrestricted === true) continue;
    primary.accessKey?.forEach((byte, n) => (sum[n] = (sum[n] ?? 0) ^ byte));
  }
  return sum;
}

/** @throws Refusal 409, 410 */
function checkLists(state: ServerState, targets: readonly Target[]): void {
  const compared = targets.map(({ serviceId: uuid, listed, devices }) => {
    return { uuid, ...compareDevices(state, uuid, devices, listed) };
  });
  const isWrong = ({ missingDevices, extraDevices }: Comparison): boolean =>
    missingDevices.length + extraDevices.length > 0;
  const wrong = compared.filter(isWrong).map(({ uuid, missingDevices, extraDevices }) => {
    return { uuid, devices: { missingDevices, extraDevices } };
  });
  if (wrong.length > 0) throw new Refusal(409, wrong);
  const stale = compared.filter(({ staleDevices }) => staleDevices.length > 0);
  if (stale.length > 0) {
    const body = stale.map(({ uuid, staleDevices }) => ({ uuid, devices: { staleDevices } }));
    throw new Refusal(410, body);
  }
}
