/**
 * What a plugin writes about identities, sessions and held messages: on its own batch, with what else it stages.
 */
import type { Aci, Address, DeviceId, ServiceId } from '../address.ts';
import { own, type Bytes } from '../bytes.ts';
import { BotError, type ErrorCode } from '../errors.ts';
import type { Identities } from '../identities/identities.ts';
import type { ContactIdentity } from '../identities/state.ts';
import { falseKeysOf, transition, type TrustChange } from '../identities/transitions.ts';
import { countParked, discardParked } from '../inbox/parking.ts';
import type { Guard } from '../outbox/gate.ts';
import { hasSentTo, releaseHeld } from '../outbox/holding.ts';
import type { Carrier as CarrierSessions } from '../session/carrier.ts';
import { deleteSessions } from '../session/peer-devices.ts';
import type { RunSessions } from '../session/run-sessions.ts';
import type { Exposure, Proof } from '../store/identity-row.ts';
import type { Batch, Staging, Store } from '../store/store.ts';
import { contacts, identityRows, peers, senderKeys, sessions } from '../store/tables.ts';
import type {
  Acquaintance,
  Carrier,
  IdentityWrites,
  InboxWrites,
  OutboxWrites,
  OwnKey,
  PinOptions,
  PniBlock,
  RunBundle,
  RunPrekeys,
  SessionWrites,
  StateChange,
  TrustTransaction,
} from '../trust.ts';
import type { Desk } from './desk.ts';
import { allExposures, exposuresOf, noteExposed } from './exposure.ts';
import { verifyPniBlock } from './own-key.ts';

export interface TrustParts {
  readonly store: Store;
  readonly identities: Identities;
  readonly carrier: CarrierSessions;
  readonly runs: RunSessions;
  readonly desk: Desk;
  readonly ownAci: Aci;
  readonly own: OwnKey;
  /** Asked before a text is sealed; plugins add theirs. */
  readonly guards: Guard[];
  /** Runs alone among all that touches this peer's sessions. */
  readonly exclusive: <T>(peer: ServiceId, work: () => Promise<T>) => Promise<T>;
  /** The identity key that the service gives out for this device's account; undefined where it does not say. */
  readonly servedKey: (of: Address) => Promise<Bytes | undefined>;
}

type AciAddress = Address & { readonly serviceId: Aci };

export function trustTransaction(parts: TrustParts, staging: Staging): TrustTransaction {
  return {
    identities: new StagedIdentities(parts, staging),
    sessions: new StagedSessions(parts, staging),
    inbox: new StagedInbox(parts, staging),
    outbox: new StagedOutbox(parts, staging),
  };
}

class StagedIdentities implements IdentityWrites {
  readonly #parts: TrustParts;
  readonly #staging: Staging;

  constructor(parts: TrustParts, staging: Staging) {
    this.#parts = parts;
    this.#staging = staging;
  }

  get(aci: ServiceId): Promise<ContactIdentity> {
    return this.#parts.identities.get(this.#staging, aci);
  }

