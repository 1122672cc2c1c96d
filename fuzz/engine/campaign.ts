/**
 * One job of a campaign: draws inputs, runs them, keeps what reaches new code, collects what crashed.
 *
 * Everything follows from the seed, the corpus and the number of inputs. Coverage guides by whole
 * batches: one that reached new code is run again by halves until the inputs that did it are known.
 * Without coverage, inputs with an outcome that was not seen before are kept.
 */

import { Random } from '../../sim/random.ts';
import type { Corpus } from './corpus.ts';
import { type Coverage, Reached } from './coverage.ts';
import { type Crash, faultOf, shrunk } from './crash.ts';
import type { Layout } from './layout.ts';
import { mutated } from './mutation.ts';
import { Finding, sentenceOf, type Target } from './target.ts';

/** Takes of coverage that a job spends on finding single inputs in batches: each costs milliseconds. */
const TRACES_MAX = 6_000;
/** Inputs of all targets together in one round, by their weights. */
const ROUND_INPUTS = 2_000;
/** Rounds of a job whose coverage is looked at, at the start... */
const GUIDED_ROUNDS = 12;
/** ...and afterwards one of so many: a look costs milliseconds. */
const GUIDED_EVERY = 10;
/** Share of inputs that are drawn anew; the others are mutations. */
const FRESH_SHARE = 0.25;
/** Inputs of one target that are kept to be mutated: beyond, one of them makes room. */
export const KEPT_MAX = 512;
/** Different words for outcomes of one target that are told apart. */
const OUTCOMES_MAX = 1_000;
/** Different faults after which a job ends. */
export const FAULTS_MAX = 16;
/** No input takes longer, even on a machine that is busy with other work... */
const INPUT_MILLIS_MAX = 1_000;
/** ...more often than so many times in a row. */
const SLOW_RUNS = 3;
/** Inputs between two looks at the time. */
const TIME_CHECK_INPUTS = 64;

export interface CampaignOptions {
  readonly targets: readonly Target[];
  readonly seed: number;
  /** Inputs in all, those of the corpus included. */
  readonly inputs: number;
  /** Whether time is up; asked now and then. */
  readonly isOver?: () => boolean;
  readonly corpus: Corpus;
  readonly coverage?: Coverage | undefined;
  /** Told before each input that is run. */
  readonly onInput?: (target: Target, input: Uint8Array) => void;
}

export interface CampaignReport {
  readonly inputs: number;
  readonly byTarget: ReadonlyMap<string, number>;
  /** How often each outcome was seen, by target. */
  readonly outcomes: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Inputs that reached new code, or a new outcome, by target. */
  readonly kept: Corpus;
  /** One of each fault, made smaller. */
  readonly crashes: readonly Crash[];
  /** Characters of code reached; undefined without coverage. */
  readonly reached: number | undefined;
  /** A number that stands for all inputs in their order. */
  readonly digest: number;
}

/** Runs one job. Rejects only when the engine itself is at fault. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const campaign = new Campaign(options);
  const onRejection = (error: unknown): void => campaign.onStray(error);
  process.on('unhandledRejection', onRejection);
  try {
    return await campaign.run();
  } finally {
    process.off('unhandledRejection', onRejection);
  }
}

/** What became of one input: a word, or the sentence of a fault. */
export type Verdict = { readonly outcome: string } | { readonly sentence: string };

/** Runs one input and judges it. Never throws. */
export async function judge(target: Target, input: Uint8Array): Promise<Verdict> {
  for (let slow = 1; ; slow++) {
    const verdict = runOnce(target, input);
    const { took, ...said } = verdict instanceof Promise ? await verdict : verdict;
    if (took < INPUT_MILLIS_MAX || 'sentence' in said) return said;
    if (slow === SLOW_RUNS) return { sentence: `Finding: takes longer than ${INPUT_MILLIS_MAX} ms` };
  }
}

type TimedVerdict = Verdict & { readonly took: number };

