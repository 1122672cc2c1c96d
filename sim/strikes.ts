/** What each fault does to a cluster, and how it heals. When one strikes is in `fault-plan.ts`. */

import { decodeEntry, hasReplica } from '../src/nodes/catalog-entry.ts';
import { objectKey } from '../src/nodes/state-keys.ts';
import type { SimCluster } from './cluster.ts';
import type { FaultKind, PlannedFault } from './fault-plan.ts';
import { drawFaults, type LinkFaults, NO_FAULTS } from './faults.ts';
import type { SimMachine, SimNode } from './machines.ts';
import type { PromiseBook } from './promise-book.ts';
import type { Random } from './random.ts';

/** Datagram sizes that links carry. */
export const MTU_BYTES: readonly number[] = [65_507, 65_507, 8_972, 1_472, 1_472, 1_200];

/** A fault that heals by itself does so within this, in a short run and where clients go on. */
const HEAL_MICROS_MAX = 4_000_000;
const LONG_RUN_HEAL_MICROS_MAX = 20_000_000;
/** Some outages of the state outlast the patience of those who ask for a leader. */
const LONG_OUTAGE_CHANCE = 0.4;
const LONG_OUTAGE_MICROS = 11_000_000;
/** Most pauses are short; some outlast leases and sessions. */
const PAUSE_MICROS_MAX = 5_000_000;
const LONG_PAUSE_MICROS_MIN = 30_500_000;
const LONG_PAUSE_MICROS_MAX = 40_000_000;
const LONG_PAUSE_CHANCE = 0.3;
/** Of the copies that are damaged so many are gone altogether, and their node starts anew. */
const LOST_CHANCE = 0.3;
const LEAVES_DAMAGED_CHANCE = 0.9;
/** Not as far as tombstones live: what is forgotten after that is meant to be. */
const JUMPS_MILLIS = [1_000, 61_000, 600_000, 3_600_000, 86_400_000] as const;

export interface StrikesOptions {
  readonly cluster: SimCluster;
  readonly random: Random;
  readonly kinds: readonly FaultKind[];
  /** What links lose in any weather. */
  readonly lossProbability: number;
  readonly promises: PromiseBook;
  /** Whether clients go on until the faults end. */
  readonly goesOn: boolean;
  /** A client has died: nobody waits for what it asked for. */
  readonly onClientDied: (client: SimMachine) => void;
}

export class Strikes {
  readonly #options: StrikesOptions;
  readonly #cluster: SimCluster;
  /** Objects of which a copy was damaged: each once. */
  readonly damaged = new Set<string>();
  #isHealed = false;

  constructor(options: StrikesOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
  }

  get isHealed(): boolean {
    return this.#isHealed;
  }

