/** Raw `dgram`: what a question and its answer cost with nothing around them. */

import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Role } from './index.ts';
import { type Extent, type Latencies, sampleLatencies } from './sampling.ts';

/** About what a query is. */
const ECHO_BYTES = 64;

export async function echo(options: { readonly host: string }): Promise<Role> {
  const socket = createSocket('udp4');
  socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(0, options.host);
  await once(socket, 'listening');
  return { ready: { port: socket.address().port } };
}

export async function echoClient(options: { readonly host: string; readonly port: number }): Promise<Role> {
  const socket = createSocket('udp4');
  socket.connect(options.port, options.host);
  await once(socket, 'connect');
  const payload = randomBytes(ECHO_BYTES);
  let answered = (): void => undefined;
  socket.on('message', () => answered());
  const ping = (): Promise<void> =>
    new Promise((resolve) => {
      answered = resolve;
      socket.send(payload);
    });
  return {
    ready: {},
    operations: {
      latencies: (extent: Extent): Promise<Latencies> => sampleLatencies(extent, ping),
    },
  };
}
