/**
 * The hot codec of WHERE_IS_MANY: written and read straight in the bytes of a body, without an
 * object for each hash or location.
 *
 * The layout is that of `whereIsManyQuery` and `whereIsManyReply` in `messages.ts`, the plain codec
 * that this one is tested against.
 */

import { assert } from '../base/assert.ts';
import { BODY_BYTES_MAX, HASH_BYTES, NODE_ID_BYTES, ResultCode } from './constants.ts';
import { ADDRESS_BYTES_MAX, REPLICAS_MAX } from './message-parts.ts';
import { WHERE_IS_HASHES_MAX, WHERE_IS_LOCATIONS_MAX } from './messages.ts';
import type { DecodeFailure } from './reader.ts';

/** Revision, staleness, and the counts of locations and of answers. */
const FIXED_BYTES = 6 + 1 + 1 + 1;
const STALE_AT = 6;
const LOCATIONS_AT = 7;
const TABLE_AT = 8;
/** Code, size, number of replicas. */
const FOUND_BYTES = 1 + 6 + 1;
const TWO_TO_32 = 0x1_0000_0000;
const ASCII_END = 0x80;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** How many hashes a WHERE_IS_MANY query asks for, or undefined when it does not decode [MSG-11]. */
export function whereIsManyCount(body: Uint8Array): number | undefined {
  const count = body.length === 0 ? 0 : body[0]!;
  if (count === 0 || count > WHERE_IS_HASHES_MAX || body.length !== 1 + count * HASH_BYTES) return undefined;
  return count;
}

/**
 * Writes WHERE_IS_MANY replies, one after the other, in memory of its own. An answer that does not
 * fit into the body leaves no trace, and is the end of the reply.
 */
export class WhereIsManyWriter {
  readonly #head = new Uint8Array(BODY_BYTES_MAX);
  readonly #answers = new Uint8Array(BODY_BYTES_MAX);
  #headAt = 0;
  #answersAt = 0;
  #locations = 0;
  #count = 0;

  constructor() {
    this.begin();
  }

  /** Locations in the table so far: the index of the next one. */
  get locations(): number {
    return this.#locations;
  }

  begin(): void {
    this.#headAt = TABLE_AT;
    this.#answersAt = 0;
    this.#locations = 0;
    this.#count = 0;
  }

  /** Whether `bytes` more for locations, and an OK answer of `replicas`, fit into the body. */
  fits(locationBytes: number, newLocations: number, replicas: number): boolean {
    return (
      this.#locations + newLocations <= WHERE_IS_LOCATIONS_MAX &&
      this.#headAt + this.#answersAt + 1 + locationBytes + FOUND_BYTES + replicas <= BODY_BYTES_MAX
    );
  }

  /** Puts a location, already encoded, into the table. Ask `fits` first. */
  location(encoded: Uint8Array): void {
    this.#head.set(encoded, this.#headAt);
    this.#headAt += encoded.length;
    this.#locations += 1;
  }

  /** The head of an OK answer; `replicas` indices follow by `replica`. Ask `fits` first. */
  found(bytes: number, replicas: number): void {
    const answers = this.#answers;
    const at = this.#answersAt;
    const low = bytes >>> 0;
    const high = (bytes - low) / TWO_TO_32;
    answers[at] = ResultCode.OK;
    answers[at + 1] = high >>> 8;
    answers[at + 2] = high;
    answers[at + 3] = low >>> 24;
    answers[at + 4] = low >>> 16;
    answers[at + 5] = low >>> 8;
    answers[at + 6] = low;
    answers[at + 7] = replicas;
    this.#answersAt = at + FOUND_BYTES;
    this.#count += 1;
  }

  replica(index: number): void {
    this.#answers[this.#answersAt++] = index;
  }

