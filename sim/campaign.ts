/**
 * One seed, one run: a cluster, clients that work, faults that strike, then peace, in which all must
 * end and everything that was promised must be there.
 *
 * Swarm style: each seed draws which kinds of fault it uses at all, so that seeds try faults alone
 * and in all mixtures. `main.ts` runs many seeds, the tests some; a failure names its seed.
 */

import { isGramlineError } from '../src/base/errors.ts';
import { seconds } from '../src/base/units.ts';
import { checkTotals, Invariant } from './checkers.ts';
import { contentOf, hashOf, type SimClient, SimCluster, type SimMachine, type SimNode } from './cluster.ts';
import { drawFaults, type LinkFaults, NO_FAULTS } from './faults.ts';
import { PromiseBook } from './promise-book.ts';
import type { Random } from './random.ts';

/** The kinds of fault of which a seed enables some. */
export const FAULT_KINDS = [
  'weather',
  'damage',
  'cuts',
  'node-crash',
  'coordinator-crash',
  'client-crash',
  'disk-full',
  'state-full',
  'corruption',
  'small-quota',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface SeedReport {
  readonly seed: number;
  /** The same for the same seed and the same code: over everything that stood on the wire. */
  readonly hash: string;
  readonly faults: readonly FaultKind[];
  readonly events: number;
  readonly datagrams: number;
  readonly virtualSeconds: number;
  /** How operations ended: `ok`, or the code of the error. */
  readonly outcomes: ReadonlyMap<string, number>;
}

export interface SeedOptions {
  /** Sees every event and datagram in words. */
  readonly print?: (line: string) => void;
  /** Only these kinds of fault, where a test wants to narrow a failure down. */
  readonly faults?: readonly FaultKind[];
  /** Removals and puts of one object meet, and the coordinator's disk takes time. */
  readonly contention?: boolean;
}

/** Each kind of fault is on with this chance. */
const FAULT_CHANCE = 0.4;
/** Faults strike within this span from the start of the work. */
const FAULTS_SECONDS_MAX = 8;
/** Longer than commits and the coordinator's sweep take, once nobody asks for anything. */
const QUIET_MICROS = seconds(3);
/** After the faults have healed, every operation of a client settles within this. */
const HEALED_MICROS_MAX = seconds(150);
/** Then all nodes are joined within this. */
const JOINED_MICROS_MAX = seconds(40);
/** Then all that was promised is fetched within this. */
const AUDIT_MICROS_MAX = seconds(120);
/** Leases of forgotten reservations have lapsed after this. */
const LEASES_MICROS = seconds(32);
const OBJECT_BYTES_MAX = 300_000;
const RECORD_BYTES = 65_536;
/** Puts and removals of one object that are to meet begin within this. */
const CONTEND_MICROS_MAX = 30_000;
const AUDIT_TRIES_MAX = 20;

/**
 * Runs one seed.
 *
 * @throws InvariantError with the seed, the invariant, the last events and how to replay it.
 */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedReport> {
  return new Campaign(seed, options).run();
}

class Campaign {
  readonly #seed: number;
  readonly #random: Random;
  readonly #cluster: SimCluster;
  readonly #faults: readonly FaultKind[];
  readonly #promises = new PromiseBook();
  readonly #outcomes = new Map<string, number>();
  /** Operations that have not settled, by the client that waits for them. */
  readonly #running = new Map<SimClient, Set<string>>();
  readonly #damaged = new Set<string>();
  /** Objects that clients asked to remove. */
  readonly #removed = new Set<string>();
  readonly #contends: boolean;
  #operations = 0;
  #isHealed = false;

  constructor(seed: number, options: SeedOptions) {
    this.#seed = seed;
    this.#contends = options.contention === true;
    const probe = new SimCluster({ seed, nodes: 0 });
    this.#random = probe.random.fork('campaign');
    const random = this.#random;
    this.#faults = options.faults ?? FAULT_KINDS.filter(() => random.chance(FAULT_CHANCE));
    const smallQuota = this.#has('small-quota');
    this.#cluster = new SimCluster({
      seed,
      nodes: 1 + random.integer(4),
      clients: 1 + random.integer(3),
      quotaBytes: () => (smallQuota ? 100_000 + random.integer(900_000) : 8_000_000),
      skew: (own) => ({
        skewMicros: own.integer(500_000),
        driftPpm: own.integer(200) - 100,
        granularityMicros: own.pick([1, 1_000]),
      }),
      offload: random.chance(0.3),
      slowState: this.#contends,
      idleMicros: random.pick([seconds(3), seconds(10)]),
      faults: { ...NO_FAULTS, delayMicros: 20 + random.integer(1_000), mtuBytes: random.pick(MTU_BYTES) },
      replayOptions: replayOptionsOf(options),
      ...(options.print === undefined ? {} : { print: options.print }),
    });
  }

  async run(): Promise<SeedReport> {
    const cluster = this.#cluster;
    await cluster.start();
    const endMicros = seconds(1) + this.#random.integer(FAULTS_SECONDS_MAX * 1_000_000);
    this.#scheduleFaults(endMicros);
    for (const client of cluster.clients) this.#work(client, this.#random.fork(client.name));
    await cluster.runUntil(() => this.#isHealed, endMicros + 1, 'the faults');
    await cluster.runUntil(() => this.#allSettled, HEALED_MICROS_MAX, 'an operation of a client');
    const allJoined = (): boolean => cluster.nodes.every((node) => node.role?.isJoined === true);
    await cluster.runUntil(allJoined, JOINED_MICROS_MAX, 'joining');
    await cluster.drive(this.#audit(), AUDIT_MICROS_MAX);
    // A commit whose caller gave up may still be on its way; totals after one that failed are mended by a sweep.
    await cluster.pass(QUIET_MICROS);
    await cluster.drive(this.#checkTotals());
    await cluster.checkStores();
    await this.#checkLeases();
    await cluster.close();
    return {
      seed: this.#seed,
      hash: cluster.trace.hash,
      faults: this.#faults,
      events: cluster.clock.steps,
      datagrams: cluster.network.statistics.sent,
      virtualSeconds: cluster.clock.now() / 1e6,
      outcomes: this.#outcomes,
    };
  }

  #has(kind: FaultKind): boolean {
    return this.#faults.includes(kind);
  }

  get #allSettled(): boolean {
    for (const running of this.#running.values()) if (running.size > 0) return false;
    return true;
  }

  // ---------------------------------------------------------------- faults

  #scheduleFaults(endMicros: number): void {
    const { clock, nodes, coordinator, clients } = this.#cluster;
    const random = this.#random.fork('faults');
    const at = (run: () => void): void => {
      clock.schedule(random.integer(endMicros), () => {
        if (!this.#isHealed) run();
      });
    };
    const times = (most: number, run: () => void): void => {
      for (let count = 1 + random.integer(most); count > 0; count--) at(run);
    };
    const later = (run: () => void): void => {
      clock.schedule(random.integer(4_000_000), () => {
        if (!this.#isHealed) run();
      });
    };
    if (this.#has('weather') || this.#has('damage')) {
      const change = (): void => this.#setWeather(random);
      if (random.chance(0.5)) change();
      times(3, change);
    }
    if (this.#has('cuts')) {
      const { network } = this.#cluster;
      times(3, () => {
        const machines = this.#cluster.machines;
        const [from, to] = [random.pick(machines), random.pick(machines)];
        this.#cluster.trace.say('network', `cut ${from.ip} > ${to.ip}`);
        network.cut(from.ip, to.ip);
        later(() => network.heal());
      });
    }
    if (this.#has('node-crash')) times(3, () => this.#crash(random, random.pick(nodes), later));
    if (this.#has('coordinator-crash')) times(2, () => this.#crash(random, coordinator, later));
    if (this.#has('client-crash') && clients.length > 1) {
      at(() => {
        const client = random.pick(clients.slice(1));
        if (!client.isRunning) return;
        client.crash(random.pick(['machine', 'process']));
        // Nobody waits for what a dead client had asked for.
        this.#running.delete(client);
      });
    }
    if (this.#has('disk-full')) {
      times(2, () => {
        const node = random.pick(nodes);
        this.#cluster.trace.say(node.name, 'disk full');
        node.store.fail(true);
        later(() => node.store.fail(false));
      });
    }
    if (this.#has('state-full')) {
      at(() => {
        this.#cluster.trace.say(coordinator.name, 'disk full');
        coordinator.state.fail(true);
        later(() => coordinator.state.fail(false));
      });
    }
    if (this.#has('corruption')) times(3, () => this.#corrupt(random));
    clock.schedule(endMicros, () => this.#heal());
  }

  #setWeather(random: Random): void {
    const { network, trace, machines } = this.#cluster;
    const damage = this.#has('damage') ? {} : { bitFlipMax: 0, truncateMax: 0 };
    const loss = this.#has('weather') ? {} : { lossMax: 0, duplicateMax: 0, reorderMax: 0 };
    const faults = drawFaults(random, { ...damage, ...loss });
    trace.say('network', `faults ${describeFaults(faults)}`);
    if (random.chance(0.5)) network.setFaults(faults);
    else network.setFaults(faults, random.pick(machines).ip);
  }

  #crash(random: Random, machine: SimMachine, later: (run: () => void) => void): void {
    if (!machine.isRunning) return;
    machine.crash(random.pick(['machine', 'process']));
    later(() => this.#restart(machine));
  }

  #restart(machine: SimMachine): void {
    if (machine.isRunning) return;
    machine.start().catch((error: unknown) => this.#cluster.onBug(`starting ${machine.name}`, error));
  }

  /** Damages one copy of an object of which another node holds one that counts, once per object. */
  #corrupt(random: Random): void {
    const { coordinator, nodes, trace } = this.#cluster;
    const holders = (hash: string): SimNode[] => {
      const places = coordinator.role?.whereIs(new Uint8Array(Buffer.from(hash, 'hex')));
      const addresses = places?.locations.map((location) => location.address) ?? [];
      return nodes.filter((node) => addresses.includes(node.address) && node.holds(hash));
    };
    const candidates = this.#promises.known.filter((hash) => {
      return !this.#damaged.has(hash) && this.#promises.mustBeReadable(hash) && holders(hash).length > 1;
    });
    if (candidates.length === 0) return;
    const hash = random.pick(candidates);
    const node = random.pick(holders(hash));
    trace.say(node.name, `copy of ${hash.slice(0, 12)} is damaged`);
    const bytes = this.#promises.bytesOf(hash)!.length;
    node.store.corrupt(new Uint8Array(Buffer.from(hash, 'hex')), random.integer(Math.max(1, bytes)));
    this.#damaged.add(hash);
  }

  #heal(): void {
    const { network, trace, nodes, coordinator } = this.#cluster;
    trace.say('network', 'all faults heal');
    this.#isHealed = true;
    network.heal();
    network.setFaults({ ...NO_FAULTS, mtuBytes: this.#random.pick(MTU_BYTES) });
    coordinator.state.fail(false);
    for (const node of nodes) node.store.fail(false);
    for (const machine of [coordinator, ...nodes]) this.#restart(machine);
  }

  // ---------------------------------------------------------------- work

  /** What one client does: operations one after another, some at once. */
  #work(client: SimClient, random: Random): void {
    const { clock } = this.#cluster;
    const lanes = 1 + random.integer(3);
    for (let lane = 0; lane < lanes; lane++) {
      const own = random.fork(`lane ${lane}`);
      const script = async (): Promise<void> => {
        for (let left = 1 + own.integer(4); left > 0; left--) {
          await clock.sleep(own.integer(1_500_000));
          await this.#operate(client, own);
        }
      };
      const running = this.#running.get(client) ?? new Set();
      this.#running.set(client, running);
      const name = `script ${lane}`;
      running.add(name);
      void script().then(() => running.delete(name));
    }
  }

  async #operate(client: SimClient, random: Random): Promise<void> {
    if (!this.#running.has(client)) return;
    const { known } = this.#promises;
    const draw = random.fraction();
    if (draw < 0.5 || known.length === 0) return this.#put(client, random);
    // Mostly what is there: a get of what nobody put says little.
    const there = known.filter((hash) => this.#promises.mustBeReadable(hash));
    const hash = random.pick(there.length > 0 && random.chance(0.8) ? there : known);
    if (draw < 0.75) return this.#get(client, random, hash);
    if (draw < 0.81) return this.#remove(client, hash);
    if (draw < 0.84 && this.#contends) return this.#contend(random, hash);
    if (draw < 0.87) {
      return this.#attempt(
        client,
        `whereIs ${hash.slice(0, 12)}`,
        async () => void (await client.role.whereIs(hash)),
      );
    }
    if (draw < 0.94) return this.#reserve(client, random);
    return this.#attempt(client, 'status', async () => void (await client.role.status()));
  }

  /** Runs one operation and notes how it ended. Only errors for callers may come out. */
  async #attempt(
    client: SimClient,
    what: string,
    run: (signal: AbortSignal) => Promise<void>,
    giveUpMicros?: number,
  ) {
    const { trace, clock, violations } = this.#cluster;
    const number = ++this.#operations;
    const control = new AbortController();
    if (giveUpMicros !== undefined) clock.schedule(giveUpMicros, () => control.abort(GAVE_UP));
    trace.say(client.name, `#${number} ${what}`);
    let outcome = 'ok';
    try {
      await run(control.signal);
    } catch (error) {
      if (isGramlineError(error)) outcome = error.code;
      else if (error === GAVE_UP) outcome = 'gave up';
      else {
        outcome = 'bug';
        const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
        violations.report(Invariant.NO_OWN_BUG, `${client.name}: #${number} ${what}: ${text}`);
      }
      trace.say(client.name, `#${number} failed: ${outcome} ${error instanceof Error ? error.message : ''}`);
    }
    if (outcome === 'ok') trace.say(client.name, `#${number} done`);
    const key = `${what.split(' ')[0]} ${outcome}`;
    this.#outcomes.set(key, (this.#outcomes.get(key) ?? 0) + 1);
  }

  /** Removals and puts of one object that meet, each by a client of its own choice. */
  #contend(random: Random, hash: string): void {
    const { clock, clients } = this.#cluster;
    const meet = async (client: SimClient, isRemoval: boolean, own: Random): Promise<void> => {
      await clock.sleep(own.integer(CONTEND_MICROS_MAX));
      if (!this.#running.has(client)) return;
      return isRemoval ? this.#remove(client, hash) : this.#put(client, own, hash);
    };
    for (let left = 2 + random.integer(4); left > 0; left--) {
      const client = random.pick(clients);
      // A client that died waits for nothing.
      const running = this.#running.get(client);
      const name = `contend ${++this.#operations}`;
      running?.add(name);
      void meet(client, left % 2 === 0, random.fork(name)).then(() => running?.delete(name));
    }
  }

  async #put(client: SimClient, random: Random, named?: string): Promise<void> {
    const { clock, violations, nodes } = this.#cluster;
    const known = this.#promises.known;
    const again = named ?? (known.length > 0 && random.chance(0.2) ? random.pick(known) : undefined);
    const content =
      again === undefined
        ? contentOf(random, drawSize(random), random.chance(0.3))
        : this.#promises.bytesOf(again)!;
    const hash = again ?? hashOf(content);
    const replicas = random.chance(0.4) ? 1 + random.integer(nodes.length) : undefined;
    const source = random.chance(0.3) ? () => pieces(content, random) : content;
    const giveUpMicros = random.chance(0.1) ? random.integer(500_000) : undefined;
    const beganMicros = clock.now();
    let acknowledged = false;
    this.#promises.onPutBegins(hash, content);
    const put = async (signal: AbortSignal): Promise<void> => {
      const result = await client.role.put(source, { replicas, signal, bytes: content.length });
      if (result.hash !== hash)
        violations.report(Invariant.READABLE, `put of ${hash} answered ${result.hash}`);
      acknowledged = true;
      if (replicas !== undefined && !result.existed && result.replicas < replicas) {
        violations.report(
          Invariant.READABLE,
          `put of ${hash}: ${result.replicas} replicas, ${replicas} were asked for`,
        );
      }
      const holders = nodes.filter((node) => node.holds(hash)).length;
      const isSure = !result.existed && this.#promises.mustBeReadable(hash) && !this.#damaged.has(hash);
      if (isSure && holders < result.replicas) {
        violations.report(
          Invariant.READABLE,
          `put of ${hash}: ${result.replicas} replicas said, ${holders} there`,
        );
      }
    };
    await this.#attempt(client, `put ${hash.slice(0, 12)} of ${content.length} bytes`, put, giveUpMicros);
    this.#promises.onPutEnds(hash, beganMicros, acknowledged);
  }

  async #get(client: SimClient, random: Random, hash: string): Promise<void> {
    const breakOff = random.chance(0.1);
    const giveUpMicros = random.chance(0.1) ? random.integer(300_000) : undefined;
    const get = async (signal: AbortSignal): Promise<void> => {
      const parts: Uint8Array[] = [];
      for await (const part of client.role.get(hash, { signal })) {
        parts.push(part);
        if (breakOff) return;
      }
      const expected = this.#promises.bytesOf(hash)!;
      if (Buffer.compare(Buffer.concat(parts), expected) === 0) return;
      this.#cluster.violations.report(Invariant.READABLE, `get of ${hash} brought other bytes`);
    };
    await this.#attempt(client, `get ${hash.slice(0, 12)}`, get, giveUpMicros);
  }

  async #remove(client: SimClient, hash: string): Promise<void> {
    const { clock } = this.#cluster;
    let outcome: 'removed' | 'absent' | 'unknown' = 'unknown';
    this.#promises.onRemovalBegins(hash);
    this.#removed.add(hash);
    await this.#attempt(client, `rm ${hash.slice(0, 12)}`, async () => {
      try {
        await client.role.rm(hash);
        outcome = 'removed';
      } catch (error) {
        if (isGramlineError(error, 'GRAMLINE_NOT_FOUND')) outcome = 'absent';
        throw error;
      }
    });
    this.#promises.onRemovalEnds(hash, clock.now(), outcome);
  }

  async #reserve(client: SimClient, random: Random): Promise<void> {
    const bytes = drawSize(random);
    await this.#attempt(client, `whereTo ${bytes}`, async () => {
      const { token } = await client.role.whereTo(bytes, { replicas: 1 });
      await this.#cluster.clock.sleep(random.integer(500_000));
      if (random.chance(0.8)) await client.role.release(token);
    });
  }

  // ---------------------------------------------------------------- the end

  /** All that was acknowledged is there, all that was removed is gone. */
  async #audit(): Promise<void> {
    const { violations, trace } = this.#cluster;
    const auditor = this.#cluster.client();
    for (const hash of this.#promises.known) {
      const short = hash.slice(0, 12);
      // A copy that is damaged and not yet deleted stays what the node holds when it is stored again.
      if (this.#damaged.has(hash) && this.#removed.has(hash)) continue;
      if (this.#promises.mustBeReadable(hash)) {
        try {
          const bytes = await this.#retried(() => auditor.fetch(hash));
          if (Buffer.compare(bytes, this.#promises.bytesOf(hash)!) !== 0) {
            violations.report(Invariant.READABLE, `${short} has other bytes at the end`);
          }
        } catch (error) {
          trace.say('audit', `${short}: ${error}`);
          violations.report(Invariant.READABLE, `${short} was put and acknowledged, and now: ${error}`);
        }
      } else if (!this.#promises.mustBeGone(hash)) {
        // Removals and puts met, or some were not answered: there or gone, and nothing between.
        try {
          await this.#retried(() => auditor.fetch(hash));
        } catch (error) {
          if (isGramlineError(error, 'GRAMLINE_NOT_FOUND')) continue;
          violations.report(Invariant.READABLE, `${short} is in the catalog, and cannot be read: ${error}`);
        }
      } else {
        try {
          await this.#retried(() => auditor.role.whereIs(hash));
          violations.report(Invariant.READABLE, `${short} was removed, and is still there`);
        } catch (error) {
          if (!isGramlineError(error, 'GRAMLINE_NOT_FOUND')) throw error;
        }
      }
    }
  }

  async #checkTotals(): Promise<void> {
    const { coordinator, violations, clients } = this.#cluster;
    const status = await clients.at(-1)!.role.status();
    checkTotals(violations, coordinator.state, status);
  }

  /** What is refused as busy is asked again, as a caller would. */
  async #retried<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        const again = isGramlineError(error, 'GRAMLINE_BUSY') || isGramlineError(error, 'GRAMLINE_CLOSED');
        if (!again || attempt >= AUDIT_TRIES_MAX) throw error;
        await this.#cluster.clock.sleep(500_000);
      }
    }
  }

  /** Reservations of puts that failed lapse: no space stays promised to nobody. */
  async #checkLeases(): Promise<void> {
    const { coordinator, clients, violations } = this.#cluster;
    const role = coordinator.role;
    if (role === undefined || role.reservations === 0) return;
    await this.#cluster.drive(Promise.all(clients.map((client) => client.stop())));
    await this.#cluster.pass(LEASES_MICROS);
    if (role.reservations === 0) return;
    violations.report(Invariant.ALL_ENDS, `${role.reservations} reservations outlive their leases`);
    this.#cluster.throwIfBroken();
  }
}

