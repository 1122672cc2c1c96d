import { describe, expect, it } from 'vitest';
import type { Connection, FlowRecord } from '../../src/nodes/ports.ts';
import { CALL_CREDIT_BYTES } from '../../src/udp/connection.ts';
import { Role } from '../../src/wire/index.ts';
import { loopbackTransport } from '../support/transport.ts';

const CLUSTER = new Uint8Array(16).fill(3);

async function pair(serve: (connection: Connection) => void) {
  const server = loopbackTransport();
  const listener = await server.listen({
    address: '127.0.0.1:0',
    role: Role.COORDINATOR,
    clusterId: CLUSTER,
    onConnection: serve,
  });
  const client = loopbackTransport();
  const connection = await client.connect({ address: listener.address, role: Role.CLIENT });
  return {
    connection,
    close: async () => {
      await connection.close();
      await listener.close();
    },
  };
}

function records(bytes: Uint8Array): Omit<FlowRecord, 'offset'>[] {
  const list: Omit<FlowRecord, 'offset'>[] = [];
  for (let at = 0; at < bytes.length || list.length === 0; at += 65_536) {
    const payload = bytes.subarray(at, at + 65_536);
    list.push({
      encoding: 0,
      plainBytes: payload.length,
      dataLeft: Math.max(0, bytes.length - at - payload.length),
      payload,
    });
  }
  return list;
}

describe('a transport on loopback', () => {
  it('answers queries', async () => {
    const { connection, close } = await pair((peer) => {
      peer.onQuery = (query) =>
        query.reply(
          0,
          query.body.map((byte) => byte + 1),
        );
    });
    const reply = await connection.query(1, Uint8Array.of(1, 2, 3));
    expect(reply.code).toBe(0);
    expect([...reply.body]).toEqual([2, 3, 4]);
    const many = await Promise.all(
      Array.from({ length: 500 }, (_, i) => connection.query(1, Uint8Array.of(i & 127))),
    );
    expect(many.map((r) => r.body[0])).toEqual(Array.from({ length: 500 }, (_, i) => (i & 127) + 1));
    await close();
  });

  it('moves a flow in both directions', async () => {
    const bytes = new Uint8Array(5_000_000).map((_, i) => i * 7);
    let stored = 0;
    const { connection, close } = await pair((peer) => {
      peer.onQuery = async (query) => {
        if (query.kind === 32) {
          const flow = query.receive();
          const parts: Uint8Array[] = [];
          for (let record = await flow.next(); record !== undefined; record = await flow.next())
            parts.push(record.payload);
          stored = parts.reduce((sum, part) => sum + part.length, 0);
          query.reply(0);
        } else {
          const flow = query.send(CALL_CREDIT_BYTES);
          query.reply(0);
          for (const record of records(bytes)) await flow.write(record);
        }
      };
    });
    const put = connection.call(32, new Uint8Array(0), { sends: true });
    for (const record of records(bytes)) await put.send.write(record);
    expect((await put.reply).code).toBe(0);
    expect(stored).toBe(bytes.length);
    const get = connection.call(33, new Uint8Array(0), { receiveCreditBytes: CALL_CREDIT_BYTES });
    const parts: Uint8Array[] = [];
    for (let record = await get.receive.next(); record !== undefined; record = await get.receive.next())
      parts.push(record.payload);
    expect(Buffer.concat(parts).equals(Buffer.from(bytes))).toBe(true);
    console.log(connection.counts);
    await close();
  });
});
