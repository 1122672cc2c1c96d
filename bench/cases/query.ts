/** The time of one WhereIs: beside a raw echo, at scale, and under load. */

import type { Bench, Cluster, Prepared, Side } from '../bench.ts';
import { fillCatalog } from '../catalog-filler.ts';
import type { Child } from '../children.ts';
import type { Extent, Latencies } from '../roles/sampling.ts';

/** Of a query alone: enough for a p99, and over soon. */
const ALONE: Extent = { count: 4_000, seconds: 10 };
/** Under load as long as any rate is measured: stalls come seldom. */
const COUNT_MAX = 1_000_000;
const OBJECTS = 10_000;
const LOAD_BYTES = 256 << 20;

/** Both figures of one sampling: the second side takes what the first has measured. */
function latencySides(
  name: string,
  measure: () => Promise<Latencies>,
): { sides: Side[]; p50: string; p99: string } {
  let last: Latencies | undefined;
  const [p50, p99] = [`${name} p50`, `${name} p99`];
  const take = async (): Promise<Latencies> => {
    if (last !== undefined) {
      const taken = last;
      last = undefined;
      return taken;
    }
    last = await measure();
    return last;
  };
  return {
    p50,
    p99,
    sides: [
      { name: p50, run: async () => (await take()).p50Micros },
      { name: p99, run: async () => (await take()).p99Micros },
    ],
  };
}

function latenciesOf(child: Child, operation = 'latencies', more: object = ALONE): () => Promise<Latencies> {
  return () => child.call<Latencies>(operation, more);
}

export async function query(bench: Bench): Promise<void> {
  const { client } = await bench.cluster();
  await client.call('fill', { count: OBJECTS });
  const host = '127.0.0.1';
  const echo = await bench.child({ role: 'echo', options: { host } });
  const echoClient = await bench.child({ role: 'echoClient', options: { host, port: echo.ready.port } });
  const ours = latencySides('WhereIs', latenciesOf(client));
  const theirs = latencySides('dgram echo', latenciesOf(echoClient));
  const samples = await bench.alternate([...ours.sides, ...theirs.sides]);
  const common = { unit: 'us', ratioOf: 'ours/theirs' } as const;
  bench.compare(samples, [
    { ...common, name: ours.p50, ours: ours.p50, theirs: theirs.p50, goal: { atMost: 1.6 } },
    { ...common, name: ours.p99, ours: ours.p99, theirs: theirs.p99 },
  ]);
}

export async function queryScale(bench: Bench): Promise<void> {
  const fill = fillCatalog;
  if (fill === undefined) return bench.skip('all of it', 'there is no filler of catalogs yet');
  const { objects } = bench.options;
  const filled = async (count: number): Promise<Cluster> => {
    const samplePath = bench.directory('hashes');
    const prepare = ({ stateDirectory, nodeIds }: Prepared): Promise<void> =>
      fill({ stateDirectory, objects: count, nodeId: nodeIds[0]!, samplePath });
    const cluster = await bench.cluster({ prepare });
    await cluster.client.call('askFor', { path: samplePath });
    return cluster;
  };
  const few = await filled(OBJECTS);
  const many = await filled(objects);
  const ours = latencySides(`${objects.toLocaleString('en-US')} objects`, latenciesOf(many.client));
  const theirs = latencySides(`${OBJECTS.toLocaleString('en-US')} objects`, latenciesOf(few.client));
  const samples = await bench.alternate([...ours.sides, ...theirs.sides]);
  const common = { unit: 'us', ratioOf: 'ours/theirs' } as const;
  bench.compare(samples, [
    { ...common, name: ours.p50, ours: ours.p50, theirs: theirs.p50, goal: { atMost: 1.2 } },
    { ...common, name: ours.p99, ours: ours.p99, theirs: theirs.p99 },
  ]);
  bench.add({
    name: 'coordinator memory',
    unit: 'MiB',
    ours: [(await many.coordinator.rssBytes()) / 2 ** 20],
  });
}

export async function latencyUnderLoad(bench: Bench): Promise<void> {
  const { client } = await bench.cluster();
  await client.call('fill', { count: OBJECTS });
  const { hash } = await client.call<{ hash: string }>('putRandom', { bytes: LOAD_BYTES });
  const extent = { count: COUNT_MAX, seconds: bench.options.seconds };
  const load = { ...extent, hash, bytes: LOAD_BYTES };
  const idle = latencySides('idle', latenciesOf(client, 'latencies', extent));
  const getting = latencySides(
    'during get',
    latenciesOf(client, 'latenciesDuring', { ...load, transfer: 'get' }),
  );
  const putting = latencySides(
    'during put',
    latenciesOf(client, 'latenciesDuring', { ...load, transfer: 'put' }),
  );
  const samples = await bench.alternate([...idle.sides, ...getting.sides, ...putting.sides]);
  const common = { unit: 'us', ratioOf: 'ours/theirs' } as const;
  bench.compare(
    samples,
    [getting, putting].flatMap((loaded) => [
      { ...common, name: loaded.p99, ours: loaded.p99, theirs: idle.p99, goal: { atMost: 4 } },
      { ...common, name: loaded.p50, ours: loaded.p50, theirs: idle.p50 },
    ]),
  );
}
