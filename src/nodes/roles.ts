/** What the roles share: answering and asking with typed messages. */

import { GramlineError } from '../base/errors.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import {
  busyReply,
  type Codec,
  type DecodeFailure,
  decodeMessage,
  encodeMessage,
  isFailure,
  notLeaderReply,
  ResultCode,
} from '../wire/index.ts';
import type { CallOptions, Clock, Connection, IncomingQuery, Log, Reply, Timer } from './ports.ts';
import { resultCodeOf, resultError } from './results.ts';

/** What the two sides of an admission prove to be, each in its own words [ADM-1] [ADM-8]. */
export const ADMISSION_ROLE = 'node';
export const ADMITTING_ROLE = 'coordinator';
/** What a refused asker is told to wait [MSG-10]. */
export const BUSY_RETRY_MILLIS = 500;
/** Nobody is made to wait longer than this before the next try. */
export const RETRY_MILLIS_MAX = 10_000;
/** What an asker is told where a leader is about to be there, or nodes are about to join it. */
export const SOON_RETRY_MILLIS = 100;

/** The same failure is told again after this. */
const TOLD_AGAIN_MICROS: Micros = seconds(30);
/** Reasons that are remembered for that. */
const REASONS_MAX = 16;
/** Warnings of what strangers cause that are told in that time. */
export const WARNINGS_MAX = 16;

/** Answers BUSY with the time after which to try again [MSG-10]. */
export function replyBusy(query: IncomingQuery, retryMillis: number = BUSY_RETRY_MILLIS): void {
  query.reply(ResultCode.BUSY, encodeMessage(busyReply, { retryMillis }));
}

/** Answers a query by an async function; what it throws becomes a result code. */
export function answer(
  query: IncomingQuery,
  work: () => Promise<void>,
  onFailure: (error: unknown) => void,
): void {
  work().catch((error: unknown) => {
    onFailure(error);
    query.reply(resultCodeOf(error));
  });
}

/** Answers a query in this turn; what `work` throws becomes a result code. */
export function answerNow(query: IncomingQuery, work: () => void, onFailure: (error: unknown) => void): void {
  try {
    work();
  } catch (error) {
    onFailure(error);
    query.reply(resultCodeOf(error));
  }
}

/** The query's message, or undefined: then it has been answered MALFORMED [QRY-9]. */
export function readQuery<Message extends object>(
  query: IncomingQuery,
  codec: Codec<Message>,
): Message | undefined {
  const message: Message | DecodeFailure = decodeMessage(codec, query.body);
  if (!isFailure(message)) return message;
  query.reply(ResultCode.MALFORMED);
  return undefined;
}

/** The message in an OK reply. Throws the error that the reply's code, or a malformed body, stands for. */
export function readReply<Message extends object>(
  reply: Reply,
  codec: Codec<Message>,
  what: string,
): Message {
  if (reply.code !== ResultCode.OK) throw replyError(reply, what);
  const message: Message | DecodeFailure = decodeMessage(codec, reply.body);
  if (!isFailure(message)) return message;
  throw new GramlineError('GRAMLINE_PROTOCOL', `${what}: unreadable answer: check that versions match`);
}

/** The error that a reply other than OK stands for, with what the peer said of it. */
function replyError(reply: Reply, what: string): GramlineError {
  const retryAfterMillis = retryMillisOf(reply);
  const leader = leaderNamedBy(reply);
  return resultError(reply.code, what, {
    ...(retryAfterMillis === undefined ? {} : { retryAfterMillis }),
    ...(leader === undefined ? {} : { leader }),
  });
}

/** When a busy peer wants to be asked again, where it says so, and not later than we care for [MSG-10]. */
export function retryMillisOf(reply: Reply): number | undefined {
  if (reply.code !== ResultCode.BUSY) return undefined;
  const busy = decodeMessage(busyReply, reply.body);
  return isFailure(busy) ? undefined : Math.min(busy.retryMillis, RETRY_MILLIS_MAX);
}

