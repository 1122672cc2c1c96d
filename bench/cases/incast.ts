/** Many nodes that send to one client at once, beside one of them alone: total goodput, hashes checked. */

import type { Bench, ClusterOptions } from '../bench.ts';
import { openStar } from '../lab.ts';

const NODES = 8;
/** Objects that are stored until every node has one. */
const PUTS_MAX = 128;
/** Of what one node sends in a round; the eight send as much together. */
const SHARE = 1 / 4;

export async function incast(bench: Bench): Promise<void> {
  await run(bench, {}, 'loopback');
}

/** Every node in a namespace of its own, around one switch. */
export async function incastLab(bench: Bench): Promise<void> {
  const [client, ...nodes] = openStar(bench.scope, NODES + 1);
  await run(bench, { places: { client: client!, nodes } }, 'veth');
}

async function run(bench: Bench, cluster: ClusterOptions, name: string): Promise<void> {
  const { client } = await bench.cluster({ ...cluster, nodes: NODES });
  const total = Math.max(NODES, Math.round(bench.options.megabytes * SHARE)) * 2 ** 20;
  const shares = await putOnEach(client.call, Math.floor(total / NODES));
  const { hash: whole } = await client.call<Stored>('putRandom', { bytes: total });
  const goodput = async (hashes: readonly string[]): Promise<number> =>
    total / 1e6 / (await client.call<{ seconds: number }>('getAll', { hashes })).seconds;
  const [many, one] = [`${NODES} nodes`, 'one node'];
  const samples = await bench.alternate([
    { name: many, run: () => goodput(shares) },
    { name: one, run: () => goodput([whole]) },
  ]);
  bench.compare(samples, [
    {
      name: `${name}, ${NODES} nodes`,
      unit: 'MB/s',
      ours: many,
      theirs: one,
      ratioOf: 'ours/theirs',
      goal: { atLeast: 0.9 },
    },
  ]);
}

interface Stored {
  readonly hash: string;
  readonly node: string;
}

/** One object of `bytes` on each node. */
async function putOnEach(
  call: <Result>(operation: string, parameters: unknown) => Promise<Result>,
  bytes: number,
): Promise<string[]> {
  const held = new Map<string, string>();
  for (let put = 0; held.size < NODES; put++) {
    if (put === PUTS_MAX) throw new Error(`only ${held.size} of ${NODES} nodes were given an object`);
    const { hash, node } = await call<Stored>('putRandom', { bytes });
    if (held.has(node)) await call('remove', { hash });
    else held.set(node, hash);
  }
  return [...held.values()];
}
