/**
 * User sessions, as a client has them: a little data with a lifetime, which whoever has the resume token takes up
 * again, at any coordinator.
 *
 *   new -- first write durable --> there
 *   there -- written: held here, pushed in order until it is durable --> there
 *   there -- end(), ended elsewhere, or lifetime over --> gone, which `signal` tells
 *
 * What is written is held here first: it outlasts the loss of coordinators and of the shared state, as long as
 * the session may still be there.
 */

import { concatBytes, fromHex, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import {
  emptyMessage,
  encodeMessage,
  HOLDER_TOKEN_BYTES,
  QueryKind,
  ResultCode,
  type SessionReply,
  sessionQuery,
  sessionReply,
  sessionWriteQuery,
  USER_DATA_BYTES_MAX,
  USER_SESSION_ID_BYTES,
} from '../wire/index.ts';
import type { CallOptions, Clock, Entropy, Reply, Timer } from './ports.ts';
import { readReply, sleep } from './roles.ts';
import { LIFETIME_SECONDS_MAX } from './user-sessions.ts';

const LIFETIME_SECONDS_DEFAULT = 3_600;
/** Writes of one session that wait for those before them. */
export const SESSION_WRITES_MAX = 1_024;
/** A first write whose outcome nobody knows is asked for so often; a later one as long as the session may be there. */
const FIRST_TRIES_MAX = 4;
/** Wait before a write is pushed again, with jitter, doubled each time up to the most. */
const PUSH_MICROS: Micros = millis(100);
const PUSH_MICROS_MAX: Micros = seconds(2);
/** Behind the lifetime, whether a session has ended is asked [USR-4], and again when nobody answers. */
const LOOK_MICROS: Micros = seconds(2);
const LOOK_AGAIN_MICROS: Micros = seconds(5);
/** Sessions of one client whose end is watched for. */
export const SESSIONS_WATCHED_MAX = 4_096;
/** A coordinator that does not know of the last write yet is asked again after this, so often. */
const BEHIND_MICROS: Micros = millis(100);
const BEHIND_TRIES_MAX = 20;

export interface SessionOptions {
  /** What `UserSession.token` said: the session is taken up again. Default: a new one is made. */
  readonly resume?: string | undefined;
  /** Of a new session: its first data, at most 640 bytes. Default: none. */
  readonly data?: Uint8Array | undefined;
  /** How long the session lasts after each write: 1 to 31,536,000. Default 3,600. */
  readonly lifetimeSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a session held when it was read. */
export interface SessionData {
  readonly data: Uint8Array;
  /** Of the write that these data came with: 1, 2, 3, ... */
  readonly number: number;
  /** About how long the session lasts, by the wall clocks of the coordinators. */
  readonly remainingSeconds: number;
  /** Whether there may be newer data: the shared state is out of reach of the coordinator that answered. */
  readonly stale: boolean;
}

/** A user session, for one writer at a time. */
export interface UserSession {
  /** 64 hex digits by which the session is taken up again. A secret: who has it may read, write and end the session. */
  readonly token: string;
  /** The data, as this handle knows them: of its last write, durable or not, or else of its last read. */
  readonly data: Uint8Array;
  /** Writes that are held here and not durable yet. */
  readonly pending: number;
  /** Of the last write that is durable, as far as this handle knows. */
  readonly number: number;
  /**
   * Aborts when the session has ended: its lifetime is over, or somebody ended it. Whoever reads this has the session
   * watched, by a question each lifetime.
   */
  readonly signal: AbortSignal;
  /**
   * Replaces the data here, and pushes them to the shared state; resolves when they are durable there. Writes take effect
   * in the order in which they were called, and wait for a coordinator as long as the session lasts. `data`: at
   * most 640 bytes, copied.
   *
   * @throws GRAMLINE_INVALID, GRAMLINE_BUSY when 1,024 wait, GRAMLINE_NOT_FOUND when the session has ended,
   *   GRAMLINE_CLOSED, the signal's reason, and why it could not be pushed until the lifetime was over
   */
  write(data: Uint8Array, options?: Pick<CallOptions, 'signal'>): Promise<void>;
  /** Reads the data anew, from whichever coordinator answers. @throws GRAMLINE_NOT_FOUND when the session has ended */
  read(options?: Pick<CallOptions, 'signal'>): Promise<SessionData>;
  /** Ends the session, behind the writes that were called before; harmless when it has ended. */
  end(options?: Pick<CallOptions, 'signal'>): Promise<void>;
}

export interface ClientSessionContext {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly ask: (kind: number, body: Uint8Array, options: CallOptions) => Promise<Reply>;
  /** Those whose end is watched for: the client stops them when it closes. */
  readonly watched: Set<WatchedSession>;
}

export interface WatchedSession {
  stop(): void;
}

/** As `Client.session`. */
export async function openSession(
  context: ClientSessionContext,
  options: SessionOptions,
): Promise<UserSession> {
  const { resume, data = new Uint8Array(0), lifetimeSeconds = LIFETIME_SECONDS_DEFAULT, signal } = options;
  const isWhole = Number.isInteger(lifetimeSeconds);
  if (!isWhole || lifetimeSeconds < 1 || lifetimeSeconds > LIFETIME_SECONDS_MAX) {
    throw invalid(`a session cannot last ${lifetimeSeconds} s: ask for 1 to ${LIFETIME_SECONDS_MAX}`);
  }
  if (resume === undefined) {
    const id = context.entropy.bytes(USER_SESSION_ID_BYTES);
    const session = new Session(context, id, context.entropy.bytes(HOLDER_TOKEN_BYTES), lifetimeSeconds);
    await session.write(data, { signal });
    return session;
  }
  const bytes = fromHex(resume);
  if (bytes?.length !== USER_SESSION_ID_BYTES + HOLDER_TOKEN_BYTES) {
    throw invalid('a resume token of a session has 64 hex digits');
  }
  const id = bytes.subarray(0, USER_SESSION_ID_BYTES);
  const session = new Session(context, id, bytes.subarray(USER_SESSION_ID_BYTES), lifetimeSeconds);
  await session.read({ signal });
  return session;
}

class Session implements UserSession, WatchedSession {
  readonly token: string;
  readonly #context: ClientSessionContext;
  readonly #id: Uint8Array;
  readonly #secret: Uint8Array;
  readonly #lifetimeSeconds: number;
  /** What was asked for last: the next one waits for it. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** Of the last write that was asked for. */
  #given = 0;
  #number = 0;
  /** Of the last write that is durable, and of the last that was called. */
  #data: Uint8Array = new Uint8Array(0);
  #newest: Uint8Array = this.#data;
  #pending = 0;
  /** The lifetime is over by then, unless a new leader began it anew. */
  #endsAt: Micros = micros(0);
  readonly #ended = new AbortController();
  #look: Timer | undefined;

  constructor(context: ClientSessionContext, id: Uint8Array, secret: Uint8Array, lifetimeSeconds: number) {
    this.#context = context;
    this.#id = id;
    this.#secret = secret;
    this.#lifetimeSeconds = lifetimeSeconds;
    this.token = toHex(concatBytes(id, secret));
  }

  get data(): Uint8Array {
    return this.#pending > 0 ? this.#newest : this.#data;
  }

  get pending(): number {
    return this.#pending;
  }

  get signal(): AbortSignal {
    const { signal } = this.#ended;
    const { watched } = this.#context;
    if (signal.aborted || watched.has(this)) return signal;
    if (watched.size >= SESSIONS_WATCHED_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `this client watches ${SESSIONS_WATCHED_MAX} sessions, the most it may: end some first`,
      );
    }
    watched.add(this);
    this.#lookAt(this.#endsAt);
    return signal;
  }

  /** The client is closed. */
  stop(): void {
    this.#look?.cancel();
    this.#context.watched.delete(this);
  }

  get number(): number {
    return this.#number;
  }

  async write(data: Uint8Array, { signal }: Pick<CallOptions, 'signal'> = {}): Promise<void> {
    if (data.length > USER_DATA_BYTES_MAX) {
      throw invalid(
        `a session keeps at most ${USER_DATA_BYTES_MAX} bytes, not ${data.length}: put the rest into an object`,
      );
    }
    if (this.#ended.signal.aborted) throw notFound();
    const copy = data.slice();
    this.#newest = copy;
    const write = async (): Promise<void> => {
      signal?.throwIfAborted();
      // Numbered when its turn has come: one that was read meanwhile may have told of a greater one.
      this.#given = Math.max(this.#given, this.#number) + 1;
      const number = this.#given;
      const message = { number, lifetimeSeconds: this.#lifetimeSeconds, data: copy };
      const body = encodeMessage(sessionWriteQuery, { id: this.#id, token: this.#secret, ...message });
      const sentAt = this.#context.clock.now();
      await this.#change(QueryKind.SESSION_WRITE, body, signal);
      this.#lastUntil(micros(sentAt + seconds(this.#lifetimeSeconds)));
      if (number <= this.#number) return;
      this.#number = number;
      this.#data = copy;
    };
    this.#pending += 1;
    try {
      await this.#inTurn(write, signal);
    } finally {
      this.#pending -= 1;
    }
  }

  async read({ signal }: Pick<CallOptions, 'signal'> = {}): Promise<SessionData> {
    const known = this.#number;
    const body = encodeMessage(sessionQuery, { id: this.#id, token: this.#secret });
    for (let tries = 1; ; tries++) {
      const reply = await this.#context.ask(QueryKind.SESSION_READ, body, { signal });
      const found = reply.code === ResultCode.NOT_FOUND ? undefined : readSession(reply);
      // [LEAD-11] That it is not there is certain.
      if (found === undefined) {
        this.#finish();
        throw notFound();
      }
      // A coordinator that follows may not have heard of the last write yet.
      if (found.number < known && tries < BEHIND_TRIES_MAX) {
        await sleep(this.#context.clock, BEHIND_MICROS, signal);
        signal?.throwIfAborted();
        continue;
      }
      this.#lastUntil(micros(this.#context.clock.now() + seconds(found.remainingSeconds)));
      if (found.number > this.#number) {
        this.#number = found.number;
        this.#data = found.data;
      }
      return found;
    }
  }

  async end({ signal }: Pick<CallOptions, 'signal'> = {}): Promise<void> {
    const body = encodeMessage(sessionQuery, { id: this.#id, token: this.#secret });
    await this.#inTurn(() => this.#change(QueryKind.SESSION_END, body, signal), signal);
    this.#finish();
  }

  // ---------------------------------------------------------------- its end

  #lastUntil(at: Micros): void {
    this.#endsAt = micros(Math.max(this.#endsAt, at));
    if (this.#context.watched.has(this)) this.#lookAt(this.#endsAt);
  }

  /** Asks a little later than `at` whether it is still there. */
  #lookAt(at: Micros): void {
    this.#look?.cancel();
    const { clock } = this.#context;
    const lookAt = micros(Math.max(at, clock.now()) + LOOK_MICROS);
    this.#look = clock.setTimer(lookAt, () => {
      // A reading that finds it looks again at its end.
      this.read().catch(() => {
        if (this.#context.watched.has(this)) this.#lookAt(micros(clock.now() + LOOK_AGAIN_MICROS));
      });
    });
  }

  #finish(): void {
    this.stop();
    this.#ended.abort(new GramlineError('GRAMLINE_EXPIRED', 'the session has ended: make a new one'));
  }

  // ---------------------------------------------------------------- changing it

  /** Asks for a change until somebody says that it is done; each may be asked for twice [LEAD-6]. */
  async #change(kind: number, body: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { clock, entropy, ask } = this.#context;
    let span = PUSH_MICROS;
    for (let tries = 1; ; tries++) {
      try {
        const reply = await ask(kind, body, { signal });
        if (reply.code === ResultCode.NOT_FOUND) {
          this.#finish();
          // [USR-4] It has ended, or never was: what was asked for.
          if (kind === QueryKind.SESSION_END) return;
          throw notFound();
        }
        readReply(reply, emptyMessage, 'writing a session');
        return;
      } catch (error) {
        if (!this.#isWorthAnother(error, tries) || signal?.aborted === true) throw error;
        mark('session-pushed-again');
        await sleep(clock, micros(Math.round(span * (0.5 + entropy.fraction()))), signal);
        signal?.throwIfAborted();
        span = micros(Math.min(2 * span, PUSH_MICROS_MAX));
      }
    }
  }

  /** Nobody leads, or the shared state did not answer its leader: it may have taken effect, or will. */
  #isWorthAnother(error: unknown, tries: number): boolean {
    if (!isGramlineError(error) || !error.retryable) return false;
    if (this.#number === 0) return error.code === 'GRAMLINE_IO' && tries < FIRST_TRIES_MAX;
    return this.#context.clock.now() < this.#endsAt;
  }

  /** Runs `work` behind what was asked for before, whether or not that succeeded. Rejects at once when `signal` aborts. */
  async #inTurn(work: () => Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting >= SESSION_WRITES_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `${SESSION_WRITES_MAX} writes of this session wait already: await them first`,
        { retryable: true },
      );
    }
    this.#waiting += 1;
    const done = this.#last.then(work).finally(() => {
      this.#waiting -= 1;
    });
    this.#last = done.catch(() => undefined);
    await orAborted(done, signal);
  }
}

/** What `work` resolves to, or the reason of `signal` as soon as that aborts. */
function orAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

function readSession(reply: Reply): SessionData {
  const { number, remainingSeconds, stale, data }: SessionReply = readReply(
    reply,
    sessionReply,
    'reading a session',
  );
  return { number, remainingSeconds, stale, data: data.slice() };
}

function notFound(): GramlineError {
  return new GramlineError(
    'GRAMLINE_NOT_FOUND',
    'no such session: it has ended, or never was: make a new one',
    {
      wireCode: ResultCode.NOT_FOUND,
    },
  );
}

function invalid(message: string): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', message);
}