/** Which coordinator leads, where one that does not knows it [LEAD-5]. */
export function leaderNamedBy(reply: Reply): string | undefined {
  if (reply.code !== ResultCode.NOT_LEADER) return undefined;
  const named = decodeMessage(notLeaderReply, reply.body);
  return isFailure(named) || named.address === '' ? undefined : named.address;
}

/** Asks one query and reads its reply. */
export async function ask<Query, Answer extends object>(
  connection: Connection,
  kind: number,
  question: { readonly codec: Codec<Query>; readonly message: Query },
  answerCodec: Codec<Answer>,
  what: string,
  options: CallOptions = {},
): Promise<Answer> {
  const reply = await connection.query(kind, encodeMessage(question.codec, question.message), options);
  return readReply(reply, answerCodec, what);
}

/** Waits on the given clock. Resolves early, without an error, when `signal` aborts. */
export function sleep(clock: Clock, span: Micros, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = clock.setTimer(micros(clock.now() + span), finish);
    signal?.addEventListener('abort', finish, { once: true });
  });
}

/** What `work` resolves to, or the error of `tooLate` when that takes longer than `span`. */
export function within<Result>(
  clock: Clock,
  span: Micros,
  work: Promise<Result>,
  tooLate: () => GramlineError,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(micros(clock.now() + span), () => reject(tooLate()));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

/**
 * Notices when one step of many takes too long. One timer serves all steps: it fires once a span, and
 * looks when the step under way began.
 */
export class StallWatch {
  readonly #clock: Clock;
  readonly #span: Micros;
  readonly #onStall: () => void;
  #beganAt: Micros | undefined;
  #timer: Timer | undefined;

  /** `onStall` is called at most once, when a step has taken `span`. */
  constructor(clock: Clock, span: Micros, onStall: () => void) {
    this.#clock = clock;
    this.#span = span;
    this.#onStall = onStall;
    this.#arm(micros(clock.now() + span));
  }

  begin(): void {
    this.#beganAt = this.#clock.now();
  }

  end(): void {
    this.#beganAt = undefined;
  }

  /** Watches no more. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(at: Micros): void {
    this.#timer = this.#clock.setTimer(at, () => {
      const now = this.#clock.now();
      const dueAt = micros((this.#beganAt ?? now) + this.#span);
      if (dueAt <= now) this.#onStall();
      else this.#arm(dueAt);
    });
  }
}

/** Tells each reason, and again only when it is still one after a while: what fails is tried again and again. */
export function toldSeldom(clock: Clock, tell: (reason: string) => void): (error: unknown) => void {
  const told = new Map<string, Micros>();
  return (error) => {
    const reason = String(error);
    const at = told.get(reason);
    if (at !== undefined && clock.now() < micros(at + TOLD_AGAIN_MICROS)) return;
    if (told.size >= REASONS_MAX) told.clear();
    told.set(reason, clock.now());
    tell(reason);
  };
}

/** A log whose warnings are told so many in a while, for what strangers can cause; then how many there were besides. */
export function withFewWarnings(clock: Clock, log: Log): Log {
  let since = clock.now();
  let count = 0;
  return {
    info: (message, fields) => log.info(message, fields),
    error: (message, fields) => log.error(message, fields),
    warn(message, fields) {
      if (clock.now() >= micros(since + TOLD_AGAIN_MICROS)) {
        if (count > WARNINGS_MAX) log.warn('warnings were left out', { count: count - WARNINGS_MAX });
        [since, count] = [clock.now(), 0];
      }
      count += 1;
      if (count <= WARNINGS_MAX) log.warn(message, fields);
    },
  };
}

/** Calls `run` every `span` until `signal` aborts; runs never overlap, failures go to `onFailure`. */
export async function every(
  clock: Clock,
  span: Micros,
  signal: AbortSignal,
  run: () => Promise<void> | void,
  onFailure: (error: unknown) => void,
): Promise<void> {
  for (;;) {
    await sleep(clock, span, signal);
    if (signal.aborted) return;
    try {
      await run();
    } catch (error) {
      onFailure(error);
    }
  }
}
