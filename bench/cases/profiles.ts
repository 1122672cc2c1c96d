/** The two hot paths under the profiler: where the time of each process goes. */

import type { Bench } from '../bench.ts';
import type { Child } from '../children.ts';
import { LOOPBACK } from '../processes.ts';
import { bundleSources, formatProfile, readProfile, selfTimes } from '../profile.ts';
import { flowEnds } from './bulk.ts';

const FUNCTIONS = 25;
const INTERVAL_MICROS = 500;
const OBJECTS = 10_000;
const WINDOW = 256;

/** Profiles `processes` while `work` runs; adds the table of each. */
async function profiled(
  bench: Bench,
  processes: Readonly<Record<string, Child>>,
  work: () => Promise<void>,
): Promise<void> {
  for (const child of Object.values(processes))
    await child.call('startProfile', { intervalMicros: INTERVAL_MICROS });
  await work();
  const sources = bundleSources();
  for (const [title, child] of Object.entries(processes)) {
    const path = bench.directory('profile');
    await child.call('stopProfile', { path });
    bench.profiles.push(formatProfile(title, selfTimes(readProfile(path), FUNCTIONS, sources)));
  }
}

export async function profileBulk(bench: Bench): Promise<void> {
  const { source, sink, send } = await flowEnds(bench, { source: LOOPBACK, sink: LOOPBACK });
  await send();
  await profiled(bench, { 'bulk, source': source, 'bulk, sink': sink }, async () => {
    const samples = await bench.alternate([{ name: 'Gramline', run: send }]);
    bench.add({ name: 'loopback, profiled', unit: 'MB/s', ours: samples.get('Gramline') ?? [] });
  });
}

export async function profileRate(bench: Bench): Promise<void> {
  const { client, coordinator } = await bench.cluster();
  await client.call('fill', { count: OBJECTS });
  const { seconds } = bench.options;
  const run = (): Promise<number> => client.call<number>('rate', { seconds, window: WINDOW });
  await profiled(bench, { 'rate, client': client, 'rate, coordinator': coordinator }, async () => {
    const samples = await bench.alternate([{ name: 'WhereIs', run }]);
    bench.add({ name: 'WhereIs, profiled', unit: '1/s', ours: samples.get('WhereIs') ?? [] });
  });
}
