/** Commits to a state in etcd: the store's, and what etcd takes over the same HTTP client with nothing around it. */

import { REQUESTS_MAX } from '../../src/store/etcd-commits.ts';
import type { Bench, Side } from '../bench.ts';
import type { Child } from '../children.ts';
import { findProgram, freePort, startProgram, until } from '../processes.ts';
import { isEtcdReady } from '../roles/etcd.ts';

const READY_MILLIS_MAX = 20_000;
/** Commits of the store under way. */
const WINDOW = 1_024;
/** Commits of one request to etcd, and requests under way: fewer, and as many as the store has. */
const BATCH = 64;
const REQUESTS = [2, REQUESTS_MAX];

const FOLLOWER = 'a follower on etcd';
const LONE = 'a lone coordinator';
const OBJECTS = 10_000;
/** Questions under way. */
const QUESTIONS = 256;

/** One etcd; its URL, or undefined where there is none. */
async function startEtcd(bench: Bench, what: string): Promise<string | undefined> {
  const program = findProgram('etcd');
  if (program === undefined) {
    bench.skip(what, 'etcd is not installed');
    return undefined;
  }
  const [client, peer] = [await freePort(), await freePort()];
  const [url, peerUrl] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`];
  const server = startProgram(bench.scope, program, [
    ...['--name', 'bench', '--data-dir', bench.directory('etcd'), '--logger', 'zap', '--log-level', 'error'],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peerUrl, '--initial-advertise-peer-urls', peerUrl],
    ...['--initial-cluster', `bench=${peerUrl}`],
  ]);
  await until(
    () => isEtcdReady(url),
    READY_MILLIS_MAX,
    () => `etcd ${server.output()}`,
  );
  return url;
}

/** Questions a second that a follower answers, beside a lone coordinator on lmdb. */
export async function rateFollower(bench: Bench): Promise<void> {
  const url = await startEtcd(bench, FOLLOWER);
  if (url === undefined) return;
  const { secretHex } = bench;
  const options = { secretHex, state: `etcd:${url}`, listen: '127.0.0.1:0' };
  const leader = await bench.child({ role: 'coordinator', options });
  const follower = await bench.child({ role: 'coordinator', options });
  const directory = bench.directory('node');
  const node = { secretHex, directory, coordinator: leader.ready.address, listen: '127.0.0.1:0', name: 'n' };
  await bench.child({ role: 'node', options: node });
  const asker = await bench.child({
    role: 'client',
    options: { secretHex, coordinator: follower.ready.address },
  });
  if (await asker.call<boolean>('isLed')) throw new Error('who is to follow leads');
  const lone = await bench.cluster();
  for (const { call } of [lone.client, asker]) await call('fill', { count: OBJECTS });
  const { seconds } = bench.options;
  const rateOf = (name: string, { call }: Child): Side => ({
    name,
    run: () => call<number>('rate', { seconds, window: QUESTIONS }),
  });
  const samples = await bench.alternate([rateOf(FOLLOWER, asker), rateOf(LONE, lone.client)]);
  bench.compare(samples, [
    {
      name: 'WhereIs',
      unit: '1/s',
      ours: FOLLOWER,
      theirs: LONE,
      ratioOf: 'ours/theirs',
      goal: { atLeast: 0.9 },
    },
  ]);
}

export async function stateEtcd(bench: Bench): Promise<void> {
  const url = await startEtcd(bench, 'commits to etcd');
  if (url === undefined) return;
  const ours = await bench.child({ role: 'etcdStore', options: { url } });
  const theirs = await bench.child({ role: 'etcdPlain', options: { url } });
  const { seconds } = bench.options;
  const store = (window: number): Side => ({
    name: `store, ${window}`,
    run: () => ours.call<number>('rate', { seconds, window }),
  });
  const plain = (batch: number, window: number): Side => ({
    name: `etcd, ${window} x ${batch}`,
    run: () => theirs.call<number>('rate', { seconds, window, batch }),
  });
  const [many, one] = [store(WINDOW), store(1)];
  const several = REQUESTS.map((requests) => plain(BATCH, requests));
  const [single, bare] = [plain(BATCH, 1), plain(1, 1)];
  const samples = await bench.alternate([many, ...several, single, one, bare]);
  const common = { unit: '1/s', ratioOf: 'ours/theirs' } as const;
  const independent = { ...common, name: `${WINDOW} commits under way`, ours: many.name };
  bench.compare(samples, [
    ...several.map(({ name }) => ({ ...independent, theirs: name, goal: { atLeast: 0.7 } })),
    { ...independent, theirs: single.name, goal: { atLeast: 0.7 } },
    { ...common, name: 'one by one', ours: one.name, theirs: bare.name },
  ]);
}
