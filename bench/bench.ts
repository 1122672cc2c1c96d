/** What a case is given: the options, a place to work in, and where to put what it finds. */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { openObjectStore } from '../src/store/index.ts';
import { systemClock, systemEntropy } from '../src/udp/index.ts';
import { type Child, type ChildOptions, startChild } from './children.ts';
import type { BenchOptions } from './options.ts';
import { LOOPBACK, type Place } from './processes.ts';
import { type Judged, judge, type Row, type Skipped } from './results.ts';
import { Scope } from './scope.ts';
import type { Goal, RatioOf } from './statistics.ts';

/** Something that is measured in turn with others. */
export interface Side {
  readonly name: string;
  /** Prepares, measures, and clears away; resolves to the figure. */
  run(): Promise<number>;
}

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  /** Names of two sides. */
  readonly ours: string;
  readonly theirs: string;
  readonly ratioOf: RatioOf;
  readonly goal?: Goal;
}

export interface Cluster {
  readonly coordinator: Child;
  readonly nodes: readonly Child[];
  readonly client: Child;
  /** `host:port` of the coordinator. */
  readonly address: string;
}

/** What there is before a cluster starts. */
export interface Prepared {
  /** Does not exist yet. */
  readonly stateDirectory: string;
  /** What the nodes will be called, 16 bytes each. */
  readonly nodeIds: readonly Uint8Array[];
}

/** What a cluster is made with. */
export interface ClusterOptions {
  readonly nodes?: number;
  readonly flags?: Partial<Readonly<Record<'coordinator' | 'node' | 'client', readonly string[]>>>;
  /** Runs before the coordinator opens its state. */
  readonly prepare?: (prepared: Prepared) => Promise<void>;
  /** Where the roles run; the coordinator's is the client's. */
  readonly places?: { readonly client: Place; readonly nodes: readonly Place[] };
}

export class Bench {
  readonly options: BenchOptions;
  /** A directory of this run. */
  readonly root: string;
  /** Of the case that runs: it ends what the case started. */
  scope: Scope = new Scope();
  readonly secretHex: string = randomBytes(32).toString('hex');
  readonly rows: Judged[] = [];
  readonly skipped: Skipped[] = [];
  readonly failed: Skipped[] = [];
  readonly notes: string[] = [];
  /** Tables of `--cpu-prof`. */
  readonly profiles: string[] = [];
  readonly offload = new Map<string, boolean>();
  #case = '';
  #directories = 0;

  constructor(options: BenchOptions, root: string) {
    this.options = options;
    this.root = root;
  }

  /** Runs a case in a scope of its own. What it throws is noted, and the next case runs. */
  async runCase(name: string, run: (bench: Bench) => Promise<void>): Promise<void> {
    this.#case = name;
    this.scope = new Scope();
    progress(name);
    try {
      await run(this);
    } catch (error) {
      this.fail('the case', error);
    } finally {
      await this.scope.close();
    }
  }

  skip(what: string, why: string): void {
    progress(`  skipped: ${what}: ${why}`);
    this.skipped.push({ case: this.#case, what, why });
  }

  fail(what: string, error: unknown): void {
    // Interrupted: whatever fails now fails for that reason.
    if (this.scope.isClosing) return;
    const why = error instanceof Error ? error.message : String(error);
    progress(`  failed: ${what}: ${why}`);
    this.failed.push({ case: this.#case, what, why });
  }

  add(row: Omit<Row, 'case'>): void {
    this.rows.push(judge({ case: this.#case, ...row }));
  }

  /** A directory of its own, not made yet. */
  directory(name: string): string {
    this.#directories += 1;
    return join(this.root, `${name}-${this.#directories}`);
  }

  child(options: ChildOptions): Promise<Child> {
    return startChild(this.scope, options);
  }

  /** A coordinator, its nodes and one client, each a process. */
  async cluster({ nodes = 1, flags = {}, prepare, places }: ClusterOptions = {}): Promise<Cluster> {
    const { secretHex } = this;
    const home = places?.client ?? LOOPBACK;
    const directory = this.directory('state');
    const nodeDirectories = Array.from({ length: nodes }, () => this.directory('node'));
    await prepare?.({
      stateDirectory: directory,
      nodeIds: await Promise.all(nodeDirectories.map(makeNodeId)),
    });
    const coordinator = await this.child({
      role: 'coordinator',
      place: home,
      flags: flags.coordinator ?? [],
      options: { secretHex, directory, listen: `${home.host}:0` },
    });
    const address = coordinator.ready.address as string;
    const started: Child[] = [];
    for (let index = 0; index < nodes; index++) {
      const place = places?.nodes[index] ?? LOOPBACK;
      const options = {
        secretHex,
        directory: nodeDirectories[index],
        coordinator: address,
        listen: `${place.host}:0`,
        name: `n${index}`,
      };
      started.push(await this.child({ role: 'node', place, flags: flags.node ?? [], options }));
    }
    const client = await this.child({
      role: 'client',
      place: home,
      flags: flags.client ?? [],
      options: { secretHex, coordinator: address },
    });
    this.offload.set(this.#case, await client.call<boolean>('offload'));
    return { coordinator, nodes: started, client, address };
  }

  /**
   * Measures all sides in turn, as often as the options say, after one round that does not count.
   * Every second round goes backwards, so that no side always comes behind the same other one. A
   * side that fails is left out from then on, and noted.
   */
  async alternate(sides: readonly Side[]): Promise<Map<string, number[]>> {
    const samples = new Map(sides.map(({ name }) => [name, [] as number[]]));
    const { pairs } = this.options;
    for (let round = 0; round <= pairs; round++) {
      progress(round === 0 ? '  warming up' : `  round ${round} of ${pairs}`);
      for (const { name, run } of round % 2 === 0 ? sides : sides.toReversed()) {
        if (this.scope.isClosing) return samples;
        if (!samples.has(name)) continue;
        try {
          const figure = await run();
          if (round > 0) samples.get(name)!.push(figure);
        } catch (error) {
          samples.delete(name);
          this.fail(name, error);
        }
      }
    }
    return samples;
  }

  /** Adds a row for each comparison whose two sides were measured. */
  compare(samples: ReadonlyMap<string, readonly number[]>, comparisons: readonly Comparison[]): void {
    for (const { name, unit, ours, theirs, ratioOf, goal } of comparisons) {
      const [left, right] = [samples.get(ours), samples.get(theirs)];
      if (left === undefined || right === undefined) continue;
      const peer = { name: theirs, values: right, ratioOf };
      this.add({ name, unit, ours: left, peer, ...(goal === undefined ? {} : { goal }) });
    }
  }
}

/** Makes the directory of a node, and with it its id. */
async function makeNodeId(directory: string): Promise<Uint8Array> {
  const { wallMillis } = systemClock;
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const store = await openObjectStore({
    directory,
    quotaBytes: 0,
    wallMillis,
    entropy: systemEntropy.bytes,
    log,
  });
  await store.close();
  return store.nodeId;
}

export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}
