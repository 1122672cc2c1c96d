/** Work under way on borrowed bytes: how much there may be at once, and waiting for it to end. */

export class Outstanding {
  readonly #bytesMax: number;
  #bytes = 0;
  /** Pieces of work under way: one of no bytes counts, too. */
  #count = 0;
  #failure: unknown;
  #failed = false;
  #wake: (() => void) | undefined;

  /** At most about `bytesMax` bytes, as long as {@link room} is awaited before each addition. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Counts `bytes` until `work` ends, then calls `release`, also when it fails. */
  add(work: Promise<void>, bytes: number, release: () => void): void {
    this.#bytes += bytes;
    this.#count += 1;
    const end = (): void => {
      this.#bytes -= bytes;
      this.#count -= 1;
      release();
      this.#wake?.();
    };
    work.then(end, (error: unknown) => {
      if (!this.#failed) this.#failure = error;
      this.#failed = true;
      end();
    });
  }

  /** Whether more may be added without waiting. */
  get hasRoom(): boolean {
    return !this.#failed && this.#bytes < this.#bytesMax;
  }

  /** Resolves when there is room for more. Rejects with the first failure of any work. */
  async room(): Promise<void> {
    while (!this.#failed && this.#bytes >= this.#bytesMax) await this.#change();
    if (this.#failed) throw this.#failure;
  }

  /** Resolves when nothing is under way. Rejects with the first failure of any work, and not before its end. */
  async drained(): Promise<void> {
    while (this.#count > 0) await this.#change();
    if (this.#failed) throw this.#failure;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
