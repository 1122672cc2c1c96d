/**
 * The other ends of the benchmark, each a process of its own: this same bundle, started again
 * with `--child ROLE`. A child prints one line of JSON when it is ready, and ends with its stdin.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { createServer as createTlsServer } from 'node:tls';
import { openCoordinator, openNode } from '../src/index.ts';
import { BENCH_CERTIFICATE, BENCH_KEY } from './certificate.ts';

export interface ChildOptions {
  readonly role: 'coordinator' | 'node' | 'echo' | 'tls';
  readonly directory?: string;
  readonly coordinator?: string;
  readonly secretHex?: string;
}

export interface Child {
  readonly process: ChildProcess;
  /** What it listens on. */
  readonly address: string;
  readonly port: number;
  /** Resident memory now, bytes. */
  rssBytes(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts a child and waits until it is ready. Options travel on stdin, not in argv. */
export async function startChild(options: ChildOptions): Promise<Child> {
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, '--child'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  child.stdin!.write(`${JSON.stringify(options)}\n`);
  const next = async (): Promise<Record<string, unknown>> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`the ${options.role} of the benchmark ended`);
    return JSON.parse(value) as Record<string, unknown>;
  };
  const ready = await next();
  return {
    process: child,
    address: ready.address as string,
    port: Number((ready.address as string).split(':').pop()),
    async rssBytes() {
      child.stdin!.write('rss\n');
      return (await next()).rssBytes as number;
    },
    async stop() {
      child.stdin!.end();
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}

/** What a child does. Never returns: it ends when its stdin does. */
export async function runChild(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const options = JSON.parse((await lines.next()).value as string) as ChildOptions;
  const address = await serve(options);
  console.log(JSON.stringify({ address }));
  for (;;) {
    const { done } = await lines.next();
    if (done === true) process.exit(0);
    console.log(JSON.stringify({ rssBytes: process.memoryUsage().rss }));
  }
}

async function serve(options: ChildOptions): Promise<string> {
  const secret = new Uint8Array(Buffer.from(options.secretHex ?? '', 'hex'));
  switch (options.role) {
    case 'coordinator': {
      const coordinator = await openCoordinator({
        secret,
        listen: '127.0.0.1:0',
        directory: options.directory!,
      });
      return coordinator.address;
    }
    case 'node': {
      const node = await openNode({
        secret,
        listen: '127.0.0.1:0',
        directory: options.directory!,
        coordinators: [options.coordinator!],
        quotaBytes: 20e9,
      });
      await node.joined;
      return node.address;
    }
    case 'echo': {
      const socket = createSocket('udp4');
      socket.on('message', (bytes, from) => socket.send(bytes, from.port, from.address));
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      return `127.0.0.1:${socket.address().port}`;
    }
    case 'tls':
      return serveTls();
  }
}

/** Takes in whatever comes; the byte count that a client waits for is the first 8 bytes. */
async function serveTls(): Promise<string> {
  const server = createTlsServer(
    { key: BENCH_KEY, cert: BENCH_CERTIFICATE, minVersion: 'TLSv1.3', ciphers: 'TLS_AES_256_GCM_SHA384' },
    (socket) => {
      let left: number | undefined;
      socket.on('error', () => socket.destroy());
      socket.on('data', (chunk: Buffer) => {
        if (left === undefined) {
          left = Number(chunk.readBigUInt64BE());
          left += 8;
        }
        left -= chunk.length;
        if (left === 0) socket.end('done');
      });
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `127.0.0.1:${typeof address === 'object' ? address!.port : 0}`;
}