const GAVE_UP = new Error('the caller gave up');
const MTU_BYTES = [65_507, 65_507, 8_972, 1_472, 1_472, 1_200];

/** Sizes where mistakes hide: nothing, one byte, records exactly and nearly, and anything else. */
function drawSize(random: Random): number {
  if (random.chance(0.4)) {
    return random.pick([
      0,
      1,
      1_023,
      1_024,
      RECORD_BYTES - 1,
      RECORD_BYTES,
      RECORD_BYTES + 1,
      2 * RECORD_BYTES,
    ]);
  }
  return random.integer(random.pick([2_000, 80_000, OBJECT_BYTES_MAX]));
}

async function* pieces(content: Uint8Array, random: Random): AsyncIterable<Uint8Array> {
  for (let at = 0; at < content.length; ) {
    const count = 1 + random.integer(100_000);
    yield content.subarray(at, at + count);
    at += count;
  }
}

function describeFaults(faults: LinkFaults): string {
  return Object.entries(faults)
    .filter(([name, value]) => value !== NO_FAULTS[name as keyof LinkFaults])
    .map(([name, value]) => `${name}=${typeof value === 'number' ? Math.round(value * 1000) / 1000 : value}`)
    .join(' ');
}

/** What `npm run sim` must be told beside the seed, so that it runs the same again. */
function replayOptionsOf(options: SeedOptions): string {
  const contention = options.contention === true ? ' --contention' : '';
  const faults = options.faults === undefined ? '' : ` --faults ${options.faults.join(',')}`;
  return contention + faults;
}
