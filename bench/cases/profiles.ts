/** The two hot paths under the profiler: where the time of each process goes. */

import { mkdirSync } from 'node:fs';
import type { Bench } from '../bench.ts';
import { LOOPBACK } from '../processes.ts';
import { bundleSources, formatProfile, readProfile, selfTimes } from '../profile.ts';
import { flowEnds } from './bulk.ts';

const FUNCTIONS = 25;
const INTERVAL_MICROS = 500;
const OBJECTS = 10_000;
const WINDOW = 256;

/** Flags for one process, and the table of what it did, once it has ended. */
function profiled(bench: Bench, title: string): { flags: string[]; table(): string } {
  const directory = bench.directory('profile');
  mkdirSync(directory);
  const interval = `--cpu-prof-interval=${INTERVAL_MICROS}`;
  return {
    flags: ['--cpu-prof', `--cpu-prof-dir=${directory}`, interval],
    table: () => formatProfile(title, selfTimes(readProfile(directory), FUNCTIONS, bundleSources())),
  };
}

export async function profileBulk(bench: Bench): Promise<void> {
  const profiles = { source: profiled(bench, 'bulk, source'), sink: profiled(bench, 'bulk, sink') };
  const ends = { source: LOOPBACK, sink: LOOPBACK };
  const { source, sink, send } = await flowEnds(bench, ends, {
    flags: { source: profiles.source.flags, sink: profiles.sink.flags },
  });
  const values: number[] = [];
  for (let sample = 0; sample < bench.options.pairs; sample++) values.push(await send());
  await source.stop();
  await sink.stop();
  bench.add({ name: 'loopback, profiled', unit: 'MB/s', ours: values });
  bench.profiles.push(profiles.source.table(), profiles.sink.table());
}

export async function profileRate(bench: Bench): Promise<void> {
  const profiles = {
    client: profiled(bench, 'rate, client'),
    coordinator: profiled(bench, 'rate, coordinator'),
  };
  const { client, coordinator } = await bench.cluster({
    flags: { client: profiles.client.flags, coordinator: profiles.coordinator.flags },
  });
  // What it takes to fill the catalog is in the profile, too; many samples make it small.
  await client.call('fill', { count: OBJECTS / 10 });
  const values: number[] = [];
  const { pairs, seconds } = bench.options;
  for (let sample = 0; sample < pairs; sample++) {
    values.push(await client.call<number>('rate', { seconds, window: WINDOW }));
  }
  await client.stop();
  await coordinator.stop();
  bench.add({ name: 'WhereIs, profiled', unit: '1/s', ours: values });
  bench.profiles.push(profiles.client.table(), profiles.coordinator.table());
}
