/**
 * One seed, one run: a cluster, clients that work, faults that strike, then peace, in which all must
 * end and everything that was promised must be there.
 *
 * `pool.ts` runs many seeds, the tests some; a failure names its seed.
 */

import { collectMarks, type Mark } from '../src/base/marks.ts';
import { micros, seconds } from '../src/base/units.ts';
import { auditObjects, auditTotals } from './audit.ts';
import { Invariant } from './checkers.ts';
import { InvariantError, SimCluster, STEPS_MAX } from './cluster.ts';
import { drawKinds, type FaultKind, type PlannedFault, planFaults } from './fault-plan.ts';
import { NO_FAULTS } from './faults.ts';
import type { SimClient } from './machines.ts';
import { PromiseBook } from './promise-book.ts';
import { Random } from './random.ts';
import { unrepaired } from './repair-checker.ts';
import { MTU_BYTES, Strikes } from './strikes.ts';
import type { TraceObserver } from './trace.ts';
import { Workload } from './workload.ts';

export { FAULT_KINDS, type FaultKind } from './fault-plan.ts';

export interface SeedReport {
  readonly seed: number;
  /** The same for the same seed and the same code: over everything that stood on the wire. */
  readonly hash: string;
  readonly faults: readonly FaultKind[];
  /** Names of the faults that were planned. */
  readonly planned: readonly string[];
  readonly events: number;
  readonly datagrams: number;
  readonly virtualSeconds: number;
  /** How operations ended: `ok`, or the code of the error. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** Rare branches where the code under test has been. */
  readonly marks: ReadonlySet<Mark>;
}

/** What a run can be told beside its seed; a replay must be told the same. */
export interface RunOptions {
  /** Only these kinds of fault; default: the seed draws. */
  readonly faults?: readonly FaultKind[];
  /** Faults and operations that are left out, by name. */
  readonly without?: readonly string[];
  /** Removals and puts of one object meet, and the coordinator's disk takes time. */
  readonly contention?: boolean;
  /** What every link loses while there are faults, 0 to 1. */
  readonly lossProbability?: number;
  readonly coordinators?: number;
  readonly nodes?: number;
  readonly clients?: number;
  /** Virtual minutes of work; default: some seconds, which the seed draws. */
  readonly minutes?: number;
}

export interface SeedOptions extends RunOptions {
  /** Sees every event and datagram in words. */
  readonly print?: (line: string) => void;
  /** Sees events and the fate of every datagram. */
  readonly observer?: TraceObserver;
}

/** Faults strike within this span from the start of the work, in a short run. */
const FAULTS_SECONDS_MAX = 8;
/** Some short runs are longer: what was stored early is settled, leases lapse, and nodes come back to another cluster. */
const LONGER_CHANCE = 0.15;
const LONGER_SECONDS_MIN = 70;
const LONGER_SECONDS_MAX = 130;
/** Faults of a longer run are as many as those of so many short ones. */
const LONGER_PLANS = 2;
/** Longer than commits and the coordinator's sweep take, once nobody asks for anything. */
const QUIET_MICROS = seconds(3);
/** After the faults have healed, every operation of a client settles within this. */
const HEALED_MICROS_MAX = seconds(200);
/** Then all nodes are joined, and no machine is paused, within this. */
const JOINED_MICROS_MAX = seconds(90);
/** Then all that was promised is fetched within this, and this much more for each object. */
const AUDIT_MICROS_MAX = seconds(120);
const AUDIT_OBJECT_MICROS_MAX = seconds(2);
/** Repair is waited for where its delay is not longer than this, looked at so often, and for so long at most. */
const REPAIR_WAITED_FOR_MICROS_MAX = seconds(10);
const REPAIR_LOOK_MICROS = seconds(1);
const REPAIRED_MICROS_MAX = seconds(200);
const REPAIR_DELAYS_MILLIS = [500, 2_000, 8_000] as const;
/** So many runs have the delay of production, where no node is lost. */
const REPAIR_LATE_CHANCE = 0.3;
/** Leases of forgotten reservations have lapsed after this. */
const LEASES_MICROS = seconds(32);
/** In some runs work begins when the coordinator does not take what it does not know for forgotten any more. */
const OLD_MICROS = [seconds(31), seconds(61)] as const;
const OLD_CHANCE = 0.3;
/** In so many runs removals and puts of one object meet. */
const CONTENTION_CHANCE = 0.25;
/** So many seeds have two or three coordinators. */
const SEVERAL_CHANCE = 0.4;
/** In so many runs the cluster is being upgraded. */
const MIXED_VERSIONS_CHANCE = 0.15;
const QUOTA_BYTES = 8_000_000;
/** Linux's default buffer, and a process that is busy. */
const SMALL_BUFFERS = { bufferBytes: 212_992, bytesPerSecond: 100_000_000, datagramBytes: 500 };
/** Sessions that a front port has room for beyond those that are needed, where there are few. */
const SPARE_SESSIONS = 1;

