/**
 * What simulated clients do: operations one after another, some at once, each with a name and chance of
 * its own, so that one can be left out and the others stay as they are. Judges what they are answered.
 */

import { toHex } from '../src/base/bytes.ts';
import { isGramlineError } from '../src/base/errors.ts';
import { resultError } from '../src/nodes/results.ts';
import { commitQuery, QueryKind, type RemoveQuery, ResultCode, removeQuery } from '../src/wire/index.ts';
import { Invariant } from './checkers.ts';
import { contentOf, hashOf, type SimClient, type SimCluster } from './cluster.ts';
import type { PromiseBook } from './promise-book.ts';
import type { Random } from './random.ts';
import { TenureWork } from './tenure-work.ts';

export interface WorkloadOptions {
  readonly cluster: SimCluster;
  readonly random: Random;
  readonly promises: PromiseBook;
  /** Objects of which a copy was damaged. */
  readonly damaged: ReadonlySet<string>;
  /** Operations that are left out, by name. */
  readonly without: ReadonlySet<string>;
  /** Whether removals and puts of one object are to meet. */
  readonly contends: boolean;
  /** How long clients begin operations; undefined for a few operations each. */
  readonly spanMicros: number | undefined;
}

const OBJECT_BYTES_MAX = 300_000;
const RECORD_BYTES = 65_536;
/** Longest wait before an operation, in a run of a few operations and in a long one. */
const WAIT_MICROS_MAX = 1_500_000;
const LONG_RUN_WAIT_MICROS_MAX = 15_000_000;
/** Puts and removals of one object that are to meet begin within this. */
const CONTEND_MICROS_MAX = 30_000;
/** A long run removes more than it puts beyond this many objects. */
const OBJECTS_KEPT_MAX = 150;
/** Questions of a burst: more than one session takes at once. */
const BURST_QUERIES = 1_040;
/** Objects that are looked for at once: more than one query asks for. */
const MANY_HASHES = 40;
const REMOVES_FROM_DOWNED_CHANCE = 0.25;
/** A source may stand still for so long. */
const SOURCE_STALL_MICROS_MAX = 12_000_000;
/** So many operations are about locks and user sessions. */
const TENURE_CHANCE = 0.2;
/** How often a caller's wish to give up looks whether its machine can. */
const PAUSED_LOOK_MICROS = 100_000;

