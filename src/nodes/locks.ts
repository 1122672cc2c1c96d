/**
 * Locks, as the leader keeps them for one epoch: who stands in which queue is what the shared state says
 * (`lock-record.ts`), which this follows; who holds a lock follows from that (`lock-queue.ts`).
 *
 *   LOCK, new token -- a place is made durable --> waits until it holds, or the wait is over
 *   LOCK, known token -- its lease begins anew --> the same
 *   UNLOCK, or the end of a lease -- the place is removed durably --> those behind it are told
 *
 * Places are made by one commit at a time, which takes all that were asked for meanwhile and compares the last
 * number that was given. So numbers grow in the order in which places take effect, also where nobody knows
 * whether a commit did: one that comes late, behind another, changes nothing.
 */

import { concatBytes, toHex, utf8 } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { mark, marked } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import {
  encodeMessage,
  type LockQuery,
  lockQuery,
  lockReply,
  ResultCode,
  type UnlockQuery,
  unlockQuery,
} from '../wire/index.ts';
import { LeaseTable } from './leases.ts';
import { type LockPlace, LockQueues, PLACES_MAX } from './lock-queue.ts';
import {
  decodeLock,
  decodeLockKey,
  decodeLockNumber,
  encodeLock,
  encodeLockNumber,
  LOCK_NUMBER_KEY,
  lockKey,
} from './lock-record.ts';
import type { Clock, IncomingQuery, Log, StateChange, StateOperation, StateStore } from './ports.ts';
import { Removals } from './removals.ts';
import { readQuery, replyBusy } from './roles.ts';
import { LOCK_END, LOCK_PREFIX } from './state-keys.ts';
import { readPages } from './state-pages.ts';
import type { StateWriter } from './state-writer.ts';

/** What a lease of a lock may be [LOCK-6]. */
export const LOCK_LEASE_MILLIS_MIN = 1_000;
export const LOCK_LEASE_MILLIS_MAX = 3_600_000;
/** How long a LOCK waits at most [LOCK-3]. */
const WAIT_MICROS_MAX: Micros = millis(30_000);
/** Queries that wait at once; one more is answered as if its wait were over. */
export const LOCK_WAITERS_MAX = 65_536;
/** Places of one commit. */
const PLACES_PER_COMMIT_MAX = 64;
/** How often a commit is tried whose number was given meanwhile. */
const TRIES_MAX = 4;
/** For so long a token that was given back makes no new place: its LOCK may come late. */
const GIVEN_BACK_MICROS: Micros = seconds(60);
/** Tokens that are remembered for that: so many that had a place, and as many that had none; of more, the newest. */
export const GIVEN_BACK_MAX = 65_536;

export interface LocksOptions {
  readonly clock: Clock;
  readonly suite: Suite;
  readonly log: Log;
  readonly state: StateStore;
  /** Commits under the epoch. */
  readonly writer: StateWriter;
}

/** A place that is asked for, and not durable yet. */
interface Wanted {
  readonly message: LockQuery;
  readonly tokenHash: Uint8Array;
  readonly made: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Waiter {
  readonly place: LockPlace;
  readonly wake: () => void;
}

export class Locks {
  readonly #options: LocksOptions;
  readonly #queues: LockQueues;
  readonly #removals: Removals;
  readonly #stop = new AbortController();
  readonly #stopWatching: () => void;
  /** Resolves when all places are known that there were at the beginning. */
  readonly #loaded: Promise<void>;
  /** By token and name: at most as many as places. */
  readonly #wanted = new Map<string, Wanted>();
  #making: Promise<void> | undefined;
  /** By lock: the queries that wait for it. */
  readonly #waiters = new Map<string, Set<Waiter>>();
  #waiting = 0;
  /** Tokens that had a place, and are not used again. */
  readonly #givenBack = new LeaseTable<undefined>(GIVEN_BACK_MAX, () => undefined);
  /** Tokens that were to be given back and never had a place. */
  readonly #unknown = new LeaseTable<undefined>(GIVEN_BACK_MAX, () => undefined);

