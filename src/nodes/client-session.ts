/**
 * User sessions, as a client has them: a little data with a lifetime, which whoever has the resume token takes up
 * again, at any coordinator.
 *
 *   new -- written --> there -- written --> there -- end() or lifetime over --> gone
 */

import { concatBytes, fromHex, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { type Micros, millis } from '../base/units.ts';
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
import type { Answered } from './coordinator-asker.ts';
import type { CallOptions, Clock, Entropy } from './ports.ts';
import { readReply, sleep } from './roles.ts';
import { LIFETIME_SECONDS_MAX } from './user-sessions.ts';

const LIFETIME_SECONDS_DEFAULT = 3_600;
/** Writes of one session that wait for those before them. */
export const SESSION_WRITES_MAX = 1_024;
/** A write whose outcome nobody knows is asked for so often. */
const TRIES_MAX = 4;
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
  /** The data, as this handle knows them: of its last write that is durable, or of its last read. */
  readonly data: Uint8Array;
  /** Of the last write that is durable, as far as this handle knows. */
  readonly number: number;
  /**
   * Replaces the data; resolves when that is durable. Writes take effect in the order in which they were
   * called. `data`: at most 640 bytes, copied.
   *
   * @throws GRAMLINE_INVALID, GRAMLINE_BUSY, GRAMLINE_NO_COORDINATOR, the signal's reason
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
  readonly ask: (kind: number, body: Uint8Array, options: CallOptions) => Promise<Answered>;
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

class Session implements UserSession {
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
  #data: Uint8Array = new Uint8Array(0);

  constructor(context: ClientSessionContext, id: Uint8Array, secret: Uint8Array, lifetimeSeconds: number) {
    this.#context = context;
    this.#id = id;
    this.#secret = secret;
    this.#lifetimeSeconds = lifetimeSeconds;
    this.token = toHex(concatBytes(id, secret));
  }

  get data(): Uint8Array {
    return this.#data;
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
    const copy = data.slice();
    await this.#inTurn(async () => {
      signal?.throwIfAborted();
      // Numbered when its turn has come: one that was read meanwhile may have told of a greater one.
      this.#given = Math.max(this.#given, this.#number) + 1;
      const number = this.#given;
      const message = { number, lifetimeSeconds: this.#lifetimeSeconds, data: copy };
      const body = encodeMessage(sessionWriteQuery, { id: this.#id, token: this.#secret, ...message });
      await this.#change(QueryKind.SESSION_WRITE, body, signal);
      if (number <= this.#number) return;
      this.#number = number;
      this.#data = copy;
    });
  }

  async read({ signal }: Pick<CallOptions, 'signal'> = {}): Promise<SessionData> {
    const known = this.#number;
    const body = encodeMessage(sessionQuery, { id: this.#id, token: this.#secret });
    for (let tries = 1; ; tries++) {
      const { reply } = await this.#context.ask(QueryKind.SESSION_READ, body, { signal });
      const found = reply.code === ResultCode.NOT_FOUND ? undefined : readSession(reply);
      // [LEAD-11] That it is not there is certain.
      if (found === undefined) throw notFound();
      // A coordinator that follows may not have heard of the last write yet.
      if (found.number < known && tries < BEHIND_TRIES_MAX) {
        await sleep(this.#context.clock, BEHIND_MICROS, signal);
        signal?.throwIfAborted();
        continue;
      }
      if (found.number > this.#number) {
        this.#number = found.number;
        this.#data = found.data;
      }
      return found;
    }
  }

  async end({ signal }: Pick<CallOptions, 'signal'> = {}): Promise<void> {
    const body = encodeMessage(sessionQuery, { id: this.#id, token: this.#secret });
    await this.#inTurn(() => this.#change(QueryKind.SESSION_END, body, signal));
  }

  /** Asks for a change until somebody says that it is done; each may be asked for twice [LEAD-6]. */
  async #change(kind: number, body: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { clock, ask } = this.#context;
    for (let tries = 1; ; tries++) {
      try {
        const { reply } = await ask(kind, body, { signal });
        // [USR-4] It has ended, or never was: what was asked for.
        if (kind === QueryKind.SESSION_END && reply.code === ResultCode.NOT_FOUND) return;
        readReply(reply, emptyMessage, 'writing a session');
        return;
      } catch (error) {
        // The shared state did not answer its leader: it may have taken effect.
        if (tries >= TRIES_MAX || !isGramlineError(error, 'GRAMLINE_IO')) throw error;
        await sleep(clock, BEHIND_MICROS, signal);
        signal?.throwIfAborted();
      }
    }
  }

  /** Runs `work` behind what was asked for before, whether or not that succeeded. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
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
    await done;
  }
}

function readSession(reply: Answered['reply']): SessionData {
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
