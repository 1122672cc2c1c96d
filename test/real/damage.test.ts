/** Objects that rot on a node's disk. */

import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { eventually, TestCluster } from '../support/cluster.ts';

let cluster: TestCluster | undefined;
afterEach(async () => {
  await cluster?.close();
  cluster = undefined;
});

/** Flips one bit of a stored object, behind the node's back. */
async function flip(directory: string, hash: string, offset: number): Promise<void> {
  const file = await open(join(directory, 'objects', hash.slice(0, 2), hash), 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  byte[0]! ^= 0x10;
  await file.write(byte, 0, 1, offset);
  await file.close();
}

const BYTES = 5_000_000;

describe('an object that was damaged on disk', () => {
  it.each([0, 2_500_000, BYTES - 1])('at byte %i of one replica is read from the other', async (offset) => {
    cluster = await TestCluster.open({ nodes: 2 });
    const app = cluster.client();
    const object = randomBytes(BYTES);
    const { hash } = await app.put(object, { replicas: 2 });
    await flip(cluster.nodeDirectory(0), hash, offset);
    // Readers are spread at random: after a few gets, one has met the damage.
    for (let round = 0; round < 40; round++) {
      const parts: Uint8Array[] = [];
      for await (const part of app.get(hash)) parts.push(part);
      expect(Buffer.concat(parts).equals(object)).toBe(true);
      if ((await app.whereIs(hash)).replicas.length === 1) break;
    }
    const good = await eventually('the damaged replica is struck', async () => {
      const { replicas } = await app.whereIs(hash);
      return replicas.length === 1 ? replicas : undefined;
    });
    expect(good[0]!.address).toBe(cluster.nodes[1]!.address);
  });

  it.each([0, 2_500_000, BYTES - 1])('at byte %i of the only replica fails as corrupt', async (offset) => {
    cluster = await TestCluster.open({ nodes: 1 });
    const app = cluster.client();
    const object = randomBytes(BYTES);
    const { hash } = await app.put(object, { replicas: 1 });
    await flip(cluster.nodeDirectory(0), hash, offset);
    const parts: Uint8Array[] = [];
    const reading = (async () => {
      for await (const part of app.get(hash)) parts.push(part);
    })();
    await expect(reading).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    // What did come is a true beginning, and ends before the chunk that is damaged.
    const got = Buffer.concat(parts);
    expect(got.length).toBeLessThanOrEqual(Math.floor(offset / 2 ** 20) * 2 ** 20);
    expect(got.equals(object.subarray(0, got.length))).toBe(true);
    await eventually('the loss is known', () =>
      app.whereIs(hash).then(
        () => false,
        (error) => error.code === 'GRAMLINE_CORRUPT',
      ),
    );
    // Stored anew, it can be read again.
    await app.put(object, { replicas: 1 });
    const again: Uint8Array[] = [];
    for await (const part of app.get(hash)) again.push(part);
    expect(Buffer.concat(again).equals(object)).toBe(true);
  });
});
