/** Send buffers, reused: the kernel has each until its send is done. */

/** Room for one full offloaded send. */
const BUFFER_BYTES = 65_536;

export class BufferPool {
  readonly #free: Uint8Array[] = [];
  readonly #max: number;
  #made = 0;
  #waiting: (() => void)[] = [];

  /** At most `max` buffers exist at once. */
  constructor(max: number) {
    this.#max = max;
  }

  /** A buffer of 64 KiB, or undefined when all are in use. */
  take(): Uint8Array | undefined {
    const buffer = this.#free.pop();
    if (buffer !== undefined) return buffer;
    if (this.#made >= this.#max) return undefined;
    this.#made += 1;
    return new Uint8Array(BUFFER_BYTES);
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const run of waiting) run();
  }

  /** Calls `run` once when a buffer comes back. */
  whenFree(run: () => void): void {
    if (!this.#waiting.includes(run)) this.#waiting.push(run);
  }
}
