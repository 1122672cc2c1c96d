/**
 * What the benchmark started and must end: processes, namespaces, directories. Ends them last
 * first, each within a deadline, when the run is over, fails or is interrupted.
 */

const CLOSE_MILLIS_MAX = 10_000;

export class Scope {
  readonly #closers: (() => Promise<unknown> | unknown)[] = [];
  readonly #emergencies = new Set<() => void>();
  #closing: Promise<void> | undefined;

  constructor() {
    process.on('exit', this.#onExit);
  }

  get isClosing(): boolean {
    return this.#closing !== undefined;
  }

  /** Runs `close` when the scope closes. */
  defer(close: () => Promise<unknown> | unknown): void {
    this.#closers.push(close);
  }

  /** Runs `now` if the process exits before the scope has closed. It can't wait for anything. */
  inEmergency(now: () => void): () => void {
    this.#emergencies.add(now);
    return () => this.#emergencies.delete(now);
  }

  /** Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  readonly #onExit = (): void => {
    for (const now of this.#emergencies) {
      try {
        now();
      } catch {
        // It is gone already.
      }
    }
  };

  async #close(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await withDeadline(Promise.resolve(close()), CLOSE_MILLIS_MAX, 'cleaning up');
      } catch (error) {
        process.stderr.write(`bench: ${(error as Error).message}\n`);
      }
    }
    process.off('exit', this.#onExit);
    this.#onExit();
  }
}

/** The result of `work`, or an error that names `what` after `millis`. */
export async function withDeadline<Result>(
  work: Promise<Result>,
  millis: number,
  what: string,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${millis / 1000} s`)), millis);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
