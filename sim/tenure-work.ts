/** What simulated clients do with locks and user sessions, each operation with chance of its own. */

import { toHex, utf8 } from '../src/base/bytes.ts';
import { isGramlineError } from '../src/base/errors.ts';
import { lockQuery, QueryKind, sessionWriteQuery, unlockQuery } from '../src/wire/index.ts';
import { Invariant } from './checkers.ts';
import type { SimClient, SimCluster } from './cluster.ts';
import { LockChecker } from './lock-checker.ts';
import type { Random } from './random.ts';
import { UserSessionChecker, type WrittenSession } from './user-session-checker.ts';

/** Few locks, so that clients meet. */
const LOCKS = ['a', 'b'] as const;
const SHORT_LEASE_MILLIS_MIN = 1_000;
const SHORT_LEASE_MILLIS_SPAN = 1_500;
const LEASE_MILLIS = 6_000;
/** Longest wait for a lock, and how long it is held: mostly briefly, now and then beyond its lease. */
const TIMEOUTS_MILLIS = [0, 300, 2_000, 10_000] as const;
const HOLD_MICROS_MAX = 600_000;
const LONG_HOLD_MICROS_MAX = 12_000_000;
const GIVE_UP_MICROS_MAX = 1_000_000;
const LIFETIME_SECONDS = 3_600;
const BETWEEN_WRITES_MICROS_MAX = 8_000_000;
const WRITES_MAX = 4;

export type Attempt = (
  id: string,
  client: SimClient,
  what: string,
  run: (signal: AbortSignal) => Promise<void>,
  giveUpMicros?: number,
) => Promise<void>;

export interface TenureWorkOptions {
  readonly cluster: SimCluster;
  readonly attempt: Attempt;
  /** Resolves when the machine of a client is not paused. */
  readonly awake: (client: SimClient) => Promise<void>;
}

export class TenureWork {
  readonly #options: TenureWorkOptions;
  readonly #cluster: SimCluster;
  readonly #locks: LockChecker;
  readonly #sessions: UserSessionChecker;

  constructor(options: TenureWorkOptions) {
    this.#options = options;
    this.#cluster = options.cluster;
    this.#locks = new LockChecker(this.#cluster.violations);
    this.#sessions = new UserSessionChecker(this.#cluster.violations);
  }

  operate(id: string, client: SimClient, random: Random): Promise<void> {
    const draw = random.fraction();
    if (draw < 0.55) return this.#lock(id, client, random);
    if (draw < 0.65) return this.#misuse(id, client, random);
    return this.#session(id, client, random);
  }

  /** No acknowledged write is lost, unless its session has ended. */
  check(): void {
    this.#sessions.check(this.#cluster.truth, this.#cluster.clock.now());
  }