  /** Begins an epoch: each place in the state begins a whole lease [LOCK-3]. */
  constructor(options: LocksOptions) {
    this.#options = options;
    const { clock, state, writer } = options;
    this.#removals = new Removals(writer);
    this.#queues = new LockQueues((place) => this.#onExpired(place));
    this.#stopWatching = state.watch(state.revision, (changes) => this.#onChanges(changes));
    const range = { start: LOCK_PREFIX, end: LOCK_END };
    this.#loaded = readPages({ clock, state, signal: this.#stop.signal }, range, (key, value) =>
      this.#enter(key, value),
    );
  }

  /** The epoch is over: whoever waits is sent elsewhere. */
  close(): void {
    this.#stop.abort();
    this.#stopWatching();
    for (const waiters of this.#waiters.values()) for (const { wake } of waiters) wake();
  }

  /** Ends leases that are over, and removes what could not be removed before. */
  async sweep(): Promise<void> {
    const now = this.#options.clock.now();
    this.#queues.expire(now);
    this.#givenBack.expire(now);
    this.#unknown.expire(now);
    if (this.#removals.size > 0) await this.#removals.flush();
  }

  /** Answers LOCK when the place holds the lock, or when the wait is over. */
  async lock(query: IncomingQuery): Promise<void> {
    const message = readQuery(query, lockQuery);
    if (message === undefined) return;
    // [LOCK-6] A lease that nobody could renew in time, or that outlasts everything, is no lease.
    const { leaseMillis } = message;
    if (leaseMillis < LOCK_LEASE_MILLIS_MIN || leaseMillis > LOCK_LEASE_MILLIS_MAX) {
      return query.reply(ResultCode.MALFORMED);
    }
    const tokenHash = this.#options.suite.sha256(message.token);
    const endsAt = micros(this.#options.clock.now() + Math.min(WAIT_MICROS_MAX, millis(message.waitMillis)));
    await this.#ready();
    // [LOCK-5] It was given back before it came.
    if (this.#isSpent(message.name, tokenHash)) return query.reply(ResultCode.EXPIRED);
    const known = await this.#renewed(message.name, tokenHash);
    // Meanwhile it may have been given back.
    if (known === undefined && this.#isSpent(message.name, tokenHash)) return query.reply(ResultCode.EXPIRED);
    const place = known ?? (await this.#newPlace(message, tokenHash));
    if (place === undefined) return replyBusy(query);
    if (place.shared !== message.shared) return query.reply(ResultCode.MALFORMED);
    await this.#wait(place, endsAt);
    // [LOCK-3] Its lease has ended while it waited, or it was given back.
    if (!this.#queues.stays(place)) return query.reply(ResultCode.EXPIRED);
    const held = this.#queues.holds(place);
    const fencing = held ? place.number : 0;
    const ahead = this.#queues.ahead(place);
    query.reply(
      ResultCode.OK,
      encodeMessage(lockReply, { held, fencing, leaseMillis: place.leaseMillis, ahead }),
    );
  }

  /** Answers UNLOCK when the place has gone from the state. */
  async unlock(peer: string, query: IncomingQuery): Promise<void> {
    const message = readQuery(query, unlockQuery);
    if (message === undefined) return;
    const { name, fencing } = message;
    const tokenHash = this.#options.suite.sha256(message.token);
    await this.#ready();
    const token = tokenOf(name, tokenHash);
    // What is on its way comes first.
    await this.#wanted.get(toHex(token))?.made.catch(() => undefined);
    this.#requireOpen();
    const place = this.#queues.find(name, tokenHash);
    if (place === undefined) return query.reply(this.#answerStranger(peer, message, token));
    if (fencing !== 0 && fencing !== place.number) {
      this.#options.log.warn('an unlock with a stale fencing token', { lock: name, peer, fencing });
      mark('unlock-stale');
      return query.reply(ResultCode.STALE_EPOCH);
    }
    this.#queues.leave(place);
    this.#removals.add(place.key);
    remember(this.#givenBack, token, this.#options.clock.now());
    await this.#removals.flush();
    query.reply(ResultCode.OK);
  }

  /** [LOCK-5] Who has no place has nothing to give back: it has done so before, or it is a stranger. */
  #answerStranger(peer: string, { name }: UnlockQuery, token: Uint8Array): ResultCode {
    if (this.#givenBack.get(token) !== undefined) return ResultCode.OK;
    // Its LOCK may be on its way still.
    remember(this.#unknown, token, this.#options.clock.now());
    if (this.#queues.holders(name).length === 0) return ResultCode.OK;
    this.#options.log.warn('an unlock by a stranger', { lock: name, peer });
    mark('unlock-denied');
    return ResultCode.DENIED;
  }

  /** [LOCK-5] Whether a token was given back, or was to be: it makes no place any more. */
  #isSpent(name: string, tokenHash: Uint8Array): boolean {
    const token = tokenOf(name, tokenHash);
    const isSpent = this.#givenBack.get(token) !== undefined || this.#unknown.get(token) !== undefined;
    return isSpent && marked('lock-given-back', true);
  }

  async #ready(): Promise<void> {
    await this.#loaded;
    this.#requireOpen();
    this.#queues.expire(this.#options.clock.now());
  }

  /** [LEAD-2] After the epoch nothing is answered from what was known in it. */
  #requireOpen(): void {
    if (!this.#stop.signal.aborted) return;
    throw new GramlineError('GRAMLINE_NOT_LEADER', 'another coordinator leads: ask that one', {
      retryable: true,
    });
  }

  // ---------------------------------------------------------------- places

  /** The place that a token has, with a lease that begins now. */
  async #renewed(name: string, tokenHash: Uint8Array): Promise<LockPlace | undefined> {
    const known = this.#queues.find(name, tokenHash);
    if (known === undefined) return undefined;
    if (this.#queues.renew(this.#options.clock.now(), known)) return marked('lock-renewed', known);
    // Its lease has ended, or it was given back: it goes before there is a new one.
    await this.#removals.flush();
    this.#requireOpen();
    return undefined;
  }

  /** Makes a place for a token; undefined without room. */
  async #newPlace(message: LockQuery, tokenHash: Uint8Array): Promise<LockPlace | undefined> {
    const wanted = this.#want(message, tokenHash);
    if (wanted === undefined) return undefined;
    await wanted.made;
    this.#requireOpen();
    return this.#queues.find(message.name, tokenHash);
  }

  #want(message: LockQuery, tokenHash: Uint8Array): Wanted | undefined {
    const key = toHex(tokenOf(message.name, tokenHash));
    const known = this.#wanted.get(key);
    if (known !== undefined) return known;
    if (this.#wanted.size >= PLACES_MAX) return undefined;
    let resolve = (): void => undefined;
    let reject = (_error: unknown): void => undefined;
    const made = new Promise<void>((onMade, onFailed) => {
      resolve = onMade;
      reject = onFailed;
    });
    const wanted = { message, tokenHash, made, resolve, reject };
    this.#wanted.set(key, wanted);
    this.#making ??= this.#makeAll().finally(() => {
      this.#making = undefined;
    });
    return wanted;
  }

  async #makeAll(): Promise<void> {
    // What the rest of this turn asks for goes along.
    await Promise.resolve();
    while (this.#wanted.size > 0) {
      const page: (readonly [string, Wanted])[] = [];
      for (const entry of this.#wanted) {
        page.push(entry);
        if (page.length === PLACES_PER_COMMIT_MAX) break;
      }
      try {
        await this.#make(page.map(([, wanted]) => wanted));
        for (const [, { resolve }] of page) resolve();
      } catch (error) {
        for (const [, { reject }] of page) reject(error);
      }
      for (const [key] of page) this.#wanted.delete(key);
    }
  }

  /** Makes places durable. The watch has entered them when this resolves. */
  async #make(page: readonly Wanted[]): Promise<void> {
    const { state, writer } = this.#options;
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const before = state.get(LOCK_NUMBER_KEY);
      // [LOCK-4] Beyond all that was ever given, also where that record was lost.
      let number = Math.max(decodeLockNumber(before), state.revision);
      const operations: StateOperation[] = [];
      const coming = new Map<string, number>();
      for (const { message, tokenHash } of page) {
        const { name, shared, leaseMillis } = message;
        // One whose commit was not answered may have taken effect all the same.
        if (this.#queues.find(name, tokenHash) !== undefined) continue;
        const ofLock = coming.get(name) ?? 0;
        if (!this.#queues.hasRoom(name, { ofLock, ofAll: operations.length })) continue;
        coming.set(name, ofLock + 1);
        number += 1;
        const value = encodeLock({ name, number, tokenHash, shared, leaseMillis });
        operations.push({ key: lockKey(name, number), value });
      }
      if (operations.length === 0) return;
      operations.push({ key: LOCK_NUMBER_KEY, value: encodeLockNumber(number) });
      const { ok } = await writer.commit([{ key: LOCK_NUMBER_KEY, equals: before }], operations);
      if (ok) return;
    }
    throw new GramlineError('GRAMLINE_BUSY', 'places of locks are being made: try again', {
      retryable: true,
    });
  }

  // ---------------------------------------------------------------- what the state says

  #onChanges(changes: readonly StateChange[]): void {
    const changed = new Set<string>();
    for (const { key, value } of changes) {
      const place = decodeLockKey(key);
      if (place === undefined) continue;
      changed.add(place.name);
      if (value === undefined) this.#queues.remove(place.name, place.number);
      else this.#enter(key, value);
    }
    for (const name of changed) this.#tell(name);
  }

  #enter(key: Uint8Array, value: Uint8Array): void {
    const record = decodeLock(key, value);
    if (record !== undefined) this.#queues.add(this.#options.clock.now(), record);
  }

  #onExpired(place: LockPlace): void {
    const { log } = this.#options;
    const { name, number } = place;
    const held = this.#queues.holders(name).includes(place);
    mark(held ? 'lock-expired' : 'lock-wait-expired');
    log.info('a lease of a lock has ended', { lock: name, fencing: number, held });
    this.#removals.add(place.key);
    this.#removals.flush().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) log.warn('a place of a lock stays', { reason: String(error) });
    });
    this.#tell(name);
  }

