/**
 * Many seeds on several processes: hands out blocks, gathers results, replaces workers that die, hang or
 * have served long enough. Memory stays the same however many seeds there are.
 *
 *   starting -- block --> busy -- all its results --> idle -- block --> busy
 *   busy -- exit, or no result for too long --> its seed failed, the rest of its block goes to another
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { RunOptions } from './campaign.ts';
import type { SeedResult } from './tally.ts';

export interface PoolOptions {
  readonly from: number;
  readonly count: number;
  readonly jobs: number;
  readonly run: RunOptions;
  /** A module that exports `work`, which serves as `worker.ts` says. */
  readonly workerUrl: string;
  readonly onResult: (result: SeedResult) => void;
  /** Ends the campaign when it aborts; results so far have been told. */
  readonly signal: AbortSignal;
  /** Longest time of one seed; default {@link SEED_MILLIS_MAX} for each minute of its work. */
  readonly seedMillisMax?: number;
}

/** Worker processes at once, at most. */
export const JOBS_MAX = 256;
/** Seeds that a worker gets at once. */
const BLOCK_SEEDS = 8;
/** Seeds that a worker serves before a fresh one takes its place. */
const WORKER_SEEDS_MAX = 2_000;
/** Workers that may die in one campaign: more is no accident of one seed. */
export const WORKER_DEATHS_MAX = 50;
/** A seed of a short run that takes longer hangs; the machine may be loaded many times over. */
const SEED_MILLIS_MAX = 300_000;

/** Runs all seeds; resolves when they are through or `signal` aborts. Rejects when too many workers die. */
export async function runPool(options: PoolOptions): Promise<void> {
  const pool = new Pool(options);
  await pool.run();
}

class Pool {
  readonly #options: PoolOptions;
  readonly #workers = new Set<Worker>();
  /** Seeds of blocks whose worker died. */
  readonly #returned: number[] = [];
  #next: number;
  #deaths = 0;
  #finish: (error?: Error) => void = () => undefined;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#next = options.from;
  }

  async run(): Promise<void> {
    const { signal, jobs, count } = this.#options;
    const end = (): void => this.#finish();
    try {
      await new Promise<void>((resolve, reject) => {
        this.#finish = (error) => (error === undefined ? resolve() : reject(error));
        if (signal.aborted || count === 0) return resolve();
        signal.addEventListener('abort', end, { once: true });
        for (let job = 0; job < Math.min(jobs, count); job++) this.#start();
      });
    } finally {
      signal.removeEventListener('abort', end);
      this.#finish = () => undefined;
      for (const worker of this.#workers) worker.stop();
    }
  }

  #start(): void {
    const { workerUrl, run, onResult } = this.#options;
    const seedMillisMax = this.#options.seedMillisMax ?? SEED_MILLIS_MAX * Math.max(1, run.minutes ?? 1);
    const worker = new Worker({
      url: workerUrl,
      run,
      seedMillisMax,
      onResult: (result) => {
        onResult(result);
        if (worker.isIdle) this.#feed(worker);
      },
      onDeath: (seeds, why) => this.#onDeath(worker, seeds, why),
    });
    this.#workers.add(worker);
    this.#feed(worker);
  }

  /** Gives a worker its next block, a successor, or its leave. */
  #feed(worker: Worker): void {
    if (this.#options.signal.aborted) return;
    const seeds = this.#take();
    if (seeds.length === 0 || worker.served >= WORKER_SEEDS_MAX) {
      this.#returned.push(...seeds);
      this.#workers.delete(worker);
      worker.stop();
      if (seeds.length > 0) this.#start();
      else if (this.#workers.size === 0) this.#finish();
      return;
    }
    worker.give(seeds);
  }

  #take(): number[] {
    if (this.#returned.length > 0) return this.#returned.splice(0, BLOCK_SEEDS);
    const end = Math.min(this.#options.from + this.#options.count, this.#next + BLOCK_SEEDS);
    const seeds: number[] = [];
    for (; this.#next < end; this.#next++) seeds.push(this.#next);
    return seeds;
  }

  #onDeath(worker: Worker, seeds: readonly number[], why: string): void {
    this.#workers.delete(worker);
    const [seed, ...rest] = seeds;
    this.#returned.push(...rest);
    this.#deaths += 1;
    if (this.#deaths > WORKER_DEATHS_MAX) {
      return this.#finish(new Error(`${this.#deaths} worker processes died, the last one: ${why}`));
    }
    if (seed !== undefined)
      this.#options.onResult({ seed, failure: `seed ${seed}: its process died: ${why}` });
    if (!this.#options.signal.aborted) this.#start();
  }
}

interface WorkerOptions {
  readonly url: string;
  readonly run: RunOptions;
  readonly seedMillisMax: number;
  readonly onResult: (result: SeedResult) => void;
  /** Told what it had not finished, the seed under way first. */
  readonly onDeath: (seeds: readonly number[], why: string) => void;
}

class Worker {
  readonly #options: WorkerOptions;
  readonly #process: ChildProcess;
  #seeds: number[] = [];
  #watch: NodeJS.Timeout | undefined;
  #why: string | undefined;
  #isStopped = false;
  served = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
    const script = `import { work } from ${JSON.stringify(options.url)}; work();`;
    this.#process = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#process.on('message', (result: SeedResult) => this.#onResult(result));
    this.#process.on('error', (error) => this.#onEnd(error.message));
    this.#process.on('exit', (code, signal) => this.#onEnd(signal ?? `exit code ${code}`));
  }

  get isIdle(): boolean {
    return this.#seeds.length === 0;
  }

  give(seeds: readonly number[]): void {
    this.#seeds = [...seeds];
    this.#process.send({ seeds, run: this.#options.run });
    this.#watchSeed();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#watch);
    this.#process.kill('SIGKILL');
  }

  #onResult(result: SeedResult): void {
    if (this.#isStopped) return;
    this.#seeds.shift();
    this.served += 1;
    this.#watchSeed();
    this.#options.onResult(result);
  }

  #watchSeed(): void {
    clearTimeout(this.#watch);
    if (this.isIdle) return;
    const { seedMillisMax } = this.#options;
    this.#watch = setTimeout(() => {
      this.#why = `no result for ${seedMillisMax / 1000} s`;
      this.#process.kill('SIGKILL');
    }, seedMillisMax);
  }

  #onEnd(how: string): void {
    clearTimeout(this.#watch);
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#options.onDeath(this.#seeds, this.#why ?? how);
  }
}
