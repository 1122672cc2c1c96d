/** Commits to a state in etcd: the store's, and what etcd takes over the same HTTP client with nothing around it. */

import type { Bench, Side } from '../bench.ts';
import { findProgram, freePort, startProgram, until } from '../processes.ts';
import { isEtcdReady } from '../roles/etcd.ts';

const READY_MILLIS_MAX = 20_000;
/** Commits of the store under way. */
const WINDOW = 1_024;
/** Commits of one request to etcd, and requests under way. */
const BATCH = 64;
const REQUESTS = 2;

export async function stateEtcd(bench: Bench): Promise<void> {
  const program = findProgram('etcd');
  if (program === undefined) {
    bench.skip('commits to etcd', 'etcd is not installed');
    return;
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
  const [few, single, bare] = [plain(BATCH, REQUESTS), plain(BATCH, 1), plain(1, 1)];
  const samples = await bench.alternate([many, few, single, one, bare]);
  const common = { unit: '1/s', ratioOf: 'ours/theirs' } as const;
  const independent = { ...common, name: `${WINDOW} commits under way`, ours: many.name };
  bench.compare(samples, [
    { ...independent, theirs: few.name, goal: { atLeast: 0.7 } },
    { ...independent, theirs: single.name, goal: { atLeast: 0.7 } },
    { ...common, name: 'one by one', ours: one.name, theirs: bare.name },
  ]);
}
