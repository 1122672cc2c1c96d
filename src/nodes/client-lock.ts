/**
 * Locks, as a client has them:
 *
 *   lock() -- waits in the queue, by asking again --> held -- release() --> given back
 *             gives up: by time, signal or error          held -- not renewed in time --> lost
 *             --> its place is given back
 *
 * A lock that is held is renewed three times a lease. How long it is surely held is counted from when the
 * question left, so that it is never believed to be held here when it has ended at the coordinator [LOCK-3].
 */

import { utf8 } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import {
  emptyMessage,
  encodeMessage,
  HOLDER_TOKEN_BYTES,
  type LockReply,
  lockQuery,
  lockReply,
  QueryKind,
  ResultCode,
  unlockQuery,
} from '../wire/index.ts';
import { closedError } from './connection-cache.ts';
import { LOCK_LEASE_MILLIS_MAX, LOCK_LEASE_MILLIS_MIN } from './locks.ts';
import type { CallOptions, Clock, Entropy, Reply, Timer } from './ports.ts';
import { readReply, sleep } from './roles.ts';

/** Locks that one client holds or waits for at once. */
export const CLIENT_LOCKS_MAX = 1_024;
const NAME_BYTES_MAX = 80;
const LEASE_MILLIS_DEFAULT = 10_000;
/** Renewals in one lease [LOCK-3]. */
const RENEWALS = 3;
/** How long one LOCK waits at the coordinator: less than an answer may take. */
const WAIT_MILLIS_MAX = 5_000;
/** What the clocks of two machines may differ by within one lease, as a part of it. */
const DRIFT_DIVISOR = 50;
/** Before the same is asked again that failed, or that was answered sooner than it was to wait. */
const AGAIN_MICROS: Micros = millis(100);
/** Somebody who waits for a lock and reaches no coordinator gives up after this. */
const UNREACHED_MICROS: Micros = seconds(10);
/** An answer to the last question of a wait may take so long. */
const LAST_ANSWER_MICROS: Micros = seconds(5);

export interface LockOptions {
  /** Whether others may hold the lock at the same time, as long as they all say so. Default false. */
  readonly shared?: boolean | undefined;
  /** How long the lock lasts when this client is not heard of any more: 1,000 to 3,600,000. Default 10,000. */
  readonly leaseMillis?: number | undefined;
  /** How long to wait for the lock; 0 asks once. Default: for as long as it takes. */
  readonly timeoutMillis?: number | undefined;
  /** Ends the wait: the place in the queue is given back. It does not end a lock that is held. */
  readonly signal?: AbortSignal | undefined;
}

/** A lock that this client holds, and renews by itself until it is released. */
export interface HeldLock extends AsyncDisposable {
  readonly name: string;
  readonly shared: boolean;
  /** Greater than that of every holder before [LOCK-4]: what is guarded should refuse a lower one. */
  readonly fencing: number;
  readonly leaseMillis: number;
  /** Whether the lock is surely held now. */
  readonly isHeld: boolean;
  /** Aborts when the lock is lost: it could not be renewed in time, or the client is closed. */
  readonly signal: AbortSignal;
  /** Gives the lock back. Harmless twice, and when it is lost. */
  release(): Promise<void>;
}

export interface ClientLocksOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly ask: (kind: number, body: Uint8Array, options: CallOptions) => Promise<Reply>;
}

/** One wish for a lock, from the first question on. */
interface Wish {
  readonly name: string;
  readonly token: Uint8Array;
  readonly shared: boolean;
  readonly leaseMillis: number;
}

export class ClientLocks {
  readonly #options: ClientLocksOptions;
  #isClosed = false;
  /** Waits under way, and what ends each. */
  readonly #waits = new Set<Promise<unknown>>();
  readonly #stops = new Set<AbortController>();
  readonly #held = new Set<Held>();
  /** UNLOCKs that nobody waits for. */
  readonly #givingBack = new Set<Promise<unknown>>();

  constructor(options: ClientLocksOptions) {
    this.#options = options;
  }

  /** As `Client.lock`. */
  async lock(name: string, options: LockOptions): Promise<HeldLock> {
    const wish = this.#wishOf(name, options);
    if (this.#isClosed) throw closedError();
    options.signal?.throwIfAborted();
    if (this.#waits.size + this.#held.size + this.#givingBack.size >= CLIENT_LOCKS_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `this client holds or waits for ${CLIENT_LOCKS_MAX} locks, the most it may: release one first`,
        { retryable: true },
      );
    }
    const wait = this.#wait(wish, options).finally(() => this.#waits.delete(wait));
    this.#waits.add(wait);
    return wait;
  }

