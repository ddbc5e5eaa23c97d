/**
 * Runtime: ceremonies in a plugin. `rounds(…)` takes the protocols that the plugin knows; its `declares` goes into the
 * plugin's declaration, `attach` into its `setup`. From then on frames are taken, deadlines kept and runs purged.
 *
 * No frame makes a bot take part: it does once its own operator, or a policy of the plugin, opens the same proposal. What
 * comes from another key than the set's, from another device, or from a contact below the policy is left alone.
 */
import type { Bytes } from '../bytes.ts';
import type { Context, Permission, Transaction } from '../context.ts';
import { BotError, describe, isBotError, type ErrorCode } from '../errors.ts';
import { systemPlatform, type Random } from '../platform.ts';
import { Pacing } from '../outbox/pacing.ts';
import type { AppFields } from '../router.ts';
import { verifySignature } from '../trust/own-key.ts';
import type { PolicyRule } from '../trust.ts';
import { end, open, passOver, take, tick, wakeAt } from './ceremony.ts';
import { assertProtocol } from './check-protocol.ts';
import {
  ROUNDS,
  type Ended,
  type Entry,
  type OpenRequest,
  type RoundsHost,
  type RoundsOptions,
} from './entry.ts';
import { shortReason, type Frame } from './frame.ts';
import { invitedBy, isNewAttempt, type Invited } from './invitation.ts';
import { deleteRun, listRuns, loadRun, saveRun, sendAll, sendOne, takeRestored } from './journal.ts';
import { surplusOf } from './kept.ts';
import { isParty, type RoundsParty } from './party-set.ts';
import { topicOf, type Proposal } from './proposal.ts';
import { Refusals } from './refusals.ts';
import { hasMoved, isOpen, type Result, type Run, type Tools } from './run.ts';
import { mistrusted } from './standing.ts';
import { unknownProtocol } from './unknown-protocol.ts';
import { untilEnded } from './until-ended.ts';
import { viewOf, type CeremonyView } from './view.ts';
import { waitingFor } from './waiting.ts';

/** What an identity key signs of a message is kept apart from all else by this. */
export const LABEL = 'spake2-signal rounds message v1';
/** How exactly deadlines are kept, ms. */
const BEAT_MS = 1_000;
const DEFAULT_WAIT_MS = 600_000;
/** What an operator would be told who opened it. */
const NOT_OPENED: readonly ErrorCode[] = ['USAGE', 'PEER_UNVERIFIED', 'IDENTITY_CHANGED', 'RATE_LIMITED'];

/** @throws BotError `PLUGIN_INVALID` when two protocols have one name, or one is not as `Protocol` says */
export function rounds(entries: readonly Entry[], options: RoundsOptions = {}): Rounds {
  const names = entries.map(({ protocol }) => protocol.name);
  if (new Set(names).size < names.length) throw new BotError('PLUGIN_INVALID', 'two protocols have one name');
  for (const { protocol } of entries) assertProtocol(protocol);
  return new Rounds(entries, options);
}

export class Rounds {
  /** For the plugin's declaration; its own tags and permissions go beside them. */
  readonly declares: {
    readonly tags: readonly [typeof ROUNDS];
    readonly volatile: readonly [typeof ROUNDS];
    readonly permissions: readonly Permission[];
    readonly policy: PolicyRule;
  };
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #policy: 'introduced' | 'verified';
  readonly #random: Random;
  readonly #wakes = new Map<string, number>();
  readonly #answers = new Pacing();
  readonly #refusals = new Refusals();
  readonly #versions = { get: (name: string) => this.#entries.get(name)?.protocol.version };
  #host: RoundsHost | undefined;

  constructor(
    entries: readonly Entry[],
    { policy = 'verified', random = systemPlatform().random }: RoundsOptions,
  ) {
    this.#entries = new Map(entries.map((entry) => [entry.protocol.name, entry]));
    this.#policy = policy;
    this.#random = random;
    const rule: PolicyRule = { purpose: 'signing', inbound: policy, outbound: policy };
    this.declares = { tags: [ROUNDS], volatile: [ROUNDS], permissions: ['send', 'identities'], policy: rule };
  }

  /** For `setup`: takes frames from now on, and ends what a backup had left open. */
  async attach(host: RoundsHost): Promise<void> {
    this.#host = host;
    host.app(ROUNDS, (ctx) => this.#take(ctx), {
      lane: ({ value }) => `rounds ${value.topic}`,
      policy: this.declares.policy,
      // The sender has it as long as the round lasts, and nobody else needs it.
      discards: ({ value }) => value.kind === 'message' && value.recipient !== 0,
    });
    const dead = await host.update(async (tx) => {
      const found = await takeRestored(tx, host.restoredAt);
      for (const run of found) await this.#endRestored(tx, run);
      for (const run of await listRuns(tx)) this.#noteWake(run);
      return found.length;
    });
    if (dead > 0) host.log.warn({ ceremonies: dead }, 'ceremonies that a backup had left open are ended');
    host.run((signal) => this.#keepTime(host, signal));
  }

