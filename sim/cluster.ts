/**
 * A whole cluster in one process under virtual time: coordinator, nodes and clients on machines of
 * a virtual network, all chance from one seed, all invariants watched. The roles, the driver and
 * the sessions are the production code; only sockets, clock, chance and disks are simulated.
 *
 * What clients do and which faults strike is `campaign.ts` or a test's own script.
 */

import { concatBytes, toHex } from '../src/base/bytes.ts';
import { type Micros, micros, seconds } from '../src/base/units.ts';
import { deriveClusterKeys, type Suite } from '../src/crypto/index.ts';
import { nodeSuite } from '../src/crypto/node-suite.ts';
import { Client } from '../src/nodes/client.ts';
import { Coordinator } from '../src/nodes/coordinator.ts';
import { StorageNode } from '../src/nodes/node.ts';
import type { Clock, Log, LogFields, Rights, Timer, Transport } from '../src/nodes/ports.ts';
import type { FrontSecret } from '../src/session/index.ts';
import { lz4Compression } from '../src/store/compression.ts';
import { nodeHashing } from '../src/store/hashing.ts';
import { UdpTransport } from '../src/udp/transport.ts';
import { PacketType } from '../src/wire/index.ts';
import {
  checkMemory,
  checkObjects,
  Invariant,
  NonceChecker,
  SessionChecker,
  StoreChecker,
  sampleMemory,
  type Violation,
  Violations,
} from './checkers.ts';
import { type LinkFaults, NO_FAULTS } from './faults.ts';
import { MemoryObjectStore } from './memory-object-store.ts';
import { MemoryStateStore } from './memory-state-store.ts';
import { Random } from './random.ts';
import { type ClockSkew, type HostClock, type RunResult, VirtualClock } from './virtual-clock.ts';
import { type Address, type VirtualHost, VirtualNetwork } from './virtual-network.ts';

// ---------------------------------------------------------------- the trace

/** Events that a failure shows. */
export const TRACE_LINES_SHOWN = 40;
/** Bytes at the start and at the end of a datagram that go into the hash: tags depend on all the rest. */
const HASHED_BYTES = 24;
const FNV_PRIME = 0x0100_0193;
const FNV_BASIS = 0x811c_9dc5;

/**
 * What happened in a run: a hash over everything that stood on the wire, by which two runs are
 * compared, and the last events in words, for whoever has to understand a failure.
 */
export class Trace {
  readonly #lines: string[] = [];
  readonly #now: () => Micros;
  readonly #print: ((line: string) => void) | undefined;
  #low = FNV_BASIS;
  #high = FNV_BASIS ^ 0x5a5a_5a5a;
  #next = 0;

  /** `print` sees every line, and datagrams too; without it only the last lines are kept. */
  constructor(now: () => Micros, print?: (line: string) => void) {
    this.#now = now;
    this.#print = print;
  }