  /** Sets all of `faults`, but those in `without`, and the end of all faults at `endMicros` from now. */
  schedule(faults: readonly PlannedFault[], without: ReadonlySet<string>, endMicros: number): void {
    const { clock } = this.#cluster;
    for (const fault of faults) {
      if (without.has(fault.id)) continue;
      clock.schedule(fault.atMicros, () => {
        if (!this.#isHealed) this.#strike(fault, this.#options.random.fork(fault.id));
      });
    }
    clock.schedule(endMicros, () => this.#healAll());
  }

  #strike({ id, kind }: PlannedFault, random: Random): void {
    const { trace, network, nodes, coordinators, clients, machines } = this.#cluster;
    const say = (where: SimMachine | undefined, what: string): void =>
      trace.say(where?.name ?? 'network', `${id}: ${what}`);
    const later = (run: () => void): void => this.#later(random, run);
    switch (kind) {
      case 'weather':
      case 'damage':
        return this.#setWeather(id, random);
      case 'one-way-cuts': {
        const [from, to] = [random.pick(machines), random.pick(machines)];
        say(undefined, `cut ${from.ip} > ${to.ip}`);
        network.cut(from.ip, to.ip);
        return later(() => network.mend(from.ip, to.ip));
      }
      case 'partitions': {
        const one = random.pick(machines);
        const others = random.chance(0.5)
          ? machines.filter((other) => other !== one)
          : [random.pick(machines)];
        say(undefined, `cut ${one.ip} <> ${others.map(({ ip }) => ip).join(' ')}`);
        for (const other of others) for (const [from, to] of bothWays(one, other)) network.cut(from, to);
        return later(() => {
          for (const other of others) for (const [from, to] of bothWays(one, other)) network.mend(from, to);
        });
      }
      case 'node-crash':
        return this.#crash(random, random.pick(nodes));
      case 'coordinator-crash':
        return this.#crash(random, random.pick(coordinators));
      case 'client-crash': {
        // The first client lives on: there is always one that works.
        const client = clients.length > 1 ? random.pick(clients.slice(1)) : undefined;
        if (client?.isRunning !== true) return;
        client.crash(random.pick(['machine', 'process']));
        return this.#options.onClientDied(client);
      }
      case 'disk-full': {
        const node = random.pick(nodes);
        say(node, 'disk full');
        node.store.fail(true);
        return later(() => {
          say(node, 'disk has room');
          node.store.fail(false);
        });
      }
      case 'state-full': {
        // Of a shared state nobody's disk is full: it is out of reach.
        if (this.#cluster.engine !== undefined) return;
        const coordinator = coordinators[0]!;
        say(coordinator, 'disk full');
        coordinator.failState(true);
        return later(() => {
          say(coordinator, 'disk has room');
          coordinator.failState(false);
        });
      }
      case 'state-outages': {
        const { engine } = this.#cluster;
        if (engine === undefined) return;
        say(undefined, 'the shared state is out of service');
        engine.setDown(true);
        const longer = random.chance(LONG_OUTAGE_CHANCE) ? LONG_OUTAGE_MICROS : 0;
        return later(() => {
          this.#cluster.clock.schedule(longer, () => {
            say(undefined, 'the shared state is back');
            engine.setDown(false);
          });
        });
      }
      case 'state-cuts': {
        if (this.#cluster.engine === undefined) return;
        const coordinator = random.pick(coordinators);
        say(coordinator, 'cut off from the shared state');
        coordinator.cutState(true);
        return later(() => {
          say(coordinator, 'reaches the shared state again');
          coordinator.cutState(false);
        });
      }
      case 'slow-disks': {
        const machine = random.pick([...coordinators, ...nodes]);
        say(machine, 'slow disk');
        machine.disk.isSlow = true;
        return later(() => {
          machine.disk.isSlow = false;
        });
      }
      case 'clock-jumps': {
        const machine = random.pick(machines);
        const millis = random.pick(JUMPS_MILLIS) * (random.chance(0.5) ? 1 : -1);
        say(machine, `wall clock jumps by ${millis / 1000} s`);
        return machine.jumpWall(millis);
      }
      case 'pauses':
        return this.#pause(random);
      case 'corruption':
        return this.#corrupt(id, random);
      case 'node-loss':
        return this.#loseNode(random);
      case 'drain':
        return this.#drain(random, this.#spare(random));
      case 'small-quota':
        return;
    }
  }

  #later(random: Random, run: () => void): void {
    const healMicrosMax = this.#options.goesOn ? LONG_RUN_HEAL_MICROS_MAX : HEAL_MICROS_MAX;
    this.#cluster.clock.schedule(random.integer(healMicrosMax), () => {
      if (!this.#isHealed) run();
    });
  }

  #setWeather(id: string, random: Random): void {
    const { network, trace, machines } = this.#cluster;
    const { kinds, lossProbability } = this.#options;
    const damage = kinds.includes('damage') ? {} : { bitFlipMax: 0, truncateMax: 0 };
    const loss = kinds.includes('weather') ? {} : { lossMax: 0, duplicateMax: 0, reorderMax: 0 };
    const drawn = drawFaults(random, { ...damage, ...loss });
    const faults = { ...drawn, lossProbability: either(drawn.lossProbability, lossProbability) };
    trace.say('network', `${id}: ${describeFaults(faults)}`);
    if (random.chance(0.5)) network.setFaults(faults);
    else network.setFaults(faults, random.pick(machines).ip);
  }

  #crash(random: Random, machine: SimMachine): void {
    if (!machine.isRunning) return;
    machine.crash(random.pick(['machine', 'process']));
    this.#later(random, () => this.#restart(machine));
  }

  /** A node that can be missed: another one stays. */
  #spare(random: Random): SimNode | undefined {
    const staying = this.#cluster.nodes.filter((node) => !node.isLost && !node.isDraining);
    return staying.length > 1 ? random.pick(staying) : undefined;
  }

  /** A node starts anew, and wants to leave. */
  #drain(random: Random, node: SimNode | undefined): void {
    if (node === undefined || !node.isRunning) return;
    this.#cluster.trace.say(node.name, 'wants to leave');
    node.isDraining = true;
    this.#crash(random, node);
  }

  /** A node is gone for good, unless the only copy of an object went with it that is to have more. */
  #loseNode(random: Random): void {
    const { truth } = this.#cluster;
    const { promises } = this.#options;
    const node = this.#spare(random);
    if (node === undefined) return;
    const gone: string[] = [];
    for (const hash of promises.known) {
      const value = truth.get(objectKey(new Uint8Array(Buffer.from(hash, 'hex'))));
      const entry = value === undefined ? undefined : decodeEntry(value);
      if (entry === undefined || !hasReplica(entry, node.nodeId)) continue;
      // One copy alone, or two of which one is damaged, may be gone.
      if (entry.wanted < 2 || this.damaged.has(hash)) gone.push(hash);
      else if (this.#holders(hash).every((holder) => holder === node)) return;
    }
    const now = this.#cluster.clock.now();
    node.lose();
    for (const hash of gone) promises.onLost(hash, now);
    // What is being put may be there only.
    for (const hash of promises.known) if (promises.isBeingPut(hash)) promises.onLost(hash, now);
  }

  #restart(machine: SimMachine): void {
    if (machine.isRunning || (machine as Partial<SimNode>).isLost === true) return;
    machine.start().catch((error: unknown) => this.#cluster.onBug(`starting ${machine.name}`, error));
  }

  #pause(random: Random): void {
    const machine = random.pick(this.#cluster.machines);
    if (!machine.isRunning || machine.isPaused) return;
    const isLong = random.chance(LONG_PAUSE_CHANCE);
    const spanMicros = isLong
      ? LONG_PAUSE_MICROS_MIN + random.integer(LONG_PAUSE_MICROS_MAX - LONG_PAUSE_MICROS_MIN)
      : 1 + random.integer(PAUSE_MICROS_MAX);
    machine.pause(spanMicros, random.chance(0.5));
  }

  /** Damages one copy, or takes it away, of an object of which another node holds one that counts, once per object. */
  #corrupt(id: string, random: Random): void {
    const { promises } = this.#options;
    const { trace } = this.#cluster;
    const candidates = promises.known.filter((hash) => {
      return !this.damaged.has(hash) && promises.mustBeReadable(hash) && this.#holders(hash).length > 1;
    });
    if (candidates.length === 0) return;
    const hash = random.pick(candidates);
    const node = random.pick(this.#holders(hash));
    this.damaged.add(hash);
    const name = new Uint8Array(Buffer.from(hash, 'hex'));
    if (random.chance(LOST_CHANCE)) {
      trace.say(node.name, `${id}: copy of ${hash.slice(0, 12)} is lost`);
      node.store.lose(name);
      return this.#crash(random, node);
    }
    trace.say(node.name, `${id}: copy of ${hash.slice(0, 12)} is damaged`);
    node.store.corrupt(name, random.integer(Math.max(1, promises.bytesOf(hash)!.length)));
    // Now and then another node that holds it leaves: the damage may be what a copy begins with, or is checked by.
    if (!this.#options.kinds.includes('drain') || !random.chance(LEAVES_DAMAGED_CHANCE)) return;
    const others = this.#holders(hash).filter((holder) => holder !== node);
    if (this.#spare(random) !== undefined && others.length > 0) this.#drain(random, random.pick(others));
  }

  /**
   * Nodes that stay, and hold an object that counts; none where it has more of them than it is to have, and one
   * of these is about to go.
   */
  #holders(hash: string): SimNode[] {
    const value = this.#cluster.truth.get(objectKey(new Uint8Array(Buffer.from(hash, 'hex'))));
    if (value === undefined) return [];
    const entry = decodeEntry(value);
    const holders = this.#cluster.nodes.filter((node) => {
      return !node.isLost && !node.isDraining && hasReplica(entry, node.nodeId) && node.holds(hash);
    });
    return holders.length > entry.wanted ? [] : holders;
  }

  #healAll(): void {
    const { network, trace, nodes, coordinators, engine, machines } = this.#cluster;
    trace.say('network', 'all faults heal');
    this.#isHealed = true;
    network.heal();
    network.setFaults({ ...NO_FAULTS, mtuBytes: this.#options.random.fork('healed').pick(MTU_BYTES) });
    engine?.setDown(false);
    for (const coordinator of coordinators) {
      coordinator.failState(false);
      coordinator.cutState(false);
    }
    for (const node of nodes) node.store.fail(false);
    for (const machine of machines) machine.disk.isSlow = false;
    for (const machine of [...coordinators, ...nodes]) this.#restart(machine);
  }
}

function bothWays(one: SimMachine, other: SimMachine): readonly (readonly [string, string])[] {
  return [
    [one.ip, other.ip],
    [other.ip, one.ip],
  ];
}

/** The chance that at least one of two things happens. */
function either(left: number, right: number): number {
  return 1 - (1 - left) * (1 - right);
}

function describeFaults(faults: LinkFaults): string {
  return Object.entries(faults)
    .filter(([name, value]) => value !== NO_FAULTS[name as keyof LinkFaults])
    .map(([name, value]) => `${name}=${typeof value === 'number' ? Math.round(value * 1000) / 1000 : value}`)
    .join(' ');
}
