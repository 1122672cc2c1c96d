/** The machines of a simulated cluster: what a role runs on, how it starts, is paused, crashes and starts again. */

import { assert } from '../src/base/assert.ts';
import { concatBytes, toHex } from '../src/base/bytes.ts';
import { type Micros, micros } from '../src/base/units.ts';
import { deriveClusterKeys } from '../src/crypto/index.ts';
import { nodeSuite } from '../src/crypto/node-suite.ts';
import { Client } from '../src/nodes/client.ts';
import { Coordinator } from '../src/nodes/coordinator.ts';
import { StorageNode } from '../src/nodes/node.ts';
import type { Clock, Log, Rights, StateStore, Timer, Transport } from '../src/nodes/ports.ts';
import type { FrontSecret } from '../src/session/index.ts';
import { lz4Compression } from '../src/store/compression.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import { UdpTransport } from '../src/udp/transport.ts';
import { WIRE_VERSION, WIRE_VERSIONS } from '../src/wire/index.ts';
import type { SimCluster } from './cluster.ts';
import { watchCoordinator } from './coordinator-watch.ts';
import { SimDisk } from './disk.ts';
import { LeaseChecker } from './lease-checker.ts';
import { MemoryObjectStore } from './memory-object-store.ts';
import { MemoryStateStore } from './memory-state-store.ts';
import type { Random } from './random.ts';
import { type SharedStateStore, StateLink } from './shared-state.ts';
import type { ClockSkew, HostClock } from './virtual-clock.ts';
import type { VirtualHost } from './virtual-network.ts';

export const COORDINATOR_IP = '10.0.0.1';
export const COORDINATOR_ADDRESS: string = `${COORDINATOR_IP}:7400`;
const COORDINATOR_PORT = 7400;
const NODE_PORT = 7401;
export const CLUSTER_ID: Uint8Array = new Uint8Array(16).fill(0xc1);
const SECRET = new Uint8Array(32).fill(0x5e);
export const ADMISSION_SECRET: Uint8Array = new Uint8Array(32).fill(0xad);
const QUOTA_BYTES_DEFAULT = 8_000_000;
const ALL_RIGHTS: Rights = { read: true, write: true, node: true, admin: true };
/** Errors that only a mistake of ours throws: where one is caught and logged, the run fails. */
const OWN_BUGS = /AssertionError|TypeError|RangeError|ReferenceError|SyntaxError/;

/** What a machine speaks that has been upgraded: the version of now, and one that means the same. */
const NEXT_VERSIONS = [...WIRE_VERSIONS, WIRE_VERSION + 1];

/** Derived once: the secrets are the same in every run. */
const CLUSTER_KEYS = deriveClusterKeys(nodeSuite, SECRET);

const NO_TIMER: Timer = { cancel: () => undefined };

/** The clock of one process: knows its timers, and takes them with it when the process dies. */
export class ProcessClock implements Clock {
  readonly #clock: HostClock;
  readonly #timers = new Set<Timer>();

  constructor(clock: HostClock) {
    this.#clock = clock;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  get isStopped(): boolean {
    return this.#clock.isStopped;
  }

  now(): Micros {
    return this.#clock.now();
  }

  wallMillis(): number {
    return this.#clock.wallMillis();
  }