  /** 16 hex digits over all that happened so far. */
  get hash(): string {
    return [this.#high, this.#low].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
  }

  /** The last events, oldest first. */
  get lines(): readonly string[] {
    return [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
  }

  say(who: string, what: string): void {
    for (let index = 0; index < what.length; index++) this.#mix(what.charCodeAt(index));
    const line = `${(this.#now() / 1000).toFixed(3).padStart(11)} ms  ${who.padEnd(12)} ${what}`;
    this.#print?.(line);
    this.#lines[this.#next] = line;
    this.#next = (this.#next + 1) % TRACE_LINES_SHOWN;
  }

  onDatagram(from: Address, to: Address, bytes: Uint8Array): void {
    this.#mix(this.#now() | 0);
    this.#mix((from.port << 16) | to.port);
    this.#mix(bytes.length);
    const head = Math.min(HASHED_BYTES, bytes.length);
    for (let index = 0; index < head; index++) this.#mix(bytes[index]!);
    for (let index = Math.max(head, bytes.length - HASHED_BYTES); index < bytes.length; index++) {
      this.#mix(bytes[index]!);
    }
    if (this.#print === undefined) return;
    const line = `${(this.#now() / 1000).toFixed(3).padStart(11)} ms  ${from.host}:${from.port} > ${to.host}:${to.port}`;
    this.#print(`${line}  ${packetNames(bytes)} ${bytes.length}`);
  }

  /** A log whose lines become part of the trace. */
  log(who: string, onError: (message: string, fields: LogFields) => void): Log {
    const line =
      (level: string) =>
      (message: string, fields: LogFields = {}): void => {
        const values = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
        this.say(who, [level, message, ...values].join(' '));
        if (level !== 'info') onError(message, fields);
      };
    return { info: line('info'), warn: line('warn'), error: line('error') };
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, FNV_PRIME);
    this.#high = Math.imul(this.#high ^ value ^ (this.#low >>> 15), 0x85eb_ca6b);
  }
}

const NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(PacketType).map(([name, type]) => [type, name]),
);

/** The types of the packets in a datagram, as far as their lengths say where they are. */
function packetNames(bytes: Uint8Array): string {
  const names: string[] = [];
  for (let at = 0; at + 4 <= bytes.length && names.length < 8; ) {
    names.push(NAMES[bytes[at]!] ?? '?');
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    if (length === 0) break;
    at += length;
  }
  return names.join('+');
}

// ---------------------------------------------------------------- the cluster

export const COORDINATOR_IP = '10.0.0.1';
export const COORDINATOR_ADDRESS: string = `${COORDINATOR_IP}:7400`;
const NODE_PORT = 7401;
const CLUSTER_ID = new Uint8Array(16).fill(0xc1);
const SECRET = new Uint8Array(32).fill(0x5e);
const ADMISSION_SECRET = new Uint8Array(32).fill(0xad);
const QUOTA_BYTES_DEFAULT = 8_000_000;
/** A disk flushes within this, and now and then it takes much longer. */
const FLUSH_MICROS_MAX = 4_000;
const SLOW_FLUSH_MICROS_MAX = 400_000;
const SLOW_FLUSH_CHANCE = 0.05;
/** Memory is sampled once in so many datagrams: about as often as something happens. */
const DATAGRAMS_PER_SAMPLE = 32;
/** Events of one drive: more is a storm in the code under test. */
const STEPS_MAX = 5_000_000;
/** How long {@link SimCluster.drive} waits for a promise unless told otherwise. */
const DRIVE_MICROS: Micros = seconds(300);
const ALL_RIGHTS: Rights = { read: true, write: true, node: true, admin: true };
/** Errors that only a mistake of ours throws: where one is caught and logged, the run fails. */
const OWN_BUGS = /AssertionError|TypeError|RangeError|ReferenceError|SyntaxError/;

/** Derived once: the secrets are the same in every run. */
const CLUSTER_KEYS = deriveClusterKeys(nodeSuite, SECRET);

export interface SimClusterOptions {
  readonly seed: number;
  /** Default 3. */
  readonly nodes?: number;
  /** Default 0: tests ask for theirs by {@link SimCluster.client}. */
  readonly clients?: number;
  readonly quotaBytes?: number | ((index: number) => number);
  /** What every link does from the start; default nothing but 50 us of delay. */
  readonly faults?: LinkFaults;
  /** Clock of each machine; default exact. */
  readonly skew?: (random: Random) => ClockSkew;
  readonly offload?: boolean;
  readonly idleMicros?: Micros;
  /** Whether the coordinator's disk takes time for a commit; default none. */
  readonly slowState?: boolean;
  /** What a replay of this run must be told beside the seed, each word behind a space; default nothing. */
  readonly replayOptions?: string;
  /** Sees every event and every datagram in words. */
  readonly print?: (line: string) => void;
}

/** Thrown when an invariant is broken. The message says which, where, and what happened before. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
  readonly invariant: Invariant;

  constructor(seed: number, { invariant, detail }: Violation, lines: readonly string[], replayOptions = '') {
    super(
      [
        `seed ${seed}: broken: ${invariant}: ${detail}`,
        ...lines.map((line) => `  ${line}`),
        `replay: npm run sim -- --seed ${seed}${replayOptions} --trace`,
      ].join('\n'),
    );
    this.invariant = invariant;
  }
}

/** A whole cluster in one process, under virtual time, from one seed. */
export class SimCluster {
  readonly seed: number;
  readonly random: Random;
  readonly clock = new VirtualClock();
  readonly network: VirtualNetwork;
  readonly trace: Trace;
  readonly violations = new Violations();
  readonly nonces: NonceChecker = new NonceChecker(this.violations);
  readonly sessions: SessionChecker = new SessionChecker(this.violations);
  readonly stores: StoreChecker = new StoreChecker(this.violations, this.sessions);
  readonly coordinator: SimCoordinator;
  readonly nodes: readonly SimNode[];
  readonly clients: SimClient[] = [];
  readonly options: SimClusterOptions;
  readonly suite: Suite;
  #datagrams = 0;

