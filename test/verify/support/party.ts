/**
 * One side of a verification without a carrier: its slot, counters, session and all that its steps have given. The real
 * machines, rows, primitives and libsignal; only scrypt is cheap.
 */
import { IdentityKeyPair } from '@signalapp/libsignal-client';
import { randomBytes, randomUUID } from 'node:crypto';
import type { Aci } from '../../../src/address.ts';
import { copy, fromUtf8, type Bytes } from '../../../src/bytes.ts';
import { charge, counterKey, NO_COUNTERS, refund, type Counters } from '../../../plugins/verify/limits.ts';
import { decodeSlot, encodeSlot } from '../../../plugins/verify/machine/row.ts';
import { advance, type Advanced, type SessionOpener } from '../../../plugins/verify/machine/settle.ts';
import { EMPTY_SLOT, type Slot } from '../../../plugins/verify/machine/slot.ts';
import type { Own, RunState } from '../../../plugins/verify/machine/state.ts';
import type { Arrived, Effect, Env, Event, Notice, Trusted } from '../../../plugins/verify/machine/step.ts';
import { Mhf } from '../../../plugins/verify/math/mhf.ts';
import { nodePrimitives, opensslScrypt } from '../../../plugins/verify/math/node.ts';
import { makeShare, type Random } from '../../../plugins/verify/math/spake2.ts';
import { startSuite2 } from '../../../plugins/verify/math/suite2.ts';
import { decodeFrame, type FrameType, type Profile } from '../../../plugins/verify/messages/frame.ts';
import type { Party as Address } from '../../../plugins/verify/messages/service-id.ts';
import { BareSession } from '../../../plugins/verify/session/bare-session.ts';

export const CHEAP = { log2N: 4, r: 8, p: 1 };
const mhf = new Mhf(opensslScrypt, { params: CHEAP, minLog2N: 4, maxLog2N: 4 });
export const ENV: Env = { primitives: { ...nodePrimitives, mhf }, maxProfile: 2 };
export const random: Random = { bytes: (length) => copy(randomBytes(length)) };

export const T0 = 1_800_000_000_000;
export const LIFETIME = 600_000;
const NONE: Bytes = new Uint8Array(0);

export interface Sent {
  readonly bytes: Bytes;
  readonly device: number | undefined;
}

export interface Options {
  readonly mode?: 1 | 2;
  readonly profile?: Profile;
  readonly aci?: Aci;
  readonly device?: number;
}

export class Party {
  readonly mode: 1 | 2;
  readonly profile: Profile;
  readonly identity = IdentityKeyPair.generate();
  readonly own: Own;
  readonly session: BareSession;
  env = ENV;
  /** The slot goes through its row at each step, which is half the work of one. */
  keepsRows = true;
  /** What this side holds the peer's identity key for. */
  view: Bytes | undefined;
  opener: SessionOpener;
  now = T0;
  slot: Slot = EMPTY_SLOT;
  counters: Counters = NO_COUNTERS;
  channel = NONE;
  /** Frames that have left, oldest first. */
  readonly sent: Sent[] = [];
  readonly notices: Notice[] = [];
  readonly trusted: Trusted[] = [];
  readonly contradicted: Bytes[] = [];
  readonly effects: Effect[] = [];
  /** The last step's. */
  last: Advanced | undefined;

  constructor({ mode = 1, profile = 2, aci = randomUUID() as Aci, device = 2 }: Options = {}) {
    this.mode = mode;
    this.profile = profile;
    const identityKey = this.identity.publicKey.serialize();
    const registrationId = 1234;
    this.own = { aci, device, registrationId, identityKey, mayBeIntroduced: false, pni: undefined };
    this.session = new BareSession({
      ...{ party: this.address, registrationId, identity: this.identity.privateKey, random },
      now: () => this.now,
    });
    this.opener = this.session;
  }

  get address(): Address {
    return { aci: this.own.aci, device: this.own.device };
  }

  get run(): RunState | undefined {
    return this.slot.run;
  }

  get kind(): RunState['kind'] | 'none' {
    return this.slot.run?.kind ?? 'none';
  }

  /** Why the run has ended, as operators hear it. */
  get ended(): string | undefined {
    return this.notices.flatMap((notice) => (notice.kind === 'ended' ? [notice.reason] : [])).at(-1);
  }

  /** The last frame of a type that has left. */
  frame(type: FrameType): Bytes {
    const found = this.sent.findLast(({ bytes }) => decodeFrame(bytes)?.body.type === type);
    if (found === undefined) throw new Error(`no ${type} has left`);
    return found.bytes;
  }

