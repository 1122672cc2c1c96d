/** What is left in the process after many sessions: no descriptor, no port, no timer. */

import { randomBytes } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import type { Connection } from '../../src/nodes/ports.ts';
import { FLOW_WINDOW_BYTES } from '../../src/session/index.ts';
import type { UdpTransport } from '../../src/udp/index.ts';
import { encodeMessage, QueryKind, Role, readQuery, statusQuery } from '../../src/wire/index.ts';
import { ChildRole } from '../support/child-role.ts';
import { collect, eventually, TestCluster } from '../support/cluster.ts';
import { activeResources, openDescriptors, udpPorts } from '../support/process-resources.ts';

const AT_ONCE = 25;
const STATUS = encodeMessage(statusQuery, { cursor: 0 });

const cluster = await TestCluster.open({ nodes: 1 });
const { secret, admissionSecret } = cluster;
const doomed: ChildRole[] = [];
afterAll(async () => {
  for (const child of doomed) await child.kill();
  await cluster.close();
});

/** Runs `work` `count` times, some at once. */
async function many(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const holdings = () => ({
  descriptors: openDescriptors(),
  ports: udpPorts().length,
  sockets: activeResources().UDPWrap ?? 0,
  timers: activeResources().Timeout ?? 0,
  sessions: cluster.transports.reduce((sum, transport) => sum + transport.connections.size, 0),
  creditBytes: cluster.transports.reduce((sum, transport) => sum + transport.creditTakenBytes, 0),
});

/** Runs `work` and waits until this process holds what it held before. */
async function leavesNothing(work: () => Promise<void>): Promise<void> {
  const before = await eventually('sockets of earlier work are closed', () => {
    const now = holdings();
    return now.sockets === now.ports ? now : undefined;
  });
  await work();
  // What the cluster itself did before (a load report, a child's pipe) may have ended: less is fine.
  const excess = (): [string, number][] =>
    Object.entries(holdings()).filter(([key, count]) => count > before[key as keyof typeof before]);
  await eventually('everything is given back', () => excess().length === 0).catch(() => undefined);
  expect(excess()).toEqual([]);
}

const connect = (
  transport: UdpTransport,
  address = cluster.address,
  signal?: AbortSignal,
): Promise<Connection> => transport.connect({ address, role: Role.CLIENT, signal });

describe('1,000 sessions opened and closed', () => {
  it('leave no descriptor, port or timer when 500 of them end well', async () => {
    const transport = cluster.clientTransport();
    await leavesNothing(() =>
      many(500, async () => {
        const connection = await connect(transport);
        expect((await connection.query(QueryKind.STATUS, STATUS)).code).toBe(0);
        await connection.close();
      }),
    );
  });

  it('leave nothing when 250 are aborted in the middle of the handshake', async () => {
    const transport = cluster.clientTransport();
    const outcomes = { aborted: 0, connected: 0 };
    await leavesNothing(() =>
      many(250, async (index) => {
        const abort = new AbortController();
        const attempt = connect(transport, cluster.address, abort.signal);
        // From at once to about when it is done.
        if (index % 5 === 0) abort.abort(new Error('enough'));
        else setTimeout(() => abort.abort(new Error('enough')), index % 10);
        await attempt.then(
          async (connection) => {
            outcomes.connected += 1;
            await connection.close();
          },
          (error) => {
            outcomes.aborted += 1;
            expect(error.message).toBe('enough');
          },
        );
      }),
    );
    expect(outcomes.aborted).toBeGreaterThan(50);
  });

  it('leave nothing when 125 are aborted in the middle of a transfer', async () => {
    const app = cluster.client();
    const { hash } = await app.put(randomBytes(8_000_000));
    const [replica] = (await app.whereIs(hash)).replicas;
    await app.close();
    const transport = cluster.clientTransport();
    const body = encodeMessage(readQuery, {
      hash: new Uint8Array(Buffer.from(hash, 'hex')),
      offset: 0,
      length: 0,
      creditBytes: FLOW_WINDOW_BYTES,
      recordBytes: 65_536,
    });
    await leavesNothing(() =>
      many(125, async () => {
        const connection = await connect(transport, replica!.address);
        const abort = new AbortController();
        const call = connection.call(QueryKind.READ, body, {
          receives: true,
          signal: abort.signal,
        });
        expect((await call.reply).code).toBe(0);
        expect((await call.receive.next())?.payload.length).toBeGreaterThan(0);
        abort.abort();
        // The session ends with its flow unread.
        await connection.close();
      }),
    );
  });

  it('leave nothing when 25 gets are aborted, and the client goes on', async () => {
    const app = cluster.client();
    const object = randomBytes(4_000_000);
    const { hash } = await app.put(object);
    await leavesNothing(async () => {
      for (let round = 0; round < 25; round++) {
        const abort = new AbortController();
        const reading = (async () => {
          for await (const _ of app.get(hash, { signal: abort.signal })) abort.abort(new Error('enough'));
        })();
        await expect(reading).rejects.toThrow('enough');
      }
      expect((await collect(app.get(hash))).equals(object)).toBe(true);
    });
  });

  it('leave nothing when the peer of 100 is killed', async () => {
    const child = await ChildRole.start({
      kind: 'coordinator',
      secret,
      admissionSecret,
      directory: `${cluster.directory}/doomed`,
      listen: '127.0.0.1:0',
    });
    doomed.push(child);
    const transport = cluster.clientTransport();
    await leavesNothing(async () => {
      const connections: Connection[] = [];
      await many(100, async () => {
        connections.push(await connect(transport, child.address));
      });
      await child.kill();
      const failed = await Promise.allSettled(
        connections.map((connection) => connection.query(QueryKind.STATUS, STATUS)),
      );
      expect(failed.every((result) => result.status === 'rejected')).toBe(true);
      const reasons = await Promise.all(connections.map((connection) => connection.closed));
      expect(new Set(reasons.map(({ kind }) => kind))).toEqual(new Set(['refused']));
    });
  });
});
