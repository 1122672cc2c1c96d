/**
 * The campaign from the command line:
 *
 *   npm run sim -- [--seeds N] [--from N]     many seeds; stops at the first that fails
 *   npm run sim -- --seed N [--trace]         one seed, with every event in words
 *   npm run sim -- --seeds N --keep-going     all of them, one line for each that fails
 *   npm run sim -- --contention               removals and puts meet on a slow state disk
 */

import { parseArgs } from 'node:util';
import { FAULT_KINDS, type FaultKind, runSeed } from './campaign.ts';

const SEEDS_DEFAULT = 1_000;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    from: { type: 'string' },
    seed: { type: 'string' },
    trace: { type: 'boolean' },
    'keep-going': { type: 'boolean' },
    faults: { type: 'string' },
    contention: { type: 'boolean' },
  },
});

const whole = (text: string | undefined, name: string): number | undefined => {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} takes a whole number, not '${text}'`);
  process.exit(2);
};

const seed = whole(values.seed, 'seed');
const from = seed ?? whole(values.from, 'from') ?? 1;
const count = seed === undefined ? (whole(values.seeds, 'seeds') ?? SEEDS_DEFAULT) : 1;
const named = values.faults?.split(',').filter((name) => name !== '');
const unknown = named?.find((name) => !(FAULT_KINDS as readonly string[]).includes(name));
if (unknown !== undefined) {
  console.error(`--faults knows ${FAULT_KINDS.join(', ')}, not '${unknown}'`);
  process.exit(2);
}

const outcomes = new Map<string, number>();
const totals = { events: 0, datagrams: 0, virtualSeconds: 0, failed: 0 };
const startedAt = performance.now();
let done = 0;
for (let current = from; current < from + count; current++) {
  try {
    const report = await runSeed(current, {
      ...(values.trace === true ? { print: (line: string) => console.log(line) } : {}),
      contention: values.contention === true,
      ...(named === undefined ? {} : { faults: named as FaultKind[] }),
    });
    totals.events += report.events;
    totals.datagrams += report.datagrams;
    totals.virtualSeconds += report.virtualSeconds;
    for (const [outcome, times] of report.outcomes)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + times);
    if (seed !== undefined)
      console.log(`seed ${current}: ${report.hash}, faults: ${report.faults.join(', ') || 'none'}`);
  } catch (error) {
    totals.failed += 1;
    const text = error instanceof Error ? error.message : String(error);
    if (values['keep-going'] !== true) {
      console.error(text);
      process.exitCode = 1;
      break;
    }
    console.error(text.split('\n')[0]!.slice(0, 300));
    process.exitCode = 1;
  }
  done += 1;
}

const wallSeconds = (performance.now() - startedAt) / 1000;
console.log(
  `${done} seeds, ${totals.failed} failed, in ${wallSeconds.toFixed(1)} s (${(done / wallSeconds).toFixed(1)} a second): ` +
    `${Math.round(totals.virtualSeconds)} s of cluster time, ${totals.events} events, ${totals.datagrams} datagrams`,
);
for (const [outcome, times] of [...outcomes].sort()) console.log(`  ${outcome}: ${times}`);
