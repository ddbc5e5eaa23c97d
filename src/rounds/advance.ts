/**
 * Advance: from the messages of one round to those of the next.
 *
 * Where all are needed: all messages of the round are there -> we confirm the hashes of the broadcasts we saw -> all
 * others have confirmed the same -> step. So nothing of the next round leaves before everyone has seen the same. Where a
 * quorum is enough: enough messages are there -> step.
 */
import { EMPTY, equal, type Bytes } from '../bytes.ts';
import { BotError } from '../errors.ts';
import { decodeFrame, encodeFrame, signedBytes, type FrameOf, type Seen, type Signed } from './frame.ts';
import { misstepOf } from './misstep.ts';
import { ceremonyId, hash, type Present } from './proposal.ts';
import type { Blame, Received, RoundMessages, Setting, Step } from './protocol.ts';
import {
  abort,
  blame,
  canRegroup,
  confirmSlot,
  finish,
  HELD,
  hold,
  isPartial,
  keyOf,
  othersOf,
  quorumOf,
  remaining,
  roundOf,
  send,
  slotOf,
  startStage,
  type Draft,
} from './run.ts';

/** Why a ceremony ends where nobody is proven to lie, so far. */
export const MISMATCH = 'the parties have not seen the same';

const NO_HASH: Bytes = new Uint8Array(32);

/** All who take part are known: the ceremony has its id, and round 1 is made. */
export function begin(draft: Draft, present: readonly Present[]): void {
  const { run, protocol } = draft;
  run.present = present;
  run.id = ceremonyId(run.topic, present);
  run.phase = 'running';
  const input = run.slots.get('input') ?? EMPTY;
  if (!isPartial(draft)) run.slots.delete('input'); // else it may begin anew
  settle(draft, () => protocol.start(settingOf(draft), protocol.input.decode(input)));
  advance(draft);
}

/** The ceremony in hand came to nothing: nothing of it is left, and one of others begins, with its own id. */
export function beginAnew(draft: Draft, present: readonly Present[]): void {
  const { run } = draft;
  for (const key of run.slots.keys())
    if (key.startsWith('m/') || key.startsWith('c/') || key === 'state') run.slots.delete(key);
  run.round = 0;
  run.gone = run.blame.map(({ party }) => party);
  begin(draft, present);
}

/** Goes on as far as what has arrived leads. */
export function advance(draft: Draft): void {
  const { run } = draft;
  while (run.phase === 'running') {
    const isReady = isPartial(draft) ? hasQuorum(draft) : isConfirmed(draft);
    if (!isReady) return;
    const before = run.round;
    const { protocol } = draft;
    const held = run.slots.get(HELD);
    if (held !== undefined) {
      finish(draft, protocol.output.decode(held));
      return;
    }
    const state = run.slots.get('state') ?? EMPTY;
    const messages = messagesOf(draft);
    const gone = run.gone.length;
    settle(draft, () => protocol.step(settingOf(draft), protocol.state.decode(state), messages));
    // Told to wait: only another message changes that, or that somebody is left out now.
    if (run.round === before && run.gone.length === gone) return;
  }
}

/** Whether all that this party owes us in a round is there. */
export function isComplete({ run, protocol }: Draft, round: number, sender: number): boolean {
  const { broadcast = false, private: isPrivate = false } = roundOf(protocol, round) ?? {};
  const has = (recipient: number): boolean => run.slots.has(slotOf(round, sender, recipient));
  return (!broadcast || has(0)) && (!isPrivate || sender === run.self || has(run.self));
}

function hasQuorum(draft: Draft): boolean {
  const { run, protocol } = draft;
  const need = quorumOf(protocol, run.proposal);
  const left = remaining(run);
  if (left.length < need) {
    if (!canRegroup(draft)) abort(draft, 'too few parties are left');
    return false;
  }
  return left.filter((index) => isComplete(draft, run.round, index)).length >= need;
}

function isConfirmed(draft: Draft): boolean {
  const { run } = draft;
  const { round, self, topic, id } = run;
  if (!run.present.every(({ index }) => isComplete(draft, round, index))) return false;
  const seen = run.present.map(({ index }) => ({ index, hash: hashOf(draft, index) }));
  if (!run.slots.has(confirmSlot(round, self))) {
    holdOutput(draft);
    const frame = encodeFrame({ kind: 'confirm', topic, id, round, seen });
    run.slots.set(confirmSlot(round, self), frame);
    for (const other of othersOf(run)) send(draft, other, frame);
  }
  const confirmed = othersOf(run).filter((other) => run.slots.has(confirmSlot(round, other)));
  for (const other of confirmed) {
    const theirs = confirmOf(draft, other);
    const wrong = seen.find(({ index, hash: mine }) => !equal(mine, hashIn(theirs, index)));
    if (wrong === undefined) continue;
    // Names nobody: either could lie. What we have goes along, so that who has seen another one can prove it.
    const shown = messageIn(draft, wrong.index, 0);
    abort(draft, MISMATCH, { evidence: shown === undefined ? [] : [shown] });
    return false;
  }
  return confirmed.length === othersOf(run).length;
}

