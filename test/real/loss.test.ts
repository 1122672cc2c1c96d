/** Bulk transfer over a network that loses, repeats and reorders datagrams. */

import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { machineHost } from '../../src/udp/machine-host.ts';
import { TestCluster } from '../support/cluster.ts';
import { type ImpairedHost, impairedHost } from '../support/impaired-host.ts';

const BAD = { drop: 0.05, duplicate: 0.02, reorder: 0.05 };

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

async function moveBothWays(host: ImpairedHost, bytes: number, datagramBytesMax?: number) {
  cluster = await TestCluster.open({ nodes: 1 });
  const transport = { host, ...(datagramBytesMax === undefined ? {} : { datagramBytesMax }) };
  const app = cluster.client({ transport });
  const object = randomBytes(bytes);
  const hash = createHash('sha256').update(object).digest('hex');
  const startedAt = performance.now();
  const stored = await app.put(object, { replicas: 1 });
  const putSeconds = (performance.now() - startedAt) / 1000;
  expect(stored.hash).toBe(hash);
  const digest = createHash('sha256');
  for await (const part of app.get(hash)) digest.update(part);
  const getSeconds = (performance.now() - startedAt) / 1000 - putSeconds;
  expect(digest.digest('hex')).toBe(hash);
  return { putSeconds, getSeconds, counts: app.counts };
}

describe('a network that drops 5 %, duplicates 2 % and reorders 5 % in both directions', () => {
  it('carries 100 MB there and back unharmed', async () => {
    const host = impairedHost(machineHost(), { seed: 7, send: BAD, receive: BAD });
    const { putSeconds, getSeconds, counts } = await moveBothWays(host, 100_000_000);
    console.log(
      `put ${putSeconds.toFixed(1)} s, get ${getSeconds.toFixed(1)} s, ${counts.segmentsResent} segments resent`,
    );
    // The network was as bad as it says.
    for (const side of [host.sent, host.received]) {
      expect(side.dropped).toBeGreaterThan(10);
      expect(side.duplicated).toBeGreaterThan(2);
      expect(side.reordered).toBeGreaterThan(10);
    }
    expect(counts.segmentsResent).toBeGreaterThan(10);
  }, 60_000);

  it('carries 40 MB in Ethernet-sized datagrams there and back unharmed', async () => {
    const host = impairedHost(machineHost(), { seed: 8, send: BAD, receive: BAD });
    const { putSeconds, getSeconds, counts } = await moveBothWays(host, 40_000_000, 1_472);
    console.log(
      `put ${putSeconds.toFixed(1)} s, get ${getSeconds.toFixed(1)} s, ${counts.segmentsResent} segments resent`,
    );
    // Datagrams that the kernel has glued together share their fate: there are fewer of them than were sent.
    expect(host.sent.dropped).toBeGreaterThan(10);
    expect(host.received.reordered).toBeGreaterThan(10);
  }, 60_000);
});