  async #lock(id: string, client: SimClient, random: Random): Promise<void> {
    const name = random.pick(LOCKS);
    const giveUpMicros = random.chance(0.15) ? random.integer(GIVE_UP_MICROS_MAX) : undefined;
    // Some want it more than once at a time, so that they meet.
    const count = random.chance(0.5) ? 2 + random.integer(2) : 1;
    const work = async (signal: AbortSignal): Promise<void> => {
      const holds = Array.from({ length: count }, (_, index) =>
        this.#hold(id, client, random.fork(`hold ${index}`), name, signal),
      );
      const failed = (await Promise.allSettled(holds)).find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
    };
    await this.#options.attempt(id, client, `lock ${name}, ${count} times`, work, giveUpMicros);
  }

  async #hold(id: string, client: SimClient, random: Random, name: string, signal: AbortSignal) {
    const { coordinators, clock, trace } = this.#cluster;
    const shared = random.chance(0.35);
    const leaseMillis = random.chance(0.5)
      ? SHORT_LEASE_MILLIS_MIN + random.integer(SHORT_LEASE_MILLIS_SPAN)
      : LEASE_MILLIS;
    const timeoutMillis = random.pick(TIMEOUTS_MILLIS);
    const holdMicros = random.integer(random.chance(0.2) ? LONG_HOLD_MICROS_MAX : HOLD_MICROS_MAX);
    const { stalls } = client;
    // One of several leaders whose time stood still does not know that it leads no longer: then only the
    // fencing token protects. So it is with a client whose own time stood still.
    const isSure = (): boolean =>
      client.stalls === stalls &&
      (coordinators.length === 1 || coordinators.every((coordinator) => coordinator.stalls === 0));
    const lock = await client.role.lock(name, { shared, leaseMillis, timeoutMillis, signal });
    trace.say(client.name, `${id}: holds ${name} under ${lock.fencing}${lock.shared ? ', shared' : ''}`);
    this.#locks.onHeld(client.name, lock, isSure);
    await clock.sleep(holdMicros);
    await this.#options.awake(client);
    await lock.release();
  }

  /** Queries that no well-behaved client asks: late, stale, by a stranger, or never heard of again. */
  async #misuse(id: string, client: SimClient, random: Random): Promise<void> {
    const name = random.pick(LOCKS);
    const [token, stranger] = [random.bytes(16), random.bytes(16)];
    const leaseMillis = SHORT_LEASE_MILLIS_MIN;
    const lock = { name, shared: false, leaseMillis, waitMillis: 0 };
    const { role } = client;
    await this.#options.attempt(id, client, `misuse of ${name}`, async () => {
      await role.ask(QueryKind.LOCK, lockQuery, { ...lock, token });
      await role.ask(QueryKind.UNLOCK, unlockQuery, { name, token: stranger, fencing: 0 });
      await role.ask(QueryKind.LOCK, lockQuery, { ...lock, token: stranger });
      await role.ask(QueryKind.UNLOCK, unlockQuery, { name, token, fencing: 1 });
      const [sessionId, data] = [random.bytes(16), random.bytes(3)];
      const write = { id: sessionId, token, number: 1, lifetimeSeconds: 1, data };
      await role.ask(QueryKind.SESSION_WRITE, sessionWriteQuery, write);
      await role.ask(QueryKind.SESSION_WRITE, sessionWriteQuery, write);
    });
  }

  async #session(id: string, client: SimClient, random: Random): Promise<void> {
    const { clock, violations } = this.#cluster;
    const idle = this.#sessions.sessions.filter(({ isBusy, isEnded }) => !isBusy && !isEnded);
    const known = idle.length > 0 && random.chance(0.7) ? random.pick(idle) : undefined;
    if (known !== undefined && random.chance(0.1)) return this.#resumeAsStranger(id, client, known);
    const lifetimeSeconds =
      known?.lifetimeSeconds ?? (random.chance(0.2) ? 1 + random.integer(3) : LIFETIME_SECONDS);
    if (known !== undefined) known.isBusy = true;
    let entry = known;
    const dataOf = (index: number): Uint8Array => utf8(`${id}.${index}`);
    const work = async (): Promise<void> => {
      const beganMicros = clock.now();
      const first = dataOf(0);
      const session = await client.role.session(
        known === undefined ? { data: first, lifetimeSeconds } : { resume: known.token, lifetimeSeconds },
      );
      if (entry === undefined) {
        const { token } = session;
        const fresh = { token, lifetimeSeconds, isBusy: true, isEnded: false, number: 1, data: first };
        entry = { ...fresh, beganMicros, tried: new Set([toHex(first)]) };
        this.#sessions.sessions.push(entry);
      } else if (session.number >= entry.number) this.#sessions.judge(entry, session);
      const own = entry;
      const writes: Promise<void>[] = [];
      for (let index = 1 + random.integer(WRITES_MAX); index > 0; index--) {
        const data = dataOf(index);
        own.tried.add(toHex(data));
        const startedMicros = clock.now();
        const write = session.write(data).then(() => {
          own.data = data;
          own.number = session.number;
          own.beganMicros = startedMicros;
        });
        writes.push(write);
        // Whether they failed is looked at when all are over.
        write.catch(() => undefined);
        // Some come one on the heels of the other, some when much has happened.
        if (random.chance(0.5)) await Promise.allSettled(writes);
        if (random.chance(0.3)) {
          await clock.sleep(random.integer(BETWEEN_WRITES_MICROS_MAX));
          await this.#options.awake(client);
        }
      }
      const failed = (await Promise.allSettled(writes)).find(({ status }) => status === 'rejected');
      if (failed?.status === 'rejected') throw failed.reason;
      if (random.chance(0.3)) {
        const found = await session.read();
        if (!found.stale && found.number > own.number) {
          violations.report(Invariant.SESSION_KEPT, `session ${own.token.slice(0, 8)} has a write of nobody`);
        }
      }
      if (random.chance(0.2)) {
        own.isEnded = true;
        await session.end();
      }
      // Where it is not known what became of a write, nobody goes on: the next number may be taken.
      own.isBusy = false;
    };
    await this.#options.attempt(id, client, `session ${known === undefined ? 'new' : 'resumed'}`, work);
  }

  async #resumeAsStranger(id: string, client: SimClient, { token }: WrittenSession): Promise<void> {
    const { violations } = this.#cluster;
    const wrong = `${token.slice(0, -1)}${token.endsWith('0') ? '1' : '0'}`;
    await this.#options.attempt(id, client, 'session as a stranger', async () => {
      try {
        await client.role.session({ resume: wrong });
        violations.report(Invariant.SESSION_KEPT, `session ${token.slice(0, 8)} was read with a wrong token`);
      } catch (error) {
        if (!isGramlineError(error, 'GRAMLINE_DENIED')) throw error;
      }
    });
  }
}