  /** An answer other than OK; false when it does not fit. */
  failed(code: number, retryMillis: number): boolean {
    const bytes = code === ResultCode.BUSY ? 5 : 1;
    if (this.#headAt + this.#answersAt + 1 + bytes > BODY_BYTES_MAX) return false;
    const answers = this.#answers;
    answers[this.#answersAt++] = code;
    if (code === ResultCode.BUSY) {
      for (let shift = 24; shift >= 0; shift -= 8) answers[this.#answersAt++] = retryMillis >>> shift;
    }
    this.#count += 1;
    return true;
  }

  /** The body, newly allocated. */
  finish(revision: number, stale: boolean): Uint8Array {
    assert(this.#count > 0, 'a reply without an answer');
    const body = new Uint8Array(this.#headAt + 1 + this.#answersAt);
    const low = revision >>> 0;
    const high = (revision - low) / TWO_TO_32;
    const head = this.#head;
    head[0] = high >>> 8;
    head[1] = high;
    head[2] = low >>> 24;
    head[3] = low >>> 16;
    head[4] = low >>> 8;
    head[5] = low;
    head[STALE_AT] = stale ? 1 : 0;
    head[LOCATIONS_AT] = this.#locations;
    body.set(head.subarray(0, this.#headAt));
    body[this.#headAt] = this.#count;
    body.set(this.#answers.subarray(0, this.#answersAt), this.#headAt + 1);
    return body;
  }
}

/**
 * A WHERE_IS_MANY reply, checked as a whole when it is made and read afterwards where it stands.
 * Borrows the body.
 */
export class WhereIsManyView {
  readonly body: Uint8Array;
  /** Why the body was refused; then nothing else may be asked. */
  readonly failure: DecodeFailure | undefined;
  readonly revision: number;
  /** The answers may be old: the shared state is out of the coordinator's reach. */
  readonly stale: boolean;
  /** Locations in the table. */
  readonly locations: number;
  /** Answers, in the order of the hashes that were asked for. */
  readonly count: number;
  /** Where each answer starts, and behind them where each location does. */
  readonly #starts = new Uint16Array(WHERE_IS_HASHES_MAX + WHERE_IS_LOCATIONS_MAX);

  constructor(body: Uint8Array) {
    this.body = body;
    this.revision = body.length < FIXED_BYTES ? 0 : u48(body, 0);
    this.stale = body[STALE_AT] === 1;
    this.locations = body.length < FIXED_BYTES ? 0 : body[LOCATIONS_AT]!;
    this.count = 0;
    const answersAt = this.#checkLocations();
    if (typeof answersAt === 'string') {
      this.failure = answersAt;
      return;
    }
    this.count = answersAt < body.length ? body[answersAt]! : 0;
    this.failure = this.#checkAnswers(answersAt);
  }

  /** The code of an answer: OK, NOT_FOUND, CORRUPT or BUSY. */
  code(answer: number): number {
    return this.body[this.#starts[answer]!]!;
  }

  /** The object's size; of an answer that is OK. */
  bytes(answer: number): number {
    return u48(this.body, this.#starts[answer]! + 1);
  }

  /** How many replicas an answer that is OK names. */
  replicas(answer: number): number {
    return this.body[this.#starts[answer]! + 7]!;
  }

  /** Index of the location of a replica, best first. */
  replica(answer: number, rank: number): number {
    return this.body[this.#starts[answer]! + FOUND_BYTES + rank]!;
  }

  /** When to ask again; of an answer that is BUSY. */
  retryMillis(answer: number): number {
    return u32(this.body, this.#starts[answer]! + 1);
  }

  /** The node's id, borrowed. */
  nodeId(location: number): Uint8Array {
    const at = this.#starts[WHERE_IS_HASHES_MAX + location]!;
    return this.body.subarray(at, at + NODE_ID_BYTES);
  }

  address(location: number): string {
    const at = this.#starts[WHERE_IS_HASHES_MAX + location]! + NODE_ID_BYTES;
    return decoder.decode(this.body.subarray(at + 1, at + 1 + this.body[at]!));
  }

  /** Where the answers start, or why the table is refused. */
  #checkLocations(): number | DecodeFailure {
    const { body, locations } = this;
    if (body.length < FIXED_BYTES) return 'truncated';
    // [MSG-3] A flag is 0 or 1.
    if (body[STALE_AT]! > 1) return 'range';
    // [MSG-7] A count above the maximum.
    if (locations > WHERE_IS_LOCATIONS_MAX) return 'range';
    let at = TABLE_AT;
    for (let index = 0; index < locations; index++) {
      this.#starts[WHERE_IS_HASHES_MAX + index] = at;
      at += NODE_ID_BYTES;
      if (at >= body.length) return 'truncated';
      const length = body[at]!;
      at += 1;
      if (at + length > body.length) return 'truncated';
      if (!isText(body, at, at + length)) return 'text';
      // [MSG-4] Addresses have a maximum.
      if (length > ADDRESS_BYTES_MAX) return 'length';
      at += length;
    }
    return at;
  }

  #checkAnswers(start: number): DecodeFailure | undefined {
    const { body, count } = this;
    if (start >= body.length) return 'truncated';
    // [MSG-11] 1 to 31.
    if (count === 0 || count > WHERE_IS_HASHES_MAX) return 'range';
    let at = start + 1;
    for (let answer = 0; answer < count; answer++) {
      if (at >= body.length) return 'truncated';
      this.#starts[answer] = at;
      switch (body[at]) {
        case ResultCode.OK: {
          if (at + FOUND_BYTES > body.length) return 'truncated';
          const replicas = body[at + 7]!;
          if (replicas > REPLICAS_MAX) return 'range';
          at += FOUND_BYTES;
          for (const end = at + replicas; at < end; at++) {
            if (at >= body.length) return 'truncated';
            // [MSG-12] It stands in the table.
            if (body[at]! >= this.locations) return 'range';
          }
          break;
        }
        case ResultCode.BUSY:
          at += 5;
          break;
        case ResultCode.NOT_FOUND:
        case ResultCode.CORRUPT:
          at += 1;
          break;
        default:
          // [MSG-3] No other code stands there.
          return 'unknown';
      }
    }
    if (at > body.length) return 'truncated';
    return at === body.length ? undefined : 'trailing';
  }
}

/** Whether the bytes are valid UTF-8 [PKT-14]; ASCII, which addresses are, is seen at once. */
function isText(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end && bytes[at]! < ASCII_END) at += 1;
  if (at === end) return true;
  try {
    decoder.decode(bytes.subarray(start, end));
    return true;
  } catch {
    return false;
  }
}

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function u48(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 8) | bytes[at + 1]!) * TWO_TO_32 + u32(bytes, at + 2);
}