/** The last step is made before we confirm what it is made of. Where it gives no output, that is said after. */
function holdOutput(draft: Draft): void {
  const { run, protocol } = draft;
  if (protocol.isHeld !== true || run.round < protocol.rounds.length) return;
  try {
    const state = protocol.state.decode(run.slots.get('state') ?? EMPTY);
    const step = protocol.step(settingOf(draft), state, messagesOf(draft));
    if (step.kind !== 'done') return;
    readBack(draft, step.output);
    hold(draft, step.output);
  } catch {
    return; // it fails again once all have confirmed, and ends the ceremony
  }
}

function settle(draft: Draft, make: () => Step<unknown, unknown>): void {
  const failed = `the protocol ${draft.protocol.name} has failed`;
  try {
    const step = make();
    const wrong = misstepOf(draft, step);
    if (wrong !== undefined) {
      draft.fault = { error: new BotError('PLUGIN_FAILED', wrong) };
      abort(draft, `${failed}: ${wrong}`);
    } else follow(draft, step);
  } catch (error) {
    // What others sent must not keep this from ending; a fault of the protocol's author ends it too. What it says is of our
    // own state, and stays here.
    draft.fault = { error };
    abort(draft, failed);
  }
}

function follow(draft: Draft, step: Step<unknown, unknown>): void {
  if (step.kind === 'done') readBack(draft, step.output);
  blame(draft, step.blame);
  if (step.kind === 'abort') abort(draft, step.reason);
  else if (step.kind === 'done') finish(draft, step.output);
  else if (step.kind === 'next') next(draft, step);
  else if (!isPartial(draft) || isExhausted(draft, step.blame)) abort(draft, 'what has come is not enough');
}

/** An output that cannot be written, or read again, would fail wherever the ceremony is looked at. */
function readBack({ protocol: { output } }: Draft, value: unknown): void {
  output.decode(new Uint8Array(output.encode(value)));
}

/** Nobody is left who could still send something that helps. */
function isExhausted(draft: Draft, blamed: readonly Blame[] = []): boolean {
  const { run } = draft;
  return blamed.length === 0 && remaining(run).every((index) => isComplete(draft, run.round, index));
}

function next(draft: Draft, step: Extract<Step<unknown, unknown>, { kind: 'next' }>): void {
  const { run, protocol } = draft;
  const last = run.round;
  const round = last + 1;
  const state = protocol.state.encode(step.state);
  const made = [
    ...(step.broadcast === undefined ? [] : [signed(draft, round, 0, step.broadcast)]),
    ...[...(step.private ?? [])].map(([recipient, body]) => signed(draft, round, recipient, body)),
  ];
  // Confirmed by their recipients, or taken into the state: nobody can need them again.
  for (const other of othersOf(run)) {
    run.slots.delete(slotOf(last, run.self, other));
    run.slots.delete(slotOf(last, other, run.self));
  }
  run.round = round;
  run.slots.set('state', new Uint8Array(state));
  for (const message of made) {
    const frame = encodeFrame({ kind: 'message', topic: run.topic, ...message });
    run.slots.set(slotOf(round, run.self, message.recipient), frame);
    const to = message.recipient === 0 ? othersOf(run) : [message.recipient];
    for (const other of to) send(draft, other, frame);
  }
  startStage(draft);
}

function signed(draft: Draft, round: number, recipient: number, body: Bytes): Signed {
  const { run } = draft;
  const content = { id: run.id, round, sender: run.self, recipient, body };
  return { ...content, signature: draft.sign(signedBytes(content)) };
}

function settingOf(draft: Draft): Setting<unknown> {
  const { run, protocol, random } = draft;
  const { parties, params, message, epoch } = run.proposal;
  return {
    id: run.id,
    self: run.self,
    parties,
    present: run.present.map(({ index }) => index),
    params: protocol.params.decode(params),
    message,
    epoch,
    round: run.round + 1,
    random,
    isSigned: (shown) =>
      draft.verify(keyOf(parties, shown.sender), signedBytes({ ...shown, id: run.id }), shown.signature),
  };
}

function messagesOf(draft: Draft): RoundMessages {
  const { run } = draft;
  const found = new Map<number, Received>();
  for (const index of remaining(run)) {
    if (!isComplete(draft, run.round, index)) continue;
    const all = messageIn(draft, index, 0);
    const mine = messageIn(draft, index, run.self);
    found.set(index, {
      ...(all === undefined ? {} : { broadcast: all.body }),
      ...(mine === undefined ? {} : { private: mine.body, signature: mine.signature }),
    });
  }
  return found;
}

function messageIn({ run }: Draft, sender: number, recipient: number): FrameOf<'message'> | undefined {
  const frame = run.slots.get(slotOf(run.round, sender, recipient));
  return frame === undefined ? undefined : (decodeFrame(frame) as FrameOf<'message'>);
}

function confirmOf({ run }: Draft, sender: number): readonly Seen[] {
  const frame = run.slots.get(confirmSlot(run.round, sender));
  return frame === undefined ? [] : (decodeFrame(frame) as FrameOf<'confirm'>).seen;
}

function hashIn(seen: readonly Seen[], index: number): Bytes {
  return seen.find((entry) => entry.index === index)?.hash ?? EMPTY;
}

/** Of the broadcast of the round in hand. */
function hashOf(draft: Draft, sender: number): Bytes {
  const message = messageIn(draft, sender, 0);
  return message === undefined ? NO_HASH : hash('countersign rounds broadcast v1', message.body);
}
