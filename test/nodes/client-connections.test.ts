import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { CONNECTIONS_MAX, ConnectionCache, type Lease } from '../../src/nodes/connection-cache.ts';
import { nodeHashing } from '../../src/store/index.ts';
import {
  encodeMessage,
  QueryKind,
  RECEIPT_BYTES,
  ResultCode,
  storeReply,
  whereIsReply,
  whereToReply,
} from '../../src/wire/index.ts';
import { reply, ScriptedTransport, scriptedClient } from './client-support.ts';

const ROLE = 1;
const addressOf = (index: number): string => `10.1.0.1:${index + 1}`;

/** A cache that is full, with a lease of each connection. */
async function full() {
  const transport = new ScriptedTransport();
  const cache = new ConnectionCache(transport, { clock: new VirtualClock() });
  const connect = (index: number, signal?: AbortSignal): Promise<Lease> =>
    cache.connect({ address: addressOf(index), role: ROLE, signal });
  const leases: Lease[] = [];
  for (let index = 0; index < CONNECTIONS_MAX; index++) leases.push(await connect(index));
  const openCount = (): number => transport.connections.filter((connection) => connection.isOpen).length;
  return { transport, cache, connect, leases, openCount };
}

describe('connections of a client', () => {
  it('are refused as busy at their maximum plus one, while all are in use', async () => {
    const { connect, openCount, transport } = await full();
    await expect(connect(CONNECTIONS_MAX)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY', retryable: true });
    expect(openCount()).toBe(CONNECTIONS_MAX);
    expect(transport.connections).toHaveLength(CONNECTIONS_MAX);
    // One that is open is shared all the same.
    expect((await connect(0)).connection).toBe(transport.connections[0]);
  });

  it('make room where they are idle, the one that is so for longest first', async () => {
    const { connect, leases, openCount, transport } = await full();
    // The oldest one is in use.
    for (const index of [5, 3]) leases[index]![Symbol.dispose]();
    const added = await connect(CONNECTIONS_MAX);
    expect(added.connection.isOpen).toBe(true);
    expect(openCount()).toBe(CONNECTIONS_MAX);
    expect(transport.connections.flatMap(({ isOpen }, index) => (isOpen ? [] : [index]))).toEqual([3]);
  });

  it('are in use until the last lease ends, and a lease ends once', async () => {
    const { connect, leases } = await full();
    const second = await connect(0);
    leases[0]![Symbol.dispose]();
    leases[0]![Symbol.dispose]();
    await expect(connect(CONNECTIONS_MAX)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    second[Symbol.dispose]();
    await connect(CONNECTIONS_MAX);
    expect(second.connection.isOpen).toBe(false);
  });

  it.each([
    ['shared', undefined],
    ['made twice', new AbortController().signal],
  ])('are in use by all who waited for one, %s', async (_how, signal) => {
    const { connect, leases, cache, transport } = await full();
    for (const index of [0, 1]) cache.drop(addressOf(index), leases[index]!.connection);
    const waited = await Promise.all([connect(1_000, signal), connect(1_000, signal)]);
    expect(waited[0].connection).toBe(waited[1].connection);
    const made = transport.connections.slice(CONNECTIONS_MAX);
    expect(made.filter((connection) => connection.isOpen)).toHaveLength(1);
    waited[0][Symbol.dispose]();
    // One place is left, then none: the second waiter still has its own.
    await connect(1_001);
    await expect(connect(1_002)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    waited[1][Symbol.dispose]();
    await connect(1_002);
    expect(waited[1].connection.isOpen).toBe(false);
  });

  it('count while they are being made', async () => {
    const { connect, leases, cache } = await full();
    cache.drop(addressOf(0), leases[0]!.connection);
    const [first, second] = await Promise.allSettled([connect(1_000), connect(1_001)]);
    expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
  });
});

describe('a put under way', () => {
  it('outlives gets from more nodes than there may be connections', async () => {
    const bytes = new Uint8Array(1_000);
    const nodeId = new Uint8Array(16);
    let node = 0;
    const { client, transport, finish } = scriptedClient({
      answer: async ({ kind, sent }) => {
        switch (kind) {
          case QueryKind.WHERE_TO: {
            const locations = [{ nodeId, address: '10.2.0.1:1' }];
            return reply(0, encodeMessage(whereToReply, { leaseMillis: 30_000, revision: 1, locations }));
          }
          case QueryKind.WHERE_IS: {
            node += 1;
            const locations = [{ nodeId, address: addressOf(node) }];
            return reply(0, encodeMessage(whereIsReply, { bytes: 1, revision: 1, stale: false, locations }));
          }
          case QueryKind.READ:
            return reply(ResultCode.NOT_FOUND);
          case QueryKind.STORE: {
            await sent;
            const hash = nodeHashing.sha256();
            hash.update(bytes);
            const receipt = new Uint8Array(RECEIPT_BYTES);
            return reply(0, encodeMessage(storeReply, { hash: hash.digest(), receipt }));
          }
          default:
            return reply(0);
        }
      },
    });
    let goOn = (): void => undefined;
    async function* source(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1);
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
      yield bytes.subarray(1);
    }
    const put = client.put(source(), { bytes: bytes.length });
    put.catch(() => undefined);
    while (node <= CONNECTIONS_MAX + 1) {
      const reading = client.get('ab'.repeat(32))[Symbol.asyncIterator]().next();
      // Never BUSY: what a get used is idle after it.
      expect((await finish(reading)).error).toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    }
    const isOpen = transport.connections.filter((connection) => connection.isOpen);
    // The nodes', and the coordinator's.
    expect(isOpen).toHaveLength(CONNECTIONS_MAX + 1);
    goOn();
    expect((await finish(put)).value).toMatchObject({ replicas: 1 });
  });
});