  /** One event, committed: the slot goes through its row, and what must be done next is done. */
  async give(event: Event): Promise<readonly Effect[]> {
    const result = await advance(this.env, this.slot, event, this.opener);
    this.last = result;
    this.slot = this.keepsRows ? slotOf(encodeSlot(result.slot)) : result.slot;
    this.effects.push(...result.effects);
    for (const effect of result.effects) this.#carryOut(effect);
    if (!result.effects.some(({ kind }) => kind === 'continue')) return result.effects;
    const more = await this.give({ kind: 'continue', now: this.now, view: this.view });
    return [...result.effects, ...more];
  }

  async start(peer: Party | undefined, code: string, runId: Bytes = random.bytes(16)): Promise<void> {
    const w = await this.#stretch(code, runId);
    const share = makeShare(this.env.primitives.p256, 'A', w, random);
    await this.give({
      ...{ kind: 'start', now: this.now, own: this.own, peer: this.mode === 1 ? peer?.own.aci : undefined },
      ...{ profile: this.profile, format: 1, mhf: CHEAP, lifetimeMs: LIFETIME, runId, w, share },
      ...{ nonce: random.bytes(32), channel: this.channel },
    });
  }

  async type(code: string, wantsSession = false): Promise<void> {
    const runId = this.run?.runId ?? random.bytes(16);
    const w = await this.#stretch(code, runId);
    const share = makeShare(this.env.primitives.p256, 'B', w, random);
    const { now, own, view, channel } = this;
    await this.give({ kind: 'typed', now, runId, own, w, share, view, wantsSession, channel });
  }

  async greet(password: string): Promise<void> {
    const bytes = fromUtf8(password);
    await this.give({
      ...{
        kind: 'greet',
        now: this.now,
        own: this.own,
        profile: this.profile,
        format: 3,
        lifetimeMs: LIFETIME,
      },
      ...{ password: bytes, share: startSuite2('S', bytes, random), channel: this.channel },
    });
  }

  /** Bytes from a peer. @param more what the envelope says where it is not the plain truth */
  take(bytes: Bytes, from: Party, more: Partial<Arrived> = {}): Promise<readonly Effect[]> {
    const isNamed = this.mode === 1;
    return this.give({
      ...{ kind: 'frame', bytes: copy(bytes), now: this.now, gate: 'open' },
      from: isNamed ? from.address : undefined,
      openedUnder: isNamed ? from.own.identityKey : undefined,
      ...more,
    });
  }

  /** As if it had never had a run; its keys stay. */
  reset(): this {
    [this.slot, this.counters, this.last] = [EMPTY_SLOT, NO_COUNTERS, undefined];
    for (const list of [this.sent, this.notices, this.trusted, this.contradicted, this.effects])
      list.length = 0;
    return this;
  }

  at(ms: number): this {
    this.now = T0 + ms;
    return this;
  }

  #stretch(code: string, runId: Bytes): Promise<Bytes> {
    return mhf.codeToW({ code, suite: 1, runId, params: CHEAP });
  }

  #carryOut(effect: Effect): void {
    const peer = counterKey(this.run !== undefined && 'peer' in this.run ? this.run.peer : undefined);
    if (effect.kind === 'send') this.sent.push({ bytes: effect.frame, device: effect.device });
    if (effect.kind === 'charge') {
      this.counters = charge(this.counters, { peer, runId: effect.runId, time: this.now });
    }
    if (effect.kind === 'refund') this.counters = refund(this.counters, effect.runId);
    if (effect.kind === 'notice') this.notices.push(effect.notice);
    if (effect.kind === 'trusted') this.trusted.push(effect.trusted);
    if (effect.kind === 'contradicted') this.contradicted.push(effect.identityKey);
    if (effect.kind === 'wipe') for (const secret of effect.secrets) secret.fill(0);
  }
}

/** A slot out of its row. */
export function slotOf(row: Bytes): Slot {
  const slot = decodeSlot(row);
  if (slot === undefined) throw new Error('the row cannot be read');
  return slot;
}

/** Two parties that know each other's true keys, unless a test changes that. */
export function couple(options: Options = {}): [Party, Party] {
  const [alice, bob] = [new Party({ device: 2, ...options }), new Party({ ...options, device: 3 })];
  if (alice.mode === 1) [alice.view, bob.view] = [bob.own.identityKey, alice.own.identityKey];
  return [alice, bob];
}

/**
 * A run from the code to DONE.
 * @param typed what Bob types, where it is not the code
 * @param travel how long a frame is under way; otherwise it is there in the turn of the event loop in which it left
 */
export async function verify(
  alice: Party,
  bob: Party,
  code = '482913',
  typed = code,
  travel: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await alice.start(bob, code);
  await travel();
  await bob.take(alice.frame('offer'), alice);
  await travel();
  await bob.type(typed);
  await travel();
  await alice.take(bob.frame('reply'), bob);
  await travel();
  await bob.take(alice.frame('proof'), alice);
  await travel();
  await alice.take(bob.frame('accept'), bob);
  await travel();
  await bob.take(alice.frame('done'), alice);
}
