/** TLS 1.3 of Node, as fast as it can be had without tricks: the peer of flows and handshakes. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { BENCH_CERTIFICATE, BENCH_KEY } from '../certificate.ts';
import type { SendResult } from './flows.ts';
import type { Role } from './index.ts';
import { sampleRate } from './sampling.ts';

const WRITE_BYTES = 65_536;
const CIPHERS = 'TLS_AES_256_GCM_SHA384';

/** Takes in whatever comes; says how many bytes that was when the other side has ended. */
export async function tlsSink(options: { readonly host: string }): Promise<Role> {
  const server = createServer(
    { key: BENCH_KEY, cert: BENCH_CERTIFICATE, minVersion: 'TLSv1.3', ciphers: CIPHERS, allowHalfOpen: true },
    (socket) => {
      let bytes = 0;
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      socket.on('end', () => socket.end(String(bytes)));
    },
  );
  // A handshake that is cut off is the other side's business.
  server.on('tlsClientError', () => undefined);
  server.listen(0, options.host, 4_096);
  await once(server, 'listening');
  const address = server.address();
  return { ready: { port: typeof address === 'object' ? address!.port : 0 } };
}

interface Target {
  readonly host: string;
  readonly port: number;
}

function open({ host, port }: Target): TLSSocket {
  return connect({ host, port, rejectUnauthorized: false, allowHalfOpen: true, ciphers: CIPHERS } as never);
}

export async function tlsSource(): Promise<Role> {
  const payload = randomBytes(WRITE_BYTES);
  /** Sends for `seconds` over a new connection; the clock stops when the sink has said what it got. */
  const send = async ({ seconds, ...target }: Target & { seconds: number }): Promise<SendResult> => {
    const socket = open(target);
    try {
      await once(socket, 'secureConnect');
      const start = performance.now();
      const end = start + seconds * 1000;
      let sent = 0;
      // One write at a time: with two, four or eight under way it was slower here.
      while (performance.now() < end) {
        sent += payload.length;
        await new Promise<void>((resolve, reject) => {
          socket.write(payload, (error) => (error ? reject(error) : resolve()));
        });
      }
      const reply = once(socket, 'data') as Promise<[Buffer]>;
      socket.end();
      const got = Number((await reply)[0].toString());
      if (got !== sent) throw new Error(`sent ${sent} bytes, and ${got} came`);
      return { bytesPerSecond: sent / ((performance.now() - start) / 1000) };
    } finally {
      socket.destroy();
    }
  };
  return { ready: {}, operations: { send } };
}

export async function tlsHandshakes(options: Target): Promise<Role> {
  /** Full handshakes, each on a connection of its own and without a session to resume. */
  const handshake = async (): Promise<void> => {
    const socket = open(options);
    await once(socket, 'secureConnect');
    if (socket.isSessionReused()) throw new Error('a TLS session was resumed');
    socket.destroy();
  };
  return {
    ready: {},
    operations: {
      rate: (sampling: { seconds: number; window: number }): Promise<number> =>
        sampleRate(sampling, handshake),
    },
  };
}
