/**
 * Two accounts that write to each other through a hub, and a third one in the place of one of them.
 */
import type { Bytes } from '../../src/bytes.ts';
import { fromBase64 } from '../../src/bytes.ts';
import { encodeApp, encodeText } from '../../src/content/encode.ts';
import { VERIFY_TAG } from '../../src/session/carrier.ts';
import type { Policy, Proof } from '../../src/store/identity-row.ts';
import { newRow } from '../../src/store/outbox-row.ts';
import type { OutboxRow } from '../../src/store/rows.ts';
import { identityRows, outboxRows } from '../../src/store/tables.ts';
import { trustTransaction } from '../../src/trust/transaction.ts';
import { Hub } from './hub.ts';
import { makePeer, type Peer } from './peer.ts';
import { stationOf, type Station } from './station.ts';

let time = 1_800_000_000_000;

/** A timestamp that was never given before, ms. */
export function nextTime(): number {
  return ++time;
}

export const PROOF: Proof = { kind: 'safety-number', by: 'operator', at: 1 };

export interface Scene {
  readonly hub: Hub;
  readonly alice: Station;
  readonly bob: Station;
}

export async function pair(): Promise<Scene> {
  const [a, b] = [await makePeer(), await makePeer()];
  const hub = new Hub().add(a, b);
  return { hub, alice: await stationOf(hub, a), bob: await stationOf(hub, b) };
}

/** Bob's account with other keys, in his place on the server. */
export async function inPlaceOf(hub: Hub, { peer }: Station): Promise<Station> {
  const other = await makePeer({ aci: peer.aci });
  hub.remove(peer);
  hub.add(other);
  return stationOf(hub, other);
}

export async function leave(from: Station, row: Parameters<typeof newRow>[0]): Promise<OutboxRow> {
  const made = newRow(row);
  const batch = from.peer.store.batch();
  outboxRows.put(batch, made.recipient, made.timestamp, made);
  await batch.commit();
  return made;
}

export async function deliver(
  from: Station,
  row: OutboxRow,
): Promise<{ kind: string; error?: { code: string } }> {
  return from.outbox.sesame.deliver(row, AbortSignal.timeout(10_000));
}

export async function say(
  from: Station,
  to: Station,
  text: string,
  policy?: Policy,
): ReturnType<typeof deliver> {
  const timestamp = nextTime();
  const rule = policy === undefined ? {} : { policy };
  const content = encodeText(text, timestamp);
  return deliver(from, newRow({ recipient: to.peer.aci, timestamp, kind: 'text', content, ...rule }));
}

export async function frame(
  from: Station,
  to: Station,
  payload: string,
  options: { carrier?: boolean; devices?: number[] } = {},
): ReturnType<typeof deliver> {
  const content = encodeApp(VERIFY_TAG, Buffer.from(payload));
  const { aci } = to.peer;
  return deliver(
    from,
    newRow({ recipient: aci, timestamp: nextTime(), kind: 'app', tag: VERIFY_TAG, content, ...options }),
  );
}

/** Texts, and payloads of frames. */
export async function heard(station: Station): Promise<string[]> {
  return (await station.inbox()).map(({ content }) => {
    if (content.kind === 'text') return content.text;
    return content.kind === 'app' ? Buffer.from(content.payload).toString() : content.kind;
  });
}

export async function stateOf(of: Station, about: Station): Promise<string | undefined> {
  return (await identityRows.get(of.peer.store.batch(), about.peer.aci))?.state;
}

export function keyOf({ account }: Peer): Bytes {
  return fromBase64(account.identity.publicKey);
}

/** Alice has heard of Bob, and then somebody with other keys writes under his name. */
export async function changed(texts: readonly string[]): Promise<Scene & { readonly other: Station }> {
  const { hub, alice, bob } = await pair();
  await say(bob, alice, 'it is me');
  await alice.receive();
  const other = await inPlaceOf(hub, bob);
  for (const text of texts) await say(other, alice, text);
  return { hub, alice, bob, other };
}

export async function pin(of: Station, aci: Peer['aci'], key: Bytes): Promise<void> {
  const batch = of.peer.store.batch();
  await trustTransaction(of.trust, batch).identities.pin(aci, key, PROOF);
  await batch.commit();
  of.trust.desk.committed(batch);
}

export async function rows(of: Station, prefix: string): Promise<number> {
  let count = 0;
  for await (const [key] of of.peer.store.scan(prefix)) count += key === '' ? 0 : 1;
  return count;
}
