/**
 * Live codes: those of runs under way, in memory alone (V-19), so that none is sent over the channel that it is there to
 * check (V-20). They end with their run, or with the process.
 */
import type { Aci, Bytes } from '../../../src/index.ts';
import { mentionsCode } from '../guard.ts';
import { isSame } from '../messages/wire.ts';

interface LiveCode {
  readonly runId: Bytes;
  /** Normalised. */
  readonly text: string;
}

export class LiveCodes {
  readonly #codes = new Map<Aci, LiveCode>();

  add(peer: Aci, runId: Bytes, text: string): void {
    this.#codes.set(peer, { runId, text });
  }

  end(peer: Aci, runId: Bytes): void {
    const code = this.#codes.get(peer);
    if (code !== undefined && isSame(code.runId, runId)) this.#codes.delete(peer);
  }

  /** Contacts whose code is in this text. */
  within(text: string): readonly Aci[] {
    return [...this.#codes].filter(([, code]) => mentionsCode(text, code.text)).map(([peer]) => peer);
  }
}
