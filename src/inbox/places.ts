/**
 * Places: a bound on what is under way at once. Who comes when all places are taken waits; one waits at a time.
 */
export class Places {
  readonly #count: number;
  #taken = 0;
  /** What the one that waits is waiting for. */
  #wanted: { readonly taken: number; readonly go: () => void } | undefined;

  constructor(count: number) {
    this.#count = count;
  }

  /** Takes a place, if there is one. */
  tryEnter(): boolean {
    if (this.#taken >= this.#count) return false;
    this.#taken++;
    return true;
  }

  /** Takes a place as soon as there is one. */
  async enter(): Promise<void> {
    await this.#until(this.#count - 1);
    this.#taken++;
  }

  leave(): void {
    this.#taken--;
    if (this.#wanted === undefined || this.#taken > this.#wanted.taken) return;
    this.#wanted.go();
    this.#wanted = undefined;
  }

  /** Resolves when all places are free. */
  empty(): Promise<void> {
    return this.#until(0);
  }

  async #until(taken: number): Promise<void> {
    if (this.#taken <= taken) return;
    await new Promise<void>((go) => {
      this.#wanted = { taken, go };
    });
  }
}
