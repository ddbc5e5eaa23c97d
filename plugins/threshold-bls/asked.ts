/**
 * Asked: the ceremonies whose end somebody still waits to hear, in rows `asked/TOPIC` of what is volatile. A command that was
 * stopped leaves its ceremony to go on; asked again after that has ended, it gives the result instead of beginning anew.
 */
import type { Host, Transaction } from '../../src/index.ts';
import type { CeremonyView, OpenRequest, Rounds } from '../../src/rounds/index.ts';

const NOTHING = new Uint8Array(0);

/** What somebody asks for. */
export interface Asked {
  /** Any of them would do. */
  readonly requests: readonly OpenRequest<unknown, unknown>[];
  /** Topic of an earlier ceremony with the same end. */
  readonly earlier?: string | undefined;
}

/** What is waited for. */
export interface Opened {
  readonly topics: readonly string[];
  /** The same was done before, and whoever asked was told: now it is done once more. */
  readonly repeats?: CeremonyView;
  /** It is done, and nobody was told. */
  readonly untold?: CeremonyView;
}

/**
 * Opens what is asked for, unless one of it is done and nobody has been told yet. Both in one transaction, with the reading
 * of what the requests are made of: a ceremony that is done in between would begin anew, and nobody would come to it.
 * @returns the topics, of which one is to be waited for
 * @throws BotError as `Rounds.open`
 */
export async function openUntold(
  tx: Transaction,
  ceremonies: Rounds,
  { requests, earlier }: Asked,
): Promise<Opened> {
  const topics = requests.map((request) => ceremonies.topic(request));
  const all = earlier === undefined ? topics : [earlier, ...topics];
  const done: CeremonyView[] = [];
  for (const topic of all) {
    const view = await ceremonies.viewIn(tx, topic);
    if (view?.state === 'done') done.push(view);
  }
  for (const untold of done)
    if ((await tx.volatile.get(askedKey(untold.topic))) !== undefined) return { topics: all, untold };
  for (const request of requests) tx.volatile.put(askedKey(await ceremonies.openIn(tx, request)), NOTHING);
  const [repeats] = done;
  return { topics, ...(repeats && { repeats }) };
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