  constructor(options: SimClusterOptions) {
    this.options = options;
    this.seed = options.seed;
    this.random = new Random(options.seed);
    this.network = new VirtualNetwork(this.clock, this.random, options.faults ?? NO_FAULTS);
    this.trace = new Trace(() => this.clock.now(), options.print);
    this.suite = this.nonces.watch(nodeSuite);
    this.network.tap((from, to, bytes) => {
      this.trace.onDatagram(from, to, bytes);
      this.#datagrams += 1;
      if (this.#datagrams % DATAGRAMS_PER_SAMPLE === 0) this.sampleMemory();
    });
    this.coordinator = new SimCoordinator(this);
    this.nodes = Array.from({ length: options.nodes ?? 3 }, (_, index) => new SimNode(this, index));
    for (let index = 0; index < (options.clients ?? 0); index++) this.client();
  }

  /** Starts the coordinator and all nodes, and waits until these have joined. */
  async start(): Promise<void> {
    await this.coordinator.start();
    await Promise.all(this.nodes.map((node) => node.start()));
    await this.drive(this.joined());
  }

  /** Resolves when every node that runs has joined. */
  async joined(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.role?.joined));
  }

  /** One more client, on a machine of its own. */
  client(): SimClient {
    const client = new SimClient(this, this.clients.length);
    this.clients.push(client);
    return client;
  }

  get machines(): readonly SimMachine[] {
    return [this.coordinator, ...this.nodes, ...this.clients];
  }

