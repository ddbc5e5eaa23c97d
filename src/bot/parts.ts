/**
 * Parts: everything that runs in a bot, built and wired. The flows know nothing of each other: each leaves rows, and the
 * functions passed in here ring the one that reads them.
 */
import { awaitsOldSessions } from '../backup/fresh-start.ts';
import { SyncAnswers } from '../account/sync-answers.ts';
import { fromBase64, type Bytes } from '../bytes.ts';
import type { ServiceId } from '../address.ts';
import { decodeContent } from '../content/content.ts';
import type { BotError } from '../errors.ts';
import { Dispatcher, type DispatcherParts } from '../inbox/dispatcher.ts';
import { Intake } from '../inbox/intake.ts';
import { Listening, type Listen } from '../inbox/listening.ts';
import { Parking } from '../inbox/parking.ts';
import { Receiver, type Unseen } from '../inbox/receiver.ts';
import { Replay } from '../inbox/replay.ts';
import { Gate } from '../outbox/gate.ts';
import { Greeting } from '../outbox/greeting.ts';
import { Pacing } from '../outbox/pacing.ts';
import { Receipts } from '../outbox/receipts.ts';
import { Sealing } from '../outbox/sealing.ts';
import { Sender, type Ending } from '../outbox/sender.ts';
import { Sesame } from '../outbox/sesame.ts';
import { Tagging } from '../outbox/tagging.ts';
import type { Platform } from '../platform.ts';
import { Plugins } from '../plugin.ts';
import { endpointOf, type Profile } from '../service/profile.ts';
import { outerMark, routeKeyOf } from '../session/outer-tag.ts';
import { aciIdentity } from '../session/own-identity.ts';
import { announceChanges, OwnTags } from '../session/peer-tags.ts';
import { Session } from '../session/session.ts';
import { readOutboxKey } from '../store/outbox-row.ts';
import { tellDeletions } from '../store/deletions.ts';
import type { Store } from '../store/store.ts';
import type { Account, InboxRow, OutboxRow } from '../store/rows.ts';
import { pluginState, pluginVolatile } from '../store/tables.ts';
import type { TrustEvent } from '../trust.ts';
import { buildTrust, type Trust } from '../trust/build.ts';
import { servedKey } from '../trust/served-key.ts';
import type { OperatorRules } from '../trust/policy.ts';
import { Connection, type OpenSocket } from '../transport/connection.ts';
import type { ConnectionState } from '../transport/request.ts';
import { Upkeep } from '../upkeep/upkeep.ts';

export interface PartsNeeds {
  readonly store: Store;
  readonly account: Account;
  readonly profile: Profile;
  readonly platform: Platform;
  /** A timestamp of ours that was never given before, ms. */
  readonly stamp: () => number;
  readonly prefix: string | undefined;
  readonly openSocket: OpenSocket | undefined;
  /** Sets up the plugins; absent: no handler is called, and what arrives is kept. */
  readonly install: ((plugins: Plugins) => Promise<void>) | undefined;
  readonly onState: (state: ConnectionState, error?: BotError) => void;
  readonly onSkew: (ms: number) => void;
  readonly onSettled: (row: OutboxRow, end: Ending) => void;
  readonly onUnseen: (message: Unseen) => void;
  readonly onCall: DispatcherParts['onCall'];
  /** Only app messages for the plugins are handled. What else arrives is kept, and no tags are announced. */
  readonly onlyTags: boolean;
  /** Which envelopes are opened. */
  readonly listen: Listen;
  /** A plugin's line for the operator. */
  readonly onNotice: (plugin: string, message: string) => void;
  /** Told of each change of trust. Returns at once and does not throw. */
  readonly onTrust: (event: TrustEvent) => void;
  /** What the configuration file asks of contacts. */
  readonly policy: OperatorRules | undefined;
}

export interface Parts {
  readonly plugins: Plugins;
  readonly authenticated: Connection;
  readonly anonymous: Connection;
  readonly sender: Sender;
  readonly receipts: Receipts;
  readonly upkeep: Upkeep;
  /** Of a primary device. */
  readonly answers: SyncAnswers | undefined;
  readonly intake: Intake;
  readonly dispatcher: Dispatcher | undefined;
  readonly receiver: Receiver;
  readonly replay: Replay;
  readonly trust: Trust;
  /** Resolves when the server has said that its queue is empty. */
  readonly drained: Promise<void>;
}

