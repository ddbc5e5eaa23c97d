/**
 * Asked: the ceremonies whose end somebody still waits to hear, in rows `asked/TOPIC` of what is volatile. A command that was
 * stopped leaves its ceremony to go on; asked again after that has ended, it gives the result instead of beginning anew.
 */
import type { Host } from '../../src/index.ts';
import type { OpenRequest, Rounds } from '../../src/rounds/index.ts';

const NOTHING = new Uint8Array(0);

/**
 * Opens these ceremonies for one end, unless one of them was done and nobody has been told yet.
 * @returns their topics
 * @throws BotError as `Rounds.open`
 */
export async function openUntold(
  host: Host,
  ceremonies: Rounds,
  requests: readonly OpenRequest<unknown, unknown>[],
): Promise<readonly string[]> {
  const topics = requests.map((request) => ceremonies.topic(request));
  for (const topic of topics) if (await isUntold(host, ceremonies, topic)) return topics;
  for (const request of requests) {
    await host.update(async (tx) => {
      tx.volatile.put(askedKey(await ceremonies.openIn(tx, request)), NOTHING);
    });
  }
  return topics;
}

/** Whether it is done, and whoever asked for it has not been told. */
export async function isUntold(host: Host, ceremonies: Rounds, topic: string): Promise<boolean> {
  const asked = await host.update(({ volatile }) => volatile.get(askedKey(topic)));
  return asked !== undefined && (await ceremonies.show(topic))?.state === 'done';
}

/** From now on they begin anew when they are asked for. */
export function setTold(host: Host, topics: readonly string[]): Promise<void> {
  return host.update(({ volatile }) => {
    for (const topic of topics) volatile.delete(askedKey(topic));
  });
}

/** Row of a topic. */
export function askedKey(topic: string): string {
  return `asked/${topic}`;
}
