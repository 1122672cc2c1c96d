/**
 * `gramline fuzz`: mutated bytes for everything that takes bytes from outside.
 *
 *   gramline fuzz [--inputs N | --seconds N]   a campaign over all targets
 *   gramline fuzz --target frames,messages     over some; --list names them
 *   gramline fuzz replay FILE                  runs a saved crash again
 *   gramline fuzz minimise                     the smallest corpus that reaches as much code
 *
 * Each fault is saved as a file, with the input made smaller. One job alone is repeatable: the same seed,
 * corpus and number of inputs give the same inputs.
 */

import { isMainThread, workerData } from 'node:worker_threads';
import type { Command } from 'commander';
import { newCommand, runCommandLine } from '../src/cli/command-line.ts';
import { type ExitCode, refused, UsageError } from '../src/cli/failures.ts';
import { formatCount, formatTable, print, printJson, remark } from '../src/cli/output.ts';
import { judge } from './engine/campaign.ts';
import { type Corpus, readCorpus, writeCorpus } from './engine/corpus.ts';
import { openCoverage } from './engine/coverage.ts';
import { readCrash, saveCrash, targetOf } from './engine/crash.ts';
import { isAssignment, JOBS_MAX, type JobsReport, runJobs, workOn } from './engine/jobs.ts';
import { minimised } from './engine/minimise.ts';
import { specFolder } from './engine/places.ts';
import type { Target } from './engine/target.ts';
import { TARGETS } from './targets/index.ts';

const INPUTS_DEFAULT = 1_000_000;
const INPUTS_MAX = 1e12;
const SECONDS_MAX = 1e6;
const SEED_MAX = 2 ** 48;
const CRASHES_DEFAULT = 'fuzz-crashes';
/** A line of progress after so many inputs, where somebody watches. */
const PROGRESS_INPUTS = 20_000;

interface FuzzOptions {
  readonly target?: readonly string[];
  readonly inputs?: number;
  readonly seconds?: number;
  readonly seed: number;
  readonly corpus?: string;
  readonly crashes: string;
  readonly jobs: number;
  readonly grow?: boolean;
  readonly list?: boolean;
  readonly json?: boolean;
}

/** Runs the tool on the words behind its name; resolves to the exit code, never rejects. */
export function run(parameters: readonly string[]): Promise<ExitCode> {
  const program = withShared(newCommand('gramline fuzz'))
    .description('feed mutated bytes to decoders, sessions and roles')
    .option('--inputs <N>', `end after so many inputs (default: ${INPUTS_DEFAULT})`, upTo(INPUTS_MAX))
    .option('--seconds <N>', 'end after this long', upTo(SECONDS_MAX))
    .option('--seed <N>', 'where all chance comes from', upTo(SEED_MAX), 1)
    .option('--jobs <N>', 'threads that work at once', upTo(JOBS_MAX), 1)
    .option('--crashes <DIR>', 'where crashes are saved', CRASHES_DEFAULT)
    .option('--grow', 'add inputs that reached new code to the corpus')
    .option('--list', 'name the targets')
    .action((options: FuzzOptions) => (options.list === true ? list(options) : fuzz(options)));
  program
    .command('replay <FILE>')
    .description('run a saved crash again')
    .action((file: string) => replay(file, program.opts<FuzzOptions>()));
  program
    .command('minimise')
    .description('reduce the corpus to what its coverage needs')
    .action(() => minimise(program.opts<FuzzOptions>()));
  return runCommandLine(program, parameters);
}

function withShared(command: Command): Command {
  return command
    .option('--target <NAME,...>', 'only these targets', names)
    .option('--corpus <DIR>', 'inputs to start from (default: those of the specification)')
    .option('--json', 'print JSON for programs instead of text');
}

function upTo(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= 1 && value <= max) return value;
    throw new UsageError(`'${text}': write a whole number from 1 to ${max}`);
  };
}

function names(text: string): readonly string[] {
  const wanted = text.split(',').filter((name) => name !== '');
  const unknown = wanted.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown !== undefined) throw new UsageError(`no target '${unknown}': gramline fuzz --list names them`);
  if (wanted.length === 0) throw new UsageError('--target names no target: gramline fuzz --list names them');
  return wanted;
}

// ---------------------------------------------------------------- the campaign

