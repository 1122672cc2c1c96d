/** `put` and `get`: files to objects and back. */

import type { Command } from 'commander';
import { parseHashArgument, parseReplicas } from './arguments.ts';
import { ExitCode, UsageError } from './failures.ts';
import { Interruption } from './interruption.ts';
import { openSource } from './object-source.ts';
import { openObjectTarget } from './object-target.ts';
import { type ClusterOptions, withClient, withOpenClient } from './options.ts';
import {
  formatBytes,
  formatCount,
  formatRate,
  formatSeconds,
  print,
  printJson,
  secondsSince,
} from './output.ts';
import { openProgressBar } from './progress.ts';

const STANDARD_STREAM = '-';

interface PutCommandOptions extends ClusterOptions {
  readonly replicas?: number;
}

interface GetCommandOptions extends ClusterOptions {
  readonly out: string;
}

export function addTransferCommands(program: Command): void {
  withClient(program.command('put').description("store a file; prints its hash, the object's name"))
    .argument('<FILE>', "a file, or '-' for standard input")
    .option(
      '--replicas <COUNT>',
      'nodes that are to hold it, 1 to 8 (default: 2, or fewer if fewer are up)',
      parseReplicas,
    )
    .action(put);
  withClient(program.command('get').description('fetch an object and check its hash'))
    .argument('<HASH>', '64 hex digits')
    .requiredOption('-o, --out <FILE>', "where to, or '-' for standard output")
    .action(get);
}

async function put(file: string, options: PutCommandOptions): Promise<void> {
  const interruption = new Interruption(ExitCode.FAILED);
  const { signal } = interruption;
  await using source = await interruption.guard(openSource(file, signal));
  const { result, seconds } = await withOpenClient(options, async (client) => {
    // Without a coordinator this fails at once, where a put would try again for a while.
    await client.status({ signal });
    using bar = await openProgressBar('put');
    const startedAt = performance.now();
    const { bytes, open } = source;
    const { onProgress } = bar;
    const result = await client.put(open, { bytes, signal, replicas: options.replicas, onProgress });
    return { result, seconds: secondsSince(startedAt) };
  });
  const { hash, bytes, replicas, existed } = result;
  if (options.json === true) {
    printJson({ hash, bytes, seconds, replicas, existed });
    return;
  }
  print(hash);
  const what = existed ? 'was there already' : `in ${formatSeconds(seconds)}, ${formatRate(bytes, seconds)}`;
  // The hash stands alone on standard output, so that scripts can take it: HASH=$(gramline put FILE).
  process.stderr.write(`${formatBytes(bytes)} ${what}, ${formatCount(replicas, 'replica')}\n`);
}

async function get(hashText: string, options: GetCommandOptions): Promise<void> {
  const hash = parseHashArgument(hashText);
  const toStdout = options.out === STANDARD_STREAM;
  if (toStdout && options.json === true) {
    throw new UsageError('--json and -o - both write to standard output: choose one');
  }
  const interruption = new Interruption(ExitCode.FAILED);
  const { signal } = interruption;
  const { bytes, replicas, seconds } = await withOpenClient(options, async (client) => {
    const { bytes, replicas } = await client.whereIs(hash, { signal });
    await using target = await openObjectTarget(options.out);
    using bar = await openProgressBar('get', !toStdout);
    const startedAt = performance.now();
    const { onProgress } = bar;
    await client.getInto(hash, (piece) => target.write(piece), { signal, onProgress });
    await target.finish();
    return { bytes, replicas: replicas.length, seconds: secondsSince(startedAt) };
  });
  if (toStdout) return;
  if (options.json === true) {
    printJson({ hash, bytes, seconds, replicas });
    return;
  }
  print(`${options.out}: ${formatBytes(bytes)} in ${formatSeconds(seconds)}, ${formatRate(bytes, seconds)}`);
}
