/**
 * The receiving end of one flow: segments to records, records opened and put in order, credit
 * given back as the reader takes them.
 */

import { assert } from '../base/assert.ts';
import { RangeSet, RecordAssembly } from '../reliability/index.ts';
import {
  decodeRecordHeader,
  isFailure,
  RECORD_HEADER_BYTES,
  type RecordEncoding,
  type SegmentPacket,
} from '../wire/index.ts';
import { type Violation, violation } from './events.ts';
import { ASSEMBLIES_MAX, ASSEMBLY_SLACK_BYTES, RECORD_FAILURES_MAX } from './limits.ts';

const TAG_BYTES = 16;
/** CREDIT is sent when it would move by this share of the window. */
const CREDIT_SHARE = 4;

/** Opens a sealed record of this flow; -1 when its seal does not hold. */
export type RecordOpener = (
  epochBits: number,
  flowId: number,
  record: number,
  sealed: Uint8Array,
  into: Uint8Array,
) => number;

export interface IncomingRecord {
  readonly offset: number;
  readonly encoding: RecordEncoding;
  readonly plainBytes: number;
  readonly dataLeft: number;
  readonly payload: Uint8Array;
}

/** What became of a segment. Only `kept` and `opened` are acknowledged, and `spoiled`, which asks anew. */
export type SegmentOutcome = 'kept' | 'opened' | 'spoiled' | 'tampered' | 'dropped' | Violation;

export class ReceiveFlow {
  readonly id: number;
  readonly windowBytes: number;
  readonly #open: RecordOpener;
  readonly #assemblies = new Map<number, RecordAssembly>();
  #assemblyBytes = 0;
  /** Numbers of records that have opened. */
  readonly #openedRecords = new RangeSet();
  /** Opened records that wait for an earlier one, by offset. */
  readonly #early = new Map<number, IncomingRecord>();
  /** Opened records in order that the reader has not taken. */
  readonly #ready: IncomingRecord[] = [];
  #openedBytes = 0;
  #takenBytes = 0;
  #limitBytes: number;
  #finalBytes: number | undefined;
  #complete = false;
  #failures = 0;
  #creditSentLimit: number;
  #creditSentOpened = 0;

  /** `announced` says that the sender knows of the first window already, from the query. */
  constructor(id: number, windowBytes: number, announced: boolean, open: RecordOpener) {
    this.id = id;
    this.windowBytes = windowBytes;
    this.#limitBytes = windowBytes;
    this.#creditSentLimit = announced ? windowBytes : 0;
    this.#open = open;
  }

  get limitBytes(): number {
    return this.#limitBytes;
  }

  get openedBytes(): number {
    return this.#openedBytes;
  }

  /** Whether the whole flow has been opened. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Whether the reader has taken all of a complete flow. */
  get drained(): boolean {
    return this.#complete && this.#ready.length === 0;
  }

  get readable(): boolean {
    return this.#ready.length > 0 || this.#complete;
  }