/** Without a promise where the target gives none: most inputs take microseconds. */
function runOnce(target: Target, input: Uint8Array): TimedVerdict | Promise<TimedVerdict> {
  const startedAt = performance.now();
  const took = (): number => performance.now() - startedAt;
  try {
    // A copy: what a target does to its input must not change the input that is kept.
    const outcome = target.run(input.slice());
    if (typeof outcome === 'string') return { outcome, took: took() };
    return outcome.then(
      (word) => ({ outcome: word, took: took() }),
      (error: unknown) => ({ sentence: sentenceOf(error), took: took() }),
    );
  } catch (error) {
    return { sentence: sentenceOf(error), took: took() };
  }
}

/** What a campaign knows of one target. */
class Pool {
  readonly target: Target;
  readonly random: Random;
  readonly kept: Uint8Array[] = [];
  readonly found: Uint8Array[] = [];
  readonly outcomes = new Map<string, number>();
  inputs = 0;
  share = 0;

  constructor(target: Target, random: Random) {
    this.target = target;
    this.random = random;
  }

  next(): Uint8Array {
    const { random, target, kept } = this;
    if (kept.length === 0 || random.chance(FRESH_SHARE)) {
      const fresh = target.generate(random);
      if (kept.length === 0 || random.chance(0.5)) return fresh.slice(0, target.inputBytesMax);
      return this.#mutated(fresh);
    }
    return this.#mutated(random.pick(kept));
  }

  #mutated(input: Uint8Array): Uint8Array {
    const { random, target, kept } = this;
    return mutated(input, {
      random,
      layoutOf: (bytes) => target.layout(bytes),
      other: () => (random.chance(0.5) ? random.pick(kept) : target.generate(random)),
      inputBytesMax: target.inputBytesMax,
    });
  }

  /** Keeps an input that brought something new. */
  keep(input: Uint8Array): void {
    this.found.push(input);
    if (this.kept.length < KEPT_MAX) this.kept.push(input);
    else this.kept[this.random.integer(KEPT_MAX)] = input;
  }

  /** Counts an outcome; whether it is a new one. */
  count(outcome: string): boolean {
    const before = this.outcomes.get(outcome);
    if (before === undefined && this.outcomes.size >= OUTCOMES_MAX) return false;
    this.outcomes.set(outcome, (before ?? 0) + 1);
    return before === undefined;
  }
}

class Campaign {
  readonly #options: CampaignOptions;
  readonly #pools: readonly Pool[];
  readonly #reached = new Reached();
  readonly #crashes = new Map<string, Crash>();
  #stray: unknown;
  #traces = 0;
  #inputs = 0;
  #digest = 0;

  constructor(options: CampaignOptions) {
    this.#options = options;
    const random = new Random(options.seed);
    this.#pools = options.targets.map((target) => new Pool(target, random.fork(target.name)));
    const weights = options.targets.reduce((sum, { weight }) => sum + weight, 0);
    for (const pool of this.#pools) {
      pool.share = Math.max(1, Math.round((ROUND_INPUTS * pool.target.weight) / weights));
    }
  }

  /** A promise of the code under test failed, and nobody looked. */
  onStray(error: unknown): void {
    this.#stray ??= error;
  }

