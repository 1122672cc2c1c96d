/** Who may not: strangers, replays, clients that call themselves nodes. */

import { describe, expect, test } from 'vitest';
import { COORDINATOR_ADDRESS, COORDINATOR_IP, contentOf, SimCluster } from '../../sim/cluster.ts';
import type { Address } from '../../sim/virtual-network.ts';
import { toHex } from '../../src/base/bytes.ts';
import { allBuckets } from '../../src/nodes/holdings.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import {
  type Codec,
  commitQuery,
  encodeMessage,
  hashQuery,
  inventoryQuery,
  PacketType,
  QueryKind,
  ResultCode,
  Role,
  settleQuery,
} from '../../src/wire/index.ts';

interface Seen {
  readonly from: Address;
  readonly to: Address;
  readonly bytes: Uint8Array;
}

/** Everything on the wire from here on. */
function listen(cluster: SimCluster): Seen[] {
  const seen: Seen[] = [];
  cluster.network.tap((from, to, bytes) => seen.push({ from, to, bytes }));
  return seen;
}

const STRANGER: Address = { host: '10.9.9.9', port: 50_000 };
const FRONT: Address = { host: COORDINATOR_IP, port: 7_400 };

async function withClient(seed: number) {
  const cluster = new SimCluster({ seed, nodes: 1 });
  await cluster.start();
  const seen = listen(cluster);
  const client = cluster.client();
  await cluster.drive(client.role.status());
  const hellos = seen.filter(({ to, bytes }) => to.port === FRONT.port && bytes[0] === PacketType.HELLO);
  return { cluster, client, seen, hellos };
}

describe('a stranger', () => {
  test('gets no byte back, whatever it sends to any port', async () => {
    const { cluster, seen, hellos } = await withClient(11);
    const ports = new Set(seen.filter(({ to }) => to.host === COORDINATOR_IP).map(({ to }) => to.port));
    expect(ports.size).toBeGreaterThan(1);
    for (const port of ports) {
      const to = { host: COORDINATOR_IP, port };
      for (let bytes = 0; bytes < 200; bytes += 7) {
        cluster.network.inject(STRANGER, to, cluster.random.bytes(bytes));
      }
      for (const { bytes } of seen.slice(0, 200)) {
        // What others sent, with one bit turned: the MAC or the seal does not hold.
        const damaged = bytes.slice();
        damaged[damaged.length - 1]! ^= 1;
        cluster.network.inject(STRANGER, to, damaged);
      }
    }
    expect(hellos.length).toBeGreaterThan(0);
    await cluster.pass(5_000_000);
    expect(seen.filter(({ to }) => to.host === STRANGER.host)).toEqual([]);
    await cluster.close();
  });

  test('that replays a HELLO from elsewhere gets a cookie no longer than three times that, and no port [HS-11] [HS-24]', async () => {
    const { cluster, seen, hellos } = await withClient(12);
    const before = cluster.network.socketsAt(COORDINATOR_IP);
    for (const { bytes } of hellos) cluster.network.inject(STRANGER, FRONT, bytes);
    await cluster.pass(1_000_000);
    const answers = seen.filter(({ to }) => to.host === STRANGER.host);
    expect(answers.every(({ bytes }) => bytes[0] === PacketType.COOKIE)).toBe(true);
    const sum = (list: readonly Seen[]): number => list.reduce((total, { bytes }) => total + bytes.length, 0);
    expect(sum(answers)).toBeLessThanOrEqual(3 * sum(hellos));
    expect(cluster.network.socketsAt(COORDINATOR_IP)).toBe(before);
    await cluster.close();
  });
});

