/**
 * App messages of the plugin. Runs must not outlive the store that they began in, so no backup has any of them.
 *
 *   countersign.verify/1        a frame (section 3.2)
 *   countersign.verify-typed/1  to our own other devices: the code of this run was typed (V-21).
 *                               peer's service id 17 | run id 16
 */
import { appType, type Aci, type Bytes } from '../../../src/index.ts';
import { aciBytes, readAci } from '../messages/service-id.ts';
import { concat, Reader } from '../messages/wire.ts';

export interface TypedElsewhere {
  readonly peer: Aci;
  /** 16 bytes. */
  readonly runId: Bytes;
}

export const FRAME = appType('countersign.verify/1');

export const TYPED = appType<TypedElsewhere>('countersign.verify-typed/1', {
  encode: ({ peer, runId }) => concat(aciBytes(peer), runId),
  decode: (payload) => {
    const reader = new Reader(payload);
    const peer = readAci(reader);
    const runId = reader.bytes(16);
    if (peer === undefined || !reader.isDone) throw new RangeError('no typed code');
    return { peer, runId };
  },
});
