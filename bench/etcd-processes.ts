/** Real etcd processes for tests and benchmarks: members of one cluster on loopback, that can be killed, stopped and started again. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { findProgram } from '../lab/programs.ts';

const READY_MILLIS_MAX = 20_000;
const LOOK_MILLIS = 25;
const OUTPUT_CHARS_MAX = 4_000;

/** Stands in the names of tests that need etcd. */
export const ETCD_PROGRAM = findProgram('etcd');

interface Member {
  readonly name: string;
  readonly url: string;
  readonly parameters: readonly string[];
  process: ChildProcess;
  output: string;
}

export interface EtcdOptions {
  readonly members?: number;
  /** Further parameters of each member. */
  readonly parameters?: readonly string[];
  /** `https` with these files. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly ca: string };
}

export class EtcdProcesses {
  readonly #directory: string;
  readonly #members: Member[] = [];

  private constructor() {
    const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    this.#directory = mkdtempSync(join(parent, 'gramline-test-etcd-'));
  }

  /** Starts the members and waits until they have a leader. */
  static async start({ members = 1, parameters = [], tls }: EtcdOptions = {}): Promise<EtcdProcesses> {
    const etcd = new EtcdProcesses();
    const ports = await freePorts(members * 2);
    const scheme = tls === undefined ? 'http' : 'https';
    const urls = Array.from({ length: members }, (_, index) => ({
      name: `m${index}`,
      client: `${scheme}://127.0.0.1:${ports[2 * index]}`,
      peer: `http://127.0.0.1:${ports[2 * index + 1]}`,
    }));
    const cluster = urls.map(({ name, peer }) => `${name}=${peer}`).join();
    for (const { name, client, peer } of urls) {
      const own = [
        ...['--name', name, '--data-dir', join(etcd.#directory, name), '--log-level', 'error'],
        ...['--logger', 'zap', '--log-outputs', 'stderr'],
        ...['--listen-client-urls', client, '--advertise-client-urls', client],
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...['--initial-cluster', cluster, '--initial-cluster-token', etcd.#directory],
        ...(tls === undefined
          ? []
          : ['--cert-file', tls.certificate, '--key-file', tls.key, '--trusted-ca-file', tls.ca]),
        ...parameters,
      ];
      etcd.#members.push({ name, url: client, parameters: own, output: '', process: undefined as never });
      etcd.restart(etcd.#members.length - 1);
    }
    try {
      if (tls === undefined) await etcd.ready();
    } catch (error) {
      await etcd.stop();
      throw error;
    }
    return etcd;
  }

  get urls(): readonly string[] {
    return this.#members.map(({ url }) => url);
  }

  /** Starts a member that has ended. */
  restart(index: number): void {
    const member = this.#members[index]!;
    const child = spawn(ETCD_PROGRAM!, [...member.parameters], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr!.on('data', (chunk: Buffer) => {
      member.output = (member.output + chunk.toString()).slice(-OUTPUT_CHARS_MAX);
    });
    member.process = child;
  }

  /** Sends a signal; resolves, where that ends the member, when it has ended. */
  async signal(index: number, signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    const { process } = this.#members[index]!;
    const ends = signal === 'SIGKILL' || signal === 'SIGTERM';
    const isOver = process.exitCode !== null || process.signalCode !== null;
    if (ends && isOver) return;
    const ended = ends ? once(process, 'exit') : undefined;
    process.kill(signal);
    await ended;
  }

  /** Resolves when every member that runs serves reads of which a leader knows. */
  async ready(): Promise<void> {
    const deadline = performance.now() + READY_MILLIS_MAX;
    for (const { url, process, name } of this.#members) {
      while (process.exitCode === null && process.signalCode === null) {
        try {
          await etcdCall(url, '/v3/kv/range', { key: 'AA==' });
          break;
        } catch (error) {
          const { output } = this.#members.find((member) => member.name === name)!;
          if (performance.now() > deadline) throw new Error(`etcd ${name}: ${String(error)} ${output}`);
          await new Promise((resolve) => setTimeout(resolve, LOOK_MILLIS));
        }
      }
    }
  }

  /** Index of the member that leads. */
  async leader(): Promise<number> {
    for (const [index, { url }] of this.#members.entries()) {
      const { header, leader } = (await etcdCall(url, '/v3/maintenance/status', {})) as {
        readonly header: { readonly member_id: string };
        readonly leader: string;
      };
      if (header.member_id === leader) return index;
    }
    throw new Error('no member leads');
  }

  /** Ends all members and removes their files. */
  async stop(): Promise<void> {
    await Promise.all(this.#members.map((_member, index) => this.signal(index, 'SIGKILL')));
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** One question to etcd's gateway, past the store. */
export async function etcdCall(
  url: string,
  path: string,
  question: unknown,
  token?: string,
): Promise<Readonly<Record<string, unknown>>> {
  const { statusCode, body } = await request(url + path, {
    method: 'POST',
    body: JSON.stringify(question),
    headers: token === undefined ? {} : { authorization: token },
    headersTimeout: 5_000,
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`${path}: ${text}`);
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Ports that nothing uses now: all are held at once, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  const ports: number[] = [];
  for (const server of servers) {
    if (!server.listening) await once(server, 'listening');
    ports.push((server.address() as { readonly port: number }).port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
