import { describe, expect, test } from 'vitest';
import { planOf, runSeed } from '../../sim/campaign.ts';
import { contentOf, SimCluster } from '../../sim/cluster.ts';
import { drawKinds, FAULT_KINDS, planFaults, STRIKES_PLANNED_MAX } from '../../sim/fault-plan.ts';
import { Random } from '../../sim/random.ts';

describe('the plan of faults', () => {
  test('each kind is in some seeds, and missing in others', () => {
    const used = new Map<string, number>();
    for (let seed = 0; seed < 400; seed++) {
      for (const kind of drawKinds(new Random(seed))) used.set(kind, (used.get(kind) ?? 0) + 1);
    }
    for (const kind of FAULT_KINDS) {
      expect(used.get(kind), kind).toBeGreaterThan(80);
      expect(used.get(kind), kind).toBeLessThan(240);
    }
  });

  test('leaves the faults of other kinds as they are when one kind is taken away', () => {
    for (let seed = 0; seed < 50; seed++) {
      const all = planFaults(new Random(seed), FAULT_KINDS, 8_000_000);
      const rest = FAULT_KINDS.filter((kind) => kind !== 'weather');
      expect(planFaults(new Random(seed), rest, 8_000_000)).toEqual(
        all.filter(({ kind }) => kind !== 'weather'),
      );
    }
  });

  test('names each fault once, in the order of time, before the end', () => {
    const planned = planFaults(new Random(5), FAULT_KINDS, 1_000_000, 3);
    expect(new Set(planned.map(({ id }) => id)).size).toBe(planned.length);
    const times = planned.map(({ atMicros }) => atMicros);
    expect(times).toEqual([...times].sort((left, right) => left - right));
    expect(times.every((at) => at >= 0 && at < 1_000_000)).toBe(true);
  });

  test('has a maximum, however long the run', () => {
    const planned = planFaults(new Random(5), FAULT_KINDS, 86_400_000_000, 100_000);
    expect(planned.length).toBeLessThanOrEqual(STRIKES_PLANNED_MAX);
    expect(planned.length).toBeGreaterThan(STRIKES_PLANNED_MAX / 2);
  });

  test('longer runs are some of the seeds', () => {
    const spans = Array.from({ length: 200 }, (_, seed) => planOf(seed, {}).workMicros);
    const longer = spans.filter((span) => span > 60_000_000).length;
    expect(longer).toBeGreaterThan(10);
    expect(longer).toBeLessThan(60);
    expect(planOf(1, { minutes: 2.5 }).workMicros).toBe(150_000_000);
  });
});

/** What a run says of a fault of this kind. */
const SIGNS: Readonly<Record<string, RegExp>> = {
  weather: /weather\.\d+: .*(?:Probability|delay|bytesPerSecond)/,
  damage: /damage\.\d+: .*(?:bitFlip|truncate|delay|mtu)/,
  'one-way-cuts': /one-way-cuts\.\d+: cut 10\.\S+ > 10\./,
  partitions: /partitions\.\d+: cut 10\.\S+ <> 10\./,
  'node-crash': /node-\d +crashes/,
  'coordinator-crash': /coordinator +crashes/,
  'client-crash': /client-[23] +crashes/,
  'disk-full': /node-\d +disk-full\.\d+: disk full/,
  'state-full': /coordinator +state-full\.1: disk full/,
  'slow-disks': /slow-disks\.\d+: slow disk/,
  'clock-jumps': /clock-jumps\.\d+: wall clock jumps by -?\d+ s/,
  pauses: /(?:paused|suspended) for \d+\.\d s/,
  corruption: /corruption\.\d+: copy of [0-9a-f]{12} is (?:damaged|lost)/,
};

const SEEDS_MIN = 2;
const SEEDS_MAX = 12;

test.each(Object.keys(SIGNS))(
  'seeds with %s alone have it strike, heal, and hold every invariant',
  async (kind) => {
    const lines: string[] = [];
    const print = (line: string): number => lines.push(line);
    const strikes = (): number => lines.filter((line) => SIGNS[kind]!.test(line)).length;
    // Until one seed had what the fault needs: a client to spare, an object with two copies.
    let seed = 0;
    while (seed < SEEDS_MIN || (seed < SEEDS_MAX && strikes() === 0)) {
      seed += 1;
      const report = await runSeed(seed, { faults: [kind as 'weather'], nodes: 3, clients: 3, print });
      expect(report.faults).toEqual([kind]);
    }
    expect(strikes()).toBeGreaterThan(0);
    expect(lines.filter((line) => line.includes('all faults heal'))).toHaveLength(seed);
  },
);

/** Moments at which the power fails, a millisecond apart. */
const POWER_LOSSES_MAX = 60;

test('machines that lose power lose what was not flushed', async () => {
  const wanted = [
    /node-\d .* changes were not flushed, and are lost/,
    /coordinator .*batch of commits was not flushed/,
  ];
  const seen = new Set<RegExp>();
  const print = (line: string): void => {
    for (const pattern of wanted) if (pattern.test(line)) seen.add(pattern);
  };
  for (let millis = 1; millis <= POWER_LOSSES_MAX && seen.size < wanted.length; millis++) {
    const cluster = new SimCluster({ seed: millis, nodes: 2, slowDisks: true, slowState: true, print });
    await cluster.start();
    const client = cluster.client();
    const puts = Array.from({ length: 5 }, () => client.role.put(contentOf(cluster.random, 1_000)));
    for (const put of puts) put.catch(() => undefined);
    await cluster.pass(millis * 1_000);
    for (const machine of [cluster.coordinator, ...cluster.nodes]) machine.crash('machine');
  }
  expect(seen.size).toBe(wanted.length);
});

test('a fault and an operation that are left out do not happen, and a run without any is the same again', async () => {
  const seed = 3;
  const said = async (without: readonly string[]): Promise<string[]> => {
    const lines: string[] = [];
    const faults = ['disk-full', 'clock-jumps'] as const;
    await runSeed(seed, { faults, without, print: (line) => lines.push(line) });
    return lines;
  };
  const all = await said([]);
  expect(await said([])).toEqual(all);
  const isNamed = (name: string) => (line: string) => line.includes(`${name}: `);
  for (const name of ['disk-full.1', 'client-1.1.1']) {
    expect(all.some(isNamed(name)), name).toBe(true);
    expect((await said([name])).some(isNamed(name)), name).toBe(false);
  }
});
