/** `gramline up`: a whole cluster on this machine, and its first job. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { openClient } from '../open.ts';
import { parseCount } from './arguments.ts';
import { ExitCode, refused } from './failures.ts';
import { Interruption } from './interruption.ts';
import { logLevelOption } from './logging.ts';
import { openSource } from './object-source.ts';
import { type OutputOptions, withOutput } from './options.ts';
import { paint, print, printJson, remark } from './output.ts';
import { startLocalCluster } from './up-cluster.ts';
import { formatJobReport, type JobReport, runFirstJob } from './up-job.ts';

const NODES_DEFAULT = 3;
const NODES_MAX = 64;

interface UpOptions extends OutputOptions {
  readonly nodes: number;
  readonly once?: boolean;
  readonly logLevel?: string;
}

export function addUpCommand(program: Command): void {
  withOutput(
    program.command('up').description('start a whole cluster on this machine, and run its first job'),
  )
    .argument('[FILE]', "what the job stores and fetches (default: Node's own executable)")
    .option(
      '--nodes <COUNT>',
      'how many nodes',
      (text) => parseCount(text, '--nodes', NODES_MAX),
      NODES_DEFAULT,
    )
    .option('--once', 'end after the job')
    .addOption(logLevelOption())
    .action(up);
}

async function up(file: string | undefined, options: UpOptions): Promise<void> {
  // Ctrl-C ends the cluster as it should be ended; before the job is done, that is a failure.
  const interruption = new Interruption(ExitCode.FAILED);
  const { signal } = interruption;
  const path = file ?? process.execPath;
  await using source = await interruption.guard(openSource(path, signal));
  const isText = options.json !== true;
  const nodes = `${options.nodes} ${options.nodes === 1 ? 'node' : 'nodes'}`;
  if (isText) print(`Starting a coordinator and ${nodes} on this machine ...`);
  const startedAt = performance.now();
  const cluster = await startLocalCluster({
    nodes: options.nodes,
    signal,
    logLevel: options.logLevel,
    onNodeEnded: remark,
  });
  try {
    const { coordinator, secret, secretFile, directory } = cluster;
    const startMillis = Math.round(performance.now() - startedAt);
    if (isText) print(`Ready in ${startMillis} ms: coordinator on ${coordinator}, ${nodes} joined.\n`);
    const client = await openClient({ secret, coordinators: [coordinator] });
    let report: JobReport;
    try {
      report = await Promise.race([runFirstJob({ client, source, path, directory, signal }), cluster.failed]);
    } finally {
      await client.close();
    }
    if (isText) print(formatJobReport(report));
    else printJson(report);
    if (!report.identical) throw refused('what came back differs from what was stored');
    if (options.once === true) return;
    if (isText) print(howToUse(coordinator, secretFile));
    await Promise.race([interruption.wait(), cluster.failed]);
    if (isText) print('\nStopping.');
  } finally {
    await cluster.close();
  }
}

function howToUse(coordinator: string, secretFile: string): string {
  const lines = [
    ...aliasLines(),
    `export GRAMLINE_COORDINATORS=${coordinator}`,
    `export GRAMLINE_SECRET_FILE=${secretFile}`,
    'gramline status',
  ];
  return [
    '',
    'The cluster runs until Ctrl-C. To use it, paste this into another terminal:',
    '',
    ...lines.map((line) => paint('bold', `  ${line}`)),
    '',
    'Then: gramline put FILE, gramline where-is HASH, gramline get HASH -o FILE, gramline --help',
  ].join('\n');
}

/** From a clone the command is no word that shells know yet. */
function aliasLines(): readonly string[] {
  const script = process.argv[1];
  if (script?.endsWith('.js') !== true) return [];
  return [`alias gramline='node ${resolve(script).replaceAll("'", "'\\''")}'`];
}
