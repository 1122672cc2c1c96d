/** Full handshakes a second, both ends in processes of their own, none resumed. */

import type { Bench, Side } from '../bench.ts';

const WINDOW = 16;

export async function handshake(bench: Bench): Promise<void> {
  const { secretHex, options } = bench;
  const host = '127.0.0.1';
  const coordinator = await bench.child({
    role: 'coordinator',
    options: { secretHex, directory: bench.directory('state'), listen: `${host}:0` },
  });
  const { address } = coordinator.ready;
  const ours = await bench.child({ role: 'handshakes', options: { secretHex, address } });
  const sink = await bench.child({ role: 'tlsSink', options: { host } });
  const theirs = await bench.child({ role: 'tlsHandshakes', options: { host, port: sink.ready.port } });
  const { seconds } = options;
  const at = (window: number): readonly [Side, Side] => [
    { name: `Gramline, ${window}`, run: () => ours.call<number>('rate', { seconds, window }) },
    { name: `TLS 1.3, ${window}`, run: () => theirs.call<number>('rate', { seconds, window }) },
  ];
  const [many, single] = [at(WINDOW), at(1)];
  const samples = await bench.alternate([...many, ...single]);
  const common = { unit: '1/s', ratioOf: 'ours/theirs' } as const;
  bench.compare(samples, [
    { ...common, name: `${WINDOW} at once`, ours: many[0].name, theirs: many[1].name, goal: { atLeast: 3 } },
    { ...common, name: 'one by one', ours: single[0].name, theirs: single[1].name },
  ]);
}
