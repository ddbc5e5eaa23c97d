/**
 * Lanes: all lanes of a dispatcher, and which of them can run, want rows from the store, or wait.
 */
import { Lane, type Job } from './lane.ts';

export class Lanes {
  readonly #onHungry: () => void;
  readonly #all = new Map<string, Lane>();
  /** The line of those that can run. */
  readonly #ready: Lane[] = [];
  readonly #hungry = new Set<Lane>();
  readonly #waiting = new Set<Lane>();

  /** @param onHungry called when a lane wants rows from the store; does not throw */
  constructor(onHungry: () => void) {
    this.#onHungry = onHungry;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** One that wants rows from the store. */
  get hungry(): Lane | undefined {
    return this.#hungry.values().next().value;
  }

  of(key: string): Lane {
    let lane = this.#all.get(key);
    if (lane === undefined) this.#all.set(key, (lane = new Lane(key)));
    return lane;
  }

  queue(job: Job): void {
    job.state = 'queued';
    job.entry.active++;
    job.lane.queue.push(job);
    this.settle(job.lane);
  }

  /** Leaves a row to the store. */
  spill(job: Job): void {
    job.state = 'spilled';
    job.lane.spill(job.entry.id);
  }

  /** What `next` will give. */
  get first(): Job | undefined {
    return this.#ready[0]?.queue[0];
  }

  /** The oldest job of the lane whose turn it is. */
  next(): Job | undefined {
    const lane = this.#ready.shift();
    if (lane === undefined) return undefined;
    lane.ready = false;
    return lane.queue.shift();
  }

  /** Puts a lane where it belongs after a change. */
  settle(lane: Lane): void {
    if (lane.canRun) {
      lane.ready = true;
      this.#ready.push(lane);
    }
    if (lane.isHungry) {
      this.#hungry.add(lane);
      this.#onHungry();
    } else {
      this.#hungry.delete(lane);
      // Another may have taken its place, so the key alone is not enough.
      if (lane.isIdle && this.#all.get(lane.key) === lane) this.#all.delete(lane.key);
    }
  }

  /**
   * Lets a lane wait, before it tries `job` again.
   * @param until ms since 1970
   * @returns the jobs that have left memory, `job` among them
   */
  wait(job: Job, until: number): readonly Job[] {
    const { lane } = job;
    const jobs = [job, ...lane.queue.splice(0)];
    lane.until = until;
    this.#waiting.add(lane);
    this.#hungry.delete(lane);
    for (const other of jobs) this.spill(other);
    return jobs;
  }

  /** Ends the waits that are over. @returns the earliest end of the others, ms since 1970; Infinity if there is none */
  wake(now: number): number {
    let earliest = Infinity;
    for (const lane of this.#waiting) {
      if (lane.until > now) {
        earliest = Math.min(earliest, lane.until);
        continue;
      }
      lane.until = 0;
      this.#waiting.delete(lane);
      this.settle(lane);
    }
    return earliest;
  }

  clear(): void {
    for (const lanes of [this.#all, this.#hungry, this.#waiting]) lanes.clear();
    this.#ready.length = 0;
  }
}
