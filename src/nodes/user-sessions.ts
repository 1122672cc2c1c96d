/**
 * User sessions, as the leader keeps them for one epoch: a little data with a lifetime, taken up again at any
 * coordinator. What there is the shared state says (`user-session-record.ts`), which this follows; how long
 * each still lasts is a lease here, by a clock that nobody sets, and a whole lifetime in a new epoch.
 *
 * What changes one session goes one after the other, in the order in which it was asked for [USR-3].
 */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { micros, seconds } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import {
  emptyMessage,
  encodeMessage,
  ResultCode,
  type SessionQuery,
  type SessionWriteQuery,
  sessionQuery,
  sessionWriteQuery,
} from '../wire/index.ts';
import { type Lease, LeaseTable } from './leases.ts';
import type { Clock, IncomingQuery, Log, StateChange, StateStore } from './ports.ts';
import { Removals } from './removals.ts';
import { readQuery, replyBusy } from './roles.ts';
import { USER_SESSION_END, USER_SESSION_PREFIX } from './state-keys.ts';
import { readPages } from './state-pages.ts';
import type { StateWriter } from './state-writer.ts';
import {
  decodeUserSession,
  encodeUserSession,
  isTokenOf,
  isUserSessionKey,
  type UserSessionRecord,
  userSessionKey,
} from './user-session-record.ts';

/** User sessions of a cluster [USR-5]. */
export const USER_SESSIONS_MAX = 1_000_000;
/** Seconds that a session may last; one at least [USR-1]. */
export const LIFETIME_SECONDS_MAX = 31_536_000;
/** Changes that are asked for and not answered yet. */
export const CHANGES_UNDER_WAY_MAX = 16_384;
/** How often a change is tried of what something else changed meanwhile. */
const TRIES_MAX = 4;

export interface UserSessionsOptions {
  readonly clock: Clock;
  readonly suite: Suite;
  readonly log: Log;
  readonly state: StateStore;
  /** Commits under the epoch. */
  readonly writer: StateWriter;
  /** Default {@link USER_SESSIONS_MAX}. */
  readonly sessionsMax?: number;
}

export class UserSessions {
  readonly #options: UserSessionsOptions;
  readonly #sessionsMax: number;
  /** What ends each session that the state has, by its key; the value is its lifetime. */
  readonly #leases: LeaseTable<number>;
  readonly #removals: Removals;
  readonly #stop = new AbortController();
  readonly #stopWatching: () => void;
  readonly #loaded: Promise<void>;
  /** By session, the last of what was asked for: the next one waits for it. */
  readonly #last = new Map<string, Promise<unknown>>();
  #underWay = 0;
  /** Sessions that their owners are writing at this moment, by their keys. */
  readonly #beingWritten = new Set<string>();
  /** Sessions that are being made: there is to be room for them. */
  #making = 0;