  async name(aci: Aci): Promise<string | undefined> {
    return (await contacts.get(this.#staging, aci))?.name;
  }

  async acquaintance(aci: Aci): Promise<Acquaintance> {
    const { evidence } = await this.get(aci);
    if (evidence.length > 0 || (await contacts.get(this.#staging, aci)) !== undefined) return 'known';
    return (await hasSentTo(this.#parts.store, aci)) ? 'answered' : 'stranger';
  }

  async pin(
    aci: Aci,
    key: Uint8Array,
    proof: Proof,
    { found }: PinOptions = {},
  ): Promise<'verified' | 'changed'> {
    if (aci === this.#parts.ownAci) throw new BotError('CONTENT_INVALID', 'this is our own account');
    const change: Extract<TrustChange, { kind: 'proven' }> = {
      kind: 'proven',
      key: own(key),
      proof,
      ...(found === undefined ? {} : { found: copyOf(found) }),
    };
    const step = await this.#change(aci, change);
    if (step.after.state !== 'verified') return 'changed';
    const falseKeys = falseKeysOf(change.found);
    if (falseKeys.length > 0) await noteExposed(this.#parts.store, this.#staging, step, falseKeys);
    return 'verified';
  }

  async wouldPin(aci: Aci, key: Uint8Array): Promise<'verified' | 'changed'> {
    const row = await identityRows.get(this.#staging, aci);
    const proof: Proof = { kind: 'safety-number', by: 'operator', at: 0 };
    const state = transition(row, { kind: 'proven', key: own(key), proof }, 0)?.state;
    return state === 'verified' ? 'verified' : 'changed';
  }

  async setState(aci: Aci, change: StateChange): Promise<ContactIdentity['state']> {
    return (await this.#change(aci, changeOf(change))).after.state;
  }

  async bindPni(aci: Aci, block: PniBlock): Promise<void> {
    const { identities } = this.#parts;
    const { state, pin } = await identities.get(this.#staging, aci);
    if (state !== 'verified' || pin === undefined)
      throw new BotError('PEER_UNVERIFIED', `${aci} is ${state}: a PNI is bound to a verified key only`);
    if (!verifyPniBlock(pin, block) || !(await identities.bind(this.#staging, aci, block.pni, block.key)))
      throw new BotError('CONTENT_INVALID', 'the PNI is not theirs, or somebody else has it');
  }

  #change(aci: Aci, change: TrustChange): ReturnType<Identities['change']> {
    return this.#parts.identities.change(this.#staging, aci, change);
  }
}

function copyOf({
  kind,
  falseKey,
  alsoFalse = [],
}: NonNullable<PinOptions['found']>): NonNullable<Extract<TrustChange, { kind: 'proven' }>['found']> {
  return { kind, falseKey: own(falseKey), alsoFalse: alsoFalse.map((key) => own(key)) };
}

function changeOf(change: StateChange): TrustChange {
  switch (change.kind) {
    case 'introduce':
      return { kind: 'introduced', key: own(change.key), evidence: change.evidence };
    case 'unintroduce':
      return { kind: 'unintroduced' };
    case 'revoke':
      return { kind: 'revoked', key: own(change.key) };
    case 'accept':
      return { kind: 'accepted', key: own(change.key) };
  }
}

class StagedSessions implements SessionWrites {
  readonly #parts: TrustParts;
  readonly #batch: Batch;

  constructor(parts: TrustParts, staging: Staging) {
    this.#parts = parts;
    this.#batch = uncommitted(staging);
  }

  openFromBundle(
    aci: Aci,
    identityKey: Uint8Array,
    bundle: RunBundle,
    plaintext: Uint8Array,
  ): Promise<Bytes> {
    return this.#parts.runs.openFromBundle(this.#batch, aci, own(identityKey), bundle, own(plaintext));
  }

  openInitial(
    from: AciAddress,
    message: Uint8Array,
    prekeys: RunPrekeys,
    registrationId?: number,
  ): Promise<Bytes> {
    return this.#parts.runs.openInitial(this.#batch, from, own(message), prekeys, registrationId);
  }

  sealWhisper(to: AciAddress, plaintext: Uint8Array): Promise<Bytes> {
    return this.#parts.runs.sealWhisper(this.#batch, to, own(plaintext));
  }

  openWhisper(from: AciAddress, message: Uint8Array): Promise<Bytes> {
    return this.#parts.runs.openWhisper(this.#batch, from, own(message));
  }

  async deleteAll(aci: Aci): Promise<void> {
    await deleteSessions(this.#parts.store, this.#batch, aci);
  }

  async devicesWith(aci: Aci, tag: string): Promise<readonly DeviceId[]> {
    const { devices = [] } = (await peers.get(this.#batch, 'aci', aci)) ?? {};
    return devices.filter(({ tags = [] }) => tags.includes(tag)).map(({ id }) => id);
  }

  isAnswered(device: AciAddress): Promise<boolean> {
    return this.#parts.runs.isAnswered(this.#batch, device);
  }

  async dropUnanswered(to: AciAddress): Promise<boolean> {
    if (await this.isAnswered(to)) return false;
    sessions.delete(this.#batch, 'aci', to.serviceId, to.deviceId);
    return true;
  }

  moveToCarrier(aci: Aci): Promise<void> {
    return this.#parts.carrier.move(this.#batch, aci);
  }

  carrier(aci: Aci): Carrier {
    const { carrier } = this.#parts;
    return {
      exists: () => carrier.isOpen(this.#batch, aci),
      end: () => carrier.end(this.#batch, aci),
    };
  }

  /** Those of our other devices, which they have sent us, are theirs to rotate. */
  async rotateSenderKeys(): Promise<void> {
    const { store, ownAci, own: device } = this.#parts;
    for await (const [distributionId] of senderKeys.scan(store, [ownAci, device.deviceId])) {
      senderKeys.delete(this.#batch, ownAci, device.deviceId, distributionId);
    }
  }
}

class StagedInbox implements InboxWrites {
  readonly #parts: TrustParts;
  readonly #staging: Staging;

  constructor(parts: TrustParts, staging: Staging) {
    this.#parts = parts;
    this.#staging = staging;
  }

  parked(aci: Aci): Promise<number> {
    return countParked(this.#parts.store, aci);
  }

  replay(aci: Aci): Promise<void> {
    const { desk } = this.#parts;
    desk.after(this.#staging, () => {
      desk.settle(aci);
    });
    return Promise.resolve();
  }

  async discard(aci: Aci): Promise<void> {
    await discardParked(this.#parts.store, this.#staging, aci);
  }
}

class StagedOutbox implements OutboxWrites {
  readonly #parts: TrustParts;
  readonly #staging: Staging;

  constructor(parts: TrustParts, staging: Staging) {
    this.#parts = parts;
    this.#staging = staging;
  }

  hold(aci: Aci, code: ErrorCode): Promise<void> {
    return this.#parts.identities.hold(this.#staging, aci, code);
  }

  async release(aci: Aci): Promise<void> {
    const { store, identities, desk } = this.#parts;
    await identities.hold(this.#staging, aci, undefined);
    await releaseHeld(store, this.#staging, aci);
    desk.after(this.#staging, () => {
      desk.settle(aci);
    });
  }

  exposed(aci: Aci): Promise<readonly Exposure[]> {
    return exposuresOf(this.#parts.store, aci);
  }

  allExposed(): AsyncIterable<readonly [Aci, Exposure]> {
    return allExposures(this.#parts.store);
  }
}

/** A batch in libsignal's stores; its owner commits. */
function uncommitted(staging: Staging): Batch {
  return {
    get: (key) => staging.get(key),
    put: (key, value) => {
      staging.put(key, value);
    },
    delete: (key) => {
      staging.delete(key);
    },
    commit: () => Promise.reject(new BotError('USAGE', 'this batch is committed by its owner')),
  };
}
