/**
 * `gramline sim`: campaigns from the command line.
 *
 *   gramline sim [--seeds N] [--from N]       many seeds; stops at the first that fails
 *   gramline sim --seed N [--trace FILE|-]    one seed, with every event in words
 *   gramline sim --loss 10% --nodes 20 --minutes 60
 */

import { writeFileSync } from 'node:fs';
import { Option } from 'commander';
import { newCommand, runCommandLine } from '../src/cli/command-line.ts';
import { ExitCode, refused } from '../src/cli/failures.ts';
import { Interruption } from '../src/cli/interruption.ts';
import { print, printJson, remark, secondsSince } from '../src/cli/output.ts';
import { FAULT_KINDS, type RunOptions, replayOptionsOf, runSeed } from './campaign.ts';
import { InvariantError } from './cluster.ts';
import { minimise } from './minimise.ts';
import {
  MARKED_SEEDS,
  parseClients,
  parseCoordinators,
  parseFaults,
  parseFrom,
  parseJobs,
  parseLoss,
  parseMinutes,
  parseNodes,
  parseSeed,
  parseSeeds,
  parseWithout,
  planCampaign,
  SEEDS_DEFAULT,
  type SimPlan,
  type SimWords,
} from './options.ts';
import { runPool } from './pool.ts';
import { QlogDocument } from './qlog.ts';
import { minimisedText, progressLine, summaryJson, summaryText } from './report.ts';
import { resultOf, Tally } from './tally.ts';

export { serveSeeds as work } from './worker.ts';

/** Progress is shown this often on a terminal; elsewhere as a line, the first of them soon. */
const TERMINAL_MILLIS = 500;
const FIRST_LINE_MILLIS = 1_000;
const LINE_MILLIS = 10_000;
/** A trace in a file is gathered to so many lines before they are written. */
const TRACE_LINES_GATHERED = 4_096;

export function run(parameters: readonly string[]): Promise<ExitCode> {
  const program = newCommand('gramline sim')
    .description('simulate whole clusters under faults, by seed')
    .option('--seeds <N>', `how many seeds (default: ${SEEDS_DEFAULT})`, parseSeeds)
    .option('--from <N>', 'the first of them (default: 1)', parseFrom)
    .option('--seed <N>', 'this seed alone', parseSeed)
    .option('--jobs <N>', 'processes at once (default: as many as cores)', parseJobs)
    .option(
      '--coordinators <N>',
      'coordinators on one shared state (default: the seed draws)',
      parseCoordinators,
    )
    .option('--nodes <N>', 'nodes of the cluster (default: the seed draws)', parseNodes)
    .option('--clients <N>', 'clients (default: the seed draws)', parseClients)
    .option('--minutes <N>', 'simulated minutes of work (default: some seconds)', parseMinutes)
    .option('--loss <P%>', 'what every link loses while there are faults', parseLoss)
    .option('--faults <KIND,...>', `only these kinds: ${FAULT_KINDS.join(', ')}`, parseFaults)
    .option('--contention', 'removals and puts of one object meet on a slow state disk')
    .option('--keep-going', 'go on after a seed that fails')
    .option('--require-marks', `every mark must be hit, as with ${MARKED_SEEDS} seeds or more`)
    .option('--trace [FILE]', 'with --seed: every event and datagram in words')
    .option('--qlog <FILE>', 'with --seed: the run as a document of the qlog kind')
    .option('--json', 'the summary as one object on stdout')
    .addOption(new Option('--without <NAME,...>', 'leave out faults and operations').argParser(parseWithout))
    .action(simulate);
  return runCommandLine(program, parameters);
}

async function simulate(words: SimWords): Promise<void> {
  const plan = planCampaign(words);
  if (plan.isSingle) return simulateOne(plan, words);
  const interruption = new Interruption(ExitCode.FAILED);
  const stop = new AbortController();
  interruption.signal.addEventListener('abort', () => stop.abort(), { once: true });
  const tally = new Tally();
  const startedAt = performance.now();
  const progress = new Progress(() => progressLine(tally, plan.count, secondsSince(startedAt)));
  try {
    await runPool({
      ...plan,
      workerUrl: import.meta.url,
      signal: stop.signal,
      onResult: (result) => {
        tally.add(result);
        if (!('failure' in result)) return;
        progress.say(result.failure);
        if (words.keepGoing !== true) stop.abort();
      },
    });
  } finally {
    progress.end();
  }
  tell(tally, words, secondsSince(startedAt), tally.seeds === plan.count);
  interruption.signal.throwIfAborted();
  await judge(tally, plan, words);
}