  /** Begins an epoch: each session in the state has its whole lifetime again [USR-4]. */
  constructor(options: UserSessionsOptions) {
    this.#options = options;
    const { clock, state, writer, sessionsMax = USER_SESSIONS_MAX } = options;
    this.#sessionsMax = sessionsMax;
    this.#leases = new LeaseTable<number>(sessionsMax, (lease) => this.#onExpired(lease));
    this.#removals = new Removals(writer);
    this.#stopWatching = state.watch(state.revision, (changes) => this.#onChanges(changes));
    const range = { start: USER_SESSION_PREFIX, end: USER_SESSION_END };
    this.#loaded = readPages({ clock, state, signal: this.#stop.signal }, range, (key, value) =>
      this.#follow(key, value, false),
    );
  }

  close(): void {
    this.#stop.abort();
    this.#stopWatching();
  }

  /** Sessions that are there. */
  get size(): number {
    return this.#leases.size;
  }

  /** Ends sessions whose lifetime is over, and removes what could not be removed before. */
  async sweep(): Promise<void> {
    this.#leases.expire(this.#options.clock.now());
    if (this.#removals.size > 0) await this.#removals.flush();
  }

  /** Answers SESSION_WRITE when it is durable. */
  async write(peer: string, query: IncomingQuery): Promise<void> {
    const message = readQuery(query, sessionWriteQuery);
    if (message === undefined) return;
    const { number, lifetimeSeconds } = message;
    if (number < 1 || lifetimeSeconds < 1 || lifetimeSeconds > LIFETIME_SECONDS_MAX) {
      return query.reply(ResultCode.MALFORMED);
    }
    await this.#inTurn(query, message.id, () => this.#write(message, peer));
  }

  /** Answers SESSION_END when the session has gone from the state. */
  async end(peer: string, query: IncomingQuery): Promise<void> {
    const message = readQuery(query, sessionQuery);
    if (message !== undefined) await this.#inTurn(query, message.id, () => this.#end(message, peer));
  }

  /** Runs `change` behind what was asked for of the same session before, and answers with what it says. */
  async #inTurn(query: IncomingQuery, id: Uint8Array, change: () => Promise<ResultCode>): Promise<void> {
    if (this.#underWay >= CHANGES_UNDER_WAY_MAX) return replyBusy(query);
    const key = toHex(id);
    const before = this.#last.get(key) ?? this.#loaded;
    const changed = before.then(() => {
      this.#requireOpen();
      return change();
    });
    const settled = changed.catch(() => undefined);
    this.#last.set(key, settled);
    this.#underWay += 1;
    try {
      const code = await changed;
      if (code === ResultCode.BUSY) replyBusy(query);
      else if (code === ResultCode.OK) query.reply(code, encodeMessage(emptyMessage, {}));
      else query.reply(code);
    } finally {
      this.#underWay -= 1;
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }

  async #write(message: SessionWriteQuery, peer: string): Promise<ResultCode> {
    const { suite, clock, writer } = this.#options;
    const { id, number, lifetimeSeconds, data } = message;
    const key = userSessionKey(id);
    const tokenHash = suite.sha256(message.token);
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const { value, record } = await this.#now(key);
      if (record !== undefined) {
        if (!isTokenOf(suite, record, message.token)) return this.#deny(peer);
        // [USR-3] It was done.
        if (number <= record.number) {
          mark('session-write-repeated');
          return ResultCode.OK;
        }
      }
      // [USR-1] It has ended: only a first write makes a session.
      if (record === undefined && number > 1) return ResultCode.NOT_FOUND;
      if (record === undefined && this.#leases.size + this.#making >= this.#sessionsMax)
        return ResultCode.BUSY;
      const deadlineMillis = clock.wallMillis() + lifetimeSeconds * 1_000;
      const changed = encodeUserSession({ tokenHash, number, lifetimeSeconds, deadlineMillis, data });
      if (record === undefined) this.#making += 1;
      this.#beingWritten.add(toHex(key));
      try {
        const { ok } = await writer.commit([{ key, equals: value }], [{ key, value: changed }]);
        if (ok) return ResultCode.OK;
      } finally {
        this.#beingWritten.delete(toHex(key));
        if (record === undefined) this.#making -= 1;
      }
    }
    return ResultCode.BUSY;
  }

  async #end(message: SessionQuery, peer: string): Promise<ResultCode> {
    const { suite, writer } = this.#options;
    const key = userSessionKey(message.id);
    for (let tries = 1; tries <= TRIES_MAX; tries++) {
      const { value, record } = await this.#now(key);
      if (record === undefined) return ResultCode.NOT_FOUND;
      if (!isTokenOf(suite, record, message.token)) return this.#deny(peer);
      const { ok } = await writer.commit([{ key, equals: value }], [{ key, value: undefined }]);
      if (ok) return ResultCode.OK;
    }
    return ResultCode.BUSY;
  }

  /** What the state has of a session, when what has ended is gone from there. */
  async #now(key: Uint8Array): Promise<{ value?: Uint8Array | undefined; record?: UserSessionRecord }> {
    const { state, clock } = this.#options;
    this.#leases.expire(clock.now());
    if (this.#removals.has(key)) await this.#removals.flush();
    const value = state.get(key);
    if (value === undefined) return {};
    const record = decodeUserSession(value);
    if (record !== undefined) return { value, record };
    throw new GramlineError(
      'GRAMLINE_IO',
      'a user session is unreadable: a newer version may have written it',
    );
  }

  #deny(peer: string): ResultCode {
    this.#options.log.warn('a user session was asked for with a wrong token', { peer });
    mark('session-denied');
    return ResultCode.DENIED;
  }

  /** [LEAD-2] After the epoch nothing is done that was asked for in it. */
  #requireOpen(): void {
    if (!this.#stop.signal.aborted) return;
    throw new GramlineError('GRAMLINE_NOT_LEADER', 'another coordinator leads: ask that one', {
      retryable: true,
    });
  }

  // ---------------------------------------------------------------- what the state says

  #onChanges(changes: readonly StateChange[]): void {
    for (const { key, value } of changes) {
      if (!isUserSessionKey(key)) continue;
      if (value === undefined) this.#leases.finish(key);
      else this.#follow(key, value, true);
    }
  }

  /** A session is there: its lifetime begins, or begins anew where it was written. */
  #follow(key: Uint8Array, value: Uint8Array, isWritten: boolean): void {
    const record = isUserSessionKey(key) ? decodeUserSession(value) : undefined;
    if (record === undefined) return;
    const deadline = micros(this.#options.clock.now() + seconds(record.lifetimeSeconds));
    if (this.#leases.get(key) === undefined) {
      this.#leases.hold(key.slice(), '', deadline, record.lifetimeSeconds);
    } else if (isWritten) this.#leases.renew(key, deadline);
  }

  #onExpired(lease: Lease<number>): void {
    const { clock, log } = this.#options;
    const id = toHex(lease.token.subarray(USER_SESSION_PREFIX.length));
    // What its owner is writing lasts longer in a moment; what fails to be written ends a moment later.
    if (this.#beingWritten.has(toHex(lease.token))) {
      this.#leases.hold(lease.token, '', micros(clock.now() + seconds(1)), lease.value);
      return;
    }
    mark('session-expired');
    log.info('a user session has ended', { id: id.slice(0, 8), lifetimeSeconds: lease.value });
    this.#removals.add(lease.token);
  }
}
