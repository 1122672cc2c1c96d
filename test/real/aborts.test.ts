/** AbortSignal at every stage of put and get: the caller gets its own reason, the cluster its space back. */

import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { seconds } from '../../src/base/units.ts';
import type { Client, PutOptions } from '../../src/index.ts';
import type { ObjectSource } from '../../src/nodes/client.ts';
import { machineHost } from '../../src/udp/machine-host.ts';
import { PacketType } from '../../src/wire/index.ts';
import { eventually, TestCluster } from '../support/cluster.ts';
import { tappedHost } from '../support/tapped-host.ts';

const REASON = new Error('the caller has seen enough');
const BYTES = 6_000_000;

/** What the client sends from its `muteAfter`-th datagram on is lost: the cluster has gone silent for it. */
let muteAfter = Number.POSITIVE_INFINITY;
/** Once it was welcomed, it hears nothing of the cluster, and is heard. */
let deafOnceWelcomed = false;
let welcomed = false;
const host = tappedHost(machineHost(), ({ direction, bytes }) => {
  if (direction === 'received') {
    const wasWelcomed = welcomed;
    welcomed ||= bytes[0] === PacketType.WELCOME;
    return deafOnceWelcomed && wasWelcomed ? undefined : bytes;
  }
  muteAfter -= 1;
  return muteAfter < 0 ? undefined : bytes;
});

const cluster = await TestCluster.open({ nodes: 2 });
const app: Client = cluster.client();
afterAll(() => cluster.close());
beforeEach(() => {
  muteAfter = Number.POSITIVE_INFINITY;
  deafOnceWelcomed = false;
  welcomed = false;
});

/** A client of that host. The cluster forgets it soon after it fell silent. */
const muteClient = (): Client => cluster.client({ transport: { host, idleMicros: seconds(1) } });

const freeBytes = async (): Promise<number> =>
  (await app.status()).nodes.reduce((sum, node) => sum + node.freeBytes, 0);

async function filesIn(folder: string): Promise<string[]> {
  const names = await Promise.all(
    cluster.nodes.map((_, index) => readdir(join(cluster.nodeDirectory(index), folder), { recursive: true })),
  );
  return names.flat().filter((name) => name.length > 2);
}

/** A put that is aborted must reject with the reason and leave nothing on disk or reserved. */
async function aborted(
  client: Client,
  source: ObjectSource,
  abort: AbortController,
  options: PutOptions = {},
): Promise<void> {
  const free = await freeBytes();
  const objects = (await filesIn('objects')).length;
  const startedAt = performance.now();
  const put = client.put(source, { bytes: BYTES, replicas: 2, signal: abort.signal, ...options });
  await expect(put).rejects.toBe(REASON);
  expect(performance.now() - startedAt).toBeLessThan(2_000);
  await eventually('no reservation is left', () => cluster.coordinator.reservations === 0);
  await eventually('no partial object is left', async () => (await filesIn('temporary')).length === 0);
  await eventually('the space is free again', async () => (await freeBytes()) === free);
  expect((await filesIn('objects')).length).toBe(objects);
}