  /** Ends waits and gives all locks back; resolves when that is done, or failed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const stop of this.#stops) stop.abort(closedError());
    for (const held of this.#held) held.lose(closedError());
    await Promise.allSettled(this.#waits);
    while (this.#givingBack.size > 0) await Promise.allSettled(this.#givingBack);
  }

  async #wait(wish: Wish, { signal, timeoutMillis }: LockOptions): Promise<HeldLock> {
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#stops.add(stop);
    try {
      return await this.#obtain(wish, timeoutMillis, stop);
    } catch (error) {
      this.#giveBackLater(wish);
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      this.#stops.delete(stop);
    }
  }

  async #obtain(wish: Wish, timeoutMillis: number | undefined, stop: AbortController): Promise<HeldLock> {
    const { clock } = this.#options;
    const beganAt = clock.now();
    let isKnown = false;
    const endsAt = timeoutMillis === undefined ? undefined : micros(beganAt + millis(timeoutMillis));
    const tooLate = (): GramlineError =>
      new GramlineError(
        'GRAMLINE_TIMEOUT',
        `the lock ${wish.name} was not obtained within ${timeoutMillis! / 1_000} s: ${isKnown ? 'somebody else holds it' : 'no coordinator could say who holds it, perhaps its shared state is out of reach'}`,
        { retryable: true },
      );
    const last =
      endsAt === undefined
        ? undefined
        : clock.setTimer(micros(endsAt + LAST_ANSWER_MICROS), () => stop.abort(tooLate()));
    const { signal } = stop;
    let heardAt = beganAt;
    try {
      for (;;) {
        const sentAt = clock.now();
        const leftMillis = endsAt === undefined ? WAIT_MILLIS_MAX : Math.ceil((endsAt - sentAt) / 1_000);
        const mostMillis = Math.min(WAIT_MILLIS_MAX, Math.floor(wish.leaseMillis / RENEWALS));
        const waitMillis = Math.max(0, Math.min(mostMillis, leftMillis));
        try {
          const reply = await this.#ask(wish, waitMillis, signal);
          if (reply !== undefined) {
            const validUntil = validityOf(sentAt, reply);
            heardAt = clock.now();
            isKnown = true;
            if (reply.held && heardAt < validUntil) return this.#hold(wish, reply, sentAt);
          }
        } catch (error) {
          signal.throwIfAborted();
          const isLost = clock.now() >= micros(heardAt + UNREACHED_MICROS);
          const isNobody = isGramlineError(error, 'GRAMLINE_NO_COORDINATOR') && !isKnown;
          if (!isGramlineError(error) || !error.retryable || isLost || isNobody) throw error;
        }
        if (endsAt !== undefined && clock.now() >= endsAt) throw tooLate();
        if (clock.now() < micros(sentAt + millis(waitMillis))) await this.#pause(signal);
        signal.throwIfAborted();
      }
    } finally {
      last?.cancel();
    }
  }

  #hold(wish: Wish, reply: LockReply, sentAt: Micros): HeldLock {
    const held = new Held(wish, reply, sentAt, {
      clock: this.#options.clock,
      renew: (signal) => this.#ask(wish, 0, signal),
      pause: (signal) => this.#pause(signal),
      release: () => this.#release(wish, reply.fencing),
      onLost: () => this.#giveBackLater(wish),
      onEnded: () => this.#held.delete(held),
    });
    this.#held.add(held);
    return held;
  }

  /** Undefined: the place has gone, and the next question makes a new one. */
  async #ask(wish: Wish, waitMillis: number, signal: AbortSignal): Promise<LockReply | undefined> {
    const body = encodeMessage(lockQuery, { ...wish, waitMillis });
    const reply = await this.#options.ask(QueryKind.LOCK, body, { signal });
    if (reply.code === ResultCode.EXPIRED) return undefined;
    return readReply(reply, lockReply, `locking ${wish.name}`);
  }

  /** Gives back what is held or waited for. */
  async #release({ name, token }: Wish, fencing: number): Promise<void> {
    const body = encodeMessage(unlockQuery, { name, token, fencing });
    const reply = await this.#options.ask(QueryKind.UNLOCK, body, {});
    // [LOCK-5] It had been given back by an earlier try, or had ended: then somebody else may hold it.
    if (reply.code === ResultCode.DENIED || reply.code === ResultCode.STALE_EPOCH) return;
    readReply(reply, emptyMessage, `unlocking ${name}`);
  }

  #giveBackLater(wish: Wish): void {
    const done = this.#release(wish, 0)
      .catch(() => undefined)
      .finally(() => this.#givingBack.delete(done));
    this.#givingBack.add(done);
  }

  #pause(signal: AbortSignal): Promise<void> {
    const { clock, entropy } = this.#options;
    return sleep(clock, micros(Math.round(AGAIN_MICROS * (0.5 + entropy.fraction()))), signal);
  }

  #wishOf(name: string, { shared = false, leaseMillis = LEASE_MILLIS_DEFAULT, timeoutMillis }: LockOptions) {
    const { length } = utf8(name);
    if (length < 1 || length > NAME_BYTES_MAX) {
      throw invalid(`a lock has a name of 1 to ${NAME_BYTES_MAX} bytes, and this one has ${length}`);
    }
    const isWhole = Number.isInteger(leaseMillis);
    if (!isWhole || leaseMillis < LOCK_LEASE_MILLIS_MIN || leaseMillis > LOCK_LEASE_MILLIS_MAX) {
      throw invalid(
        `a lock cannot have a lease of ${leaseMillis} ms: ask for ${LOCK_LEASE_MILLIS_MIN} to ${LOCK_LEASE_MILLIS_MAX}`,
      );
    }
    if (timeoutMillis !== undefined && !(timeoutMillis >= 0)) {
      throw invalid(`nobody waits for ${timeoutMillis} ms: give 0 or more`);
    }
    return { name, token: this.#options.entropy.bytes(HOLDER_TOKEN_BYTES), shared, leaseMillis };
  }
}

