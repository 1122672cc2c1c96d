import { beforeAll, describe, expect, it } from 'vitest';
import type { Connection, FlowRecord } from '../../src/nodes/ports.ts';
import { FLOW_WINDOW_BYTES } from '../../src/session/index.ts';
import type { DatagramHost } from '../../src/udp/host.ts';
import { tryOffload } from '../../src/udp/offload.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import { ResultCode, Role } from '../../src/wire/index.ts';
import { loopbackTransport } from '../support/transport.ts';

const CLUSTER = new Uint8Array(16).fill(3);

/** The host of each end: both with offload where this machine has it, both without, one with and one without. */
let hosts: { readonly server: DatagramHost; readonly client: DatagramHost };

async function pair(serve: (connection: Connection) => void) {
  const server = loopbackTransport({ host: hosts.server });
  const listener = await server.listen({
    address: '127.0.0.1:0',
    role: Role.COORDINATOR,
    clusterId: CLUSTER,
    onConnection: serve,
  });
  const client = loopbackTransport({ host: hosts.client });
  const connection = await client.connect({ address: listener.address, role: Role.CLIENT });
  const close = async (): Promise<void> => {
    await connection.close();
    await listener.close();
  };
  return { connection, listener, client, close };
}

function records(bytes: Uint8Array): Omit<FlowRecord, 'offset'>[] {
  const list: Omit<FlowRecord, 'offset'>[] = [];
  for (let at = 0; at < bytes.length || list.length === 0; at += 65_536) {
    const payload = bytes.subarray(at, at + 65_536);
    const dataLeft = bytes.length - at - payload.length;
    list.push({ encoding: 0, plainBytes: payload.length, dataLeft, payload });
  }
  return list;
}

async function collect(flow: { next(): Promise<FlowRecord | undefined> }): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let record = await flow.next(); record !== undefined; record = await flow.next())
    parts.push(record.payload);
  return Buffer.concat(parts);
}

const best = tryOffload();
const none = plainHost;
const combinations: [string, DatagramHost | undefined, DatagramHost | undefined][] = [
  ['without offload', none, none],
  ['with offload', best, best],
  ['with offload at the client', none, best],
  ['with offload at the server', best, none],
];
const here = combinations.filter(([, server, client]) => server !== undefined && client !== undefined);

describe.each(here)('a transport on loopback %s', (_name, server, client) => {
  beforeAll(() => {
    hosts = { server: server!, client: client! };
  });

  it('answers queries, many at once', async () => {
    const { connection, close } = await pair((peer) => {
      peer.onQuery = (query) =>
        query.reply(
          ResultCode.OK,
          query.body.map((byte) => byte + 1),
        );
    });
    const replies = await Promise.all(
      Array.from({ length: 500 }, (_, n) => connection.query(1, Uint8Array.of(n & 127))),
    );
    expect(replies.map((reply) => reply.body[0])).toEqual(
      Array.from({ length: 500 }, (_, n) => (n & 127) + 1),
    );
    await close();
  });

  it('moves a flow in both directions', async () => {
    const bytes = new Uint8Array(5_000_000).map((_, n) => n * 7);
    let stored: Buffer | undefined;
    const { connection, close } = await pair((peer) => {
      peer.onQuery = async (query) => {
        if (query.kind === 32) {
          stored = await collect(query.receive());
          query.reply(ResultCode.OK);
        } else {
          const flow = query.send(FLOW_WINDOW_BYTES);
          query.reply(ResultCode.OK);
          for (const record of records(bytes)) await flow.write(record);
        }
      };
    });
    const put = connection.call(32, new Uint8Array(0), { sends: true });
    for (const record of records(bytes)) await put.send.write(record);
    expect((await put.reply).code).toBe(ResultCode.OK);
    expect(stored?.equals(bytes)).toBe(true);
    const get = connection.call(33, new Uint8Array(0), { receives: true });
    expect((await collect(get.receive)).equals(bytes)).toBe(true);
    await close();
  });

  it('names the port that is taken', async () => {
    const { listener, close } = await pair(() => undefined);
    const port = Number(listener.address.split(':')[1]);
    const again = plainHost.open({
      host: '127.0.0.1',
      port,
      onDatagram: () => undefined,
      onRefused: () => undefined,
    });
    await expect(again).rejects.toMatchObject({
      code: 'GRAMLINE_IN_USE',
      message: expect.stringContaining(`${port}`),
    });
    await close();
  });

  it('refuses queries that nobody answers [QRY-9]', async () => {
    const { connection, close } = await pair(() => undefined);
    expect((await connection.query(1, new Uint8Array(0))).code).toBe(ResultCode.UNSUPPORTED);
    await close();
  });

  it('refuses a responder of another cluster', async () => {
    const { listener, client, close } = await pair(() => undefined);
    const other = client.connect({
      address: listener.address,
      role: Role.CLIENT,
      clusterId: new Uint8Array(16),
    });
    await expect(other).rejects.toMatchObject({ code: 'GRAMLINE_DENIED' });
    await close();
  });

  it('lets a caller give up, and fails what is under way when the peer closes [QRY-10] [SES-19]', async () => {
    let peerConnection: Connection | undefined;
    const { connection, close } = await pair((peer) => {
      peerConnection = peer;
      peer.onQuery = () => undefined;
    });
    const abort = new AbortController();
    const given = connection.query(1, new Uint8Array(0), { signal: abort.signal });
    const waiting = connection.query(1, new Uint8Array(0));
    await new Promise((resolve) => setImmediate(resolve));
    abort.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
    while (peerConnection === undefined) await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([
      peerConnection.close(),
      expect(waiting).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' }),
    ]);
    await expect(connection.query(1, new Uint8Array(0))).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
    await close();
  });
});
