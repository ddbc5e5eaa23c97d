/**
 * Calls: what commands ask of an account, as values, so that the process that holds the store answers them, whether
 * that is the command itself or a running bot behind its control socket.
 */
import type { DropCounts } from '../inbox/intake.ts';
import { z } from 'zod';
import { approve } from '../account/approve.ts';
import { removeLinkedDevice } from '../account/remove-device.ts';
import type { ServiceId } from '../address.ts';
import { writeBackup } from '../backup/backup.ts';
import { fromBase64 } from '../bytes.ts';
import { examineBeside } from '../doctor/linked-ways.ts';
import { BotError } from '../errors.ts';
import {
  dropDead,
  dropQuarantined,
  linkedAccount,
  listContacts,
  listDead,
  listOutbox,
  listQuarantine,
  listTrust,
  me,
  resolveRecipient,
  retryDead,
  status,
} from '../inspect.ts';
import type { Platform } from '../platform.ts';
import { withRemedy } from '../service/own-device.ts';
import { parseProfile } from '../service/profile.ts';
import type { Store } from '../store/store.ts';
import { account as accountCell, contacts as contactRows } from '../store/tables.ts';
import type { Sent } from '../bot.ts';
import type { Outgoing } from '../bot/outgoing.ts';
import type { PluginInfo } from '../plugin/contract.ts';
import type { ActCall, Acts } from '../plugin/acts.ts';
import type { ConnectionState, Requester } from '../transport/request.ts';
import type { Trust } from '../trust/build.ts';
import { listOwnDevices, unlinkOwnDevice } from './own-devices.ts';
import { answerRounds, roundsCalls } from './rounds-calls.ts';
import { answerTrust, trustCalls } from './trust-calls.ts';

const id = z.string();

/** A call as it goes through the control socket. */
export const callSchema = z.discriminatedUnion('call', [
  z.object({ call: z.literal('me') }),
  z.object({ call: z.literal('status') }),
  z.object({ call: z.literal('contacts') }),
  z.object({ call: z.literal('devices') }),
  z.object({ call: z.literal('unlink') }),
  /** The server profile as JSON, with its CA in it. */
  z.object({ call: z.literal('doctor'), profile: z.string() }),
  z.object({ call: z.literal('remove device'), deviceId: z.int().min(2).max(127) }),
  z.object({ call: z.literal('approve'), link: z.string().max(4096), waitMs: z.number().min(0) }),
  z.object({ call: z.literal('trust list') }),
  ...trustCalls,
  ...roundsCalls,
  z.object({ call: z.literal('outbox') }),
  z.object({ call: z.literal('quarantine') }),
  z.object({ call: z.literal('quarantine drop'), id }),
  z.object({ call: z.literal('dead') }),
  z.object({ call: z.literal('dead drop'), id }),
  z.object({ call: z.literal('dead retry'), id }),
  /** The absolute name of the file, and the passphrase that it is to have. */
  z.object({ call: z.literal('backup'), file: z.string(), passphrase: z.string() }),
  /** What a plugin's command asks of the plugin. */
  z.object({
    call: z.literal('act'),
    plugin: id,
    name: id,
    contact: z.string().optional(),
    contacts: z.array(z.string()).max(100).optional(),
    input: z.record(z.string(), z.unknown()),
    /** The rows are enough. */
    offline: z.boolean().optional(),
  }),
  z.object({
    call: z.literal('send'),
    recipient: z.string(),
    message: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('text'), text: z.string() }),
      /** The payload in base64. */
      z.object({ kind: z.literal('app'), tag: z.string(), payload: z.base64() }),
    ]),
    deviceId: z.int().min(1).max(127).optional(),
    waitMs: z.number().min(0),
  }),
]);

export type Call = z.infer<typeof callSchema>;
/** How long `send` stays for the copy that goes to our own devices. */
const COPY_MS = 5_000;
const SENDING = ['send', 'act', 'rounds abort'];

type SendCall = Extract<Call, { call: 'send' }>;

/** What a call that needs the server uses of a bot that runs. */
export interface RunningBot {
  readonly trust: Trust | undefined;
  readonly connection: ConnectionState;
  readonly plugins: readonly string[];
  readonly installed: readonly PluginInfo[];
  readonly drops: DropCounts | undefined;
  /** The authenticated connection. */
  readonly requester: Requester;
  send(
    recipient: ServiceId,
    message: Outgoing,
    options?: { deviceId?: number },
  ): Promise<{ timestamp: number }>;
  sent(recipient: ServiceId, timestamp: number, signal: AbortSignal): Promise<Sent>;
  act(plugin: string, name: string, call: ActCall): Promise<object>;
  /** A timestamp of ours that was never given before, ms. */
  stamp(): number;
  /** Rows were changed from outside: look at them now. */
  ring(): void;
}

export interface CallParts {
  readonly store: Store;
  readonly platform: Platform;
  /** Absent when the call is answered from the rows alone. */
  readonly bot: RunningBot | undefined;
  /** The plugins of a call that asks one of them for what the rows say; absent where a bot runs. */
  readonly acts?: Acts;
  /** Tells who asked what happens before the answer. Returns at once and does not throw. */
  readonly tell?: (event: object) => void;
}

export interface SendResult {
  readonly timestamp: number;
  readonly recipient: ServiceId;
  readonly state: 'sent' | 'queued';
  /** Empty while it is queued. */
  readonly devices: readonly number[];
}