  /** Bytes held for this flow: unfinished, early and unread records. */
  get heldBytes(): number {
    let sum = this.#assemblyBytes;
    for (const record of this.#early.values()) sum += record.payload.length;
    for (const record of this.#ready) sum += record.payload.length;
    return sum;
  }

  onSegment(packet: SegmentPacket): SegmentOutcome {
    if (this.#complete || this.#openedRecords.has(packet.record)) return 'kept';
    const whole = packet.payload.length === packet.sealedBytes;
    if (whole && !this.#assemblies.has(packet.record)) {
      // [REC-17] A record of one segment whose seal does not hold is dropped like any forged packet.
      return this.#openRecord(packet, packet.payload) ?? 'dropped';
    }
    const assembly = this.#assemblyFor(packet);
    if (assembly === undefined) return 'dropped';
    if (assembly.add(packet.offset, packet.payload, packet.sealedBytes) !== undefined) return 'dropped';
    if (!assembly.complete) return 'kept';
    this.#dropAssembly(packet.record);
    const outcome = this.#openRecord(packet, assembly.bytes);
    if (outcome !== undefined) return outcome;
    this.#failures += 1;
    // [REC-18] After the third failure the flow ends; whoever asked may ask again with small records.
    return this.#failures >= RECORD_FAILURES_MAX ? 'tampered' : 'spoiled';
  }

  /** The next record in order, or undefined when none is ready. */
  take(): IncomingRecord | undefined {
    const record = this.#ready.shift();
    if (record === undefined) return undefined;
    this.#takenBytes += record.plainBytes;
    this.#limitBytes = Math.max(this.#limitBytes, this.#takenBytes + this.windowBytes);
    return record;
  }

  /** Whether the sender should hear of progress now [FLOW-4]. */
  get creditDue(): boolean {
    const share = this.windowBytes / CREDIT_SHARE;
    return (
      this.#limitBytes - this.#creditSentLimit >= share || this.#openedBytes - this.#creditSentOpened >= share
    );
  }

  /** The values of a CREDIT frame that leaves now. */
  takeCredit(): { limitBytes: number; openedBytes: number; complete: boolean } {
    this.#creditSentLimit = this.#limitBytes;
    this.#creditSentOpened = this.#openedBytes;
    return { limitBytes: this.#limitBytes, openedBytes: this.#openedBytes, complete: this.#complete };
  }

  #assemblyFor(packet: SegmentPacket): RecordAssembly | undefined {
    const existing = this.#assemblies.get(packet.record);
    if (existing !== undefined) return existing;
    const bytes = this.#assemblyBytes + packet.sealedBytes;
    const allowed = this.#limitBytes - this.#openedBytes + ASSEMBLY_SLACK_BYTES;
    // [FLOW-9] What is kept unopened is bounded by what was granted.
    if (this.#assemblies.size >= ASSEMBLIES_MAX || bytes > allowed) return undefined;
    const assembly = new RecordAssembly(packet.sealedBytes);
    this.#assemblies.set(packet.record, assembly);
    this.#assemblyBytes = bytes;
    return assembly;
  }

  #dropAssembly(record: number): void {
    const assembly = this.#assemblies.get(record);
    assert(assembly !== undefined, 'no such assembly');
    this.#assemblies.delete(record);
    this.#assemblyBytes -= assembly.bytes.length;
  }

  /** `opened`, a violation, or undefined when the seal does not hold. */
  #openRecord(packet: SegmentPacket, sealed: Uint8Array): 'opened' | Violation | undefined {
    if (sealed.length < TAG_BYTES) return undefined;
    const plaintext = new Uint8Array(sealed.length - TAG_BYTES);
    if (this.#open(packet.epochBits, this.id, packet.record, sealed, plaintext) < 0) return undefined;
    const header = decodeRecordHeader(plaintext);
    if (isFailure(header)) return violation('REC-14', `record header: ${header}`);
    this.#openedRecords.add(packet.record, packet.record + 1);
    const record = { ...header, payload: plaintext.subarray(RECORD_HEADER_BYTES) };
    return this.#place(record) ?? 'opened';
  }

  #place(record: IncomingRecord): Violation | undefined {
    const end = record.offset + record.plainBytes;
    // [FLOW-3] Nothing past the granted limit.
    if (end > this.#limitBytes) return violation('FLOW-3', 'record past the credit');
    // [REC-19] Records tile the flow: no overlap, and only the last may be empty.
    if (record.offset < this.#openedBytes || this.#early.has(record.offset)) {
      return violation('REC-19', 'records overlap');
    }
    if (record.plainBytes === 0 && record.dataLeft !== 0) return violation('REC-19', 'empty record');
    if (record.dataLeft >= 0) {
      const finalBytes = end + record.dataLeft;
      // [REC-16] dataLeft never contradicts itself: no silent truncation.
      if (this.#finalBytes !== undefined && this.#finalBytes !== finalBytes) {
        return violation('REC-16', 'dataLeft contradicts an earlier record');
      }
      this.#finalBytes = finalBytes;
    }
    if (this.#finalBytes !== undefined && end > this.#finalBytes) {
      return violation('REC-16', 'record behind the end of the flow');
    }
    this.#early.set(record.offset, record);
    for (;;) {
      const next = this.#early.get(this.#openedBytes);
      if (next === undefined) return undefined;
      this.#early.delete(this.#openedBytes);
      this.#openedBytes += next.plainBytes;
      this.#ready.push(next);
      if (next.dataLeft === 0) {
        this.#complete = true;
        this.#assemblies.clear();
        this.#assemblyBytes = 0;
        return undefined;
      }
    }
  }
}
