/** The cases. Each compares Gramline with a peer, both sides in turn within one run. */

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { deriveClusterKeys } from '../src/crypto/index.ts';
import { nodeSuite } from '../src/crypto/node-suite.ts';
import type { Client } from '../src/index.ts';
import { systemClock, systemEntropy, UdpTransport } from '../src/udp/index.ts';
import { plainHost } from '../src/udp/sockets.ts';
import { Role } from '../src/wire/index.ts';
import type { Child } from './children.ts';
import { type Comparison, compare, latencies, quantile, seconds } from './measure.ts';

export interface Stage {
  readonly client: Client;
  readonly coordinator: Child;
  readonly echo: Child;
  readonly tls: Child;
  readonly secret: Uint8Array;
  readonly pairs: number;
  /** Bytes of the bulk cases. */
  readonly bulkBytes: number;
}

const QUERIES = 2_000;
const HANDSHAKES = 200;
const TLS_WRITE_BYTES = 65_536;
const ECHO_BYTES = 64;

/** Sealed WhereIs beside a raw `dgram` echo: microseconds, one query at a time. */
export async function queryCases(stage: Stage): Promise<Comparison[]> {
  const { hash } = await stage.client.put(randomBytes(1_000), { replicas: 1 });
  const socket = createSocket('udp4');
  socket.connect(stage.echo.port, '127.0.0.1');
  await once(socket, 'connect');
  const payload = randomBytes(ECHO_BYTES);
  let answered = (): void => undefined;
  socket.on('message', () => answered());
  const ping = (): Promise<void> =>
    new Promise((resolve) => {
      answered = resolve;
      socket.send(payload);
    });
  const whereIs = (): Promise<unknown> => stage.client.whereIs(hash);
  const results: Comparison[] = [];
  for (const [label, share] of [
    ['p50', 0.5],
    ['p99', 0.99],
  ] as const) {
    results.push(
      await compare(
        { name: `WhereIs ${label}`, unit: 'us', theirName: 'raw dgram echo', pairs: stage.pairs },
        async () => quantile(await latencies(QUERIES, whereIs), share),
        async () => quantile(await latencies(QUERIES, ping), share),
      ),
    );
  }
  socket.close();
  return results;
}

/** A put and a get, hashed at both ends and written to disk, beside a bare TLS 1.3 stream: MB/s. */
export async function bulkCases(stage: Stage): Promise<Comparison[]> {
  const bytes = randomBytes(stage.bulkBytes);
  const megabytes = stage.bulkBytes / 1e6;
  const tls = async (): Promise<number> => megabytes / (await seconds(() => sendTls(stage.tls.port, bytes)));
  let hash = '';
  const put = async (): Promise<number> => {
    // Other bytes each time: the same ones, just removed, would have to be stored twice.
    if (hash !== '') await stage.client.rm(hash);
    bytes[0] = (bytes[0]! + 1) % 256;
    const span = await seconds(async () => {
      hash = (await stage.client.put(bytes, { replicas: 1 })).hash;
    });
    return megabytes / span;
  };
  const get = async (): Promise<number> =>
    megabytes /
    (await seconds(async () => {
      for await (const _part of stage.client.get(hash));
    }));
  const common = { unit: 'MB/s', theirName: 'Node TLS 1.3', pairs: stage.pairs };
  return [
    await compare({ name: 'put', ...common }, put, tls),
    await compare({ name: 'get', ...common }, get, tls),
  ];
}

/** Full handshakes, each with a new session that is closed again: per second. */
export async function handshakeCase(stage: Stage): Promise<Comparison> {
  const transport = new UdpTransport({
    host: plainHost,
    clock: systemClock,
    entropy: systemEntropy,
    suite: nodeSuite,
    secrets: [
      {
        keys: deriveClusterKeys(nodeSuite, stage.secret),
        rights: { read: true, write: true, node: true, admin: true },
      },
    ],
    defer: (run) => setImmediate(run),
    resolve: async (host) => host,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  const ours = async (): Promise<number> => {
    const span = await seconds(async () => {
      for (let index = 0; index < HANDSHAKES; index++) {
        const connection = await transport.connect({ address: stage.coordinator.address, role: Role.CLIENT });
        void connection.close();
      }
    });
    return HANDSHAKES / span;
  };
  const theirs = async (): Promise<number> => {
    const span = await seconds(async () => {
      for (let index = 0; index < HANDSHAKES; index++) {
        const socket = connectTls({ port: stage.tls.port, host: '127.0.0.1', rejectUnauthorized: false });
        await once(socket, 'secureConnect');
        socket.destroy();
      }
    });
    return HANDSHAKES / span;
  };
  return compare(
    { name: 'handshakes', unit: '1/s', theirName: 'Node TLS 1.3', pairs: stage.pairs },
    ours,
    theirs,
  );
}

async function sendTls(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false });
  await once(socket, 'secureConnect');
  const head = Buffer.alloc(8);
  head.writeBigUInt64BE(BigInt(bytes.length));
  socket.write(head);
  for (let at = 0; at < bytes.length; at += TLS_WRITE_BYTES) {
    if (!socket.write(bytes.subarray(at, at + TLS_WRITE_BYTES))) await once(socket, 'drain');
  }
  await once(socket, 'data');
  socket.destroy();
}