/** Whether the call cannot be answered from the rows alone. */
export function needsServer(call: Call): boolean {
  if (call.call === 'act' && call.offline === true) return false;
  return ['devices', 'unlink', 'doctor', 'remove device', 'approve', ...SENDING].includes(call.call);
}

/** Whether it leaves messages to be sent, which the command stays online for. */
export function leavesMessages(call: Call): boolean {
  return call.call === 'act' || call.call === 'rounds abort';
}

/**
 * Answers one call with the JSON value of its command.
 * @throws BotError by the command: `NOT_LINKED`, `RECIPIENT_UNKNOWN`, `PAYLOAD_TOO_LARGE`, `USAGE`, ...
 */
export async function answer(parts: CallParts, call: Call, signal: AbortSignal): Promise<object> {
  try {
    return await answerCall(parts, call, signal);
  } catch (error) {
    const device = await Promise.resolve(accountCell.get(parts.store.batch())).catch(() => undefined);
    throw device === undefined ? error : withRemedy(error, device);
  }
}

async function answerCall(parts: CallParts, call: Call, signal: AbortSignal): Promise<object> {
  const { store, bot } = parts;
  switch (call.call) {
    case 'me':
      return me(store);
    case 'status':
      return status(store, {
        connection: bot?.connection ?? 'stopped',
        plugins: bot?.plugins ?? [],
        ...(bot?.drops === undefined ? {} : { dropped: bot.drops }),
      });
    case 'contacts':
      return listContacts(store);
    case 'outbox':
      return listOutbox(store);
    case 'quarantine':
      return listQuarantine(store);
    case 'dead':
      return listDead(store);
    case 'trust list':
      return listTrust(store);
    case 'trust show':
    case 'trust accept':
    case 'trust revoke':
    case 'trust policy':
    case 'trust import':
    case 'safety number':
      return answerTrust(parts, call);
    case 'rounds list':
    case 'rounds show':
    case 'rounds abort':
      return answerRounds(parts, call, () => online(bot));
    case 'quarantine drop':
      return dropQuarantined(store, call.id);
    case 'dead drop':
      return dropDead(store, call.id);
    case 'dead retry': {
      const result = await retryDead(store, call.id);
      bot?.ring();
      return result;
    }
    case 'devices':
      return listOwnDevices(await linkedAccount(store), online(bot).requester);
    case 'unlink':
      return unlinkOwnDevice(parts, online(bot).requester);
    case 'doctor': {
      const profile = parseProfile(call.profile, '/');
      const account = await linkedAccount(store);
      return examineBeside({ store, platform: parts.platform, account, profile, bot: online(bot) }, signal);
    }
    case 'backup':
      return writeBackup(call.file, { store, platform: parts.platform, passphrase: call.passphrase }, signal);
    case 'remove device':
      return removeLinkedDevice(store, online(bot).requester, call.deviceId);
    case 'approve': {
      const { requester } = online(bot);
      return approve({ store, platform: parts.platform, requester }, call.link, call.waitMs, signal);
    }
    case 'act': {
      const { plugin, name, input } = call;
      const contact = call.contact === undefined ? undefined : await resolveRecipient(store, call.contact);
      const { name: contactName } = (contact && (await contactRows.get(store.batch(), contact))) ?? {};
      const contacts: ServiceId[] = [];
      for (const other of call.contacts ?? []) contacts.push(await resolveRecipient(store, other));
      const tell = parts.tell ?? nobody;
      const named = contactName === undefined ? {} : { contactName };
      const asked = { contact, ...named, contacts, input, signal, tell };
      return parts.acts?.run(plugin, name, asked) ?? online(bot).act(plugin, name, asked);
    }
    case 'send':
      return send(parts, call, signal);
  }
}

function nobody(): void {
  // who asks so does not listen
}

function online(bot: RunningBot | undefined): RunningBot {
  if (bot === undefined) throw new BotError('INTERNAL', 'this call needs the server');
  return bot;
}

async function send(
  { store, bot, platform }: CallParts,
  call: SendCall,
  signal: AbortSignal,
): Promise<SendResult> {
  const running = online(bot);
  await linkedAccount(store);
  const recipient = await resolveRecipient(store, call.recipient);
  const message: Outgoing =
    call.message.kind === 'text'
      ? call.message
      : { kind: 'app', tag: call.message.tag, payload: fromBase64(call.message.payload) };
  const options = call.deviceId === undefined ? {} : { deviceId: call.deviceId };
  const { timestamp } = await running.send(recipient, message, options);

  const waiting = new AbortController();
  const either = AbortSignal.any([signal, waiting.signal]);
  try {
    const sent = await Promise.race([
      running.sent(recipient, timestamp, either),
      platform.clock.sleep(call.waitMs, either).then(() => undefined),
    ]);
    if (sent === undefined) return { timestamp, recipient, state: 'queued', devices: [] };
    if (sent.state === 'failed') throw sent.error;
    // The copy for our own devices is a row of its own: a process that ends now would leave it behind.
    const own = (await linkedAccount(store)).aci;
    if (recipient !== own) {
      await Promise.race([running.sent(own, timestamp, either), platform.clock.sleep(COPY_MS, either)]);
    }
    return { timestamp, recipient, state: 'sent', devices: sent.devices };
  } catch (error) {
    // The message is in the outbox and will be sent: who stops waiting must not be told to send it again.
    if (signal.aborted) return { timestamp, recipient, state: 'queued', devices: [] };
    throw error;
  } finally {
    waiting.abort();
  }
}