interface HeldOptions {
  readonly clock: Clock;
  readonly renew: (signal: AbortSignal) => Promise<LockReply | undefined>;
  readonly pause: (signal: AbortSignal) => Promise<void>;
  readonly release: () => Promise<void>;
  readonly onLost: () => void;
  readonly onEnded: () => void;
}

class Held implements HeldLock {
  readonly name: string;
  readonly shared: boolean;
  readonly fencing: number;
  readonly leaseMillis: number;
  readonly #options: HeldOptions;
  readonly #lost = new AbortController();
  /** Ends renewing. */
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  #renewedAt: Micros;
  #validUntil: Micros;
  #timer: Timer;
  #releasing: Promise<void> | undefined;

  constructor(wish: Wish, reply: LockReply, sentAt: Micros, options: HeldOptions) {
    ({ name: this.name, shared: this.shared } = wish);
    ({ fencing: this.fencing, leaseMillis: this.leaseMillis } = reply);
    this.#options = options;
    this.#renewedAt = sentAt;
    this.#validUntil = validityOf(sentAt, reply);
    this.#timer = this.#watch();
    this.#renewing = this.#renew();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get isHeld(): boolean {
    return !this.#stop.signal.aborted && this.#options.clock.now() < this.#validUntil;
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** The lock is not held any more. */
  lose(reason: GramlineError): void {
    if (this.#stop.signal.aborted) return;
    this.#end();
    this.#options.onLost();
    this.#lost.abort(reason);
  }

  async #release(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    this.#end();
    await this.#renewing;
    await this.#options.release();
  }

  #end(): void {
    this.#stop.abort();
    this.#timer.cancel();
    this.#options.onEnded();
  }

  /** Looks when the lock may have ended at the coordinator. */
  #watch(): Timer {
    const { clock } = this.#options;
    return clock.setTimer(this.#validUntil, () => {
      if (clock.now() < this.#validUntil) this.#timer = this.#watch();
      else this.#onLost('it could not be renewed in time');
    });
  }

  #onLost(why: string): void {
    if (this.#stop.signal.aborted) return;
    mark('lock-lost');
    this.lose(
      new GramlineError('GRAMLINE_EXPIRED', `the lock ${this.name} is lost: ${why}`, { retryable: true }),
    );
  }

  async #renew(): Promise<void> {
    const { clock, renew, pause } = this.#options;
    const { signal } = this.#stop;
    const span = Math.floor((this.leaseMillis * 1_000) / RENEWALS);
    while (!signal.aborted) {
      await sleep(clock, micros(Math.max(0, this.#renewedAt + span - clock.now())), signal);
      if (signal.aborted) return;
      const sentAt = clock.now();
      let reply: LockReply | undefined;
      try {
        reply = await renew(signal);
      } catch {
        // Until the lease is over somebody may answer.
        await pause(signal);
        continue;
      }
      // [LOCK-3] Another fencing token is another place: this one had ended before.
      if (reply?.held !== true || reply.fencing !== this.fencing) {
        return this.#onLost('its lease has ended at the coordinator');
      }
      this.#renewedAt = sentAt;
      this.#validUntil = validityOf(sentAt, reply);
    }
  }
}

/** Until when a lock is surely held whose LOCK left at `sentAt`. */
function validityOf(sentAt: Micros, { leaseMillis }: LockReply): Micros {
  const lease = millis(leaseMillis);
  return micros(sentAt + lease - Math.ceil(lease / DRIFT_DIVISOR));
}

function invalid(message: string): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', message);
}
