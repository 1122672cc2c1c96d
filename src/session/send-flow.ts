/**
 * The sending end of one flow: seals records under the receiver's credit, cuts them into
 * segments, keeps the ciphertext until it has been opened, sends again what was lost.
 */

import { assert } from '../base/assert.ts';
import { mark } from '../base/marks.ts';
import { giveRecordBuffer, RangeSet, takeRecordBuffer } from '../reliability/index.ts';
import {
  DATA_LEFT_UNKNOWN,
  DATAGRAM_BYTES_MIN,
  encodeRecordHeader,
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  type RecordEncoding,
  SEGMENT_HEADER_BYTES,
} from '../wire/index.ts';
import { type Violation, violation } from './events.ts';
import { RECORDS_QUEUED_MAX, SEND_FLOW_BYTES_MAX } from './limits.ts';

const SEAL_OVERHEAD_BYTES = 16;
/** A sealed record up to this size fits one segment on every path, and is never cut [REC-22]. */
const WHOLE_RECORD_BYTES = DATAGRAM_BYTES_MIN - SEGMENT_HEADER_BYTES;

/** What a writer hands in. */
export interface OutgoingRecord {
  readonly encoding: RecordEncoding;
  readonly plainBytes: number;
  readonly dataLeft: number;
  readonly payload: Uint8Array;
}

/** Seals `head` and `body` as this flow's record `number` into `into`; returns the epoch's bits. */
export type RecordSealer = (
  flowId: number,
  number: number,
  head: Uint8Array,
  body: Uint8Array,
  into: Uint8Array,
) => number;

interface SealedRecord {
  readonly number: number;
  readonly epochBits: number;
  readonly sealed: Uint8Array;
  readonly endOffset: number;
  readonly acked: RangeSet;
  /** Grows when the receiver asks for all of it anew: news of earlier segments is then void. */
  generation: number;
}

/** A slice of a record: what a segment packet carries, and what recovery remembers of it. */
export interface SegmentContent {
  readonly flow: SendFlow;
  readonly record: number;
  readonly generation: number;
  readonly offset: number;
  readonly bytes: number;
  /** Whether it left in, or at the end of, more than the least datagram: a smaller path would have lost it [MTU-5]. */
  isInLarge: boolean;
}

/** What the next segment packet is to carry; good until the next one is taken. */
export interface Segment {
  readonly content: SegmentContent;
  readonly epochBits: number;
  /** The whole record, borrowed. */
  readonly sealed: Uint8Array;
  readonly resent: boolean;
}

/** One object for all segments: used within one call only. */
const SEGMENT: { -readonly [Field in keyof Segment]: Segment[Field] } = {
  content: undefined as unknown as SegmentContent,
  epochBits: 0,
  sealed: new Uint8Array(0),
  resent: false,
};

/** Where record headers are laid out before sealing: used within one call only, so all flows share it. */
const HEADER = new Uint8Array(RECORD_HEADER_BYTES);

export class SendFlow {
  readonly id: number;
  readonly #seal: RecordSealer;
  #limitBytes: number;
  /** Whether the receiver is known to have opened the flow: until then it acknowledges and forgets [SEG-6]. */
  #granted: boolean;
  #offset = 0;
  #nextRecord = 0;
  #finalSealed = false;
  #finalQueued = false;
  /** `dataLeft` of the record written last. */
  #dataLeft = DATA_LEFT_UNKNOWN;
  #openedBytes = 0;
  readonly #queued: OutgoingRecord[] = [];
  /** Sealed and not yet known to be open, oldest first. */
  readonly #records = new Map<number, SealedRecord>();
  /** Plaintext bytes of the records that have been sent whole. */
  #sentBytes = 0;
  /** The oldest record, where it was acknowledged whole when last looked at [REC-20]. */
  #unopenedRecord: number | undefined;
  /** Where fresh sending goes on. */
  #freshRecord = 0;
  #freshOffset = 0;
  /** Slices to be sent again, oldest first. */
  #again: SegmentContent[] = [];
  #wantsWritable = false;
  #unsentBytes = 0;

  constructor(id: number, limitBytes: number, seal: RecordSealer) {
    this.id = id;
    this.#limitBytes = limitBytes;
    this.#granted = limitBytes > 0;
    this.#seal = seal;
  }

  /** Whether the last write left the flow without room. */
  get full(): boolean {
    return this.#queued.length > 0;
  }

