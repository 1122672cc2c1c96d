/**
 * Asking where objects are: questions that are asked in one turn leave together, up to 31 in a query.
 *
 *   asked --> open batch --(31 hashes, or the end of the turn)--> under way --> answered
 *                 ^                                                  |
 *                 +---- the rest, where the reply had no room -------+
 *
 * The end of the turn is a promise job behind those that are due already: a lone question waits for
 * nothing. While BATCHES_MAX batches are under way the open one goes on filling, so that the more
 * is asked, the less each question costs.
 */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import {
  HASH_BYTES,
  QueryKind,
  ResultCode,
  WHERE_IS_HASHES_MAX,
  WhereIsManyView,
  whereIsReply,
} from '../wire/index.ts';
import { ManyFound, ObjectPlaces, OneFound } from './places.ts';
import type { Reply } from './ports.ts';
import { resultError } from './results.ts';
import { readReply } from './roles.ts';

/** Batches under way at once. */
export const BATCHES_MAX = 32;
/** Questions that are asked and not answered, at most; one more is refused as busy. */
export const QUESTIONS_MAX = 65_536;
/** Questions of one `whereIsMany` that are asked and not answered, at most: the rest wait their turn. */
export const MANY_WINDOW = 2_048;
const SHORT_HASH_BYTES = 6;
const NO_DIGIT = 255;
const DIGITS = hexDigits();

/** What became of one question: where the object is, or why not. */
export type WhereIsOutcome = ObjectPlaces | GramlineError;

/** Who asked. */
interface Asker {
  /** The coordinator answered, about the question that has this index. */
  onAnswer(index: number, outcome: WhereIsOutcome): void;
  /** There is no answer to be had. */
  onFailure(error: unknown): void;
}

/** Questions that leave in one query. */
class Batch {
  /** A count, and the hashes: the body of WHERE_IS_MANY. */
  body = new Uint8Array(1 + HASH_BYTES);
  count = 0;
  readonly askers: Asker[] = [];
  readonly indices: number[] = [];

  get isFull(): boolean {
    return this.count === WHERE_IS_HASHES_MAX;
  }

  /** Adds a question. Throws GRAMLINE_INVALID, and adds nothing, unless it is a hash. */
  add(hash: string | Uint8Array, asker: Asker, index: number): void {
    if (this.count === 1) {
      const longer = new Uint8Array(1 + WHERE_IS_HASHES_MAX * HASH_BYTES);
      longer.set(this.body);
      this.body = longer;
    }
    if (!putHash(hash, this.body, 1 + this.count * HASH_BYTES)) throw noHash();
    this.askers.push(asker);
    this.indices.push(index);
    this.count += 1;
  }

  /** Where the hash of a question stands in the body. */
  at(question: number): number {
    return 1 + question * HASH_BYTES;
  }

  /** The questions from `first` on, as a batch of their own. */
  from(first: number): Batch {
    const rest = new Batch();
    for (let question = first; question < this.count; question++) {
      const hash = this.body.subarray(this.at(question), this.at(question + 1));
      rest.add(hash, this.askers[question]!, this.indices[question]!);
    }
    return rest;
  }

  fail(error: unknown): void {
    for (const asker of this.askers) asker.onFailure(error);
  }
}

export class WhereIsBatcher {
  readonly #send: (kind: number, body: Uint8Array) => Promise<Reply>;
  /** What is being asked now; never empty. */
  #open: Batch | undefined;
  /** Batches that wait for others to be answered, full or the rest of one. */
  readonly #ready: Batch[] = [];
  #underWay = 0;
  /** Whether the end of this turn will send the open batch. */
  #isDue = false;
  #questions = 0;

  /** @param send Asks a coordinator; tries again, and ends, by itself. */
  constructor(send: (kind: number, body: Uint8Array) => Promise<Reply>) {
    this.#send = send;
  }

  /** Where one object is. */
  one(hash: string | Uint8Array): Promise<ObjectPlaces> {
    return new Promise((resolve, reject) => {
      this.#ask(hash, new OneAsker(resolve, reject), 0);
    });
  }

