/**
 * Countersign: the public surface.
 */
export { isAci, type Aci, type Address, type DeviceId, type Pni, type ServiceId } from './address.ts';
export { Bot, type BotEvent, type BotOptions, type Sent } from './bot.ts';
export { offlineHost, passingHost } from './bot/offline-host.ts';
export type { Bytes } from './bytes.ts';
export { parseTag, type Tag } from './content/app-message.ts';
export type {
  AppContent,
  Content,
  OtherContent,
  ReceiptContent,
  Sync,
  TextContent,
  TypingContent,
} from './content/content.ts';
export type {
  Context,
  Incoming,
  Outgoing,
  Parser,
  Permission,
  SendOptions,
  State,
  Transaction,
} from './context.ts';
export { BotError, isBotError, type ErrorCode } from './errors.ts';
export type { ContactIdentity } from './identities/state.ts';
export { resolveRecipient } from './inspect.ts';
export { systemPlatform, type Clock, type Log, type Platform, type Random } from './platform.ts';
export {
  definePlugin,
  type ConfigSchema,
  type Handlers,
  type Host,
  type Plugin,
  type PluginInfo,
  type PluginSource,
} from './plugin/contract.ts';
export type { Act, ActCall } from './plugin/acts.ts';
export { loadPlugin } from './plugin/load.ts';
export type { Subcommand, SubcommandCall } from './plugin/subcommand.ts';
export {
  appType,
  kind,
  text,
  type AppFields,
  type AppType,
  type Codec,
  type CommandFields,
  type Filter,
  type Handler,
  type HandlerOptions,
  type MatchFields,
  type TextFields,
} from './router.ts';
export { loadProfile, type Profile } from './service/profile.ts';
export { openLevel, type Secret } from './store/level.ts';
export { openMemory } from './store/memory.ts';
export type {
  Evidence,
  Exposure,
  HistoryEntry,
  PniBinding,
  Policy,
  Proof,
  TrustState,
} from './store/identity-row.ts';
export type { Store } from './store/store.ts';
export { safetyNumber, type Party, type SafetyNumber } from './identities/safety-number.ts';
export { verifyPniBlock, verifySignature } from './trust/own-key.ts';
export type { OperatorRule, OperatorRules } from './trust/policy.ts';
export type {
  Acquaintance,
  Carrier,
  GuardedText,
  IdentityWrites,
  InboxWrites,
  OutboxWrites,
  OwnKey,
  PinOptions,
  PniBlock,
  PolicyRule,
  Purpose,
  RunBundle,
  RunPrekeys,
  SessionWrites,
  StateChange,
  Transition,
  TransitionHook,
  TrustEvent,
  TrustHost,
  TrustTransaction,
} from './trust.ts';
