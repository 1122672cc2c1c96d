/**
 * The jobs of a campaign, each in a thread of its own: several at once, and none that hangs stays
 * unnoticed. A thread notes each input in shared memory before it runs it; when a note stays the same for
 * too long, the thread is ended, and that input is the crash.
 */

import { parentPort, Worker } from 'node:worker_threads';
import type { CampaignReport } from './campaign.ts';
import { runCampaign } from './campaign.ts';
import type { Corpus } from './corpus.ts';
import { openCoverage } from './coverage.ts';
import { type Crash, faultOf } from './crash.ts';
import type { Target } from './target.ts';

export const JOBS_MAX = 64;
/** An input that has not ended by then hangs. */
const HANG_MILLIS = 60_000;
const WATCH_MILLIS = 500;
/** A job begins with this share of its inputs guided by coverage; the others are run without, several times as quick. */
const GUIDED_SHARE = 0.1;
/** Seeds of the guided inputs of a job are this far from those of the others. */
const GUIDED_SEED = 2 ** 40;
/** Shared memory of a job: count of inputs, index of the target, length, then the input. */
const NOTE_WORDS = 3;
const NOTE_BYTES_MAX = 128 * 1024;

export interface JobsOptions {
  /** The program whose thread calls {@link workOn}. */
  readonly script: URL;
  readonly targets: readonly Target[];
  readonly seed: number;
  readonly inputs: number;
  /** How long the campaign runs at most. */
  readonly millis: number | undefined;
  readonly corpus: Corpus;
  readonly jobs: number;
  /** After how long an input counts as hanging; fewer where a test wants it. */
  readonly hangMillis?: number;
  /** Told now and then how many inputs have begun. */
  readonly onProgress: (inputs: number) => void;
}

export interface JobsReport extends Omit<CampaignReport, 'reached' | 'digest'> {
  /** Characters of code reached by the job that reached most; undefined where none could be guided. */
  readonly reached: number | undefined;
  /** A number of each job for all its inputs in their order. */
  readonly digests: readonly number[];
}

/** What a thread is given. */
export interface Assignment {
  readonly kind: 'gramline-fuzz-job';
  readonly targets: readonly string[];
  readonly seed: number;
  readonly inputs: number;
  readonly millis: number | undefined;
  readonly corpus: Corpus;
  readonly isGuided: boolean;
  readonly note: SharedArrayBuffer;
}

export function isAssignment(data: unknown): data is Assignment {
  return typeof data === 'object' && data !== null && 'kind' in data && data.kind === 'gramline-fuzz-job';
}

/** Runs all jobs to their end. Rejects when a thread fails by itself. */
export async function runJobs(options: JobsOptions): Promise<JobsReport> {
  const reports = await Promise.all(
    Array.from({ length: options.jobs }, (_, index) => runJob(options, index)),
  );
  return joined(reports);
}

/** One job: a guided thread, then one that starts from what the first one found. Both follow from the seed. */
async function runJob(options: JobsOptions, index: number): Promise<CampaignReport> {
  const { jobs, millis, corpus } = options;
  const seed = options.seed + index;
  const inputs = Math.floor(options.inputs / jobs) + (index < options.inputs % jobs ? 1 : 0);
  const guided = await runThread(options, {
    seed: seed + GUIDED_SEED,
    inputs: Math.ceil(inputs * GUIDED_SHARE),
    millis: millis === undefined ? undefined : millis * GUIDED_SHARE,
    corpus,
    isGuided: true,
  });
  const plain = await runThread(options, {
    seed,
    inputs: inputs - guided.inputs,
    millis: millis === undefined ? undefined : millis * (1 - GUIDED_SHARE),
    corpus: together(corpus, guided.kept),
    isGuided: false,
  });
  return {
    ...joined([guided, plain]),
    reached: guided.reached,
    digest: (guided.digest ^ plain.digest) >>> 0,
  };
}

type Part = Pick<Assignment, 'seed' | 'inputs' | 'millis' | 'corpus' | 'isGuided'>;

