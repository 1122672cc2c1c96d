/**
 * `npm run bench`: Gramline beside what a user would pick instead, both sides in turn within one
 * run. Prints medians and ratios with their spread; writes them to `bench/results/`.
 */

import { rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench } from './bench.ts';
import { CASES, type Case } from './cases/index.ts';
import { runChild } from './child.ts';
import { memoryDirectory, readEnvironment } from './environment.ts';
import { labTrouble } from './lab.ts';
import { type BenchOptions, parseBenchOptions, USAGE, UsageError } from './options.ts';
import { formatTable, LEGEND } from './results.ts';
import { Scope } from './scope.ts';

/** Copies of the object that are on disk at once: source, stored, copied, and one more. */
const COPIES = 4;
const RESULTS = join('bench', 'results');
const INTERRUPTED = 130;

if (process.argv.includes('--child')) await runChild();
else await main(process.argv.slice(2));

async function main(argv: readonly string[]): Promise<void> {
  const names = Object.keys(CASES);
  if (argv.includes('--help') || argv.includes('--list')) {
    const about = names.map((name) => `  ${name.padEnd(20)} ${CASES[name]!.about}`).join('\n');
    console.log(argv.includes('--help') ? `${USAGE}\n\ncases:\n${about}` : about);
    return;
  }
  let options: BenchOptions;
  try {
    options = parseBenchOptions(argv, {
      all: names,
      lab: names.filter((name) => CASES[name]!.runInLab !== undefined),
      profiled: names.filter((name) => CASES[name]!.profile !== undefined),
    });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}`);
    process.exitCode = 2;
    return;
  }
  const trouble = options.lab ? labTrouble() : undefined;
  if (trouble !== undefined) {
    console.error(`bench: skipped, with --lab: ${options.cases.join(', ')}: ${trouble}`);
    return;
  }
  await run(options);
}

async function run(options: BenchOptions): Promise<void> {
  const scope = new Scope();
  const environment = readEnvironment();
  const memory = memoryDirectory(COPIES * options.megabytes * 2 ** 20);
  const root = await mkdtemp(join(memory ?? tmpdir(), 'gramline-bench-'));
  scope.inEmergency(() => rmSync(root, { recursive: true, force: true }));
  scope.defer(() => rm(root, { recursive: true, force: true }));
  await keepBundle(scope);
  const bench = new Bench(options, root);
  if (memory === undefined)
    bench.notes.push(`no tmpfs has room enough: files are in ${tmpdir()}, on a disk.`);
  const interrupt = async (): Promise<void> => {
    await bench.scope.close();
    await scope.close();
    process.exit(INTERRUPTED);
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    for (const name of options.cases) {
      await bench.runCase(name, runnerOf(CASES[name]!, options));
      if (bench.scope.isClosing && scope.isClosing) return;
    }
    const summary = {
      environment: { ...environment, offload: Object.fromEntries(bench.offload) },
      options,
      results: bench.rows,
      skipped: bench.skipped,
      failed: bench.failed,
      notes: bench.notes,
      profiles: bench.profiles,
    };
    const text = `${JSON.stringify(summary, null, 2)}\n`;
    await mkdir(RESULTS, { recursive: true });
    const path = join(RESULTS, fileName(options, environment.date));
    await writeFile(path, text);
    if (options.json) console.log(text.trimEnd());
    else {
      print(bench, environment);
      console.log(`written to ${path}`);
    }
    if (bench.failed.length > 0) process.exitCode = 1;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    await scope.close();
  }
}

function runnerOf(chosen: Case, { lab, cpuProf }: BenchOptions): (bench: Bench) => Promise<void> {
  return (lab ? chosen.runInLab : cpuProf ? chosen.profile : chosen.run)!;
}

/** Children start from the same code as this process, even if another run bundles anew meanwhile. */
async function keepBundle(scope: Scope): Promise<void> {
  const copy = process.argv[1]!.replace(/\.mjs$/, `.${process.pid}.mjs`);
  await copyFile(process.argv[1]!, copy);
  scope.inEmergency(() => rmSync(copy, { force: true }));
  process.argv[1] = copy;
}

function fileName({ lab, cpuProf, named, cases }: BenchOptions, date: string): string {
  const parts = [date.slice(0, 10), `node${process.versions.node}`];
  if (lab) parts.push('lab');
  if (cpuProf) parts.push('profile');
  if (named) parts.push(...cases);
  return `${parts.join('-')}.json`;
}

function print(bench: Bench, environment: ReturnType<typeof readEnvironment>): void {
  const { cpu, cores, memoryGib, kernel, node, commit, modified, congestionControl } = environment;
  const offload = [...bench.offload].map(([name, active]) => `${name} ${active ? 'on' : 'off'}`).join(', ');
  console.log(`
${cores} x ${cpu}, ${memoryGib} GiB, Linux ${kernel}, Node ${node}
commit ${commit}${modified ? ', modified' : ''}; TCP congestion control ${congestionControl}; ${bench.options.pairs} pairs
segmentation offload of Gramline: ${offload === '' ? 'not asked' : offload}
`);
  if (bench.rows.length > 0) console.log(`${formatTable(bench.rows)}\n\n${LEGEND}`);
  for (const note of bench.notes) console.log(note);
  for (const { case: name, what, why } of bench.skipped) console.log(`skipped: ${name}: ${what}: ${why}`);
  for (const { case: name, what, why } of bench.failed) console.log(`failed: ${name}: ${what}: ${why}`);
  for (const table of bench.profiles) console.log(`\n${table}`);
}
