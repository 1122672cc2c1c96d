/**
 * Plain bytes to records: compressed where a sample says that it pays, stored where it does not.
 *
 * It pays when a record takes less time to compress than the bytes that it saves would take to leave.
 * That time is learnt from stored records: how long after one the next could follow.
 */

import type { Micros } from '../base/units.ts';
import { RecordEncoding } from '../wire/index.ts';
import type { Compression, FlowRecord } from './ports.ts';

/** Record size after records arrived damaged: each then fits one datagram [REC-18]. */
export const SMALL_RECORD_BYTES = 1_024;
/** After a try that did not pay, this many records are stored without one, doubled each time... */
const SKIP_FIRST = 4;
/** ...up to this many. */
const SKIP_MAX = 64;
/** Stored records from which their pace is learnt, at the start and then after so many compressed ones. */
const LEARN_RECORDS = 2;
const LEARN_EVERY = 64;
/** Share of the newest pace in the average. */
const PACE_GAIN = 0.25;

export class RecordPacker {
  readonly #compression: Compression;
  readonly #now: () => Micros;
  #skip = 0;
  #nextSkip = SKIP_FIRST;
  /** Compressed records since the pace was learnt last. */
  #compressed = 0;
  /** Microseconds from one stored record to the next, averaged; undefined before the first. */
  #storedMicros: number | undefined;
  /** When the last record was handed out, if it was stored. */
  #storedAt: Micros | undefined;

  constructor(compression: Compression, now: () => Micros) {
    this.#compression = compression;
    this.#now = now;
  }

  /** One record of `plain` with `dataLeft` bytes behind it. The payload may borrow from `plain`. */
  pack(plain: Uint8Array, dataLeft: number): Omit<FlowRecord, 'offset'> {
    const startedAt = this.#now();
    this.#learn(startedAt);
    const packed = this.#compress(plain, startedAt);
    if (packed === undefined) {
      this.#storedAt = startedAt;
      return { encoding: RecordEncoding.STORED, plainBytes: plain.length, dataLeft, payload: plain };
    }
    this.#storedAt = undefined;
    return { encoding: RecordEncoding.LZ4, plainBytes: plain.length, dataLeft, payload: packed };
  }

  #learn(now: Micros): void {
    if (this.#storedAt === undefined) return;
    const micros = now - this.#storedAt;
    const before = this.#storedMicros ?? micros;
    this.#storedMicros = before + (micros - before) * PACE_GAIN;
  }

  #compress(plain: Uint8Array, startedAt: Micros): Uint8Array | undefined {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return undefined;
    }
    const packed = this.#compression.compress(plain);
    const saved = packed === undefined ? 0 : 1 - packed.length / plain.length;
    if (packed !== undefined && this.#storedMicros === undefined) {
      this.#skip = LEARN_RECORDS;
    } else if (packed === undefined || this.#now() - startedAt > saved * this.#storedMicros!) {
      this.#skip = this.#nextSkip;
      this.#nextSkip = Math.min(this.#nextSkip * 2, SKIP_MAX);
    } else {
      this.#nextSkip = SKIP_FIRST;
      this.#compressed = (this.#compressed + 1) % LEARN_EVERY;
      if (this.#compressed === 0) this.#skip = LEARN_RECORDS;
    }
    return packed;
  }
}