  /** Where many are: what became of each, in their order. Rejects when that cannot be known of all. */
  many(hashes: readonly (string | Uint8Array)[], signal: AbortSignal | undefined): Promise<WhereIsOutcome[]> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      const onAbort = (): void => asker.onFailure(signal!.reason);
      const end = (): void => signal?.removeEventListener('abort', onAbort);
      const asker = new ManyAsker(hashes, (hash, index) => this.#ask(hash, asker, index), {
        resolve: (outcomes) => {
          end();
          resolve(outcomes);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      });
      signal?.addEventListener('abort', onAbort, { once: true });
      asker.start();
    });
  }

  /** Throws GRAMLINE_INVALID or GRAMLINE_BUSY. */
  #ask(hash: string | Uint8Array, asker: Asker, index: number): void {
    if (this.#questions >= QUESTIONS_MAX) throw tooManyQuestions();
    const batch = this.#open ?? new Batch();
    batch.add(hash, asker, index);
    this.#questions += 1;
    this.#open = batch;
    if (batch.isFull) this.#close();
    else if (!this.#isDue) {
      this.#isDue = true;
      void Promise.resolve().then(this.#endTurn);
    }
  }

  readonly #endTurn = (): void => {
    this.#isDue = false;
    if (this.#underWay < BATCHES_MAX) this.#close();
  };

  #close(): void {
    if (this.#open !== undefined) this.#ready.push(this.#open);
    this.#open = undefined;
    this.#pump();
  }

  /** Sends what may be sent. */
  #pump(): void {
    while (this.#underWay < BATCHES_MAX) {
      let batch = this.#ready.shift();
      if (batch === undefined && !this.#isDue) {
        batch = this.#open;
        this.#open = undefined;
      }
      if (batch === undefined) return;
      this.#underWay += 1;
      this.#sendBatch(batch);
    }
  }

  #sendBatch(batch: Batch): void {
    const { body, count } = batch;
    body[0] = count;
    // One hash is asked for by WHERE_IS, whose body is the hash alone.
    const answered =
      count === 1
        ? this.#send(QueryKind.WHERE_IS, body.subarray(1, 1 + HASH_BYTES))
        : this.#send(QueryKind.WHERE_IS_MANY, body.subarray(0, batch.at(count)));
    answered.then(
      (reply) => {
        this.#underWay -= 1;
        if (count === 1) this.#onOne(batch, reply);
        else this.#onMany(batch, reply);
        this.#pump();
      },
      (error: unknown) => {
        this.#underWay -= 1;
        this.#questions -= count;
        batch.fail(error);
        this.#pump();
      },
    );
  }

  #onOne(batch: Batch, reply: Reply): void {
    this.#questions -= 1;
    batch.askers[0]!.onAnswer(batch.indices[0]!, readOne(reply, batch.body, 1));
  }

  #onMany(batch: Batch, reply: Reply): void {
    const { count } = batch;
    const view = reply.code === ResultCode.OK ? new WhereIsManyView(reply.body) : undefined;
    // [DEFS-28] No more answers than questions.
    if (view === undefined || view.failure !== undefined || view.count > count) {
      this.#questions -= count;
      return batch.fail(view === undefined ? resultError(reply.code, 'looking for objects') : unreadable());
    }
    this.#questions -= view.count;
    // [DEFS-28] What found no room in the reply is asked again, before what came later.
    if (view.count < count) this.#ready.unshift(batch.from(view.count));
    const found = new ManyFound(view);
    for (let question = 0; question < view.count; question++) {
      const code = view.code(question);
      const outcome =
        code === ResultCode.OK
          ? new ObjectPlaces(view.bytes(question), found, question, batch.body, batch.at(question))
          : notFound(
              code,
              batch.body,
              batch.at(question),
              code === ResultCode.BUSY ? view.retryMillis(question) : undefined,
            );
      batch.askers[question]!.onAnswer(batch.indices[question]!, outcome);
    }
  }
}

class OneAsker implements Asker {
  readonly #resolve: (places: ObjectPlaces) => void;
  readonly onFailure: (error: unknown) => void;

  constructor(resolve: (places: ObjectPlaces) => void, reject: (error: unknown) => void) {
    this.#resolve = resolve;
    this.onFailure = reject;
  }

  onAnswer(_index: number, outcome: WhereIsOutcome): void {
    if (outcome instanceof ObjectPlaces) this.#resolve(outcome);
    else this.onFailure(outcome);
  }
}

/** Asks for a list of objects, a window of them at a time. */
class ManyAsker implements Asker {
  readonly #hashes: readonly (string | Uint8Array)[];
  readonly #ask: (hash: string | Uint8Array, index: number) => void;
  readonly #end: { resolve(outcomes: WhereIsOutcome[]): void; reject(error: unknown): void };
  readonly #outcomes: WhereIsOutcome[];
  #asked = 0;
  #answered = 0;
  #hasEnded = false;

