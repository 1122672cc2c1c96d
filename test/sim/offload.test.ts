/** With segmentation offload and without, a cluster under the same faults gives its users the same results. */

import { describe, expect, test } from 'vitest';
import { contentOf, hashOf, SimCluster } from '../../sim/cluster.ts';
import { type LinkFaults, NO_FAULTS } from '../../sim/faults.ts';
import { Random } from '../../sim/random.ts';
import { isGramlineError } from '../../src/base/errors.ts';

const SIZES = [0, 1, 61_931, 61_932, 65_536, 200_000, 700_000];
const SEEDS = [1, 2];

const REORDER = { reorderProbability: 0.2, reorderMicros: 3_000 };
const FAULTS: [string, Partial<LinkFaults>][] = [
  ['no faults', {}],
  ['loss', { lossProbability: 0.05 }],
  ['duplicates', { duplicateProbability: 0.1 }],
  ['reordering', REORDER],
  ['flipped bits', { bitFlipProbability: 0.02 }],
  ['cut datagrams', { truncateProbability: 0.02 }],
  ['small datagrams', { mtuBytes: 1_300 }],
  ['a slow link', { bytesPerSecond: 12_500_000, queueBytes: 64 * 1024 }],
  [
    'all at once',
    {
      ...REORDER,
      lossProbability: 0.03,
      duplicateProbability: 0.05,
      bitFlipProbability: 0.01,
      jitterMicros: 200,
    },
  ],
];

/** What a user of the cluster sees: of each object what was stored, found, fetched, and left after its removal. */
async function results(seed: number, offload: boolean, faults: Partial<LinkFaults>): Promise<unknown[]> {
  const cluster = new SimCluster({ seed, nodes: 3, offload, faults: { ...NO_FAULTS, ...faults } });
  await cluster.start();
  const client = cluster.client();
  // Not the cluster's own chance, which is drawn from as packets go.
  const random = new Random(seed);
  const seen: unknown[] = [];
  for (const [index, bytes] of SIZES.entries()) {
    const content = contentOf(random, bytes, index % 2 === 0);
    const stored = await cluster.drive(client.role.put(content));
    const found = await cluster.drive(client.role.whereIs(stored.hash));
    const fetched = await cluster.drive(client.fetch(stored.hash));
    seen.push([stored, found.bytes, found.replicas.length, hashOf(fetched) === hashOf(content)]);
    if (index % 3 !== 0) continue;
    await cluster.drive(client.role.rm(stored.hash));
    const gone = await cluster.drive(client.role.whereIs(stored.hash).catch((error: unknown) => error));
    seen.push(isGramlineError(gone) ? gone.code : 'still there');
  }
  await cluster.checkStores();
  await cluster.close();
  return seen;
}

describe('offload on and off', () => {
  test.each(FAULTS)('give the same results under %s', async (name, faults) => {
    for (const seed of SEEDS) {
      const plain = await results(seed, false, faults);
      expect(await results(seed, true, faults), `${name}, seed ${seed}`).toEqual(plain);
      expect(plain).toHaveLength(SIZES.length + 3);
      expect(JSON.stringify(plain)).not.toContain('false]');
    }
  });
});