  /** Sealed bytes that are kept for resending. */
  get keptBytes(): number {
    let sum = 0;
    for (const record of this.#records.values()) sum += record.sealed.length;
    return sum;
  }

  /** Sealed bytes that have not been sent once. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Plaintext bytes that the receiver still lacks, as far as the writer has said: the shortest flow goes first [CC-4]. */
  get remainingBytes(): number {
    const unsealed = this.#queued.reduce((sum, record) => sum + record.plainBytes, 0);
    const unwritten = this.#dataLeft < 0 ? Number.POSITIVE_INFINITY : this.#dataLeft;
    return this.#offset - this.#openedBytes + unsealed + unwritten;
  }

  get oldestEpochBits(): number | undefined {
    for (const record of this.#records.values()) return record.epochBits;
    return undefined;
  }

  /** Takes a record; afterwards {@link full} says whether the writer should wait for `writable`. */
  write(record: OutgoingRecord): void {
    assert(!this.#finalQueued, 'write behind the last record');
    assert(this.#queued.length < RECORDS_QUEUED_MAX, 'write to a full flow');
    assert(record.plainBytes <= RECORD_BYTES_MAX, 'record too long');
    assert(record.plainBytes > 0 || record.dataLeft === 0, 'empty record in the middle of a flow');
    this.#finalQueued = record.dataLeft === 0;
    this.#dataLeft = record.dataLeft;
    this.#queued.push(record);
    this.#sealQueued();
    this.#wantsWritable = this.full;
  }

  /** Handles CREDIT. Returns what it brought, or the rule it breaks. */
  onCredit(
    limitBytes: number,
    openedBytes: number,
    complete: boolean,
  ): 'delivered' | 'writable' | 'nothing' | Violation {
    // [FLOW-6] Nothing is opened that was not sent, and nothing is complete before the last record.
    if (openedBytes > this.#sentBytes) return violation('FLOW-6', 'opened more than was sent');
    const sentAll = this.#finalSealed && !this.#records.has(this.#freshRecord);
    if (complete && !(sentAll && openedBytes === this.#offset)) {
      return violation('FLOW-6', 'complete before the last record');
    }
    if (complete) {
      for (const record of this.#records.values()) giveRecordBuffer(record.sealed);
      this.#records.clear();
      this.#again = [];
      return 'delivered';
    }
    this.#granted = true;
    this.#limitBytes = Math.max(this.#limitBytes, limitBytes);
    this.#openedBytes = Math.max(this.#openedBytes, openedBytes);
    for (const record of this.#records.values()) {
      // The last record may be empty: only `complete` says that it has been opened.
      if (record.endOffset > this.#openedBytes || this.#isFinal(record)) break;
      this.#records.delete(record.number);
      giveRecordBuffer(record.sealed);
    }
    this.#sealQueued();
    if (this.#wantsWritable && !this.full) {
      this.#wantsWritable = false;
      return 'writable';
    }
    return 'nothing';
  }

  /** The receiver could not open a record: all of it is sent again, the same ciphertext [REC-13]. */
  onResend(number: number): void {
    const record = this.#records.get(number);
    if (record === undefined || number > this.#freshRecord) return;
    const sentBytes = number === this.#freshRecord ? this.#freshOffset : record.sealed.length;
    if (sentBytes === 0) return;
    mark('record-resent');
    record.generation += 1;
    record.acked.clear();
    this.#again = this.#again.filter((slice) => slice.record !== number);
    this.#again.push({
      flow: this,
      record: number,
      generation: record.generation,
      offset: 0,
      bytes: sentBytes,
      isInLarge: false,
    });
  }

  /**
   * Looked at about once a second: a record that was acknowledged whole and is not known to be open a
   * second later is sent again, since an acknowledgement of segments can be provoked by a forger [REC-20].
   */
  resendUnopened(): void {
    const [oldest] = this.#records.values();
    const acked = oldest?.acked.covers(0, oldest.sealed.length) === true;
    if (acked && this.#unopenedRecord === oldest.number) {
      mark('record-unopened');
      this.onResend(oldest.number);
    }
    this.#unopenedRecord = acked ? oldest.number : undefined;
  }

  onSegmentAcked(content: SegmentContent): void {
    const record = this.#records.get(content.record);
    if (record === undefined || record.generation !== content.generation) return;
    record.acked.add(content.offset, content.offset + content.bytes);
  }

  /** A slice was lost, or is to be probed with: it is sent again unless it has arrived by then. */
  onSegmentLost(content: SegmentContent): void {
    const record = this.#records.get(content.record);
    if (record === undefined || record.generation !== content.generation) return;
    this.#again.push(content);
  }

  /** Whether a slice in flight still matters. */
  isCurrent(content: SegmentContent): boolean {
    const record = this.#records.get(content.record);
    if (record?.generation !== content.generation) return false;
    return !record.acked.covers(content.offset, content.offset + content.bytes);
  }

  get hasSegment(): boolean {
    return this.#again.length > 0 || this.#records.has(this.#freshRecord);
  }

  /** The next slice of at most `bytesMax`, lost ones first; undefined when there is none, or none that fits. */
  takeSegment(bytesMax: number): Segment | undefined {
    const again = this.#takeAgain(bytesMax);
    return again ?? (this.#again.length > 0 ? undefined : this.#takeFresh(bytesMax));
  }

  #takeAgain(bytesMax: number): Segment | undefined {
    while (this.#again.length > 0) {
      const slice = this.#again[0]!;
      const record = this.#records.get(slice.record);
      const end = slice.offset + slice.bytes;
      if (
        record === undefined ||
        record.generation !== slice.generation ||
        record.acked.covers(slice.offset, end)
      ) {
        this.#again.shift();
        continue;
      }
      if (slice.bytes <= bytesMax) {
        this.#again.shift();
        return this.#segment(record, slice.offset, slice.bytes, true);
      }
      if (slice.bytes <= WHOLE_RECORD_BYTES && record.sealed.length <= WHOLE_RECORD_BYTES) return undefined;
      this.#again[0] = { ...slice, offset: slice.offset + bytesMax, bytes: slice.bytes - bytesMax };
      return this.#segment(record, slice.offset, bytesMax, true);
    }
    return undefined;
  }

  #takeFresh(bytesMax: number): Segment | undefined {
    const record = this.#records.get(this.#freshRecord);
    if (record === undefined) return undefined;
    const offset = this.#freshOffset;
    if (record.sealed.length > bytesMax && record.sealed.length <= WHOLE_RECORD_BYTES) return undefined;
    const bytes = Math.min(bytesMax, record.sealed.length - offset);
    this.#freshOffset += bytes;
    this.#unsentBytes -= bytes;
    if (this.#freshOffset === record.sealed.length) {
      this.#freshRecord += 1;
      this.#freshOffset = 0;
      this.#sentBytes = record.endOffset;
    }
    return this.#segment(record, offset, bytes, false);
  }

  #segment(record: SealedRecord, offset: number, bytes: number, resent: boolean): Segment {
    const { number, generation } = record;
    SEGMENT.content = { flow: this, record: number, generation, offset, bytes, isInLarge: false };
    SEGMENT.epochBits = record.epochBits;
    SEGMENT.sealed = record.sealed;
    SEGMENT.resent = resent;
    return SEGMENT;
  }

  /** Seals what credit allows [FLOW-3], and never keeps more than our own maximum [FLOW-13]. */
  #sealQueued(): void {
    // An empty record needs no credit, and yet must wait for the first.
    if (!this.#granted) return;
    while (this.#queued.length > 0) {
      const next = this.#queued[0]!;
      const end = this.#offset + next.plainBytes;
      if (end > this.#limitBytes || end - this.#openedBytes > SEND_FLOW_BYTES_MAX) return;
      this.#queued.shift();
      encodeRecordHeader(
        {
          encoding: next.encoding,
          offset: this.#offset,
          dataLeft: next.dataLeft,
          plainBytes: next.plainBytes,
        },
        HEADER,
        0,
      );
      const sealed = takeRecordBuffer(RECORD_HEADER_BYTES + next.payload.length + SEAL_OVERHEAD_BYTES);
      const number = this.#nextRecord++;
      const epochBits = this.#seal(this.id, number, HEADER, next.payload, sealed);
      this.#unsentBytes += sealed.length;
      this.#offset += next.plainBytes;
      this.#finalSealed = next.dataLeft === 0;
      this.#records.set(number, {
        number,
        epochBits,
        sealed,
        endOffset: this.#offset,
        acked: new RangeSet(),
        generation: 0,
      });
    }
  }

  #isFinal(record: SealedRecord): boolean {
    return this.#finalSealed && record.number === this.#nextRecord - 1;
  }
}
