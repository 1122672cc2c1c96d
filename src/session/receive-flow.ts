/**
 * The receiving end of one flow: segments to records, records opened and put in order, credit
 * given back as the reader takes them.
 */

import {
  type CreditAccount,
  giveRecordBuffer,
  RecordAssembly,
  takeRecordBuffer,
} from '../reliability/index.ts';
import {
  decodeRecordHeader,
  isFailure,
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  type RecordEncoding,
  type SegmentPacket,
} from '../wire/index.ts';
import { type Violation, violation } from './events.ts';
import {
  ASSEMBLIES_MAX,
  ASSEMBLY_SLACK_BYTES,
  CREDIT_BYTES_MAX,
  RECORD_FAILURES_MAX,
  RECORDS_HELD_MAX,
} from './limits.ts';

/** CREDIT is sent when it would move by this share of the window. */
const CREDIT_SHARE = 4;

/**
 * Opens a sealed record of this flow into `into`, which may be `sealed` itself; the bytes of its
 * plaintext, or -1 when its seal does not hold.
 */
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
  /** The reader's, who may give it back with `giveRecordBuffer`. */
  readonly payload: Uint8Array;
}

/** What became of a segment. All are acknowledged but `dropped`; `stale` brought nothing new, `spoiled` asks anew. */
export type SegmentOutcome = 'kept' | 'stale' | 'opened' | 'spoiled' | 'tampered' | 'dropped' | Violation;

export class ReceiveFlow {
  readonly id: number;
  readonly credit: CreditAccount;
  readonly #open: RecordOpener;
  readonly #assemblies = new Map<number, RecordAssembly>();
  #assemblyBytes = 0;
  /** All records with lower numbers have opened. */
  #nextRecord = 0;
  /** Opened records that wait for an earlier one, by number. */
  readonly #early = new Map<number, IncomingRecord>();
  /** Opened records in order that the reader has not taken. */
  readonly #ready: IncomingRecord[] = [];
  #openedBytes = 0;
  #takenBytes = 0;
  #limitBytes: number;
  #finalBytes: number | undefined;
  /** Where the furthest record that has opened ends. */
  #furthestBytes = 0;
  #complete = false;
  #failures = 0;
  #creditSentLimit: number;
  #creditSentOpened = 0;