  // ---------------------------------------------------------------- waiting

  /** Wakes those who wait for a lock and hold it now, or have no place any more. */
  #tell(name: string): void {
    const waiters = this.#waiters.get(name);
    if (waiters === undefined) return;
    const holders = new Set(this.#queues.holders(name));
    for (const { place, wake } of waiters) {
      if (holders.has(place) || !this.#queues.stays(place)) wake();
    }
  }

  /** Resolves when the place holds its lock, has gone, or `endsAt` has come. */
  async #wait(place: LockPlace, endsAt: Micros): Promise<void> {
    const { clock } = this.#options;
    const isOver = (): boolean => this.#queues.holds(place) || !this.#queues.stays(place);
    if (isOver() || endsAt <= clock.now() || this.#waiting >= LOCK_WAITERS_MAX) return;
    mark('lock-waits');
    const waiters = this.#waiters.get(place.name) ?? new Set();
    this.#waiters.set(place.name, waiters);
    this.#waiting += 1;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        if (!waiters.delete(waiter)) return;
        this.#waiting -= 1;
        timer.cancel();
        if (waiters.size === 0) this.#waiters.delete(place.name);
        resolve();
      };
      const waiter = { place, wake };
      const timer = clock.setTimer(endsAt, wake);
      waiters.add(waiter);
    });
    this.#requireOpen();
  }
}

/** What stands for the token of one lock. */
function tokenOf(name: string, tokenHash: Uint8Array): Uint8Array {
  return concatBytes(tokenHash, utf8(name));
}

/** Of what is too much the oldest is forgotten: a LOCK that comes late comes soon. */
function remember(tokens: LeaseTable<undefined>, token: Uint8Array, now: Micros): void {
  if (tokens.full) tokens.finish(tokens.oldest!.token);
  tokens.hold(token, '', micros(now + GIVEN_BACK_MICROS), undefined);
}
