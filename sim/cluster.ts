/**
 * A whole cluster in one process under virtual time: coordinator, nodes and clients on machines of
 * a virtual network, all chance from one seed, all invariants watched. The roles, the driver and
 * the sessions are the production code; only sockets, clock, chance and disks are simulated.
 *
 * What clients do and which faults strike is `campaign.ts` or a test's own script.
 */

import { type Micros, micros, seconds } from '../src/base/units.ts';
import { bestSuite } from '../src/crypto/best-suite.ts';
import type { Suite } from '../src/crypto/index.ts';
import type { StateStore } from '../src/nodes/ports.ts';
import { CapacityChecker } from './capacity-checker.ts';
import {
  checkMemory,
  checkObjects,
  Invariant,
  NonceChecker,
  SessionChecker,
  sampleMemory,
  type Violation,
  Violations,
} from './checkers.ts';
import { CommitChecker } from './commit-checker.ts';
import { type LinkFaults, NO_FAULTS } from './faults.ts';
import type { LeaseChecker } from './lease-checker.ts';
import { CLUSTER_ID, SimClient, SimCoordinator, type SimMachine, SimNode } from './machines.ts';
import { OnceChecker } from './once-checker.ts';
import { Random } from './random.ts';
import { SharedStateEngine } from './shared-state.ts';
import { Trace, type TraceObserver } from './trace.ts';
import { type ClockSkew, type RunResult, VirtualClock } from './virtual-clock.ts';
import { VirtualNetwork } from './virtual-network.ts';

export { contentOf, hashOf } from './content.ts';
export { COORDINATOR_ADDRESS, COORDINATOR_IP, SimClient, type SimMachine, SimNode } from './machines.ts';

/** Memory is sampled once in so many datagrams, or sessions if they are more: about as often as something happens. */
const DATAGRAMS_PER_SAMPLE = 32;
/** Events of one drive: more is a storm in the code under test. */
export const STEPS_MAX = 5_000_000;
/** How long {@link SimCluster.drive} waits for a promise unless told otherwise. */
const DRIVE_MICROS: Micros = seconds(300);
/** Longer than any machine stands still: what one holds that crashed meanwhile stays in the queue so long. */
const AT_REST_MICROS: Micros = seconds(45);

export interface SimClusterOptions {
  readonly seed: number;
  /** Default 1, with a state of its own; more share one. */
  readonly coordinators?: number;
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
  /** Whether flushes of the coordinator's disk take time; default none. */
  readonly slowState?: boolean;
  /** Whether flushes of the nodes' disks take time; default none. */
  readonly slowDisks?: boolean;
  /** How long replicas count whose node went; default as in production. */
  readonly repairDelayMillis?: number;
  /** Default as in production. */
  readonly repairBytesPerSecond?: number;
  /** Whether some machines speak the next version of the wire, too. */
  readonly mixesVersions?: boolean;
  /** Keys are updated after so many sealings; default as in production. */
  readonly keySealingsMax?: number;
  /** Events of one drive at most; default {@link STEPS_MAX}. */
  readonly stepsMax?: number;
  /** Sessions that a front port keeps open; default as in production. */
  readonly sessionsMax?: number;
  /** What a replay of this run must be told beside the seed, each word behind a space; default nothing. */
  readonly replayOptions?: string;
  /** Sees every event and every datagram in words. */
  readonly print?: (line: string) => void;
  /** Sees events, the fate of every datagram, and what its session measures. */
  readonly observer?: TraceObserver;
}