async function fuzz(options: FuzzOptions): Promise<void> {
  const { seed, jobs } = options;
  const corpus = corpusOf(options);
  const targets = chosen(options);
  const startedAt = performance.now();
  const report = await runJobs({
    script: new URL(import.meta.url),
    targets,
    seed,
    inputs: options.inputs ?? (options.seconds === undefined ? INPUTS_DEFAULT : Number.MAX_SAFE_INTEGER),
    millis: options.seconds === undefined ? undefined : options.seconds * 1_000,
    corpus,
    jobs,
    onProgress: options.json === true ? () => undefined : progress(startedAt),
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  if (report.reached === undefined) remark('not guided by coverage: this Node has no inspector to ask');
  const files = report.crashes.map((crash) => saveCrash(options.crashes, crash));
  if (options.grow === true) grow(options, corpus, report);
  if (options.json === true) printJson(jsonOf(report, files, seconds, options));
  else printReport(report, seconds);
  report.crashes.forEach(({ target, sentence }, index) => {
    remark(`${target}: ${sentence} (gramline fuzz replay ${files[index]})`);
  });
  if (files.length > 0) throw refused(`${formatCount(files.length, 'fault')} found`);
}

/** Tells a terminal how far it is. */
function progress(startedAt: number): (inputs: number) => void {
  let done = 0;
  let told = 0;
  return (inputs) => {
    done += inputs;
    if (process.stderr.isTTY !== true || done - told < PROGRESS_INPUTS) return;
    told = done;
    const seconds = (performance.now() - startedAt) / 1_000;
    remark(`${done} inputs, ${Math.round(done / seconds)} a second`);
  };
}

function printReport(report: JobsReport, seconds: number): void {
  const rows = [...report.byTarget].map(([name, inputs]) => [
    name,
    String(inputs),
    String(report.outcomes.get(name)?.size ?? 0),
    String(report.kept.get(name)?.length ?? 0),
  ]);
  print(
    formatTable(
      [
        { title: 'TARGET' },
        { title: 'INPUTS', align: 'right' },
        { title: 'OUTCOMES', align: 'right' },
        { title: 'NEW', align: 'right' },
      ],
      rows,
    ),
  );
  const rate = Math.round(report.inputs / seconds);
  const faults = formatCount(report.crashes.length, 'fault');
  print(`${report.inputs} inputs in ${seconds.toFixed(1)} s (${rate} a second), ${faults}`);
}

function jsonOf(report: JobsReport, files: readonly string[], seconds: number, options: FuzzOptions): object {
  return {
    seed: options.seed,
    jobs: options.jobs,
    inputs: report.inputs,
    seconds,
    guided: report.reached !== undefined,
    digests: report.digests,
    targets: [...report.byTarget].map(([name, inputs]) => ({
      name,
      inputs,
      new: report.kept.get(name)?.length ?? 0,
      outcomes: Object.fromEntries(report.outcomes.get(name) ?? []),
    })),
    crashes: report.crashes.map(({ target, sentence }, index) => ({ target, sentence, file: files[index] })),
  };
}

// ---------------------------------------------------------------- the corpus

function chosen(options: FuzzOptions): readonly Target[] {
  const { target } = options;
  return target === undefined ? TARGETS : TARGETS.filter(({ name }) => target.includes(name));
}

function corpusFolder(options: FuzzOptions): string | undefined {
  const spec = specFolder();
  return options.corpus ?? (spec === undefined ? undefined : `${spec}/corpus`);
}

/** The corpus to start from; a program that stands alone has none. */
function corpusOf(options: FuzzOptions): Corpus {
  const folder = corpusFolder(options);
  return folder === undefined ? new Map() : readCorpus(folder, TARGETS);
}

function grow(options: FuzzOptions, corpus: Corpus, report: JobsReport): void {
  const folder = corpusFolder(options);
  if (folder === undefined) throw refused('there is no corpus to add to: name one with --corpus');
  const grown = new Map(corpus);
  for (const [name, inputs] of report.kept) grown.set(name, [...(corpus.get(name) ?? []), ...inputs]);
  writeCorpus(folder, grown);
}

async function minimise(options: FuzzOptions): Promise<void> {
  const folder = corpusFolder(options);
  if (folder === undefined) throw refused('there is no corpus: name one with --corpus');
  const corpus = readCorpus(folder, TARGETS);
  const coverage = await openCoverage();
  if (coverage === undefined) remark('not guided by coverage: one input for each outcome is kept');
  const smaller = new Map(corpus);
  const rows: { target: string; before: number; after: number }[] = [];
  for (const target of chosen(options)) {
    const inputs = corpus.get(target.name) ?? [];
    const kept = await minimised(target, inputs, coverage);
    smaller.set(target.name, kept);
    rows.push({ target: target.name, before: inputs.length, after: kept.length });
  }
  coverage?.close();
  writeCorpus(folder, smaller);
  if (options.json === true) return printJson({ targets: rows });
  for (const { target, before, after } of rows) print(`${target}: ${before} -> ${after}`);
}

async function list(options: FuzzOptions): Promise<void> {
  if (options.json === true) {
    return printJson({ targets: TARGETS.map(({ name, description }) => ({ name, description })) });
  }
  const rows = TARGETS.map(({ name, description }) => [name, description]);
  print(formatTable([{ title: '' }, { title: '' }], rows));
}

// ---------------------------------------------------------------- replay

async function replay(file: string, options: FuzzOptions): Promise<void> {
  const crash = readCrash(file);
  const verdict = await judge(targetOf(crash.target, TARGETS), crash.input);
  const failed = 'sentence' in verdict;
  if (options.json === true) printJson({ target: crash.target, ...verdict });
  else if (!failed) print(`${crash.target}: ${verdict.outcome}: holds now (was: ${crash.sentence})`);
  if (failed) throw refused(`${crash.target}: ${verdict.sentence}`);
}

if (!isMainThread && isAssignment(workerData)) void workOn(workerData, TARGETS);
