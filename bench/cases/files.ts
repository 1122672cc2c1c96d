/**
 * Storing and fetching one file, on tmpfs at both ends, beside programs that copy files. Ours is
 * measured twice: the whole `gramline` command, as the others are, and a client that is open.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, open, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Bench, Cluster, Comparison, Side } from '../bench.ts';
import { COPY_MILLIS_MAX, FILE_PEERS, type FilePeer } from '../peers/index.ts';
import { findProgram, runProgram } from '../processes.ts';
import type { Goal } from '../statistics.ts';

const COMMAND = 'gramline command';
const CLIENT = 'open client';
const PIECE_BYTES = 1 << 20;

/** What each peer's time must be at least, as a multiple of ours. */
const GET_GOALS: Readonly<Record<string, Goal>> = {
  scp: { atLeast: 2.5 },
  ngtcp2: { atLeast: 3 },
  uftp: { atLeast: 4 },
  srt: { atLeast: 4 },
};

export async function putFile(bench: Bench): Promise<void> {
  const source = await makeSource(bench);
  const cluster = await bench.cluster();
  const gramline = await commandLine(bench, cluster);
  const target = bench.directory('put');
  const put = async (side: () => Promise<{ hash: string; seconds: number }>): Promise<number> => {
    // Other bytes each time: the same ones would be there already.
    await freshen(source);
    const { hash, seconds } = await side();
    await cluster.client.call('remove', { hash });
    return seconds;
  };
  const sides: Side[] = [
    {
      name: COMMAND,
      run: () =>
        put(async () => {
          const { seconds, output } = await gramline(['put', source, '--replicas', '1']);
          return { seconds, hash: (JSON.parse(output) as { hash: string }).hash };
        }),
    },
    { name: CLIENT, run: () => put(() => cluster.client.call('putFile', { path: source })) },
  ];
  const scp = await openPeer(bench, 'scp', source);
  if (scp !== undefined)
    sides.push({ name: 'scp', run: checked(bench, source, target, () => scp.put!(target)) });
  const samples = await bench.alternate(sides);
  bench.compare(samples, comparisons('scp', { atLeast: 2 }));
}

export async function getFile(bench: Bench): Promise<void> {
  const source = await makeSource(bench);
  const cluster = await bench.cluster();
  const gramline = await commandLine(bench, cluster);
  const target = bench.directory('got');
  const { hash } = await cluster.client.call<{ hash: string }>('putFile', { path: source });
  const sides: Side[] = [
    {
      name: COMMAND,
      run: checked(bench, source, target, async () => (await gramline(['get', hash, '-o', target])).seconds),
    },
    {
      name: CLIENT,
      run: checked(bench, source, target, async () => {
        const { seconds } = await cluster.client.call<{ seconds: number }>('getFile', { hash, path: target });
        return seconds;
      }),
    },
  ];
  const peers: string[] = [];
  for (const { name } of FILE_PEERS) {
    const peer = await openPeer(bench, name, source);
    if (peer === undefined) continue;
    peers.push(name);
    sides.push({ name, run: checked(bench, source, target, () => peer.get(target)) });
  }
  const samples = await bench.alternate(sides);
  for (const name of peers) bench.compare(samples, comparisons(name, GET_GOALS[name]));
}

/** The bar holds for whole command against whole command. */
function comparisons(theirs: string, goal: Goal | undefined): Comparison[] {
  const common = { unit: 's', theirs, ratioOf: 'theirs/ours' } as const;
  return [
    { ...common, name: COMMAND, ours: COMMAND, ...(goal === undefined ? {} : { goal }) },
    { ...common, name: CLIENT, ours: CLIENT },
  ];
}

/** A file of random bytes, alone in its directory. */
async function makeSource(bench: Bench): Promise<string> {
  const directory = bench.directory('source');
  await mkdir(directory);
  bench.scope.defer(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'file');
  const file = await open(path, 'w');
  try {
    for (let piece = 0; piece < bench.options.megabytes; piece++)
      await file.writeFile(randomBytes(PIECE_BYTES));
  } finally {
    await file.close();
  }
  return path;
}

async function freshen(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(randomBytes(16), 0, 16, 0);
  } finally {
    await file.close();
  }
}

/** Runs whole commands of the built package. */
async function commandLine(bench: Bench, { address }: Cluster) {
  const main = resolve('dist/cli/main.js');
  const secretFile = bench.directory('secret');
  await writeFile(secretFile, `${bench.secretHex}\n`, { mode: 0o600 });
  const common = ['--json', '--coordinators', address, '--secret-file', secretFile];
  return (parameters: readonly string[]) =>
    runProgram(bench.scope, process.execPath, [main, ...parameters, ...common], { millis: COPY_MILLIS_MAX });
}

/** Undefined, and noted, where the peer isn't installed or doesn't start. */
async function openPeer(bench: Bench, name: string, source: string): Promise<FilePeer | undefined> {
  const kind = FILE_PEERS.find((other) => other.name === name)!;
  const missing = kind.programs.filter((program) => findProgram(program) === undefined);
  if (missing.length > 0) {
    bench.skip(name, `${missing.join(', ')} not installed`);
    return undefined;
  }
  const directory = bench.directory(name);
  await mkdir(directory);
  try {
    return await kind.open({ bench, source, directory });
  } catch (error) {
    bench.fail(name, error);
    return undefined;
  }
}

/** A copy into `target`, which is compared with the source the first time and removed each time. */
function checked(
  bench: Bench,
  source: string,
  target: string,
  copy: () => Promise<number>,
): () => Promise<number> {
  let isCompared = false;
  return async () => {
    try {
      const seconds = await copy();
      if (!isCompared) await runProgram(bench.scope, 'cmp', [source, target], { millis: COPY_MILLIS_MAX });
      else if ((await stat(target)).size !== (await stat(source)).size)
        throw new Error('the copy has another size');
      isCompared = true;
      return seconds;
    } finally {
      await rm(target, { force: true });
    }
  };
}