/**
 * Runs one seed.
 *
 * @throws InvariantError with the seed, the invariant, the last events and how to replay it.
 */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedReport> {
  const marks = new Set<Mark>();
  const campaign = new Campaign(seed, options, marks);
  collectMarks((mark) => marks.add(mark));
  try {
    return await campaign.run();
  } catch (error) {
    if (error instanceof InvariantError) error.operations = campaign.operations;
    throw error;
  } finally {
    collectMarks(undefined);
  }
}

/** What a seed plans, without running it. */
export interface SeedPlan {
  readonly kinds: readonly FaultKind[];
  readonly planned: readonly PlannedFault[];
  /** From the start of the work to the end of the faults. */
  readonly workMicros: number;
  /** Whether clients go on until the faults end, instead of a few operations each. */
  readonly goesOn: boolean;
}

/** The faults that `runSeed` would have strike. */
export function planOf(seed: number, options: RunOptions): SeedPlan {
  const random = new Random(seed).fork('campaign');
  const { minutes } = options;
  const kinds = options.faults ?? drawKinds(random.fork('kinds'));
  const span = random.fork('span');
  const isLonger = span.chance(LONGER_CHANCE);
  const drawnMicros = isLonger
    ? seconds(LONGER_SECONDS_MIN) + span.integer(seconds(LONGER_SECONDS_MAX - LONGER_SECONDS_MIN))
    : seconds(1) + span.integer(seconds(FAULTS_SECONDS_MAX));
  const workMicros = minutes === undefined ? drawnMicros : Math.round(minutes * 60_000_000);
  const drawnPlans = isLonger ? LONGER_PLANS : 1;
  const plans = minutes === undefined ? drawnPlans : Math.ceil(minutes);
  const planned = planFaults(random.fork('plan'), kinds, workMicros, plans);
  return { kinds, planned, workMicros, goesOn: isLonger || minutes !== undefined };
}

class Campaign {
  readonly #seed: number;
  readonly #random: Random;
  readonly #cluster: SimCluster;
  readonly #kinds: readonly FaultKind[];
  readonly #planned: readonly PlannedFault[];
  readonly #promises = new PromiseBook();
  readonly #strikes: Strikes;
  readonly #workload: Workload;
  readonly #marks: ReadonlySet<Mark>;
  readonly #without: ReadonlySet<string>;
  /** From the start of the work to the end of the faults. */
  readonly #workMicros: number;