  /**
   * Opens a ceremony. Opened again while it is open, it stays as it is; once it has ended, it begins anew.
   * @returns its topic, which names it here
   * @throws BotError `USAGE`; `PEER_UNVERIFIED`, `IDENTITY_CHANGED` when a party is not who the set says or not known well
   *   enough; `RATE_LIMITED` when too many are open
   */
  open<Params, Input>(request: OpenRequest<Params, Input>): Promise<string> {
    return this.#attached.update((tx) => this.openIn(tx, request));
  }

  /** The same, committed with what else the transaction writes. */
  async openIn<Params, Input>(tx: Transaction, request: OpenRequest<Params, Input>): Promise<string> {
    const { protocol } = this.#entryOf(request.protocol);
    const input = protocol.input.encode(request.input);
    return this.#open(tx, this.#proposalOf(request), input, request.waitMs ?? DEFAULT_WAIT_MS);
  }

  /** The topic that `open` would give; nothing is opened. @throws BotError `USAGE` */
  topic<Params, Input>(request: OpenRequest<Params, Input>): string {
    return topicOf(this.#proposalOf(request));
  }

  #proposalOf<Params, Input>(request: OpenRequest<Params, Input>): Proposal {
    const { protocol } = this.#entryOf(request.protocol);
    const { parties } = request;
    const signers = request.signers ?? parties.map(({ index }) => index);
    return {
      protocol: protocol.name,
      version: protocol.version,
      params: new Uint8Array(protocol.params.encode(request.params)),
      message: request.message ?? new Uint8Array(0),
      epoch: request.epoch ?? 0,
      parties,
      signers: [...signers].sort((a, b) => a - b),
    };
  }

