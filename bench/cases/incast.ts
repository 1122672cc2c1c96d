/** Many nodes that send to one client at once, beside one of them alone: total goodput, hashes checked. */

import type { Bench, ClusterOptions } from '../bench.ts';
import { openStar } from '../lab.ts';

const NODES = 8;
/** Objects that are stored until every node has one. */
const PUTS_MAX = 128;
/** What each node sends in a round, alone or with the others: its code is then as warm in both. */
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
  const bytes = Math.max(1, Math.round(bench.options.megabytes * SHARE)) * 2 ** 20;
  const hashes = await putOnEach(client.call, bytes);
  const goodput = async (wanted: readonly string[]): Promise<number> => {
    const { seconds } = await client.call<{ seconds: number }>('getAll', { hashes: wanted });
    return (wanted.length * bytes) / 1e6 / seconds;
  };
  const [many, one] = [`${NODES} nodes`, 'one node'];
  const samples = await bench.alternate([
    { name: many, run: () => goodput(hashes) },
    { name: one, run: () => goodput(hashes.slice(0, 1)) },
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