  setTimer(at: Micros, run: () => void): Timer {
    // What still runs of a dead process waits for ever.
    if (this.isStopped) return NO_TIMER;
    const inner = this.#clock.setTimer(at, () => {
      this.#timers.delete(timer);
      run();
    });
    const timer: Timer = {
      cancel: () => {
        this.#timers.delete(timer);
        inner.cancel();
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Calls `run` behind what is going on now, when the machine can: not a timer of its own, which ticks. */
  defer(run: () => void): void {
    this.#clock.schedule(0, run);
  }

  /** Resolves when `spanMicros` have passed, unless the process dies: what the machine's devices do. */
  wait(spanMicros: number): Promise<void> {
    return new Promise((resolve) => this.#clock.schedule(spanMicros, resolve));
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#clock.stop();
  }
}

/** What one start of a role runs on. */
export interface SimProcess {
  readonly host: VirtualHost;
  readonly clock: ProcessClock;
  readonly entropy: Random;
  readonly transport: UdpTransport;
  /** The same transport, watched: what roles are given. */
  readonly watched: Transport;
  readonly log: Log;
}

/** A machine with an address, on which one role runs, crashes and starts again. */
export abstract class SimMachine {
  readonly cluster: SimCluster;
  readonly ip: string;
  readonly name: string;
  readonly #skew: ClockSkew;
  readonly disk: SimDisk;
  #process: SimProcess | undefined;
  #hostClock: HostClock | undefined;
  /** How often its monotonic time stood still. */
  stalls = 0;
  #starts = 0;
  #pausedUntilMicros = 0;
  #resumption: Timer | undefined;

  constructor(cluster: SimCluster, ip: string, name: string, hasSlowDisk: boolean) {
    this.cluster = cluster;
    this.ip = ip;
    this.name = name;
    this.#skew = cluster.options.skew?.(cluster.random.fork(`skew ${ip}`)) ?? {};
    // A disk outlasts the processes, and serves the one that runs.
    const clock = { wait: (spanMicros: number) => this.#requireProcess().clock.wait(spanMicros) };
    this.disk = new SimDisk(clock, cluster.random.fork(`disk ${ip}`), hasSlowDisk);
  }

  /** Whether nothing runs on this machine just now. */
  get isPaused(): boolean {
    return this.#hostClock?.isPaused === true;
  }

  /** Wall-clock time as this machine has it. */
  wallMillis(): number {
    return (this.#hostClock ?? this.cluster.clock).wallMillis();
  }

  /** The wall clock of the machine is set forward or backward. */
  jumpWall(millis: number): void {
    this.#hostClock?.jumpWall(millis);
  }

  /**
   * Nothing runs on the machine for `spanMicros`, then everything that has become due and arrived at once.
   * With `stalls` its monotonic time stands still meanwhile, as that of a suspended virtual machine.
   */
  pause(spanMicros: number, stalls: boolean): void {
    const { clock, network, trace } = this.cluster;
    const kind = stalls ? 'suspended' : 'paused';
    trace.say(this.name, `${kind} for ${(spanMicros / 1e6).toFixed(1)} s`);
    this.#hostClock?.pause(spanMicros, stalls);
    if (stalls) this.stalls += 1;
    network.pause(this.ip, spanMicros);
    const until = Math.max(this.#pausedUntilMicros, clock.now() + spanMicros);
    this.#pausedUntilMicros = until;
    this.#resumption?.cancel();
    this.#resumption = clock.setTimer(micros(until), () => network.resume(this.ip));
  }

  #requireProcess(): SimProcess {
    assert(this.#process !== undefined, 'a machine without a process uses no disk');
    return this.#process;
  }

  get transport(): UdpTransport | undefined {
    return this.#process?.transport;
  }

  get process(): SimProcess | undefined {
    return this.#process;
  }

  protected boot(secrets?: readonly FrontSecret[]): SimProcess {
    const { cluster, ip } = this;
    this.#starts += 1;
    const host = cluster.network.host(ip, { offload: cluster.options.offload ?? false });
    const hostClock = cluster.clock.clockFor(ip, this.#skew);
    this.#hostClock = hostClock;
    const clock = new ProcessClock(hostClock);
    const entropy = cluster.random.fork(`entropy ${ip} ${this.#starts}`);
    const log = cluster.trace.log(this.name, (message, fields) => {
      if (OWN_BUGS.test(String(fields.reason))) cluster.onBug(`${this.name}: ${message}`, fields.reason);
    });
    const { idleMicros, keySealingsMax, sessionsMax, mixesVersions = false } = cluster.options;
    // Upgraded or not, each time that it starts.
    const versions = mixesVersions && entropy.fraction() < 0.5 ? NEXT_VERSIONS : undefined;
    const transport = new UdpTransport({
      host,
      clock,
      entropy: { bytes: (count) => entropy.bytes(count), fraction: () => entropy.fraction() },
      suite: cluster.suite,
      secrets: secrets ?? [{ keys: CLUSTER_KEYS, rights: ALL_RIGHTS }],
      defer: (run) => clock.defer(run),
      resolve: async (name) => name,
      log,
      versions,
      ...(idleMicros === undefined ? {} : { idleMicros }),
      ...(keySealingsMax === undefined ? {} : { keySealingsMax }),
      ...(sessionsMax === undefined ? {} : { sessionsMax }),
    });
    const watched = cluster.sessions.watchTransport(transport);
    this.#process = { host, clock, entropy, transport, watched, log };
    return this.#process;
  }

  /** The power fails, or the process is killed. What is not durable is lost. */
  protected halt(kind: 'machine' | 'process'): void {
    this.cluster.trace.say(this.name, `crashes (${kind})`);
    this.#process?.host.crash(kind);
    this.#process?.clock.stop();
    this.#process = undefined;
    this.#pausedUntilMicros = 0;
    this.#resumption?.cancel();
    this.cluster.network.resume(this.ip);
  }

  protected roleOptions(process: SimProcess) {
    const { clock, entropy, watched, log } = process;
    return { transport: watched, clock, entropy, log, suite: this.cluster.suite };
  }

  abstract readonly isRunning: boolean;
  abstract start(): Promise<void>;
  abstract stop(): Promise<void>;
  abstract crash(kind?: 'machine' | 'process'): void;
}

/** Whose state is its own, on its disk; or shared with others, in an engine. */
export class SimCoordinator extends SimMachine {
  readonly address: string;
  /** A second ledger of what this coordinator promises while it leads. */
  readonly leases: LeaseChecker;
  role: Coordinator | undefined;
  readonly #link: StateLink;
  #own: MemoryStateStore;
  #shared: SharedStateStore | undefined;

  constructor(cluster: SimCluster, index: number) {
    const name = index === 0 ? 'coordinator' : `coordinator-${index + 1}`;
    super(cluster, `10.0.0.${index + 1}`, name, cluster.options.slowState === true);
    this.address = `${this.ip}:${COORDINATOR_PORT}`;
    this.leases = new LeaseChecker(cluster.violations);
    this.#own = new MemoryStateStore({ clusterId: CLUSTER_ID, disk: this.disk });
    this.#link = new StateLink(index * 1_000_000);
  }

  /** The state as this coordinator sees it. */
  get state(): StateStore {
    return this.#shared ?? this.#own;
  }

  /** Makes the disk of a state of its own full, or gives it room again. */
  failState(full: boolean): void {
    this.#own.fail(full);
  }

  /** Cuts the way to a shared state, or mends it. */
  cutState(isCut: boolean): void {
    this.#link.isCut = isCut;
  }

  get isRunning(): boolean {
    return this.process !== undefined;
  }

  async start(): Promise<void> {
    this.cluster.trace.say(this.name, 'starts');
    const process = this.boot();
    const { leases } = this;
    const { commits, engine } = this.cluster;
    const now = (): Micros => process.clock.now();
    const wait = (spanMicros: number): Promise<void> => process.clock.wait(spanMicros);
    this.#shared = engine?.open({ now, wait }, this.#link);
    // What its predecessor was about to do a lone one will not do any more.
    if (engine === undefined) commits.onStart();
    const { repairDelayMillis, repairBytesPerSecond } = this.cluster.options;
    const role = await Coordinator.open({
      ...this.roleOptions(process),
      ...{ repairDelayMillis, repairBytesPerSecond },
      transport: watchCoordinator(process.watched, { leases, commits, truth: () => this.cluster.truth, now }),
      state: this.state,
      clusterId: CLUSTER_ID,
      compression: lz4Compression,
      admissionSecret: ADMISSION_SECRET,
      listen: this.address,
      onLeads: (epoch) => {
        this.cluster.trace.say(this.name, `leads in epoch ${epoch}`);
        leases.onStart(now());
      },
    });
    // It may have died while it opened.
    if (this.process === process) this.role = role;
  }

  async stop(): Promise<void> {
    const { role } = this;
    this.role = undefined;
    await role?.close();
    await this.state.close();
  }

  crash(kind: 'machine' | 'process' = 'machine'): void {
    this.role = undefined;
    this.#shared?.crash();
    const isLost = this.#shared === undefined && this.#own.crash(kind);
    this.halt(kind);
    if (isLost) this.cluster.trace.say(this.name, 'a batch of commits was not flushed, and is lost');
    if (this.#shared === undefined) this.#own = this.#own.reopen();
    this.cluster.commits.check(this.cluster.truth);
  }
}

export class SimNode extends SimMachine {
  readonly nodeId: Uint8Array;
  readonly address: string;
  store: MemoryObjectStore;
  role: StorageNode | undefined;
  /** Whether the node wants to leave, from its next start on. */
  isDraining = false;
  #isLost = false;

  constructor(cluster: SimCluster, index: number) {
    super(cluster, nodeIp(index), `node-${index + 1}`, cluster.options.slowDisks === true);
    const { quotaBytes = QUOTA_BYTES_DEFAULT } = cluster.options;
    this.nodeId = nodeIdOf(index);
    this.address = `${this.ip}:${NODE_PORT}`;
    this.store = new MemoryObjectStore({
      nodeId: this.nodeId,
      quotaBytes: typeof quotaBytes === 'number' ? quotaBytes : quotaBytes(index),
      wallMillis: () => this.wallMillis(),
      disk: this.disk,
    });
    cluster.stores.watch(this.store, this.name);
  }

  get isRunning(): boolean {
    return this.role !== undefined;
  }

  /** Whether the machine is gone, with its disk. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** The machine is gone for good. */
  lose(): void {
    this.cluster.trace.say(this.name, 'is lost for good');
    if (this.isRunning) this.crash('machine');
    this.#isLost = true;
  }

  /** Whether the disk holds an object, undamaged or not. */
  holds(hash: string): boolean {
    for (const entry of this.store.inventory()) if (toHex(entry.hash) === hash) return true;
    return false;
  }

  async start(options: { readonly admissionSecret?: Uint8Array } = {}): Promise<void> {
    this.cluster.trace.say(this.name, 'starts');
    this.role = await StorageNode.open({
      ...this.roleOptions(this.boot()),
      store: this.store,
      compression: lz4Compression,
      coordinators: this.cluster.coordinatorAddresses,
      admissionSecret: options.admissionSecret ?? ADMISSION_SECRET,
      listen: this.address,
      name: this.name,
      draining: this.isDraining,
    });
  }

  async stop(): Promise<void> {
    const { role } = this;
    this.role = undefined;
    await role?.close();
    await this.store.close();
  }

  crash(kind: 'machine' | 'process' = 'machine'): void {
    this.role = undefined;
    const lost = this.store.crash(kind);
    this.halt(kind);
    if (lost > 0) this.cluster.trace.say(this.name, `${lost} changes were not flushed, and are lost`);
    this.reopenStore();
  }

  /** After `stop`: the same disk again. */
  reopenStore(): void {
    this.store = this.store.reopen();
    this.cluster.stores.watch(this.store, this.name);
  }
}

export class SimClient extends SimMachine {
  readonly #coordinators: readonly string[];
  #role: Client | undefined;

  constructor(cluster: SimCluster, index: number, coordinators: readonly string[]) {
    super(cluster, `10.0.2.${index + 1}`, `client-${index + 1}`, false);
    this.#coordinators = coordinators;
  }

  get isRunning(): boolean {
    return this.#role !== undefined;
  }

  /** The client, started when first asked for. */
  get role(): Client {
    if (this.#role === undefined) {
      this.#role = new Client({
        ...this.roleOptions(this.boot()),
        hashing: nodeHashing,
        compression: lz4Compression,
        coordinators: this.#coordinators,
      });
    }
    return this.#role;
  }

  async start(): Promise<void> {
    void this.role;
  }

  async stop(): Promise<void> {
    const role = this.#role;
    this.#role = undefined;
    await role?.close();
  }

  crash(kind: 'machine' | 'process' = 'machine'): void {
    this.#role = undefined;
    this.halt(kind);
  }

  /** All bytes of an object, in one piece. */
  async fetch(hash: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of this.role.get(hash)) parts.push(part);
    return concatBytes(...parts);
  }
}

/** The first 254 nodes share a network. */
function nodeIp(index: number): string {
  return index < 254 ? `10.0.1.${index + 1}` : `10.1.${index >>> 8}.${index & 255}`;
}

function nodeIdOf(index: number): Uint8Array {
  const nodeId = new Uint8Array(16).fill(index + 1);
  if (index >= 254) nodeId.set([index >>> 8, index & 255]);
  return nodeId;
}