  /** Newest last. */
  async list(): Promise<readonly CeremonyView[]> {
    return this.#attached.update(async (tx) => {
      const views: CeremonyView[] = [];
      for (const { topic } of await listRuns(tx)) {
        const view = await this.viewIn(tx, topic);
        if (view !== undefined) views.push(view);
      }
      return views;
    });
  }

  /** @param id topic or ceremony id, or how one of them begins; undefined: there is none, or more than one */
  async show(id: string): Promise<CeremonyView | undefined> {
    const found = (await this.list()).filter(
      (view) => view.topic.startsWith(id) || view.id?.startsWith(id) === true,
    );
    return found.length === 1 ? found[0] : undefined;
  }

  /** One of them, for what is decided by it: the transaction is made anew when the ceremony goes on meanwhile. */
  async viewIn(tx: Transaction, topic: string): Promise<CeremonyView | undefined> {
    const run = await loadRun(tx, topic);
    if (run === undefined) return undefined;
    return viewOf(run, this.#entries.get(run.proposal.protocol)?.protocol, waitingFor(run));
  }

  /**
   * Ends a ceremony and tells the others.
   * @param isRefused no policy joins it as long as it is kept
   * @returns false when it has ended, or never was
   */
  abort(topic: string, reason = 'the operator has ended it', isRefused = true): Promise<boolean> {
    return this.#attached.update(async (tx) => {
      const run = await loadRun(tx, topic);
      if (run === undefined || !isOpen(run.phase)) return false;
      await this.#apply(tx, run, end(run, reason, this.#attached.clock.now(), isRefused));
      return true;
    });
  }

  /**
   * Waits until a ceremony has ended. Where the parties have not seen the same, what the others have seen comes with their
   * own ends, and may prove who it was: so that a cheat is named, it is waited for a moment longer.
   * @param heldMs where its output is held (`Protocol.isHeld`): how long the others are waited for then; absent: to the end
   * @throws the signal's reason
   */
  async ended(topic: string, signal?: AbortSignal, heldMs = Infinity): Promise<CeremonyView> {
    const view = (): Promise<CeremonyView | undefined> =>
      this.#attached.update((tx) => this.viewIn(tx, topic));
    return untilEnded(view, this.#attached.clock, heldMs, signal);
  }

  get #attached(): RoundsHost {
    if (this.#host === undefined)
      throw new BotError('PLUGIN_INVALID', 'rounds are used before they are attached');
    return this.#host;
  }

  async #take(ctx: Context & AppFields<Frame>): Promise<void> {
    const { value: frame, sender, identityKey } = ctx;
    const run = await loadRun(ctx, frame.topic);
    const { parties } = run?.proposal ?? invitedBy(frame, this.#versions)?.proposal ?? { parties: [] };
    const party = parties.find(({ aci }) => aci === sender.serviceId);
    if (party === undefined || identityKey === undefined) return;
    if (!isParty(party, { aci: party.aci, deviceId: sender.deviceId, identityKey })) return;
    if ((await mistrusted(ctx, [party], this.#policy)) !== undefined) return;
    // Such are answered: a flood of them must not become one of ours, on our own disk first.
    const now = this.#attached.clock.now();
    const isAnswered = frame.kind === 'hello' || frame.kind === 'ask';
    if (isAnswered && this.#answers.take(party.aci, now) > 0) return;
    if (run !== undefined && !isNewAttempt(run, party.index, frame)) {
      const result = take(this.#tools(run), run, party.index, frame, now);
      // So is whatever else leads to something for its sender alone and leaves the run as it was: what moves that on is bounded.
      const isAnswer = result.send.every(({ to }) => to === party.index) && !hasMoved(run, result.run);
      if (!isAnswered && result.send.length > 0 && isAnswer && this.#answers.take(party.aci, now) > 0) return;
      await this.#apply(ctx, run, result);
      return;
    }
    this.#refusals.offered(frame.topic, party.index, now);
    const invited = invitedBy(frame, this.#versions);
    if (invited !== undefined) await this.#invited(ctx, invited, party);
  }

  async #invited(tx: Transaction, { hello, proposal }: Invited, party: RoundsParty): Promise<void> {
    const entry = this.#entryOf(proposal.protocol);
    const { protocol } = entry;
    const { clock, log } = this.#attached;
    if (entry.invited === undefined) return;
    try {
      protocol.params.decode(proposal.params);
    } catch {
      return; // no proposal for this protocol
    }
    const answer = await entry.invited(proposal, party.index, tx);
    if (answer === undefined) return;
    if ('refuses' in answer) {
      const { refuses, instead = [] } = answer;
      for (const other of instead) this.#refusals.refused(topicOf(other), party.index, refuses, clock.now());
      this.#refuse(tx, party, hello, refuses);
      return;
    }
    try {
      const topic = await this.#open(tx, proposal, protocol.input.encode(answer.input), DEFAULT_WAIT_MS);
      await answer.joined?.();
      const run = await loadRun(tx, topic);
      if (run !== undefined)
        await this.#apply(tx, run, take(this.#tools(run), run, party.index, hello, clock.now()));
    } catch (error) {
      if (!isBotError(error) || !NOT_OPENED.includes(error.code)) throw error;
      // It would not be opened at another attempt either.
      log.warn({ topic: hello.topic, error: describe(error) }, 'an invitation was left alone');
    }
  }

  #refuse(tx: Transaction, party: RoundsParty, hello: { topic: string; nonce: Bytes }, why: string): void {
    const { topic, nonce: id } = hello;
    const reason = shortReason(why);
    this.#attached.log.warn({ topic, proposer: party.aci, reason }, 'a proposal was refused');
    sendOne(tx, party, { kind: 'abort', topic, id, reason, evidence: [] }, this.#policy);
  }

  async #open(tx: Transaction, proposal: Proposal, input: Uint8Array, waitMs: number): Promise<string> {
    const { trust, clock } = this.#attached;
    const { aci, deviceId, identityKey } = trust.own;
    const self = proposal.parties.find((party) => isParty(party, { aci, deviceId, identityKey }));
    if (self === undefined) throw new BotError('USAGE', 'this device with its key is not in the group');
    const others = proposal.parties.filter(
      ({ index }) => index !== self.index && proposal.signers.includes(index),
    );
    const refused = await mistrusted(tx, others, this.#policy);
    if (refused !== undefined) throw refused;
    const topic = topicOf(proposal);
    const known = await loadRun(tx, topic);
    if (known !== undefined && isOpen(known.phase)) return topic;
    for (const surplus of surplusOf(await listRuns(tx))) await this.#forget(tx, surplus);
    const opening = { proposal, self: self.index, input, waitMs };
    const result = open(this.#toolsOf(proposal.protocol), opening, clock.now());
    await this.#apply(tx, known, result);
    return topic;
  }

  async #forget(tx: Transaction, topic: string): Promise<void> {
    const run = await loadRun(tx, topic);
    this.#wakes.delete(topic);
    if (run === undefined) return;
    deleteRun(tx, run);
    await this.#entries.get(run.proposal.protocol)?.forgotten?.({ topic, run }, tx);
  }

  /** Stages a step: the run, its messages and what becomes of its output. */
  async #apply(tx: Transaction, before: Run | undefined, result: Result): Promise<void> {
    const { run, send, output, held, fault } = result;
    const entry = this.#entryOf(run.proposal.protocol);
    if (fault !== undefined) this.#noteFault(run, fault.error);
    const kept = new Map(run.slots);
    if (held !== undefined) await entry.held?.(held.value, { topic: run.topic, run }, tx);
    if (output !== undefined) {
      if (entry.done === undefined)
        kept.set('output', new Uint8Array(entry.protocol.output.encode(output.value)));
      else {
        const endOthers: Ended['endOthers'] = (isMeant, reason) =>
          this.#endOthers(tx, run.topic, isMeant, reason);
        await entry.done(output.value, { topic: run.topic, run, endOthers }, tx);
      }
    }
    sendAll(tx, run, kept, send, this.#policy);
    saveRun(tx, before, { ...run, slots: kept });
    this.#noteWake(run);
  }

  async #endOthers(
    tx: Transaction,
    topic: string,
    ...[isMeant, reason]: Parameters<Ended['endOthers']>
  ): Promise<void> {
    for (const { topic: other, phase, proposal } of await listRuns(tx)) {
      if (other === topic || !isOpen(phase) || !isMeant(proposal)) continue;
      const run = await loadRun(tx, other);
      if (run !== undefined) await this.#apply(tx, run, end(run, reason, this.#attached.clock.now()));
    }
  }

  /** What was thrown can tell of secrets: only who looks closely sees it. */
  #noteFault({ topic, proposal: { protocol }, round, end: ending }: Run, error: unknown): void {
    const { log } = this.#attached;
    const kind = error instanceof Error ? error.name : typeof error;
    const { reason } = ending ?? {};
    log.error(
      { topic, protocol, round, reason, error: kind },
      'a protocol has failed, and its ceremony is ended',
    );
    log.debug({ topic, error: describe(error) }, 'what the protocol threw');
  }

  async #endRestored(tx: Transaction, run: Run): Promise<void> {
    if (!this.#entries.has(run.proposal.protocol)) return;
    const now = this.#attached.clock.now();
    await this.#apply(tx, undefined, end(run, 'a party was restored from a backup', now));
  }

  async #keepTime(host: RoundsHost, signal: AbortSignal): Promise<void> {
    const { clock, log } = host;
    const look = async (topic: string, work: (tx: Transaction) => Promise<void>): Promise<void> => {
      try {
        await host.update(work);
      } catch (error) {
        log.error({ topic, error: describe(error) }, 'a ceremony was not looked after');
      }
    };
    for (;;) {
      await clock.sleep(BEAT_MS, signal);
      const due = [...this.#wakes].filter(([, at]) => at <= clock.now());
      for (const [topic] of due) await look(topic, (tx) => this.#tick(tx, topic));
      for (const { topic, index, reason } of this.#refusals.due(clock.now()))
        if (this.#wakes.has(topic)) await look(topic, (tx) => this.#passOver(tx, topic, index, reason));
    }
  }

  async #passOver(tx: Transaction, topic: string, index: number, reason: string): Promise<void> {
    const run = await loadRun(tx, topic);
    if (run === undefined || !this.#entries.has(run.proposal.protocol)) return;
    const result = passOver(this.#tools(run), run, index, reason, this.#attached.clock.now());
    if (result !== undefined) await this.#apply(tx, run, result);
  }

  async #tick(tx: Transaction, topic: string): Promise<void> {
    const now = this.#attached.clock.now();
    const run = await loadRun(tx, topic);
    if (run === undefined || !this.#entries.has(run.proposal.protocol)) this.#wakes.delete(topic);
    else if (!isOpen(run.phase) && now >= run.deadlineAt) await this.#forget(tx, topic);
    else await this.#apply(tx, run, tick(this.#tools(run), run, now));
  }

  /** Also of what is not committed in the end: then it is looked at once too often. */
  #noteWake(run: Run): void {
    if (this.#entries.has(run.proposal.protocol)) this.#wakes.set(run.topic, wakeAt(this.#tools(run), run));
  }

  #tools(run: Run): Tools {
    return this.#toolsOf(run.proposal.protocol);
  }

  #toolsOf(protocol: string): Tools {
    const { own } = this.#attached.trust;
    return {
      protocol: this.#entryOf(protocol).protocol,
      random: this.#random,
      sign: (bytes) => own.sign(LABEL, bytes),
      verify: (identityKey, bytes, signature) => verifySignature(identityKey, LABEL, bytes, signature),
    };
  }

  #entryOf(name: string): Entry {
    return this.#entries.get(name) ?? unknownProtocol(name, this.#entries.keys());
  }
}