export class Workload {
  readonly #options: WorkloadOptions;
  readonly #cluster: SimCluster;
  readonly #promises: PromiseBook;
  /** How operations ended: `put ok`, or the code of the error. */
  readonly outcomes = new Map<string, number>();
  /** Objects that clients asked to remove. */
  readonly removed = new Set<string>();
  /** Operations that have not settled, by the client that waits for them. */
  readonly #running = new Map<SimClient, Set<string>>();
  /** Names of the operations that have begun. */
  readonly operations: string[] = [];
  /** Locks and user sessions. */
  readonly tenures: TenureWork;
  #contentions = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
    this.#promises = options.promises;
    this.tenures = new TenureWork({
      cluster: options.cluster,
      attempt: (...attempt) => this.#attempt(...attempt),
      awake: (client) => this.#awake(client),
    });
  }

  get allSettled(): boolean {
    for (const running of this.#running.values()) if (running.size > 0) return false;
    return true;
  }

  /** Nobody waits for what a dead client had asked for. */
  forget(client: SimClient): void {
    this.#running.delete(client);
  }

  start(client: SimClient): void {
    const { clock } = this.#cluster;
    const { spanMicros, without } = this.#options;
    const endMicros = clock.now() + (spanMicros ?? 0);
    const random = this.#options.random.fork(client.name);
    const running = new Set<string>();
    this.#running.set(client, running);
    const lanes = 1 + random.integer(3);
    for (let lane = 1; lane <= lanes; lane++) {
      const own = random.fork(`lane ${lane}`);
      const count = 1 + own.integer(4);
      const wants = (number: number): boolean =>
        spanMicros === undefined ? number <= count : clock.now() < endMicros;
      const script = async (): Promise<void> => {
        for (let number = 1; wants(number); number++) {
          const id = `${client.name}.${lane}.${number}`;
          const chance = own.fork(id);
          await clock.sleep(
            chance.integer(spanMicros === undefined ? WAIT_MICROS_MAX : LONG_RUN_WAIT_MICROS_MAX),
          );
          await this.#awake(client);
          if (!this.#running.has(client)) return;
          if (!without.has(id)) await this.#operate(id, client, chance);
        }
      };
      running.add(`script ${lane}`);
      void script().then(() => running.delete(`script ${lane}`));
    }
  }

  /** Resolves when the machine of a client is not paused. */
  async #awake(client: SimClient): Promise<void> {
    while (client.isPaused) await this.#cluster.clock.sleep(PAUSED_LOOK_MICROS);
  }

  async #operate(id: string, client: SimClient, random: Random): Promise<void> {
    const { known } = this.#promises;
    // Chance of its own: without these all else is as it was.
    const tenure = random.fork('tenure');
    if (tenure.chance(TENURE_CHANCE)) return this.tenures.operate(id, client, tenure);
    const draw = random.fraction();
    const isCrowded = known.length > OBJECTS_KEPT_MAX && random.chance(0.6);
    if (known.length === 0 || (draw < 0.5 && !isCrowded)) return this.#put(id, client, random);
    const orphan = this.#heldByDowned(random);
    if (orphan !== undefined) return this.#remove(id, client, orphan);
    // Mostly what is there: a get of what nobody put says little.
    const there = known.filter((hash) => this.#promises.mustBeReadable(hash));
    const hash = random.pick(there.length > 0 && random.chance(0.8) ? there : known);
    if (isCrowded || (draw >= 0.72 && draw < 0.78)) return this.#remove(id, client, hash);
    if (draw < 0.72) return this.#get(id, client, random, hash);
    if (draw < 0.81 && this.#options.contends) return this.#contend(random, hash);
    if (draw < 0.85) {
      return this.#attempt(id, client, `whereIs ${hash.slice(0, 12)}`, async () => {
        await client.role.whereIs(hash);
      });
    }
    if (draw < 0.88) return this.#findMany(id, client, random);
    if (draw < 0.95) return this.#reserve(id, client, random, hash);
    if (draw < 0.955) return this.#burst(id, client);
    if (draw < 0.98) return this.#repeat(id, client, random);
    return this.#attempt(id, client, 'status', async () => void (await client.role.status()));
  }

  /** Now and then, an object that a node holds which is down: it finds out later that it was removed. */
  #heldByDowned(random: Random): string | undefined {
    if (!random.chance(REMOVES_FROM_DOWNED_CHANCE)) return undefined;
    const downed = this.#cluster.nodes.filter((node) => !node.isRunning);
    return this.#promises.known.find((hash) => {
      return this.#promises.mustBeReadable(hash) && downed.some((node) => node.holds(hash));
    });
  }

  /** Runs one operation and notes how it ended. Only errors for callers may come out. */
  async #attempt(
    id: string,
    client: SimClient,
    what: string,
    run: (signal: AbortSignal) => Promise<void>,
    giveUpMicros?: number,
  ): Promise<void> {
    const { trace, clock, violations } = this.#cluster;
    this.operations.push(id);
    const control = new AbortController();
    const giveUp = async (): Promise<void> => {
      await clock.sleep(giveUpMicros!);
      await this.#awake(client);
      control.abort(GAVE_UP);
    };
    if (giveUpMicros !== undefined) void giveUp();
    trace.say(client.name, `${id}: ${what}`);
    let outcome = 'ok';
    try {
      await run(control.signal);
    } catch (error) {
      if (isGramlineError(error)) outcome = error.code;
      else if (error === GAVE_UP) outcome = 'gave up';
      else {
        outcome = 'bug';
        const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
        violations.report(Invariant.NO_OWN_BUG, `${client.name}: ${id}: ${what}: ${text}`);
      }
      trace.say(client.name, `${id}: failed: ${outcome} ${error instanceof Error ? error.message : ''}`);
    }
    if (outcome === 'ok') trace.say(client.name, `${id}: done`);
    const key = `${what.split(' ')[0]} ${outcome}`;
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1);
  }

  /** Removals and puts of one object that meet, each by a client of its own choice. */
  #contend(random: Random, hash: string): void {
    const { clock, clients } = this.#cluster;
    const meet = async (id: string, client: SimClient, isRemoval: boolean, own: Random): Promise<void> => {
      await clock.sleep(own.integer(CONTEND_MICROS_MAX));
      await this.#awake(client);
      if (!this.#running.has(client) || this.#options.without.has(id)) return;
      return isRemoval ? this.#remove(id, client, hash) : this.#put(id, client, own, hash);
    };
    for (let left = 2 + random.integer(4); left > 0; left--) {
      const client = random.pick(clients);
      // A client that died waits for nothing.
      const running = this.#running.get(client);
      const id = `${client.name}.contend.${++this.#contentions}`;
      running?.add(id);
      void meet(id, client, left % 2 === 0, random.fork(id)).then(() => running?.delete(id));
    }
  }

  async #put(id: string, client: SimClient, random: Random, named?: string): Promise<void> {
    const { clock, violations, nodes } = this.#cluster;
    const known = this.#promises.known;
    const again = named ?? (known.length > 0 && random.chance(0.2) ? random.pick(known) : undefined);
    const content =
      again === undefined
        ? contentOf(random, drawSize(random), random.chance(0.3))
        : this.#promises.bytesOf(again)!;
    const hash = again ?? hashOf(content);
    const replicas = random.chance(0.4) ? 1 + random.integer(Math.min(nodes.length, 8)) : undefined;
    const stallMicros = random.chance(0.03) ? random.integer(SOURCE_STALL_MICROS_MAX) : 0;
    const source =
      random.chance(0.3) || stallMicros > 0 ? () => this.#pieces(content, random, stallMicros) : content;
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
      const isSure =
        !result.existed && this.#promises.mustBeReadable(hash) && !this.#options.damaged.has(hash);
      if (isSure && holders < result.replicas) {
        violations.report(
          Invariant.READABLE,
          `put of ${hash}: ${result.replicas} replicas said, ${holders} there`,
        );
      }
    };
    await this.#attempt(id, client, `put ${hash.slice(0, 12)} of ${content.length} bytes`, put, giveUpMicros);
    this.#promises.onPutEnds(hash, beganMicros, acknowledged);
  }

  async #get(id: string, client: SimClient, random: Random, hash: string): Promise<void> {
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
    await this.#attempt(id, client, `get ${hash.slice(0, 12)}`, get, giveUpMicros);
  }

  /** @param earlier The query of before, where it is asked once more. */
  async #remove(id: string, client: SimClient, hash: string, earlier?: RemoveQuery): Promise<void> {
    const { clock } = this.#cluster;
    // What one that is asked once more does, if anything, nobody is told.
    let outcome: 'removed' | 'absent' | 'unknown' = 'unknown';
    this.#promises.onRemovalBegins(hash);
    this.removed.add(hash);
    const what = earlier === undefined ? 'rm' : 'rm-again';
    await this.#attempt(id, client, `${what} ${hash.slice(0, 12)}`, async () => {
      try {
        if (earlier === undefined) await client.role.rm(hash);
        else await this.#removeAgain(id, client, earlier);
        outcome = earlier === undefined ? 'removed' : 'absent';
      } catch (error) {
        if (isGramlineError(error, 'GRAMLINE_NOT_FOUND')) outcome = 'absent';
        throw error;
      }
    });
    this.#promises.onRemovalEnds(hash, clock.now(), outcome);
  }

  async #removeAgain(id: string, client: SimClient, removal: RemoveQuery): Promise<void> {
    const { code } = await client.role.ask(QueryKind.REMOVE, removeQuery, removal);
    this.#cluster.trace.say(client.name, `${id}: code ${code}`);
    if (code !== ResultCode.OK) throw resultError(code, 'removing again');
  }

  async #reserve(id: string, client: SimClient, random: Random, known: string): Promise<void> {
    const bytes = drawSize(random);
    const hash = random.chance(0.3) ? known : undefined;
    await this.#attempt(id, client, `whereTo ${bytes}`, async () => {
      const { token } = await client.role.whereTo(bytes, { replicas: 1, hash });
      await this.#cluster.clock.sleep(random.integer(500_000));
      await this.#awake(client);
      if (random.chance(0.8)) await client.role.release(token);
    });
  }

  async #findMany(id: string, client: SimClient, random: Random): Promise<void> {
    const { known } = this.#promises;
    const hashes = Array.from({ length: MANY_HASHES }, () => random.pick(known));
    await this.#attempt(id, client, `whereIsMany ${hashes.length}`, async () => {
      const outcomes = await client.role.whereIsMany(hashes);
      for (const outcome of outcomes) if (isGramlineError(outcome, 'GRAMLINE_PROTOCOL')) throw outcome;
    });
  }

  /** A COMMIT or a REMOVE that arrives once more, late: as if its first answer had been lost. */
  async #repeat(id: string, client: SimClient, random: Random): Promise<void> {
    const { asked, removalsAsked } = this.#cluster.commits;
    if (random.chance(0.4) && removalsAsked.length > 0) {
      const removal = random.pick(removalsAsked);
      return this.#remove(id, client, toHex(removal.hash), removal);
    }
    if (asked.length === 0) return;
    const commit = random.pick(asked);
    await this.#attempt(id, client, `recommit ${toHex(commit.hash).slice(0, 12)}`, async () => {
      const { code } = await client.role.ask(QueryKind.COMMIT, commitQuery, commit);
      this.#cluster.trace.say(client.name, `${id}: code ${code}`);
    });
  }

  /** More questions at once than a session takes: those that are refused hear it at once. */
  async #burst(id: string, client: SimClient): Promise<void> {
    await this.#attempt(id, client, `burst ${BURST_QUERIES}`, async () => {
      const asked = Array.from({ length: BURST_QUERIES }, () => client.role.status());
      const answers = await Promise.allSettled(asked);
      const refusal = answers.find((answer) => answer.status === 'rejected');
      if (refusal !== undefined) throw refusal.reason;
    });
  }

  /** The content in pieces; with `stallMicros` it stands still once. */
  async *#pieces(content: Uint8Array, random: Random, stallMicros: number): AsyncIterable<Uint8Array> {
    for (let at = 0; at < content.length; ) {
      const count = 1 + random.integer(100_000);
      yield content.subarray(at, at + count);
      if (at === 0 && stallMicros > 0) await this.#cluster.clock.sleep(stallMicros);
      at += count;
    }
  }
}

const GAVE_UP = new Error('the caller gave up');

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
