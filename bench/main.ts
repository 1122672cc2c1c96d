/**
 * `npm run bench [-- NAME] [--json] [--pairs N] [--megabytes N]`: Gramline beside what a user would
 * pick instead, on loopback, both sides in turn within one run. Prints medians and the ratio.
 */

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openClient } from '../src/index.ts';
import { bulkCases, handshakeCase, queryCases, type Stage } from './cases.ts';
import { type Child, runChild, startChild } from './children.ts';
import { type Comparison, median } from './measure.ts';

const CASES = ['query', 'bulk', 'handshake'] as const;
const MEGABYTE = 1_000_000;

if (process.argv.includes('--child')) await runChild();
else await main();

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      pairs: { type: 'string', default: '5' },
      megabytes: { type: 'string', default: '256' },
    },
  });
  const wanted = positionals.length === 0 ? [...CASES] : positionals;
  const unknown = wanted.find((name) => !(CASES as readonly string[]).includes(name));
  if (unknown !== undefined) {
    console.error(`no benchmark is called ${unknown}: choose from ${CASES.join(', ')}`);
    process.exitCode = 2;
    return;
  }
  const root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'gramline-bench-'));
  const children: Child[] = [];
  try {
    const secret = new Uint8Array(randomBytes(32));
    const secretHex = Buffer.from(secret).toString('hex');
    const start = async (options: Parameters<typeof startChild>[0]): Promise<Child> => {
      const child = await startChild(options);
      children.push(child);
      return child;
    };
    const coordinator = await start({ role: 'coordinator', directory: join(root, 'state'), secretHex });
    const node = await start({
      role: 'node',
      directory: join(root, 'node'),
      secretHex,
      coordinator: coordinator.address,
    });
    const client = await openClient({ secret, coordinators: [coordinator.address] });
    const stage: Stage = {
      client,
      coordinator,
      echo: await start({ role: 'echo' }),
      tls: await start({ role: 'tls' }),
      secret,
      pairs: Number(values.pairs),
      bulkBytes: Number(values.megabytes) * MEGABYTE,
    };
    const results: Comparison[] = [];
    if (wanted.includes('query')) results.push(...(await queryCases(stage)));
    if (wanted.includes('bulk')) results.push(...(await bulkCases(stage)));
    if (wanted.includes('handshake')) results.push(await handshakeCase(stage));
    const rss = {
      coordinatorBytes: await coordinator.rssBytes(),
      nodeBytes: await node.rssBytes(),
      clientBytes: process.memoryUsage().rss,
    };
    await client.close();
    await report(results, rss, values.json);
  } finally {
    for (const child of children) await child.stop();
    await rm(root, { recursive: true, force: true });
  }
}

async function report(
  results: readonly Comparison[],
  rss: Readonly<Record<string, number>>,
  json: boolean,
): Promise<void> {
  const summary = {
    date: new Date().toISOString(),
    node: process.version,
    machine: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    commit: commit(),
    rss,
    results: results.map((result) => ({
      ...result,
      oursMedian: median(result.ours),
      theirsMedian: median(result.theirs),
      ratio: median(result.ours.map((value, index) => value / result.theirs[index]!)),
    })),
  };
  const directory = new URL('../bench/results/', `file://${process.cwd()}/bench/`);
  await mkdir(directory, { recursive: true });
  await writeFile(
    new URL(`${summary.date.slice(0, 10)}-node${process.versions.node}.json`, directory),
    `${JSON.stringify(summary, null, 2)}\n`,
  );
  if (json) {
    console.log(JSON.stringify(summary));
    return;
  }
  console.log(`\n${summary.machine}, Node ${summary.node}, ${results[0]?.ours.length ?? 0} pairs, medians\n`);
  const row = (cells: readonly string[]): void =>
    console.log(cells.map((cell, index) => (index === 0 ? cell.padEnd(14) : cell.padStart(18))).join(''));
  row(['case', 'Gramline', 'peer', 'ratio (min-max)', 'peer is']);
  for (const { name, unit, theirName, ours, theirs, oursMedian, theirsMedian, ratio } of summary.results) {
    const ratios = ours.map((value, index) => value / theirs[index]!);
    const spread = `${ratio.toFixed(2)} (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})`;
    row([name, `${figure(oursMedian)} ${unit}`, `${figure(theirsMedian)} ${unit}`, spread, theirName]);
  }
  console.log(
    `\nresident memory: coordinator ${mib(rss.coordinatorBytes!)}, node ${mib(rss.nodeBytes!)}, client ${mib(rss.clientBytes!)}`,
  );
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