function runThread(options: JobsOptions, part: Part): Promise<CampaignReport> {
  const note = new SharedArrayBuffer(NOTE_WORDS * 4 + NOTE_BYTES_MAX);
  const targets = options.targets.map(({ name }) => name);
  const assignment: Assignment = { kind: 'gramline-fuzz-job', targets, note, ...part };
  const worker = new Worker(options.script, { workerData: assignment, execArgv: [] });
  return new Promise((resolve, reject) => {
    const hangMillis = options.hangMillis ?? HANG_MILLIS;
    const watch = watchNote(note, hangMillis, options.onProgress, () => {
      void worker.terminate();
      resolve(hangingReport(note, targets));
    });
    worker.once('message', (report: CampaignReport) => resolve(report));
    worker.once('error', reject);
    worker.once('exit', (code) => {
      clearInterval(watch);
      reject(new Error(`a job ended with exit code ${code} before it was done`));
    });
  });
}

/** Both corpora: the threads of a job hand over what was found. */
function together(one: Corpus, other: Corpus): Corpus {
  const sum = new Map(one);
  for (const [name, inputs] of other) sum.set(name, [...(one.get(name) ?? []), ...inputs]);
  return sum;
}

/** Calls `onHang` once when the note stays the same for too long. */
function watchNote(
  note: SharedArrayBuffer,
  hangMillis: number,
  onProgress: (inputs: number) => void,
  onHang: () => void,
): NodeJS.Timeout {
  const words = new Int32Array(note, 0, NOTE_WORDS);
  let last = 0;
  let since = performance.now();
  const watch = setInterval(() => {
    const count = Atomics.load(words, 0);
    if (count !== last) {
      onProgress(count - last);
      last = count;
      since = performance.now();
    } else if (performance.now() - since > hangMillis) {
      clearInterval(watch);
      onHang();
    }
  }, WATCH_MILLIS);
  return watch;
}

/** What is known of a job that hung: how many inputs it began, and the one that it did not end. */
function hangingReport(note: SharedArrayBuffer, names: readonly string[]): CampaignReport {
  const [inputs = 0, target = 0, length = 0] = new Int32Array(note, 0, NOTE_WORDS);
  const input = new Uint8Array(note, NOTE_WORDS * 4, length).slice();
  const sentence = 'hangs: its thread was ended';
  return {
    inputs,
    byTarget: new Map(),
    outcomes: new Map(),
    kept: new Map(),
    crashes: [{ target: names[target]!, input, sentence }],
    reached: undefined,
    digest: 0,
  };
}

/** In a thread: does what it was given, and sends the report. */
export async function workOn(assignment: Assignment, all: readonly Target[]): Promise<void> {
  const { seed, inputs, millis, corpus, isGuided, note } = assignment;
  const targets = assignment.targets.map((name) => all.find((target) => target.name === name)!);
  const words = new Int32Array(note, 0, NOTE_WORDS);
  const bytes = new Uint8Array(note, NOTE_WORDS * 4);
  const coverage = isGuided ? await openCoverage() : undefined;
  const until = millis === undefined ? Number.POSITIVE_INFINITY : performance.now() + millis;
  const report = await runCampaign({
    targets,
    seed,
    inputs,
    isOver: () => performance.now() >= until,
    corpus,
    coverage,
    onInput(target, input) {
      bytes.set(input.subarray(0, NOTE_BYTES_MAX));
      words[1] = targets.indexOf(target);
      words[2] = Math.min(input.length, NOTE_BYTES_MAX);
      Atomics.add(words, 0, 1);
    },
  });
  coverage?.close();
  parentPort!.postMessage(report);
}

function joined(reports: readonly CampaignReport[]): JobsReport {
  const byTarget = new Map<string, number>();
  const outcomes = new Map<string, Map<string, number>>();
  const kept = new Map<string, Uint8Array[]>();
  const crashes = new Map<string, Crash>();
  for (const report of reports) {
    for (const [name, count] of report.byTarget) byTarget.set(name, (byTarget.get(name) ?? 0) + count);
    for (const [name, counts] of report.outcomes) {
      const sums = outcomes.get(name) ?? new Map<string, number>();
      for (const [outcome, count] of counts) sums.set(outcome, (sums.get(outcome) ?? 0) + count);
      outcomes.set(name, sums);
    }
    for (const [name, inputs] of report.kept) kept.set(name, [...(kept.get(name) ?? []), ...inputs]);
    for (const crash of report.crashes) crashes.set(faultOf(crash), crash);
  }
  const reached = reports.flatMap((report) => report.reached ?? []);
  return {
    inputs: reports.reduce((sum, { inputs }) => sum + inputs, 0),
    byTarget,
    outcomes,
    kept,
    crashes: [...crashes.values()],
    reached: reached.length === 0 ? undefined : Math.max(...reached),
    digests: reports.map(({ digest }) => digest),
  };
}