  async run(): Promise<CampaignReport> {
    const { coverage, corpus } = this.#options;
    for (const pool of this.#pools) {
      const entries = corpus.get(pool.target.name) ?? [];
      const inputs = entries.slice(0, this.#left);
      await this.#batch(pool, inputs, false);
      pool.kept.push(...inputs.slice(0, KEPT_MAX));
      if (coverage !== undefined) this.#reached.add(coverage.take());
    }
    for (let round = 0; !this.#isOver; round++) await this.#round(round);
    return this.#report();
  }

  async #round(round: number): Promise<void> {
    const { coverage } = this.#options;
    const isGuided = round < GUIDED_ROUNDS || round % GUIDED_EVERY === 0;
    // A campaign of few inputs gives each target its share of them.
    const scale = Math.min(1, this.#left / ROUND_INPUTS);
    for (const pool of this.#pools) {
      const count = Math.min(Math.max(1, Math.round(pool.share * scale)), this.#left);
      if (coverage !== undefined && isGuided) await this.#guided(pool, count, coverage);
      else await this.#batch(pool, drawn(pool, count), true);
      if (this.#isOver) return;
    }
  }

  async #guided(pool: Pool, count: number, coverage: Coverage): Promise<void> {
    const inputs = [...drawn(pool, count)];
    coverage.take();
    await this.#batch(pool, inputs, true);
    if (this.#reached.gain(coverage.take()) > 0) await this.#trace(pool, inputs, coverage);
  }

  /** Finds the inputs of a batch that reach new code: by halves, each half run again. */
  async #trace(pool: Pool, inputs: readonly Uint8Array[], coverage: Coverage): Promise<void> {
    if (this.#traces >= TRACES_MAX) return;
    this.#traces += 1;
    for (const input of inputs) await judge(pool.target, input);
    const ground = coverage.take();
    if (this.#reached.gain(ground) === 0) return;
    if (inputs.length === 1) {
      this.#reached.add(ground);
      pool.keep(inputs[0]!);
      return;
    }
    const middle = inputs.length >>> 1;
    await this.#trace(pool, inputs.slice(0, middle), coverage);
    await this.#trace(pool, inputs.slice(middle), coverage);
  }

  /** Runs inputs and counts what became of them; keeps those with a new outcome where `keeps`. */
  async #batch(pool: Pool, inputs: Iterable<Uint8Array>, keeps: boolean): Promise<void> {
    const { target } = pool;
    for (const input of inputs) {
      if (this.#isFull || (this.#inputs % TIME_CHECK_INPUTS === 0 && this.#options.isOver?.() === true))
        return;
      this.#options.onInput?.(target, input);
      this.#inputs += 1;
      pool.inputs += 1;
      for (const byte of input) this.#digest = (Math.imul(this.#digest, 31) + byte) | 0;
      const verdict = await judge(target, input);
      if ('sentence' in verdict) await this.#onCrash(target, input, verdict.sentence);
      else if (this.#stray !== undefined) {
        await this.#onCrash(target, input, `left a promise that failed: ${sentenceOf(this.#stray)}`);
      } else if (pool.count(verdict.outcome) && keeps) pool.keep(input);
      this.#stray = undefined;
    }
  }

  async #onCrash(target: Target, input: Uint8Array, sentence: string): Promise<void> {
    const crash = { target: target.name, input, sentence };
    if (this.#crashes.has(faultOf(crash))) return;
    this.#crashes.set(faultOf(crash), crash);
    const layoutOf = (bytes: Uint8Array): Layout => target.layout(bytes);
    const smaller = await shrunk(crash, layoutOf, async (bytes) => {
      const verdict = await judge(target, bytes);
      return 'sentence' in verdict ? verdict.sentence : undefined;
    });
    this.#crashes.set(faultOf(crash), smaller);
  }

  get #left(): number {
    return Math.max(0, this.#options.inputs - this.#inputs);
  }

  get #isFull(): boolean {
    return this.#left === 0 || this.#crashes.size >= FAULTS_MAX;
  }

  get #isOver(): boolean {
    return this.#isFull || this.#options.isOver?.() === true;
  }

  #report(): CampaignReport {
    const byName = <Value>(pick: (pool: Pool) => Value): ReadonlyMap<string, Value> =>
      new Map(this.#pools.map((pool) => [pool.target.name, pick(pool)]));
    return {
      inputs: this.#inputs,
      byTarget: byName(({ inputs }) => inputs),
      outcomes: byName(({ outcomes }) => outcomes),
      kept: byName(({ found }) => found),
      crashes: [...this.#crashes.values()],
      reached: this.#options.coverage === undefined ? undefined : this.#reached.characters,
      digest: this.#digest >>> 0,
    };
  }
}

/** Inputs, each drawn when it is asked for: what was kept meanwhile can be mutated already. */
function* drawn(pool: Pool, count: number): Iterable<Uint8Array> {
  for (let index = 0; index < count; index++) yield pool.next();
}

/** Throws what an input says that must not happen: for tests, and for replaying. */
export async function mustHold(target: Target, input: Uint8Array): Promise<string> {
  const verdict = await judge(target, input);
  if ('sentence' in verdict) throw new Finding(verdict.sentence);
  return verdict.outcome;
}