describe('a replayed HELLO', () => {
  test('from the right address opens no second port, at once or after the session has ended [HS-17]', async () => {
    const { cluster, client, seen, hellos } = await withClient(13);
    const withCookie = hellos.at(-1)!;
    const before = cluster.network.socketsAt(COORDINATOR_IP);
    for (let times = 0; times < 5; times++) {
      cluster.network.inject(withCookie.from, FRONT, withCookie.bytes);
      await cluster.pass(50_000);
    }
    expect(cluster.network.socketsAt(COORDINATOR_IP)).toBe(before);
    const welcomes = seen
      .filter(({ bytes }) => bytes[0] === PacketType.WELCOME)
      .map(({ bytes }) => toHex(bytes));
    expect(new Set(welcomes).size).toBe(1);
    await cluster.drive(client.stop());
    await cluster.pass(1_000_000);
    const after = cluster.network.socketsAt(COORDINATOR_IP);
    cluster.network.inject(withCookie.from, FRONT, withCookie.bytes);
    await cluster.pass(1_000_000);
    expect(cluster.network.socketsAt(COORDINATOR_IP)).toBe(after);
    await cluster.close();
  });
});

describe('whoever holds the cluster secret alone', () => {
  test('is refused as a node, and the cluster does not know it', async () => {
    const cluster = new SimCluster({ seed: 14, nodes: 1 });
    await cluster.coordinator.start();
    const impostor = cluster.nodes[0]!;
    await impostor.start({ admissionSecret: new Uint8Array(32).fill(1) });
    await cluster.pass(5_000_000);
    expect(impostor.role!.isJoined).toBe(false);
    expect(impostor.role!.lastError).toMatchObject({ code: 'GRAMLINE_DENIED' });
    expect(cluster.coordinator.role!.nodes).toEqual([]);
    await expect(cluster.drive(cluster.client().role.put(new Uint8Array(10)))).rejects.toMatchObject({
      code: 'GRAMLINE_NO_SPACE',
    });
    await cluster.close();
  });

  test('can not speak as a node: no inventory, no damage, no settling, no receipts of its own', async () => {
    const cluster = new SimCluster({ seed: 15, nodes: 1 });
    await cluster.start();
    const content = contentOf(cluster.random, 5_000);
    const client = cluster.client();
    const { hash: name } = await cluster.drive(client.role.put(content));
    const hash = new Uint8Array(Buffer.from(name, 'hex'));
    const { transport } = client.process!;
    const connection: Connection = await cluster.drive(
      transport.connect({ address: COORDINATOR_ADDRESS, role: Role.NODE }),
    );
    const ask = async <Query>(kind: number, codec: Codec<Query>, message: Query): Promise<number> =>
      (await cluster.drive(connection.query(kind, encodeMessage(codec, message)))).code;
    const token = cluster.random.bytes(8);
    expect(await ask(QueryKind.CORRUPT, hashQuery, { hash })).toBe(ResultCode.DENIED);
    expect(await ask(QueryKind.INVENTORY, inventoryQuery, { entries: 0, buckets: allBuckets() })).toBe(
      ResultCode.DENIED,
    );
    expect(await ask(QueryKind.SETTLE, settleQuery, { entries: [{ token, hash }] })).toBe(ResultCode.DENIED);
    expect(await ask(QueryKind.DELETE, hashQuery, { hash })).toBe(ResultCode.UNSUPPORTED);
    const { token: held } = await cluster.drive(client.role.whereTo(100));
    const forged = { nodeId: cluster.nodes[0]!.nodeId, receipt: cluster.random.bytes(16) };
    const commit = {
      token: new Uint8Array(Buffer.from(held, 'hex')),
      hash: cluster.random.bytes(32),
      bytes: 100,
      replicas: 1,
      receipts: [forged],
    };
    expect(await ask(QueryKind.COMMIT, commitQuery, commit)).toBe(ResultCode.DENIED);
    await expect(cluster.drive(client.role.whereIs(commit.hash))).rejects.toMatchObject({
      code: 'GRAMLINE_NOT_FOUND',
    });
    // A client may not order a node about either.
    const direct: Connection = await cluster.drive(
      transport.connect({ address: cluster.nodes[0]!.address, role: Role.COORDINATOR }),
    );
    const reply = await cluster.drive(direct.query(QueryKind.DELETE, encodeMessage(hashQuery, { hash })));
    expect(reply.code).toBe(ResultCode.UNSUPPORTED);
    expect(cluster.nodes[0]!.holds(name)).toBe(true);
    await cluster.drive(Promise.all([connection.close(), direct.close()]));
    await cluster.close();
  });
});
