/** A leader dies under many nodes: they come over at once, and overwhelm nobody. 1,000: GRAMLINE_SIM_NODES=1000. */

import { expect, test } from 'vitest';
import { SimCluster } from '../../sim/cluster.ts';
import { seconds } from '../../src/base/units.ts';

const NODES = Number(process.env.GRAMLINE_SIM_NODES ?? 100);
const STEPS_MAX = 50_000_000;
const TIMEOUT_MILLIS = 300_000;
/** Datagrams of one node in a second while nobody leads: a question every 100 to 300 ms, its answer, its acknowledgement. */
const WAITING_DATAGRAMS_MAX = 40;

test(
  `${NODES} nodes whose leader dies wait without haste, and have all joined the next one 5 s later [MEM-6]`,
  async () => {
    const cluster = new SimCluster({ seed: 5, coordinators: 3, nodes: NODES, stepsMax: STEPS_MAX });
    await cluster.start();
    await cluster.pass(seconds(2));
    const first = cluster.leader!;
    const { statistics } = cluster.network;
    const before = { at: cluster.clock.now(), sent: statistics.sent };
    first.crash('process');
    await cluster.runUntil(() => cluster.leader !== undefined, seconds(5), 'taking over');
    const waited = (cluster.clock.now() - before.at) / 1e6;
    expect((statistics.sent - before.sent) / waited / NODES).toBeLessThan(WAITING_DATAGRAMS_MAX);
    const isWell = (): boolean => cluster.nodes.every(({ role }) => role?.isJoined === true);
    await cluster.runUntil(isWell, seconds(5), 'joining');
    expect(cluster.clock.now() - before.at).toBeLessThan(seconds(5));
    await cluster.close();
  },
  TIMEOUT_MILLIS,
);
