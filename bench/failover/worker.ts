/**
 * One client of the failover run, in a process of its own: puts, looks for and fetches small objects, takes
 * locks and writes a user session, all the time, and tells on standard output, a line of JSON each, what was
 * acknowledged and when. Times are those of the machine's monotonic clock, in milliseconds.
 */

import { createHash, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { concatBytes } from '../../src/base/bytes.ts';
import type { Client, UserSession } from '../../src/index.ts';
import { openClient, readSecret } from '../../src/open.ts';

/** What the first line of standard input says. */
export interface WorkerSetup {
  readonly index: number;
  readonly secretFile: string;
  readonly coordinators: readonly string[];
  readonly locks: readonly string[];
}

export type WorkerEvent =
  | { readonly kind: 'cycle'; readonly began: number; readonly ended: number; readonly hash: string }
  | { readonly kind: 'error'; readonly what: string; readonly reason: string }
  | {
      readonly kind: 'lock';
      readonly name: string;
      readonly fencing: number;
      readonly from: number;
      readonly until: number;
    }
  | { readonly kind: 'session'; readonly token: string; readonly number: number; readonly value: number }
  | { readonly kind: 'end' };

const OBJECT_BYTES = 2_000;
/** Between two pieces of work of a kind, with jitter: more would measure how thirty processes share two cores. */
const PAUSE_MILLIS = 400;
const LOCK_LEASE_MILLIS = 3_000;
const LOCK_HOLD_MILLIS = 60;
const LOCK_TIMEOUT_MILLIS = 30_000;
const AFTER_ERROR_MILLIS = 50;

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

function tell(event: WorkerEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function pause(millis: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, millis));
}

/** Never returns: the process ends when it was told to, with a second line. */
export async function runWorker(): Promise<never> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const setup = JSON.parse((await lines.next()).value as string) as WorkerSetup;
  const client = await openClient({
    secret: await readSecret(setup.secretFile),
    coordinators: setup.coordinators,
  });
  const worker = new Worker(client, setup.locks);
  void lines.next().then(() => worker.end());
  await worker.run();
  tell({ kind: 'end' });
  await client.close();
  process.exit(0);
}

class Worker {
  readonly #client: Client;
  readonly #locks: readonly string[];
  #isOver = false;
  #session: UserSession | undefined;
  #value = 0;

  constructor(client: Client, locks: readonly string[]) {
    this.#client = client;
    this.#locks = locks;
  }

  end(): void {
    this.#isOver = true;
  }

  async run(): Promise<void> {
    await Promise.all([
      this.#repeat('cycle', () => this.#cycle()),
      this.#repeat('lock', () => this.#lock()),
      this.#repeat('session', () => this.#write()),
    ]);
  }

  /** Repeats `work` until the end; what fails is told, and tried again. */
  async #repeat(what: string, work: () => Promise<void>): Promise<void> {
    while (!this.#isOver) {
      try {
        await work();
        await pause(PAUSE_MILLIS * (0.5 + Math.random()));
      } catch (error) {
        tell({ kind: 'error', what, reason: String(error) });
        await pause(AFTER_ERROR_MILLIS);
      }
    }
  }

  /** A whole question and answer: stored on two nodes, found, fetched, and the same. */
  async #cycle(): Promise<void> {
    const began = now();
    const content = new Uint8Array(randomBytes(OBJECT_BYTES));
    const expected = createHash('sha256').update(content).digest('hex');
    const { hash } = await this.#client.put(content, { replicas: 2 });
    const places = await this.#client.whereIs(hash);
    if (hash !== expected || places.replicas.length === 0) throw new Error('a wrong answer to a put');
    const parts: Uint8Array[] = [];
    for await (const part of this.#client.get(hash)) parts.push(part);
    if (Buffer.compare(concatBytes(...parts), content) !== 0) throw new Error('other bytes than were put');
    tell({ kind: 'cycle', began, ended: now(), hash });
  }

  async #lock(): Promise<void> {
    const name = this.#locks[Math.floor(Math.random() * this.#locks.length)]!;
    const lock = await this.#client.lock(name, {
      leaseMillis: LOCK_LEASE_MILLIS,
      timeoutMillis: LOCK_TIMEOUT_MILLIS,
    });
    const from = now();
    let lostAt: number | undefined;
    lock.signal.addEventListener('abort', () => {
      lostAt = now();
    });
    try {
      await pause(LOCK_HOLD_MILLIS);
      // Until here it was held, by what this client knew.
      const until = lock.isHeld ? now() : (lostAt ?? from);
      tell({ kind: 'lock', name, fencing: lock.fencing, from, until });
    } finally {
      await lock.release();
    }
  }

  async #write(): Promise<void> {
    this.#session ??= await this.#client.session({ lifetimeSeconds: 3_600 });
    this.#value += 1;
    const data = new Uint8Array(4);
    new DataView(data.buffer).setUint32(0, this.#value);
    await this.#session.write(data);
    tell({ kind: 'session', token: this.#session.token, number: this.#session.number, value: this.#value });
  }
}
