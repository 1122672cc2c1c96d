/**
 * A cluster in this process on loopback, with what `openCoordinator` and its siblings do not let one
 * choose: the datagram host, the clock, the secrets of each part.
 */

import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { Client, Coordinator, type Log, type Rights, StorageNode } from '../../src/nodes/index.ts';
import type { Entropy } from '../../src/nodes/ports.ts';
import { lz4Compression, nodeHashing, openObjectStore, openStateStore } from '../../src/store/index.ts';
import { systemClock, systemEntropy, type UdpTransport } from '../../src/udp/index.ts';
import type { TransportOptions } from '../../src/udp/transport.ts';
import { ALL_RIGHTS, frontSecret, loopbackTransport, SILENT } from './transport.ts';

export interface Grant {
  readonly secret: Uint8Array;
  readonly rights?: Partial<Rights>;
}

export interface PartOptions {
  readonly transport?: Partial<TransportOptions>;
  readonly log?: Log;
}

export interface TestClusterOptions extends PartOptions {
  readonly nodes: number;
  readonly quotaBytes?: number;
  /** What every part knows. Random by default. */
  readonly secret?: Uint8Array;
  /** Further secrets that coordinator and nodes accept. */
  readonly grants?: readonly Grant[];
  /** Random by default, and not the cluster secret. */
  readonly admissionSecret?: Uint8Array;
  /** Chance of all parts, for a test that wants to know what they drew. */
  readonly entropy?: Entropy;
}

const NO_RIGHTS: Rights = { read: false, write: false, node: false, admin: false };
const QUOTA_BYTES = 1_000_000_000;

export class TestCluster {
  readonly directory: string;
  readonly secret: Uint8Array;
  readonly admissionSecret: Uint8Array;
  readonly nodes: StorageNode[] = [];
  readonly transports: UdpTransport[] = [];
  readonly #options: TestClusterOptions;
  readonly #closers: (() => Promise<void>)[] = [];
  #coordinator: Coordinator | undefined;

  private constructor(options: TestClusterOptions, directory: string) {
    this.#options = options;
    this.directory = directory;
    this.secret = options.secret ?? new Uint8Array(randomBytes(32));
    this.admissionSecret = options.admissionSecret ?? new Uint8Array(randomBytes(32));
  }

  /** Opens coordinator and nodes; resolves when all have joined. */
  static async open(options: TestClusterOptions): Promise<TestCluster> {
    const cluster = new TestCluster(options, await mkdtemp(join(tmpdir(), 'gramline-')));
    const state = await openStateStore({
      directory: join(cluster.directory, 'hub'),
      entropy: systemEntropy.bytes,
    });
    cluster.#coordinator = await Coordinator.open({
      transport: cluster.transport(),
      clock: systemClock,
      entropy: cluster.#entropy,
      suite: nodeSuite,
      state,
      clusterId: state.clusterId,
      admissionSecret: cluster.admissionSecret,
      listen: '127.0.0.1:0',
      log: options.log ?? SILENT,
    });
    cluster.#closers.push(async () => {
      await cluster.coordinator.close();
      await state.close();
    });
    for (let index = 0; index < options.nodes; index++) await cluster.addNode(index);
    await Promise.all(cluster.nodes.map((node) => node.joined));
    return cluster;
  }

  get #entropy(): Entropy {
    return this.#options.entropy ?? systemEntropy;
  }

  get coordinator(): Coordinator {
    return this.#coordinator!;
  }

  get address(): string {
    return this.coordinator.address;
  }

  nodeDirectory(index: number): string {
    return join(this.directory, `node-${index}`);
  }

  async addNode(
    index: number,
    options: PartOptions & { admissionSecret?: Uint8Array } = {},
  ): Promise<StorageNode> {
    const log = options.log ?? this.#options.log ?? SILENT;
    const store = await openObjectStore({
      directory: this.nodeDirectory(index),
      quotaBytes: this.#options.quotaBytes ?? QUOTA_BYTES,
      wallMillis: systemClock.wallMillis,
      entropy: systemEntropy.bytes,
      log,
    });
    const node = await StorageNode.open({
      transport: this.transport(options.transport),
      clock: systemClock,
      entropy: this.#entropy,
      suite: nodeSuite,
      store,
      compression: lz4Compression,
      coordinators: [this.address],
      admissionSecret: options.admissionSecret ?? this.admissionSecret,
      listen: '127.0.0.1:0',
      name: `node-${index}`,
      log,
    });
    this.nodes.push(node);
    this.#closers.push(async () => {
      await node.close();
      await store.close();
    });
    return node;
  }

  /** A client that is closed with the cluster. */
  client(options: PartOptions & { secret?: Uint8Array } = {}): Client {
    const client = new Client({
      transport: this.clientTransport(options),
      clock: systemClock,
      entropy: this.#entropy,
      hashing: nodeHashing,
      compression: lz4Compression,
      coordinators: [this.address],
      log: options.log ?? this.#options.log ?? SILENT,
    });
    this.#closers.push(() => client.close());
    return client;
  }

  /** A transport that knows `secret`, or the cluster's. */
  clientTransport(options: PartOptions & { secret?: Uint8Array } = {}): UdpTransport {
    return this.transport({ secrets: [frontSecret(options.secret ?? this.secret)], ...options.transport });
  }

  transport(options: Partial<TransportOptions> = {}): UdpTransport {
    const grants = this.#options.grants ?? [];
    const transport = loopbackTransport({
      secrets: [
        frontSecret(this.secret, ALL_RIGHTS),
        ...grants.map(({ secret, rights }) => frontSecret(secret, { ...NO_RIGHTS, ...rights })),
      ],
      log: this.#options.log ?? SILENT,
      entropy: this.#entropy,
      ...this.#options.transport,
      ...options,
    });
    this.transports.push(transport);
    return transport;
  }

  /** Closes clients, nodes and the coordinator, in this order, and removes the directory. */
  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** All bytes of a stream in one buffer. */
export async function collect(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = [];
  for await (const part of parts) list.push(part);
  return Buffer.concat(list);
}

/** Waits until `condition` gives a value other than undefined and false, at most `millis`. */
export async function eventually<Value>(
  what: string,
  condition: () => Value | Promise<Value>,
  millis = 10_000,
): Promise<NonNullable<Value>> {
  const deadline = performance.now() + millis;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== null && value !== false) return value as NonNullable<Value>;
    if (performance.now() > deadline) throw new Error(`after ${millis} ms still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