  constructor(seed: number, options: SeedOptions, marks: ReadonlySet<Mark>) {
    this.#seed = seed;
    this.#marks = marks;
    this.#without = new Set(options.without);
    this.#random = new Random(seed).fork('campaign');
    const { lossProbability = 0 } = options;
    const random = this.#random.fork('shape');
    const plan = planOf(seed, options);
    ({ kinds: this.#kinds, planned: this.#planned, workMicros: this.#workMicros } = plan);
    this.#cluster = this.#newCluster(options, random);
    this.#strikes = new Strikes({
      cluster: this.#cluster,
      random: this.#random.fork('strikes'),
      kinds: this.#kinds,
      lossProbability,
      promises: this.#promises,
      goesOn: plan.goesOn,
      onClientDied: (client) => this.#workload.forget(client as SimClient),
    });
    this.#workload = new Workload({
      cluster: this.#cluster,
      random: this.#random.fork('work'),
      promises: this.#promises,
      damaged: this.#strikes.damaged,
      without: this.#without,
      contends: options.contention === true || this.#random.fork('contention').chance(CONTENTION_CHANCE),
      spanMicros: plan.goesOn ? this.#workMicros : undefined,
    });
  }

  #newCluster(options: SeedOptions, random: Random): SimCluster {
    const drawn = { nodes: 1 + random.integer(4), clients: 1 + random.integer(3) };
    const { nodes = drawn.nodes, clients = drawn.clients, lossProbability = 0 } = options;
    const several = this.#random.fork('coordinators');
    const drawnCoordinators = several.chance(SEVERAL_CHANCE) ? 2 + several.integer(2) : 1;
    const { coordinators = drawnCoordinators } = options;
    const repair = this.#random.fork('repair');
    const isLate = !this.#kinds.includes('node-loss') && repair.chance(REPAIR_LATE_CHANCE);
    const repairDelayMillis = isLate ? undefined : repair.pick(REPAIR_DELAYS_MILLIS);
    const hasSmallQuota = this.#kinds.includes('small-quota');
    const quotas = this.#random.fork('quotas');
    const keySealingsMax = random.chance(0.3) ? 4 + random.integer(random.pick([30, 200])) : undefined;
    const sessionsMax = random.chance(0.2) ? nodes + clients + SPARE_SESSIONS : undefined;
    const hasSmallBuffers = random.chance(0.2);
    const cluster = new SimCluster({
      seed: this.#seed,
      coordinators,
      nodes,
      clients,
      // Chance of its own: without small quotas all else is as it was.
      quotaBytes: () => (hasSmallQuota ? 100_000 + quotas.integer(900_000) : QUOTA_BYTES),
      skew: (own) => ({
        skewMicros: own.integer(500_000),
        driftPpm: own.integer(200) - 100,
        granularityMicros: own.pick([1, 1_000]),
      }),
      offload: random.chance(0.3),
      slowState: random.chance(0.4) || options.contention === true,
      slowDisks: random.chance(0.4),
      mixesVersions: this.#random.fork('versions').chance(MIXED_VERSIONS_CHANCE),
      idleMicros: random.pick([seconds(3), seconds(10)]),
      faults: {
        ...NO_FAULTS,
        delayMicros: 20 + random.integer(1_000),
        mtuBytes: random.pick(MTU_BYTES),
        lossProbability,
      },
      replayOptions: replayOptionsOf(options),
      stepsMax: STEPS_MAX * Math.max(1, Math.ceil(options.minutes ?? 1)),
      ...(keySealingsMax === undefined ? {} : { keySealingsMax }),
      ...(repairDelayMillis === undefined ? {} : { repairDelayMillis }),
      ...(sessionsMax === undefined ? {} : { sessionsMax }),
      ...(options.print === undefined ? {} : { print: options.print }),
      ...(options.observer === undefined ? {} : { observer: options.observer }),
    });
    if (hasSmallBuffers)
      for (const { ip } of cluster.machines) cluster.network.setReceiveLimits(ip, SMALL_BUFFERS);
    return cluster;
  }

  /** Names of the operations that have begun. */
  get operations(): readonly string[] {
    return this.#workload.operations;
  }

  async run(): Promise<SeedReport> {
    const cluster = this.#cluster;
    const { trace, commits } = cluster;
    trace.say('campaign', `seed ${this.#seed}, faults: ${this.#kinds.join(', ') || 'none'}`);
    await cluster.start();
    const age = this.#random.fork('age');
    if (age.chance(OLD_CHANCE)) await cluster.pass(age.pick(OLD_MICROS));
    this.#strikes.schedule(this.#planned, this.#without, this.#workMicros);
    for (const client of cluster.clients) this.#workload.start(client);
    await cluster.runUntil(() => this.#strikes.isHealed, this.#workMicros + 1, 'the faults');
    await cluster.runUntil(() => this.#workload.allSettled, HEALED_MICROS_MAX, 'an operation of a client');
    const isWell = (): boolean =>
      cluster.leader !== undefined &&
      cluster.nodes.every((node) => node.isLost || node.role?.isJoined === true) &&
      cluster.machines.every((machine) => !machine.isPaused);
    await cluster.runUntil(isWell, JOINED_MICROS_MAX, 'joining');
    await this.#checkRepair();
    const promises = this.#promises;
    const { damaged } = this.#strikes;
    const { removed } = this.#workload;
    const auditMicros = AUDIT_MICROS_MAX + promises.known.length * AUDIT_OBJECT_MICROS_MAX;
    await cluster.drive(auditObjects({ cluster, promises, damaged, removed }), micros(auditMicros));
    // A commit whose caller gave up may still be on its way; totals after one that failed are mended by a sweep.
    await cluster.pass(QUIET_MICROS);
    await cluster.drive(auditTotals(cluster));
    await cluster.checkStores();
    commits.check(cluster.truth);
    this.#workload.tenures.check();
    cluster.throwIfBroken();
    await this.#checkLeases();
    await cluster.close();
    return {
      seed: this.#seed,
      hash: trace.hash,
      faults: this.#kinds,
      planned: this.#planned.map(({ id }) => id),
      events: cluster.clock.steps,
      datagrams: cluster.network.statistics.sent,
      virtualSeconds: cluster.clock.now() / 1e6,
      outcomes: this.#workload.outcomes,
      marks: this.#marks,
    };
  }

  /** All that can be repaired is, where that need not be waited for too long. */
  async #checkRepair(): Promise<void> {
    const { violations, options } = this.#cluster;
    const delayMicros = (options.repairDelayMillis ?? Number.POSITIVE_INFINITY) * 1_000;
    if (delayMicros > REPAIR_WAITED_FOR_MICROS_MAX) return;
    const { damaged } = this.#strikes;
    for (let waited = 0; ; waited += REPAIR_LOOK_MICROS) {
      await this.#cluster.pass(REPAIR_LOOK_MICROS);
      const [first] = unrepaired(this.#cluster, damaged);
      if (first === undefined) return;
      if (waited < REPAIRED_MICROS_MAX) continue;
      violations.report(Invariant.REPLICATED, first);
      this.#cluster.throwIfBroken();
    }
  }

  /** Reservations of puts that failed lapse: no space stays promised to nobody. */
  async #checkLeases(): Promise<void> {
    const { coordinators, clients, violations } = this.#cluster;
    const reservations = (): number =>
      coordinators.reduce((sum, { role }) => sum + (role?.reservations ?? 0), 0);
    if (reservations() === 0) return;
    await this.#cluster.drive(Promise.all(clients.map((client) => client.stop())));
    await this.#cluster.pass(LEASES_MICROS);
    if (reservations() === 0) return;
    violations.report(Invariant.ALL_ENDS, `${reservations()} reservations outlive their leases`);
    this.#cluster.throwIfBroken();
  }
}

/** What `gramline sim` must be told beside the seed, so that it runs the same again; each word behind a space. */
export function replayOptionsOf(options: RunOptions): string {
  const { faults, without, contention, lossProbability, coordinators, nodes, clients, minutes } = options;
  const words = [
    contention === true ? '--contention' : '',
    lossProbability === undefined ? '' : `--loss ${Number((lossProbability * 100).toPrecision(12))}%`,
    coordinators === undefined ? '' : `--coordinators ${coordinators}`,
    nodes === undefined ? '' : `--nodes ${nodes}`,
    clients === undefined ? '' : `--clients ${clients}`,
    minutes === undefined ? '' : `--minutes ${minutes}`,
    faults === undefined ? '' : `--faults ${faults.join(',') || 'none'}`,
    without === undefined || without.length === 0 ? '' : `--without ${without.join(',')}`,
  ];
  return words
    .filter((word) => word !== '')
    .map((word) => ` ${word}`)
    .join('');
}
