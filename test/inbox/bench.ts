/** A bench for dispatchers: rows that are given one by one, handlers that a test writes, a clock that stands. */
import { afterEach } from 'vitest';
import type { Aci, ServiceId } from '../../src/address.ts';
import { Dispatcher, type DispatcherParts } from '../../src/inbox/dispatcher.ts';
import type { Call } from '../../src/inbox/attempt.ts';
import type { Message, Task } from '../../src/inbox/lane.ts';
import { openMemory } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import type { InboxRow } from '../../src/store/rows.ts';
import { deadRows, inboxRows } from '../../src/store/tables.ts';
import { ManualClock, settle, testPlatform } from '../support/clock.ts';
import { textRow } from '../support/inbox-row.ts';

export const A = '00000000-0000-4000-8000-00000000000a' as Aci;
export const B = '00000000-0000-4000-8000-00000000000b' as Aci;

export type Handle = (text: string, call: Call, message: Message) => unknown;

function textOf({ content }: Message): string {
  return content.kind === 'text' ? content.text : content.kind;
}

export async function rowsOf(store: Store): Promise<number[]> {
  const ids: number[] = [];
  for await (const [rest] of inboxRows.scan(store)) ids.push(Number(rest));
  return ids;
}

export async function deadOf(store: Store): Promise<InboxRow[]> {
  const found: InboxRow[] = [];
  for await (const [, row] of deadRows.scan(store)) found.push(row);
  return found;
}

/** A dispatcher with one plugin per entry of `handlers`, each in one lane per conversation. */
export class Bench {
  readonly clock = new ManualClock();
  readonly store: Store;
  readonly stop = new AbortController();
  readonly dispatcher: Dispatcher;
  rings = 0;
  running: Promise<void> | undefined;
  #lastId = 0;

  constructor(
    handlers: Record<string, Handle>,
    options: Partial<DispatcherParts> & {
      deadlineMs?: number;
      lane?: (message: Message) => string;
      /** The plugin whose rows are not kept when they have failed. */
      discarded?: string;
    } = {},
  ) {
    this.store = options.store ?? openMemory();
    const { deadlineMs, lane, discarded, ...parts } = options;
    const route = (message: Message): Task[] =>
      Object.entries(handlers).map(([plugin, handle]) => ({
        plugin,
        lane: lane?.(message) ?? message.row.source,
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
        discards: plugin === discarded,
        run: (call) => handle(textOf(message), call, message),
      }));
    this.dispatcher = new Dispatcher({
      platform: testPlatform({ clock: this.clock }),
      router: { route },
      onRow: () => {
        this.rings++;
      },
      ...parts,
      store: this.store,
    });
  }

  start(): this {
    this.running = this.dispatcher.run(this.stop.signal);
    this.running.catch(() => undefined);
    return this;
  }

  /** Stores a row and offers it, as the receiver does. */
  give(source: ServiceId, text: string, offer = true): Promise<void> {
    const id = ++this.#lastId;
    const row = textRow(source, text);
    const batch = this.store.batch();
    inboxRows.put(batch, id, row);
    const durable = batch.commit();
    if (offer) this.dispatcher.offer(id, row);
    return durable;
  }

  async end(): Promise<void> {
    this.stop.abort();
    await settle();
    await this.clock.advance(10_000);
    await this.running;
  }
}

const benches: Bench[] = [];
export function bench(...args: ConstructorParameters<typeof Bench>): Bench {
  const made = new Bench(...args);
  benches.push(made);
  return made;
}
afterEach(async () => {
  for (const made of benches.splice(0)) await made.end().catch(() => undefined);
});