/** @throws BotError `PLUGIN_INVALID`, `STORE_DAMAGED` */
export async function buildParts(needs: PartsNeeds): Promise<Parts> {
  const { store, account, profile, platform, stamp, prefix, install } = needs;
  const { aci: ownAci, deviceId: ownDevice } = account;
  const { clock } = platform;

  const { authenticated, anonymous } = connections(needs);
  // Plugins may leave rows while they are set up, before there is a sender. It looks for rows when it starts.
  const later: { sender?: Sender } = {};
  const onOutbox = (row: Pick<OutboxRow, 'recipient' | 'timestamp'>): void => {
    later.sender?.offer(row);
  };
  const onRow = (keys: readonly string[]): void => {
    for (const key of keys) later.sender?.offer(readOutboxKey(key));
  };
  const profileKey = profileKeyOf(account);
  // Where we do not seal, others may: what they send is still opened under the roots that the profile names.
  const { mode, trustRoots } = profile.sealedSender;
  const exclusive = <T>(peer: ServiceId, work: () => Promise<T>): Promise<T> => session.exclusive(peer, work);
  const trust = await buildTrust({
    ...{ store, account, platform, stamp, policy: needs.policy, exclusive },
    servedKey: (of) => servedKey(authenticated, clock, of),
  });
  const { identities, carrier, guards, desk } = trust;
  desk.onEvent(needs.onTrust);
  const session: Session = new Session({ account, identities, platform, trustRoots });
  const upkeep = new Upkeep({ store, requester: authenticated, platform, profile });
  // What plugins delete was secret, most often.
  const pluginStore = tellDeletions(store, [pluginState.key(), pluginVolatile.key()], (keys) => {
    upkeep.noteDeleted(keys);
  });
  const plugins = new Plugins({
    self: ownAci,
    store: pluginStore,
    platform,
    stamp,
    onRow,
    trust,
    onNotice: needs.onNotice,
    ...(profileKey === undefined ? {} : { profileKey }),
    ...(prefix === undefined ? {} : { prefix }),
  });
  await install?.(plugins);
  const own = aciIdentity(account);
  const tags = new OwnTags(
    install === undefined || needs.onlyTags ? undefined : plugins.tags,
    outerMark(routeKeyOf(own)),
    // Where untagged messages are dropped, who has lost our route key would not be heard: all are told again.
    needs.listen === 'tagged' ? 'tagged' : '',
  );
  await announceChanges(store, tags, stamp);

  const parking = new Parking({ store, carrier, identities, platform, tags });
  const ringUpkeep = (): void => {
    upkeep.ring();
  };

  const listening = new Listening({ mode: needs.listen, store, identities, own, clock: platform.clock });
  await listening.open();
  const onPeer = (peer: ServiceId): void => {
    listening.noteChange(peer);
  };
  identities.onCommitted(({ serviceId }) => {
    onPeer(serviceId);
  });
  const gate = new Gate({ identities, carrier, session, guards });
  const greeting = new Greeting({ store, session, gate, tags, ownAci, onOutbox, onPeer });
  const sesame = new Sesame({
    store,
    session,
    gate,
    tagging: new Tagging({ own, identities, clock }),
    ...(needs.listen === 'tagged' ? { greeting } : {}),
    onPeer,
    platform,
    ownAci,
    ownDevice,
    authenticated,
    anonymous,
    tags,
    stamp,
    onOutbox,
    sealing: new Sealing(clock, mode !== 'off'),
    pacing: new Pacing(),
  });
  const sender = new Sender({ store, sesame, platform, ownAci, onSettled: needs.onSettled });
  later.sender = sender;
  const receipts = new Receipts({ store, clock, stamp, onOutbox });

  const answers =
    ownDevice === 1
      ? new SyncAnswers({
          store,
          platform,
          profile,
          requester: authenticated,
          ownAci,
          stamp,
          onOutbox,
        })
      : undefined;
  const intake = new Intake({
    session,
    identities,
    platform,
    ownAci,
    ownDevice,
    tags,
    stamp,
    onContacts: ringUpkeep,
    onSyncRequest: () => {
      answers?.ring();
    },
  });
  await intake.open(store);
  const dispatcher =
    install === undefined
      ? undefined
      : new Dispatcher({
          store: pluginStore,
          platform,
          router: plugins.router,
          ...(needs.onlyTags ? { leaves: (row) => !isTagged(row, plugins.tags) } : {}),
          onRow,
          onCommitted: (staging) => {
            desk.committed(staging);
          },
          ...(needs.onCall === undefined ? {} : { onCall: needs.onCall }),
        });
  let onDrained = (): void => undefined;
  const drained = new Promise<void>((resolve) => {
    onDrained = resolve;
  });
  const receiver = new Receiver({
    store,
    session,
    intake,
    parking,
    listening,
    platform,
    stamp,
    onOutbox,
    onDrained,
    asksOften: await awaitsOldSessions(store, clock.now()),
    onPrekey: ringUpkeep,
    onUnseen: needs.onUnseen,
    onInbox: (id, row, content) => {
      dispatcher?.offer(id, row, content);
      receipts.ring();
    },
  });
  const replay = new Replay({ receiver, parking, log: platform.log });
  desk.onSettled((serviceId) => {
    sender.ring();
    replay.ring(serviceId);
  });
  return {
    plugins,
    authenticated,
    anonymous,
    sender,
    receipts,
    upkeep,
    answers,
    intake,
    dispatcher,
    receiver,
    replay,
    trust,
    drained,
  };
}

function connections(needs: PartsNeeds): Record<'authenticated' | 'anonymous', Connection> {
  const { account, profile, platform, openSocket, onState, onSkew } = needs;
  const common = {
    endpoint: endpointOf(profile),
    platform,
    ...(openSocket === undefined ? {} : { openSocket }),
  };
  const credentials = { username: `${account.aci}.${String(account.deviceId)}`, password: account.password };
  return {
    authenticated: new Connection({ ...common, credentials, onState, onSkew }),
    anonymous: new Connection(common),
  };
}

/** Whether it is an app message with one of these tags. */
function isTagged({ content }: InboxRow, tags: readonly string[]): boolean {
  try {
    const decoded = decodeContent(content);
    return decoded.kind === 'app' && tags.includes(decoded.tag);
  } catch {
    return false; // unreadable; whoever handles all messages says so
  }
}

/** Ours, 32 bytes. */
export function profileKeyOf(account: Account): Bytes | undefined {
  return account.profileKey === null ? undefined : fromBase64(account.profileKey);
}