/** Throws unless all seeds passed, and hit what they had to. */
async function judge(tally: Tally, plan: SimPlan, words: SimWords): Promise<void> {
  const [first] = tally.failures;
  if (first !== undefined) {
    if (words.keepGoing !== true) await explain(first.seed, plan.run);
    else
      remark(
        `replay of the first: npm run sim -- --seed ${first.seed}${replayOptionsOf(plan.run)} --trace -`,
      );
    throw refused(`${tally.failed} of ${tally.seeds} seeds failed`);
  }
  const missed = tally.missedMarks;
  if (plan.requiresMarks && missed.length > 0) throw refused(`no seed hit ${missed.join(', ')}`);
}

/** One seed in this process, with its trace where that is asked for. */
async function simulateOne(plan: SimPlan, words: SimWords): Promise<void> {
  const seed = plan.from;
  const trace = words.trace === undefined ? undefined : new TraceSink(words.trace);
  const qlog = words.qlog === undefined ? undefined : new QlogDocument();
  const startedAt = performance.now();
  const tally = new Tally();
  try {
    const report = await runSeed(seed, {
      ...plan.run,
      ...(trace === undefined ? {} : { print: (line: string) => trace.line(line) }),
      ...(qlog === undefined ? {} : { observer: qlog }),
    });
    tally.add(resultOf(report));
    if (words.json !== true) {
      print(`seed ${seed}: ${report.hash}, faults: ${report.faults.join(', ') || 'none'}`);
      print(`marks: ${[...report.marks].sort().join(', ') || 'none'}`);
    }
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    tally.add({ seed, failure: error.summary });
    remark(error.message);
  } finally {
    trace?.end();
    if (qlog !== undefined) writeFileSync(words.qlog!, `${JSON.stringify(qlog)}\n`);
  }
  if (words.json === true) printJson(summaryJson(tally, secondsSince(startedAt), true));
  // Who asks for a trace wants to see this run, not a smaller one.
  if (tally.failed > 0 && trace === undefined && qlog === undefined) await explain(seed, plan.run);
  if (tally.failed > 0) throw refused(`seed ${seed} failed`);
  if (plan.requiresMarks && tally.missedMarks.length > 0)
    throw refused(`seed ${seed} did not hit ${tally.missedMarks.join(', ')}`);
}

/** Runs a seed that failed again, and makes the failure small. */
async function explain(seed: number, options: RunOptions): Promise<void> {
  try {
    await runSeed(seed, options);
    remark(`seed ${seed} does not fail in this process: its own may have run out of memory`);
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    remark(error.message);
    remark(minimisedText(await minimise(seed, options, error)));
  }
}

function tell(tally: Tally, words: SimWords, seconds: number, isComplete: boolean): void {
  if (words.json === true) printJson(summaryJson(tally, seconds, isComplete));
  else print(summaryText(tally, seconds));
}

/** Lines about what goes on, on stderr: one that changes on a terminal, else now and then another. */
class Progress {
  readonly #line: () => string;
  readonly #isTerminal = process.stderr.isTTY === true;
  #timer: NodeJS.Timeout;

  constructor(line: () => string) {
    this.#line = line;
    const first = this.#isTerminal ? TERMINAL_MILLIS : FIRST_LINE_MILLIS;
    this.#timer = setTimeout(() => this.#tick(), first);
  }

  /** A line that stays. */
  say(text: string): void {
    this.#clear();
    remark(text);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#clear();
  }

  #tick(): void {
    this.#show();
    this.#timer = setTimeout(() => this.#tick(), this.#isTerminal ? TERMINAL_MILLIS : LINE_MILLIS);
  }

  #show(): void {
    if (!this.#isTerminal) return remark(this.#line());
    this.#clear();
    process.stderr.write(this.#line().slice(0, (process.stderr.columns ?? 80) - 1));
  }

  #clear(): void {
    if (this.#isTerminal) process.stderr.write('\r\x1b[2K');
  }
}

/** Where the lines of a trace go. */
class TraceSink {
  readonly #file: string | undefined;
  #lines: string[] = [];
  #isBegun = false;

  constructor(target: string | true) {
    this.#file = target === true || target === '-' ? undefined : target;
    // A file that can't be written is found before the run.
    this.#flush();
  }

  line(line: string): void {
    if (this.#file === undefined) return print(line);
    this.#lines.push(line);
    if (this.#lines.length >= TRACE_LINES_GATHERED) this.#flush();
  }

  end(): void {
    this.#flush();
  }

  #flush(): void {
    if (this.#file === undefined) return;
    const text = this.#lines.map((line) => `${line}\n`).join('');
    writeFileSync(this.#file, text, { flag: this.#isBegun ? 'a' : 'w' });
    this.#isBegun = true;
    this.#lines = [];
  }
}
