/** Goodput of one flow, memory to memory, two processes, beside Node TLS 1.3 doing the same. */

import type { Bench, Comparison, Side } from '../bench.ts';
import type { Child } from '../children.ts';
import {
  congestionControls,
  type Host,
  openPair,
  setCongestionControl,
  setDeviceOffloads,
  setLoss,
} from '../lab.ts';
import { LOOPBACK, type Place } from '../processes.ts';
import type { SendResult } from '../roles/flows.ts';
import type { Goal } from '../statistics.ts';

/** Beyond the length of a sample: what a connection under loss needs to get its last bytes across. */
const SETTLE_MILLIS = 60_000;
const TLS = 'Node TLS 1.3';
const GRAMLINE = 'Gramline';
/** The same, with segments cut and glued in this process rather than by the kernel. */
const GRAMLINE_PLAIN = 'Gramline, plain';
const CONTROLS = ['cubic', 'bbr'] as const;

interface Ends {
  readonly source: Place;
  readonly sink: Place;
}

export async function bulk(bench: Bench): Promise<void> {
  const ends = { source: LOOPBACK, sink: LOOPBACK };
  const sides = [await flowSide(bench, GRAMLINE, ends), await tlsSide(bench, TLS, ends)];
  const samples = await bench.alternate(sides);
  bench.compare(samples, [comparison('loopback', GRAMLINE, TLS, { atLeast: 1.2 })]);
}

interface Scene {
  readonly name: string;
  readonly deviceOffloads: 'on' | 'off';
  readonly lossPercent: number;
  /** Per congestion control of the peer. */
  readonly goals: Readonly<Record<(typeof CONTROLS)[number], Goal>>;
}

const LOSSY = { cubic: { atLeast: 1.5 }, bbr: { atLeast: 1.0 } };
const SCENES: readonly Scene[] = [
  {
    name: 'offload on',
    deviceOffloads: 'on',
    lossPercent: 0,
    goals: { cubic: { atLeast: 1 }, bbr: { atLeast: 1 } },
  },
  {
    name: 'offload off',
    deviceOffloads: 'off',
    lossPercent: 0,
    goals: { cubic: { atLeast: 0.7 }, bbr: { atLeast: 0.7 } },
  },
  { name: 'off, 1 % lost', deviceOffloads: 'off', lossPercent: 1, goals: LOSSY },
  { name: 'off, 5 % lost', deviceOffloads: 'off', lossPercent: 5, goals: LOSSY },
];

/** Two namespaces, veth, MTU 1,500. Loss strikes both directions alike. */
export async function bulkLab(bench: Bench): Promise<void> {
  const [left, right] = openPair(bench.scope);
  const ends = { source: left, sink: right };
  const controls = CONTROLS.filter((name) => congestionControls().includes(name));
  for (const name of CONTROLS) {
    if (!controls.includes(name)) bench.skip(`TLS with ${name}`, 'this kernel does not have it');
  }
  const ours = await flowSide(bench, GRAMLINE, ends);
  const plain = await flowSide(bench, GRAMLINE_PLAIN, ends, { GRAMLINE_OFFLOAD: 'off' });
  const theirs: Side[] = [];
  for (const name of controls)
    theirs.push(await tlsSide(bench, `TLS, ${name}`, ends, () => useControl(left, right, name)));
  for (const scene of SCENES) {
    for (const host of [left, right]) {
      setDeviceOffloads(host, scene.deviceOffloads);
      setLoss(host, scene.lossPercent);
    }
    const variants = scene.deviceOffloads === 'off' ? [ours, plain] : [ours];
    const samples = await bench.alternate([...variants, ...theirs]);
    const comparisons = variants.flatMap((variant) =>
      controls.map((control) => {
        const name = variant === plain ? `${scene.name}, plain` : scene.name;
        return comparison(name, variant.name, `TLS, ${control}`, scene.goals[control]);
      }),
    );
    bench.compare(samples, comparisons);
  }
  bench.notes.push(
    'bulk in the lab: veth, MTU 1,500; loss strikes data and acknowledgements alike; plain: GRAMLINE_OFFLOAD=off.',
  );
}

function useControl(left: Host, right: Host, name: string): void {
  for (const host of [left, right]) setCongestionControl(host, name);
}

function comparison(name: string, ours: string, theirs: string, goal: Goal): Comparison {
  return { name, unit: 'MB/s', ours, theirs, ratioOf: 'ours/theirs', goal };
}

/** Source and sink of a raw flow. */
export async function flowEnds(
  bench: Bench,
  ends: Ends,
  environment: Readonly<Record<string, string>> = {},
): Promise<{ readonly source: Child; readonly sink: Child; send(): Promise<number> }> {
  const { secretHex, options } = bench;
  const sink = await bench.child({
    role: 'flowSink',
    place: ends.sink,
    environment,
    options: { secretHex, host: ends.sink.host },
  });
  const source = await bench.child({
    role: 'flowSource',
    place: ends.source,
    environment,
    options: { secretHex },
  });
  const { address } = sink.ready;
  const { seconds } = options;
  return { source, sink, send: () => sample(source, { address, seconds }, seconds) };
}

async function flowSide(
  bench: Bench,
  name: string,
  ends: Ends,
  environment: Readonly<Record<string, string>> = {},
): Promise<Side> {
  const { source, send } = await flowEnds(bench, ends, environment);
  bench.offload.set(
    ends.source === LOOPBACK ? 'bulk' : `bulk --lab, ${name}`,
    source.ready.offload as boolean,
  );
  return { name, run: send };
}

async function tlsSide(
  bench: Bench,
  name: string,
  ends: Ends,
  prepare: () => void = () => undefined,
): Promise<Side> {
  const sink = await bench.child({ role: 'tlsSink', place: ends.sink, options: { host: ends.sink.host } });
  const source = await bench.child({ role: 'tlsSource', place: ends.source });
  const { seconds } = bench.options;
  const target = { host: ends.sink.host, port: sink.ready.port, seconds };
  return {
    name,
    run: () => {
      prepare();
      return sample(source, target, seconds);
    },
  };
}

/** MB/s of one sample. */
async function sample(source: Child, target: object, seconds: number): Promise<number> {
  const { bytesPerSecond } = await source.call<SendResult>('send', target, seconds * 1000 + SETTLE_MILLIS);
  return bytesPerSecond / 1e6;
}
