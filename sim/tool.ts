/**
 * `gramline sim`: the campaign from the command line.
 *
 *   gramline sim [--seeds N] [--from N]     many seeds; stops at the first that fails
 *   gramline sim --seed N [--trace]         one seed, with every event in words
 *   gramline sim --seeds N --keep-going     all of them, one line for each that fails
 *   gramline sim --contention               removals and puts meet on a slow state disk
 */

import { newCommand, runCommandLine } from '../src/cli/command-line.ts';
import { type ExitCode, refused, UsageError } from '../src/cli/failures.ts';
import { print, remark } from '../src/cli/output.ts';
import { FAULT_KINDS, type FaultKind, runSeed } from './campaign.ts';

const SEEDS_DEFAULT = 1_000;

interface SimOptions {
  readonly seeds: number;
  readonly from: number;
  readonly seed?: number;
  readonly trace?: boolean;
  readonly keepGoing?: boolean;
  readonly faults?: readonly FaultKind[];
  readonly contention?: boolean;
}

export function run(parameters: readonly string[]): Promise<ExitCode> {
  const program = newCommand('gramline sim')
    .description('simulate whole clusters under faults, by seed')
    .option('--seeds <N>', 'how many seeds', wholeNumber, SEEDS_DEFAULT)
    .option('--from <N>', 'the first of them', wholeNumber, 1)
    .option('--seed <N>', 'this seed alone', wholeNumber)
    .option('--trace', 'print every event and datagram')
    .option('--keep-going', 'go on after a seed that fails')
    .option('--faults <KIND,...>', `only these kinds: ${FAULT_KINDS.join(', ')}`, faultKinds)
    .option('--contention', 'removals and puts of one object meet on a slow state disk')
    .action(simulate);
  return runCommandLine(program, parameters);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new UsageError(`'${text}' is no whole number`);
}

function faultKinds(text: string): readonly FaultKind[] {
  const names = text.split(',').filter((name) => name !== '');
  const unknown = names.find((name) => !(FAULT_KINDS as readonly string[]).includes(name));
  if (unknown === undefined) return names as FaultKind[];
  throw new UsageError(`--faults knows ${FAULT_KINDS.join(', ')}, not '${unknown}'`);
}

async function simulate(options: SimOptions): Promise<void> {
  const outcomes = new Map<string, number>();
  const totals = { events: 0, datagrams: 0, virtualSeconds: 0, failed: 0 };
  const { seed } = options;
  const from = seed ?? options.from;
  const count = seed === undefined ? options.seeds : 1;
  const startedAt = performance.now();
  let done = 0;
  for (let current = from; current < from + count; current++) {
    try {
      const report = await runSeed(current, {
        ...(options.trace === true ? { print: (line: string) => print(line) } : {}),
        contention: options.contention === true,
        ...(options.faults === undefined ? {} : { faults: options.faults }),
      });
      totals.events += report.events;
      totals.datagrams += report.datagrams;
      totals.virtualSeconds += report.virtualSeconds;
      for (const [outcome, times] of report.outcomes)
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + times);
      if (seed !== undefined)
        print(`seed ${current}: ${report.hash}, faults: ${report.faults.join(', ') || 'none'}`);
    } catch (error) {
      totals.failed += 1;
      const text = error instanceof Error ? error.message : String(error);
      if (options.keepGoing !== true) {
        remark(text);
        break;
      }
      remark(text.split('\n')[0]!.slice(0, 300));
    }
    done += 1;
  }

  const wallSeconds = (performance.now() - startedAt) / 1000;
  print(
    `${done} seeds, ${totals.failed} failed, in ${wallSeconds.toFixed(1)} s (${(done / wallSeconds).toFixed(1)} a second): ` +
      `${Math.round(totals.virtualSeconds)} s of cluster time, ${totals.events} events, ${totals.datagrams} datagrams`,
  );
  for (const [outcome, times] of [...outcomes].sort()) print(`  ${outcome}: ${times}`);
  if (totals.failed > 0) throw refused(`${totals.failed} of ${done} seeds failed`);
}