describe('a put that is aborted', () => {
  it('before it begins', async () => {
    const abort = new AbortController();
    abort.abort(REASON);
    await aborted(app, randomBytes(BYTES), abort);
  });

  it('while the coordinator does not answer the handshake', async () => {
    const abort = new AbortController();
    muteAfter = 0;
    setTimeout(() => abort.abort(REASON), 50);
    await aborted(muteClient(), randomBytes(BYTES), abort);
  });

  it.each([0.01, 0.3, 0.8, 0.98])('at %f of its bytes', async (share) => {
    const abort = new AbortController();
    await aborted(app, randomBytes(BYTES), abort, {
      onProgress: ({ doneBytes }) => {
        if (doneBytes >= BYTES * share && doneBytes < BYTES) abort.abort(REASON);
      },
    });
  });

  it('while its source gives no more bytes', async () => {
    const abort = new AbortController();
    async function* stuck(): AsyncGenerator<Uint8Array> {
      yield randomBytes(BYTES / 2);
      setTimeout(() => abort.abort(REASON), 50);
      await new Promise(() => undefined);
    }
    await aborted(app, stuck(), abort);
  });

  it('while a stream of unknown size is read', async () => {
    const abort = new AbortController();
    async function* stuck(): AsyncGenerator<Uint8Array> {
      yield randomBytes(1_000);
      setTimeout(() => abort.abort(REASON), 50);
      await new Promise(() => undefined);
    }
    await aborted(app, stuck(), abort, { bytes: undefined });
  });

  it('when all bytes are sent leaves a whole object or none', async () => {
    const abort = new AbortController();
    const onProgress = ({ doneBytes }: { doneBytes: number }): void => {
      if (doneBytes === BYTES) abort.abort(REASON);
    };
    const put = app.put(randomBytes(BYTES), { replicas: 2, signal: abort.signal, onProgress });
    await expect(put).rejects.toBe(REASON);
    await eventually('no reservation is left', () => cluster.coordinator.reservations === 0);
    await eventually('no partial object is left', async () => (await filesIn('temporary')).length === 0);
  });

  it('before it hears that space was reserved for it, gives that back', async () => {
    const abort = new AbortController();
    deafOnceWelcomed = true;
    welcomed = false;
    const deaf = cluster.client({ transport: { host, idleMicros: seconds(60) } });
    const put = deaf.put(randomBytes(BYTES), { replicas: 2, signal: abort.signal });
    const outcome = expect(put).rejects.toBe(REASON);
    await eventually('space is reserved', () => cluster.coordinator.reservations === 1);
    abort.abort(REASON);
    await outcome;
    await eventually('it is given back', () => cluster.coordinator.reservations === 0);
  });

  it('together with its client, which is closed at once, gives its space back', async () => {
    const client = cluster.client();
    const abort = new AbortController();
    async function* stuck(): AsyncGenerator<Uint8Array> {
      yield randomBytes(1_000);
      await new Promise(() => undefined);
    }
    const put = client.put(stuck(), { bytes: BYTES, replicas: 2, signal: abort.signal });
    const outcome = expect(put).rejects.toBe(REASON);
    await eventually('space is reserved', () => cluster.coordinator.reservations === 1);
    abort.abort(REASON);
    await client.close();
    await outcome;
    expect(cluster.coordinator.reservations).toBe(0);
  });

  // Last, because their reservations end by their leases: the RELEASE is lost, too.
  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14])(
    'when the cluster falls silent after %i datagrams',
    async (count) => {
      const abort = new AbortController();
      muteAfter = count;
      setTimeout(() => abort.abort(REASON), 100);
      const mute = muteClient();
      const put = mute.put(randomBytes(BYTES), { replicas: 2, signal: abort.signal });
      await expect(put).rejects.toBe(REASON);
      await eventually('no partial object is left', async () => (await filesIn('temporary')).length === 0);
    },
  );
});

describe('a get that is aborted', () => {
  const object = randomBytes(BYTES);
  let hash = '';
  beforeAll(async () => {
    hash = (await app.put(object, { replicas: 2 })).hash;
  });

  it('before it begins', async () => {
    const signal = AbortSignal.abort(REASON);
    await expect(app.get(hash, { signal })[Symbol.asyncIterator]().next()).rejects.toBe(REASON);
  });

  it.each([0, 1, 2, 3, 4, 5, 6, 8, 10])('when the cluster falls silent after %i datagrams', async (count) => {
    const abort = new AbortController();
    muteAfter = count;
    setTimeout(() => abort.abort(REASON), 60);
    const mute = muteClient();
    const reading = (async () => {
      for await (const _ of mute.get(hash, { signal: abort.signal }));
    })();
    await expect(reading).rejects.toBe(REASON);
  });

  it('by its consumer between two parts, gives no further part', async () => {
    const abort = new AbortController();
    let parts = 0;
    const reading = (async () => {
      for await (const _ of app.get(hash, { signal: abort.signal })) {
        parts += 1;
        if (parts === 3) abort.abort(REASON);
      }
    })();
    await expect(reading).rejects.toBe(REASON);
    expect(parts).toBe(3);
  });

  it('by leaving the loop, frees its flow, and the same client reads on', async () => {
    for (let round = 0; round < 270; round++) {
      for await (const _ of app.get(hash)) break;
    }
    const parts: Uint8Array[] = [];
    for await (const part of app.get(hash)) parts.push(part);
    expect(Buffer.concat(parts).equals(object)).toBe(true);
  });
});