  /**
   * Runs the clock until `work` settles, and settles in the same way.
   *
   * @throws InvariantError when an invariant breaks meanwhile, or `work` is not done in time.
   */
  async drive<T>(work: Promise<T>, spanMicros: Micros = DRIVE_MICROS): Promise<T> {
    let outcome: { value: T } | { error: unknown } | undefined;
    work.then(
      (value) => {
        outcome = { value };
      },
      (error: unknown) => {
        outcome = { error };
      },
    );
    await this.runUntil(() => outcome !== undefined, spanMicros, 'an operation of this scenario');
    if (outcome === undefined) throw new Error('unreachable');
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Runs the clock for `spanMicros`. */
  async pass(spanMicros: number): Promise<void> {
    await this.#run(() => false, spanMicros);
  }

  /** Runs the clock until `condition` holds; past `spanMicros` that breaks {@link Invariant.ALL_ENDS}. */
  async runUntil(condition: () => boolean, spanMicros: number, what: string): Promise<void> {
    const result = await this.#run(condition, spanMicros);
    if (result === 'done' || condition()) return;
    this.violations.report(
      Invariant.ALL_ENDS,
      `${what} did not end within ${spanMicros / 1e6} s (${result})`,
    );
    this.throwIfBroken();
  }

  throwIfBroken(): void {
    const { first } = this.violations;
    if (first !== undefined) {
      throw new InvariantError(this.seed, first, this.trace.lines, this.options.replayOptions);
    }
  }

  sampleMemory(): void {
    for (const machine of this.machines) {
      if (machine.transport === undefined) continue;
      checkMemory(this.violations, machine.name, sampleMemory(machine.transport, this.sessions));
    }
  }

  /** No object of any store is half there. */
  async checkStores(): Promise<void> {
    for (const node of this.nodes) {
      this.stores.check(node.store, node.name);
      if (node.role !== undefined) await checkObjects(this.violations, node.name, node.store);
    }
    this.throwIfBroken();
  }

  /** Closes everything in order, then demands that nothing is left: sessions, credit, sockets, timers. */
  async close(): Promise<void> {
    await this.drive(Promise.all(this.clients.map((client) => client.stop())));
    await this.drive(Promise.all(this.nodes.map((node) => node.stop())));
    await this.drive(this.coordinator.stop());
    const left = (name: string, what: string, count: number): void => {
      if (count === 0) return;
      this.violations.report(Invariant.MEMORY_BOUNDED, `${name}: ${count} ${what} left at the end`);
    };
    for (const { name, ip, process: running } of this.machines) {
      left(name, 'sockets', this.network.socketsAt(ip));
      if (running === undefined) continue;
      left(name, 'sessions', running.transport.connections.size);
      left(name, 'bytes of credit', running.transport.creditTakenBytes);
      left(name, 'timers', running.clock.pending);
    }
    this.throwIfBroken();
    // What is still in flight lands, and wakes nobody.
    await this.#run(() => false, seconds(30));
    left('the cluster', 'events', this.clock.pending);
    this.throwIfBroken();
  }

  async #run(condition: () => boolean, spanMicros: number): Promise<RunResult> {
    const onRejection = (error: unknown): void => this.onBug('a promise that nobody awaits', error);
    process.on('unhandledRejection', onRejection);
    try {
      return await this.clock.run({
        until: () => this.violations.first !== undefined || condition(),
        untilMicros: micros(this.clock.now() + spanMicros),
        stepsMax: STEPS_MAX,
      });
    } catch (error) {
      this.onBug('an event', error);
      throw error;
    } finally {
      process.off('unhandledRejection', onRejection);
      this.throwIfBroken();
    }
  }

  onBug(where: string, error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    this.violations.report(Invariant.NO_OWN_BUG, `${where}: ${text}`);
  }
}