  constructor(
    hashes: readonly (string | Uint8Array)[],
    ask: (hash: string | Uint8Array, index: number) => void,
    end: { resolve(outcomes: WhereIsOutcome[]): void; reject(error: unknown): void },
  ) {
    this.#hashes = hashes;
    this.#ask = ask;
    this.#end = end;
    this.#outcomes = new Array<WhereIsOutcome>(hashes.length);
  }

  start(): void {
    if (this.#hashes.length === 0) this.#end.resolve([]);
    else this.#askMore(MANY_WINDOW);
  }

  onAnswer(index: number, outcome: WhereIsOutcome): void {
    if (this.#hasEnded) return;
    this.#outcomes[index] = outcome;
    this.#answered += 1;
    if (this.#answered === this.#hashes.length) {
      this.#hasEnded = true;
      this.#end.resolve(this.#outcomes);
    } else if (this.#asked - this.#answered <= MANY_WINDOW - WHERE_IS_HASHES_MAX) {
      this.#askMore(WHERE_IS_HASHES_MAX);
    }
  }

  onFailure(error: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#end.reject(error);
  }

  #askMore(count: number): void {
    const end = Math.min(this.#hashes.length, this.#asked + count);
    try {
      for (; this.#asked < end; this.#asked++) this.#ask(this.#hashes[this.#asked]!, this.#asked);
    } catch (error) {
      this.onFailure(error);
    }
  }
}

/** What a reply to WHERE_IS says of the object whose hash stands in `asked` at `at`. */
export function readOne(reply: Reply, asked: Uint8Array, at: number): WhereIsOutcome {
  try {
    const found = readReply(reply, whereIsReply, lookingFor(asked, at));
    return new ObjectPlaces(found.bytes, new OneFound(found), 0, asked, at);
  } catch (error) {
    if (error instanceof GramlineError) return error;
    throw error;
  }
}

/** The 32 bytes of a hash, newly allocated. Throws GRAMLINE_INVALID unless it is 64 hex digits or 32 bytes. */
export function parseHash(hash: string | Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HASH_BYTES);
  if (!putHash(hash, bytes, 0)) throw noHash();
  return bytes;
}

/** Writes a hash into `into` at `at`; false when it is none. */
function putHash(hash: string | Uint8Array, into: Uint8Array, at: number): boolean {
  if (typeof hash !== 'string') {
    if (hash.length !== HASH_BYTES) return false;
    into.set(hash, at);
    return true;
  }
  if (hash.length !== 2 * HASH_BYTES) return false;
  let bad = 0;
  for (let index = 0; index < HASH_BYTES; index++) {
    const high = DIGITS[hash.charCodeAt(2 * index)] ?? NO_DIGIT;
    const low = DIGITS[hash.charCodeAt(2 * index + 1)] ?? NO_DIGIT;
    bad |= high | low;
    into[at + index] = (high << 4) | low;
  }
  return bad < 16;
}

function hexDigits(): Uint8Array {
  const digits = new Uint8Array(128).fill(NO_DIGIT);
  for (let value = 0; value < 16; value++) {
    const digit = value.toString(16);
    digits[digit.charCodeAt(0)] = value;
    digits[digit.toUpperCase().charCodeAt(0)] = value;
  }
  return digits;
}

function lookingFor(asked: Uint8Array, at: number): string {
  return `looking for ${toHex(asked.subarray(at, at + SHORT_HASH_BYTES))}`;
}

function notFound(
  code: number,
  asked: Uint8Array,
  at: number,
  retryMillis: number | undefined,
): GramlineError {
  return resultError(
    code,
    lookingFor(asked, at),
    retryMillis === undefined ? {} : { retryAfterMillis: retryMillis },
  );
}

function noHash(): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', 'a hash has 64 hex digits (SHA-256)');
}

function unreadable(): GramlineError {
  return new GramlineError(
    'GRAMLINE_PROTOCOL',
    'looking for objects: unreadable answer: check that versions match',
  );
}

function tooManyQuestions(): GramlineError {
  return new GramlineError(
    'GRAMLINE_BUSY',
    `${QUESTIONS_MAX} objects are being looked for: ask again when some are found, or for many at once`,
    { retryable: true },
  );
}
