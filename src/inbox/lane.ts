/**
 * Lane: the rows of one plugin and one conversation (or of a key that the plugin names), handled one after the other.
 *
 * A lane is free, running, or waiting for the next attempt of its oldest row. Rows that it cannot hold in memory are
 * spilled: they stay in the store only, and the lane remembers the first of them. A waiting lane holds none, so that a
 * conversation that is stuck takes nothing from the others.
 */
import type { InboxRow } from '../store/rows.ts';
import type { Content } from '../content/content.ts';
import type { Call } from './attempt.ts';

/** A stored message, read. */
export interface Message {
  /** Number of its inbox row. */
  readonly id: number;
  readonly row: InboxRow;
  readonly content: Content;
}

/** What one plugin is to do with one message. */
export interface Task {
  readonly plugin: string;
  /** Tasks of one plugin with the same lane run one at a time, in order. The same at every call for the same message. */
  readonly lane: string;
  /** Default 60,000. */
  readonly deadlineMs?: number;
  /** Once it has failed for the last time its row is not kept for it. */
  readonly discards?: boolean;
  /** Writes through `call.staging` only; what it throws counts as a failed attempt. */
  run(call: Call): unknown;
}

/** A row in memory, with what is left to do for it. */
export interface Entry {
  readonly id: number;
  row: InboxRow;
  readonly jobs: Job[];
  /** Jobs that have not ended, wherever they are. */
  open: number;
  /** Jobs queued or running, and commits under way: while there are any, the row stays in memory. */
  active: number;
  /** The commit of another plugin that this row's next one waits for. */
  turn: Promise<void>;
}

export interface Job {
  readonly entry: Entry;
  readonly task: Task;
  readonly lane: Lane;
  state: 'spilled' | 'queued' | 'ended';
}

/** Rows that a lane holds in memory, besides the running one. */
const LANE_ROWS = 64;

export class Lane {
  readonly key: string;
  readonly queue: Job[] = [];
  running = false;
  /** Stands in the line of lanes that can run. */
  ready = false;
  /** ms since 1970; 0 when it does not wait. */
  until = 0;
  /** Number of the first row that is in the store only; Infinity while those are being read. */
  spilled: number | undefined;

  constructor(key: string) {
    this.key = key;
  }

  get takes(): boolean {
    return this.spilled === undefined && this.hasRoom;
  }

  get hasRoom(): boolean {
    return this.until === 0 && this.queue.length < LANE_ROWS;
  }

  get canRun(): boolean {
    return !this.running && !this.ready && this.queue.length > 0;
  }

  /** Has nothing in memory and something in the store. */
  get isHungry(): boolean {
    return (
      this.until === 0 && this.queue.length === 0 && this.spilled !== undefined && this.spilled !== Infinity
    );
  }

  get isIdle(): boolean {
    return !this.running && this.until === 0 && this.queue.length === 0 && this.spilled === undefined;
  }

  spill(id: number): void {
    this.spilled = Math.min(this.spilled ?? Infinity, id);
  }
}

/** Whether one plugin alone has to do with a row. */
export function isAlone(entry: Entry): boolean {
  return entry.jobs.length < 2;
}

/** The turn of one plugin to write the row's progress; the others wait until it has called its commit. */
export async function takeTurn(entry: Entry): Promise<(() => void) | undefined> {
  if (isAlone(entry)) return undefined;
  const before = entry.turn;
  let release: (() => void) | undefined;
  entry.turn = new Promise((resolve) => {
    release = resolve;
  });
  await before;
  return release;
}
