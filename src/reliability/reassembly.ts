/**
 * Reassembly of one sealed record from its segments, in any order and with any duplication.
 *
 * The buffer is allocated once, at the record's stated length, which the packet decoder has
 * bounded; what a record holds is `crypto/`'s and `session/`'s matter.
 */

import { RangeSet } from './ranges.ts';
import { giveRecordBuffer, takeRecordBuffer } from './record-buffers.ts';

/** What a segment brought: new bytes, none, or another length of the record than was stated before. */
export type SegmentAddition = 'fresh' | 'known' | 'length-changed';

export class RecordAssembly {
  readonly bytes: Uint8Array;
  readonly #arrived = new RangeSet();
  #missing: number;

  constructor(sealedBytes: number) {
    this.bytes = takeRecordBuffer(sealedBytes);
    this.#missing = sealedBytes;
  }

  /** Ends the assembly: its bytes are used for other records from here on. */
  release(): void {
    giveRecordBuffer(this.bytes);
  }

  get complete(): boolean {
    return this.#missing === 0;
  }

  /**
   * Copies a segment in, unless all of it has arrived. The caller has checked that the segment lies
   * inside the record.
   */
  add(offset: number, payload: Uint8Array, sealedBytes: number): SegmentAddition {
    if (sealedBytes !== this.bytes.length) return 'length-changed';
    const end = offset + payload.length;
    if (this.#arrived.covers(offset, end)) return 'known';
    const fresh = this.#arrived.add(offset, end);
    this.#missing -= fresh;
    // Overlaps happen only when the datagram size changed or a segment was forged: copying all of
    // the newer one is harmless, because the record's seal decides.
    this.bytes.set(payload, offset);
    return 'fresh';
  }
}