  /** `announced` says that the sender knows of the first window already, from the query [FLOW-2]. */
  constructor(id: number, credit: CreditAccount, announced: boolean, open: RecordOpener) {
    this.id = id;
    this.credit = credit;
    this.#limitBytes = credit.outstandingBytes;
    this.#creditSentLimit = announced ? credit.outstandingBytes : 0;
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
    const { record } = packet;
    if (this.#complete || record < this.#nextRecord || this.#early.has(record)) return 'stale';
    if (this.#isCrowded(record)) return 'dropped';
    if (packet.payload.length === packet.sealedBytes) {
      // [REC-17] A record of one segment whose seal does not hold is dropped like any forged packet.
      const into = takeRecordBuffer(packet.sealedBytes);
      const outcome = this.#openRecord(packet, packet.payload, into);
      if (outcome === undefined) giveRecordBuffer(into);
      return outcome ?? 'dropped';
    }
    const assembly = this.#assemblyFor(packet);
    if (assembly === undefined) return 'dropped';
    const added = assembly.add(packet.offset, packet.payload, packet.sealedBytes);
    // Of two segments that state different lengths one is forged, and nobody can say which.
    if (added === 'length-changed') return this.#spoil(record);
    if (!assembly.complete) return added === 'fresh' ? 'kept' : 'stale';
    return this.#openRecord(packet, assembly.bytes, assembly.bytes) ?? this.#spoil(record);
  }

  /** The next record in order, or undefined when none is ready. */
  take(): IncomingRecord | undefined {
    const record = this.#ready.shift();
    if (record === undefined) return undefined;
    this.#takenBytes += record.plainBytes;
    const remaining = (this.#finalBytes ?? Number.POSITIVE_INFINITY) - this.#takenBytes;
    this.#limitBytes += this.credit.take(record.plainBytes, remaining);
    return record;
  }

  /** Whether the sender should hear of progress now [FLOW-4]. */
  get creditDue(): boolean {
    const share = Math.min(this.credit.windowBytes / CREDIT_SHARE, CREDIT_BYTES_MAX);
    const granted = this.#limitBytes - this.#creditSentLimit;
    if (granted >= share || this.#openedBytes - this.#creditSentOpened >= share) return true;
    // A sender that holds a record larger than what it knows to be left would wait for ever.
    return granted > 0 && this.#creditSentLimit - this.#openedBytes < RECORD_BYTES_MAX;
  }

  /** Whether a CREDIT frame would tell the sender anything. */
  get hasNews(): boolean {
    return this.#limitBytes > this.#creditSentLimit || this.#openedBytes > this.#creditSentOpened;
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
    // [FLOW-9] What is kept unopened is bounded by what was granted. What is needed sooner displaces
    // what is needed later: forged records of high numbers cannot lock the next one out.
    const allowed = this.#limitBytes - this.#openedBytes + ASSEMBLY_SLACK_BYTES;
    while (this.#assemblies.size >= ASSEMBLIES_MAX || this.#assemblyBytes + packet.sealedBytes > allowed) {
      const latest = Math.max(-1, ...this.#assemblies.keys());
      if (latest <= packet.record) return undefined;
      this.#dropAssembly(latest);
    }
    const assembly = new RecordAssembly(packet.sealedBytes);
    this.#assemblies.set(packet.record, assembly);
    this.#assemblyBytes += packet.sealedBytes;
    return assembly;
  }

  /** Whether no more records are held; the next in order still is, while the reader keeps up. */
  #isCrowded(record: number): boolean {
    if (this.#ready.length >= RECORDS_HELD_MAX) return true;
    return record !== this.#nextRecord && this.#ready.length + this.#early.size >= RECORDS_HELD_MAX;
  }

  #spoil(record: number): 'spoiled' | 'tampered' {
    this.#dropAssembly(record);
    this.#failures += 1;
    // [REC-18] After the third failure the flow ends; whoever asked may ask again with small records.
    return this.#failures >= RECORD_FAILURES_MAX ? 'tampered' : 'spoiled';
  }

  #dropAssembly(record: number, kept?: Uint8Array): void {
    const assembly = this.#assemblies.get(record);
    if (assembly === undefined) return;
    this.#assemblies.delete(record);
    this.#assemblyBytes -= assembly.bytes.length;
    if (assembly.bytes !== kept) assembly.release();
  }

  /** `opened`, a violation, or undefined when the seal does not hold. */
  #openRecord(packet: SegmentPacket, sealed: Uint8Array, into: Uint8Array): 'opened' | Violation | undefined {
    const bytes = this.#open(packet.epochBits, this.id, packet.record, sealed, into);
    if (bytes < 0) return undefined;
    // Unfinished segments of the same record give their memory back; what was opened in place is kept.
    this.#dropAssembly(packet.record, into);
    const plaintext = into.subarray(0, bytes);
    const header = decodeRecordHeader(plaintext);
    if (isFailure(header)) return violation('REC-14', `record header: ${header}`);
    const record = { ...header, payload: plaintext.subarray(RECORD_HEADER_BYTES) };
    return this.#check(record) ?? this.#place(packet.record, record) ?? 'opened';
  }

  #check(record: IncomingRecord): Violation | undefined {
    const end = record.offset + record.plainBytes;
    // [FLOW-3] Nothing past the granted limit.
    if (end > this.#limitBytes) return violation('FLOW-3', 'record past the credit');
    if (record.plainBytes === 0 && record.dataLeft !== 0) return violation('REC-19', 'empty record');
    this.#furthestBytes = Math.max(this.#furthestBytes, end);
    if (record.dataLeft >= 0) {
      const finalBytes = end + record.dataLeft;
      // [REC-16] dataLeft never contradicts itself: no silent truncation.
      if (this.#finalBytes !== undefined && this.#finalBytes !== finalBytes) {
        return violation('REC-16', 'dataLeft contradicts an earlier record');
      }
      this.#finalBytes = finalBytes;
    }
    if (this.#finalBytes !== undefined && this.#furthestBytes > this.#finalBytes) {
      return violation('REC-16', 'record behind the end of the flow');
    }
    return undefined;
  }

  /** Puts a record in its place, and hands on those that are in order by now. */
  #place(number: number, record: IncomingRecord): Violation | undefined {
    this.#early.set(number, record);
    for (;;) {
      const next = this.#early.get(this.#nextRecord);
      if (next === undefined) return undefined;
      // [REC-19] Records tile the flow in the order of their numbers: no gap, no overlap.
      if (next.offset !== this.#openedBytes) return violation('REC-19', 'records do not tile the flow');
      this.#early.delete(this.#nextRecord);
      this.#nextRecord += 1;
      this.#openedBytes += next.plainBytes;
      this.#ready.push(next);
      if (next.dataLeft === 0) return this.#finish();
    }
  }

  #finish(): Violation | undefined {
    if (this.#early.size > 0) return violation('REC-16', 'record behind the end of the flow');
    this.#complete = true;
    this.#assemblies.clear();
    this.#assemblyBytes = 0;
    return undefined;
  }
}