/** Thrown when an invariant is broken. The message says which, where, and what happened before. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
  readonly invariant: Invariant;
  /** The first line of the message: seed, invariant, and what was found. */
  readonly summary: string;
  /** The last events, oldest first. */
  readonly lines: readonly string[];
  /** The command that replays the run. */
  readonly replay: string;
  /** Names of the operations that had begun; the campaign fills them in. */
  operations: readonly string[] = [];

  constructor(seed: number, { invariant, detail }: Violation, lines: readonly string[], replayOptions = '') {
    const summary = `seed ${seed}: broken: ${invariant}: ${detail}`;
    const replay = `npm run sim -- --seed ${seed}${replayOptions} --trace -`;
    super([summary, ...lines.map((line) => `  ${line}`), `replay: ${replay}`].join('\n'));
    this.invariant = invariant;
    this.summary = summary;
    this.lines = lines;
    this.replay = replay;
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
  readonly stores: CapacityChecker = new CapacityChecker(this.violations, this.sessions);
  readonly commits: CommitChecker = new CommitChecker(this.violations);
  /** The shared state, where there are several coordinators. */
  readonly engine: SharedStateEngine | undefined;
  readonly coordinators: readonly SimCoordinator[];
  readonly nodes: readonly SimNode[];
  readonly clients: SimClient[] = [];
  readonly options: SimClusterOptions;
  readonly suite: Suite;
  #datagramsToSample = DATAGRAMS_PER_SAMPLE;

  constructor(options: SimClusterOptions) {
    this.options = options;
    this.seed = options.seed;
    this.random = new Random(options.seed);
    this.network = new VirtualNetwork(this.clock, this.random, options.faults ?? NO_FAULTS);
    const { print, observer } = options;
    this.trace = new Trace(() => this.clock.now(), print, observer);
    if (observer !== undefined) this.#showTo(observer);
    this.suite = this.nonces.watch(bestSuite());
    this.network.tap((from, to, bytes) => {
      this.trace.onDatagram(from, to, bytes);
      this.#datagramsToSample -= 1;
      if (this.#datagramsToSample > 0) return;
      const sessions = this.sampleMemory();
      this.#datagramsToSample = Math.max(DATAGRAMS_PER_SAMPLE, sessions);
    });
    const coordinators = options.coordinators ?? 1;
    if (coordinators > 1) {
      this.engine = new SharedStateEngine(CLUSTER_ID, this.clock, this.random.fork('engine'));
      const once = new OnceChecker(this.violations);
      this.engine.onChange = (change) => once.onChange(change);
    }
    this.coordinators = Array.from({ length: coordinators }, (_, index) => new SimCoordinator(this, index));
    this.nodes = Array.from({ length: options.nodes ?? 3 }, (_, index) => new SimNode(this, index));
    for (let index = 0; index < (options.clients ?? 0); index++) this.client();
  }

  #showTo(observer: TraceObserver): void {
    this.network.observe((fate, from, to, bytes, reason) => {
      const now = this.clock.now();
      observer.onDatagram(now, fate, from, to, bytes, reason);
      if (fate !== 'sent') return;
      const connections = this.machines.find(({ ip }) => ip === from.host)?.transport?.connections ?? [];
      for (const { peerHost, peerPort, session } of connections) {
        if (peerHost === to.host && peerPort === to.port) observer.onSession(now, from, to, session);
      }
    });
  }

  /** Starts the coordinator and all nodes, and waits until these have joined. */
  async start(): Promise<void> {
    for (const coordinator of this.coordinators) await this.drive(coordinator.start());
    await Promise.all(this.nodes.map((node) => node.start()));
    await this.drive(this.joined());
  }

  /** Resolves when every node that runs has joined. */
  async joined(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.role?.joined));
  }

  /** One more client, on a machine of its own; it knows these coordinators, or all. */
  client(coordinators: readonly string[] = this.coordinatorAddresses): SimClient {
    const client = new SimClient(this, this.clients.length, coordinators);
    this.clients.push(client);
    return client;
  }

  /** The first coordinator: the only one, unless more were asked for. */
  get coordinator(): SimCoordinator {
    return this.coordinators[0]!;
  }

  /** The coordinator that leads, as it sees it itself. */
  get leader(): SimCoordinator | undefined {
    return this.coordinators.find(({ role }) => role?.isLeading === true);
  }

  get coordinatorAddresses(): readonly string[] {
    return this.coordinators.map(({ address }) => address);
  }

  /** What the lone coordinator promises, by a second ledger. */
  get leases(): LeaseChecker {
    return this.coordinator.leases;
  }

  /** What is durable, wherever it is kept. */
  get truth(): Pick<StateStore, 'get' | 'range' | 'revision'> {
    return this.engine?.truth ?? this.coordinator.state;
  }

  get machines(): readonly SimMachine[] {
    return [...this.coordinators, ...this.nodes, ...this.clients];
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

  /** Holds what all machines have in memory against the limits; the number of sessions that it looked at. */
  sampleMemory(): number {
    let sessions = 0;
    for (const { name, transport } of this.machines) {
      if (transport === undefined) continue;
      checkMemory(this.violations, name, sampleMemory(transport, this.sessions));
      sessions += transport.connections.size;
    }
    return sessions;
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
    for (const coordinator of this.coordinators) await this.drive(coordinator.stop());
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
    await this.#run(() => false, AT_REST_MICROS);
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
        stepsMax: this.options.stepsMax ?? STEPS_MAX,
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