// ---------------------------------------------------------------- machines

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
  #process: SimProcess | undefined;
  #starts = 0;

  constructor(cluster: SimCluster, ip: string, name: string) {
    this.cluster = cluster;
    this.ip = ip;
    this.name = name;
    this.#skew = cluster.options.skew?.(cluster.random.fork(`skew ${ip}`)) ?? {};
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
    const clock = new ProcessClock(cluster.clock.clockFor(ip, this.#skew));
    const entropy = cluster.random.fork(`entropy ${ip} ${this.#starts}`);
    const log = cluster.trace.log(this.name, (message, fields) => {
      if (OWN_BUGS.test(String(fields.reason))) cluster.onBug(`${this.name}: ${message}`, fields.reason);
    });
    const { idleMicros } = cluster.options;
    const transport = new UdpTransport({
      host,
      clock,
      entropy: { bytes: (count) => entropy.bytes(count), fraction: () => entropy.fraction() },
      suite: cluster.suite,
      secrets: secrets ?? [{ keys: CLUSTER_KEYS, rights: ALL_RIGHTS }],
      // The same instant, behind what is going on now: not a timer of the machine, which ticks.
      defer: (run) => {
        cluster.clock.schedule(0, () => {
          if (!clock.isStopped) run();
        });
      },
      resolve: async (name) => name,
      log,
      ...(idleMicros === undefined ? {} : { idleMicros }),
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

export class SimCoordinator extends SimMachine {
  state: MemoryStateStore;
  role: Coordinator | undefined;

  constructor(cluster: SimCluster) {
    super(cluster, COORDINATOR_IP, 'coordinator');
    if (cluster.options.slowState !== true) {
      this.state = new MemoryStateStore({ clusterId: CLUSTER_ID });
      return;
    }
    const random = cluster.random.fork('state disk');
    const drawDelay = (): Micros => {
      const isSlow = random.chance(SLOW_FLUSH_CHANCE);
      return micros(random.integer(isSlow ? SLOW_FLUSH_MICROS_MAX : FLUSH_MICROS_MAX));
    };
    const disk = { clock: cluster.clock, drawDelay };
    this.state = new MemoryStateStore({ clusterId: CLUSTER_ID, disk });
  }

  get isRunning(): boolean {
    return this.role !== undefined;
  }

  async start(): Promise<void> {
    this.cluster.trace.say(this.name, 'starts');
    this.role = await Coordinator.open({
      ...this.roleOptions(this.boot()),
      state: this.state,
      clusterId: CLUSTER_ID,
      admissionSecret: ADMISSION_SECRET,
      listen: COORDINATOR_ADDRESS,
    });
  }

  async stop(): Promise<void> {
    const { role } = this;
    this.role = undefined;
    await role?.close();
    await this.state.close();
  }

  crash(kind: 'machine' | 'process' = 'machine'): void {
    this.role = undefined;
    this.state.crash();
    this.halt(kind);
    this.state = this.state.reopen();
  }
}

export class SimNode extends SimMachine {
  readonly nodeId: Uint8Array;
  readonly address: string;
  store: MemoryObjectStore;
  role: StorageNode | undefined;

  constructor(cluster: SimCluster, index: number) {
    super(cluster, `10.0.1.${index + 1}`, `node-${index + 1}`);
    const { quotaBytes = QUOTA_BYTES_DEFAULT } = cluster.options;
    this.nodeId = new Uint8Array(16).fill(index + 1);
    this.address = `${this.ip}:${NODE_PORT}`;
    this.store = new MemoryObjectStore({
      nodeId: this.nodeId,
      quotaBytes: typeof quotaBytes === 'number' ? quotaBytes : quotaBytes(index),
      wallMillis: () => cluster.clock.wallMillis(),
    });
    cluster.stores.watch(this.store, this.name);
  }

  get isRunning(): boolean {
    return this.role !== undefined;
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
      coordinators: [COORDINATOR_ADDRESS],
      admissionSecret: options.admissionSecret ?? ADMISSION_SECRET,
      listen: this.address,
      name: this.name,
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
    this.store.crash();
    this.halt(kind);
    this.reopenStore();
  }

  /** After `stop`: the same disk again. */
  reopenStore(): void {
    this.store = this.store.reopen();
    this.cluster.stores.watch(this.store, this.name);
  }
}

export class SimClient extends SimMachine {
  #role: Client | undefined;

  constructor(cluster: SimCluster, index: number) {
    super(cluster, `10.0.2.${index + 1}`, `client-${index + 1}`);
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
        coordinators: [COORDINATOR_ADDRESS],
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

/** Bytes that differ from one call to the next, cheaply: `label` in front, then noise, or text that compresses. */
export function contentOf(random: Random, bytes: number, compressible = false): Uint8Array {
  const content = new Uint8Array(bytes);
  if (compressible) content.fill(0x61);
  else {
    const start = random.integer(NOISE.length);
    for (let at = 0; at < bytes; ) {
      const piece = NOISE.subarray((start + at) % NOISE.length).subarray(0, bytes - at);
      content.set(piece, at);
      at += piece.length;
    }
  }
  content.set(random.bytes(Math.min(bytes, 16)));
  return content;
}

const NOISE = new Random(1).bytes(524_288);

export function hashOf(bytes: Uint8Array): string {
  const digest = nodeHashing.sha256();
  digest.update(bytes);
  return toHex(digest.digest());
}
