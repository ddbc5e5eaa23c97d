/**
 * Refusals: who will not come to a ceremony of ours, as another proposal of theirs shows: a party that wants to sign with a
 * share that does not go with ours waits for us elsewhere. It may offer several, one of which we have in common, in any
 * order; so it is given a few seconds. In memory alone: what is forgotten by a stop ends at the deadline.
 */

/** How long one that refuses may still come, and how long it is remembered where nothing is open here yet, ms. */
const PATIENCE_MS = 5_000;
const KEEP_MS = 30_000;
/** Topics and parties that are remembered, the latest. */
const MAX_NOTES = 256;

interface Note {
  readonly topic: string;
  readonly index: number;
  /** ms */
  readonly at: number;
  /** undefined: it has come. */
  readonly reason: string | undefined;
}

export class Refusals {
  readonly #notes = new Map<string, Note>();

  /** A party has proposed something else than this. */
  refused(topic: string, index: number, reason: string, now: number): void {
    const known = this.#notes.get(keyOf(topic, index));
    if (known === undefined || known.at + KEEP_MS <= now) this.#put({ topic, index, reason, at: now });
  }

  /** It has proposed this as well. */
  offered(topic: string, index: number, now: number): void {
    this.#put({ topic, index, at: now, reason: undefined });
  }

  /** Those whose time to come is over, as long as they are remembered. */
  due(now: number): readonly { readonly topic: string; readonly index: number; readonly reason: string }[] {
    const found = [];
    for (const [key, { topic, index, reason, at }] of this.#notes) {
      if (at + KEEP_MS <= now) this.#notes.delete(key);
      else if (reason !== undefined && at + PATIENCE_MS <= now) found.push({ topic, index, reason });
    }
    return found;
  }

  #put(note: Note): void {
    const key = keyOf(note.topic, note.index);
    this.#notes.delete(key);
    this.#notes.set(key, note);
    const oldest = this.#notes.keys().next();
    if (this.#notes.size > MAX_NOTES && oldest.done !== true) this.#notes.delete(oldest.value);
  }
}

function keyOf(topic: string, index: number): string {
  return `${topic} ${String(index)}`;
}
