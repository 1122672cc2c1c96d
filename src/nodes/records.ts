/** Plain bytes to records: compressed where that helps, stored where it does not. */

import { RecordEncoding } from '../wire/index.ts';
import type { Compression, FlowRecord } from './ports.ts';

/** After a record that did not shrink, this many are stored without a try, doubled each time... */
const SKIP_FIRST = 4;
/** ...up to this many. */
const SKIP_MAX = 64;

export class RecordPacker {
  readonly #compression: Compression;
  #skip = 0;
  #nextSkip = SKIP_FIRST;

  constructor(compression: Compression) {
    this.#compression = compression;
  }

  /** One record of `plain` with `dataLeft` bytes behind it. The payload may borrow from `plain`. */
  pack(plain: Uint8Array, dataLeft: number): Omit<FlowRecord, 'offset'> {
    const packed = this.#compress(plain);
    if (packed === undefined) {
      return { encoding: RecordEncoding.STORED, plainBytes: plain.length, dataLeft, payload: plain };
    }
    return { encoding: RecordEncoding.LZ4, plainBytes: plain.length, dataLeft, payload: packed };
  }

  #compress(plain: Uint8Array): Uint8Array | undefined {
    if (this.#skip > 0) {
      this.#skip -= 1;
      return undefined;
    }
    const packed = this.#compression.compress(plain);
    if (packed === undefined) {
      this.#skip = this.#nextSkip;
      this.#nextSkip = Math.min(this.#nextSkip * 2, SKIP_MAX);
    } else {
      this.#nextSkip = SKIP_FIRST;
    }
    return packed;
  }
}
