/**
 * Tagging: the outer tag on what is sealed for devices that have announced that they take one (`session/outer-tag.ts`).
 * No other device ever gets one, so nothing that official apps see is changed.
 */
import { isPni, type Address } from '../address.ts';
import { equal, type Bytes } from '../bytes.ts';
import type { Identities } from '../identities/identities.ts';
import type { Clock } from '../platform.ts';
import {
  addTag,
  dayOf,
  pairKey,
  readMark,
  rotationOf,
  type OuterEnd,
  type Rotation,
} from '../session/outer-tag.ts';
import type { OwnIdentity } from '../session/own-identity.ts';
import type { SealedMessage } from '../session/session.ts';
import type { Staging } from '../store/store.ts';
import type { PeerDevice } from '../store/rows.ts';

export interface TaggingParts {
  /** Of our ACI. */
  readonly own: OwnIdentity;
  readonly identities: Identities;
  readonly clock: Clock;
}

interface Pair {
  readonly identityKey: Bytes;
  readonly secret: Bytes;
  rotation: Rotation;
}

/** Pairs whose keys are remembered; the oldest go first. */
const REMEMBERED = 4096;

export class Tagging {
  readonly #parts: TaggingParts;
  readonly #self: OuterEnd;
  readonly #pairs = new Map<string, Pair>();
  /** By what a device has announced, which is parsed once for each row. */
  readonly #routes = new WeakMap<readonly string[], ReturnType<typeof readMark>>();

  constructor(parts: TaggingParts) {
    const { serviceId, deviceId, keys } = parts.own;
    this.#parts = parts;
    this.#self = { serviceId, deviceId, identityKey: keys.publicKey.serialize() };
  }

  /** A message as the device is to get it: with a tag, if it takes one. Other devices of our own account need none. */
  async add(
    batch: Staging,
    to: Address['serviceId'],
    { id, tags }: PeerDevice,
    sealed: SealedMessage,
  ): Promise<SealedMessage> {
    const route = tags === undefined ? undefined : this.#route(tags);
    if (route === undefined || isPni(to) || to === this.#self.serviceId) return sealed;
    const identityKey = await this.#parts.identities.key(batch, to);
    if (identityKey === undefined) return sealed;
    const rotation = this.#rotation({ serviceId: to, deviceId: id, identityKey });
    return { ...sealed, content: addTag(sealed.content, route, rotation) };
  }

  #route(tags: readonly string[]): ReturnType<typeof readMark> {
    if (!this.#routes.has(tags)) this.#routes.set(tags, readMark(tags));
    return this.#routes.get(tags);
  }

  #rotation(to: OuterEnd): Rotation {
    const { own, clock } = this.#parts;
    const day = dayOf(clock.now());
    const name = `${to.serviceId}.${String(to.deviceId)}`;
    const known = this.#pairs.get(name);
    if (known !== undefined && equal(known.identityKey, to.identityKey)) {
      if (known.rotation.day !== day) known.rotation = rotationOf(known.secret, day);
      return known.rotation;
    }
    const secret = pairKey(own.keys.privateKey, to.identityKey, this.#self, to);
    const pair = { identityKey: to.identityKey, secret, rotation: rotationOf(secret, day) };
    const oldest = this.#pairs.keys().next();
    if (this.#pairs.size >= REMEMBERED && oldest.done !== true) this.#pairs.delete(oldest.value);
    this.#pairs.set(name, pair);
    return pair.rotation;
  }
}
