/** The slow twin of segments (section 3.4) and of one receiving flow: a byte map for each record. */

import type * as wire from '../../src/wire/index.ts';
import { decodeRecordHeader, encodePacket } from './codec.ts';
import type { Receiver } from './sealing.ts';

const HEADER_BYTES = 19;
const FAILURES_MAX = 3;
const JUMP_MAX = 65_536;

type Segment = Extract<wire.Packet, { type: 6 }>;

/** Where a record's slice goes: one SEGMENT packet each. */
export interface Slice {
  readonly offset: number;
  readonly length: number;
}

/** The SEGMENT packets of slices of one sealed record, numbered one after the other. */
export function cut(
  fields: Pick<Segment, 'tag' | 'epochBits' | 'flowId' | 'record'>,
  firstNumber: number,
  sealed: Uint8Array,
  slices: readonly Slice[],
): Uint8Array[] {
  return slices.map(({ offset, length }, index) => {
    const payload = sealed.slice(offset, offset + length);
    const number = firstNumber + index;
    const packet = { type: 6, ...fields, number, offset, sealedBytes: sealed.length, payload };
    return Uint8Array.from(encodePacket(packet as unknown as wire.Packet));
  });
}

/** What became of one segment, in the words of page 08. */
export type Verdict = 'kept' | 'opened' | 'known' | 'dropped' | 'resend' | 'stop' | 'close' | 'ignored';

export interface OpenedRecord extends wire.RecordHeader {
  readonly payload: Uint8Array;
}

interface Partial {
  readonly bytes: (number | undefined)[];
}

/** One flow that is received under a fixed credit limit, with the acknowledgement of its segments. */
export class ReceivingFlow {
  readonly #receiver: Receiver;
  readonly #flowId: number;
  readonly #limit: number;
  readonly #partials = new Map<number, Partial>();
  readonly #opened = new Map<number, OpenedRecord>();
  readonly #numbers = new Set<number>();
  #failures = 0;
  #isOver = false;
  /** Records in order, as far as they have opened without a gap. */
  readonly records: OpenedRecord[] = [];
  complete = false;

  constructor(receiver: Receiver, flowId: number, limit: number) {
    this.#receiver = receiver;
    this.#flowId = flowId;
    this.#limit = limit;
  }

  onSegment(segment: Segment): { readonly verdict: Verdict; readonly acknowledged: boolean } {
    // [SEG-5]
    if (segment.number > Math.max(-1, ...this.#numbers) + JUMP_MAX)
      return { verdict: 'dropped', acknowledged: false };
    const verdict = this.#take(segment);
    const isNew = !this.#numbers.has(segment.number);
    const brings = verdict === 'kept' || verdict === 'opened' || verdict === 'resend' || verdict === 'stop';
    // [SEG-7]
    const acknowledged = brings || ((verdict === 'known' || verdict === 'ignored') && isNew);
    if (acknowledged) this.#numbers.add(segment.number);
    return { verdict, acknowledged };
  }

  #take(segment: Segment): Verdict {
    const { record, payload, sealedBytes } = segment;
    // [SEG-6]
    if (segment.flowId !== this.#flowId || this.#isOver) return 'ignored';
    if (this.complete || this.#opened.has(record)) return 'known';
    if (payload.length === sealedBytes) return this.#open(segment, payload) ?? 'dropped'; // [REC-17]
    const partial = this.#partials.get(record) ?? {
      bytes: new Array<number | undefined>(sealedBytes).fill(undefined),
    };
    if (partial.bytes.length !== sealedBytes) return this.#fail(record); // [SEG-8]
    this.#partials.set(record, partial);
    const before = count(partial);
    payload.forEach((byte, index) => {
      partial.bytes[segment.offset + index] = byte;
    });
    if (count(partial) === before) return 'known';
    if (count(partial) < sealedBytes) return 'kept';
    return this.#open(segment, Uint8Array.from(partial.bytes as number[])) ?? this.#fail(record);
  }

  /** [REC-18] */
  #fail(record: number): Verdict {
    this.#partials.delete(record);
    this.#failures += 1;
    if (this.#failures < FAILURES_MAX) return 'resend';
    this.#isOver = true;
    return 'stop';
  }

  #open(segment: Segment, sealed: Uint8Array): Verdict | undefined {
    const { record, epochBits } = segment;
    const plaintext = this.#receiver.openRecord(epochBits, this.#flowId, record, sealed);
    if (plaintext === undefined) return undefined;
    this.#partials.delete(record);
    const header = decodeRecordHeader([...plaintext]);
    if (header === undefined) return 'close'; // [REC-14]
    this.#opened.set(record, { ...header, payload: plaintext.slice(HEADER_BYTES) });
    if (!this.#isConsistent()) return 'close';
    this.#advance();
    return 'opened';
  }

  /** [FLOW-3] [REC-16] [REC-19], looked at anew over all records that have opened. */
  #isConsistent(): boolean {
    const all = [...this.#opened.entries()].sort(([left], [right]) => left - right);
    const ends = all.map(([, { offset, plainBytes }]) => offset + plainBytes);
    const stated = all.flatMap(([, { offset, plainBytes, dataLeft }]) =>
      dataLeft >= 0 ? [offset + plainBytes + dataLeft] : [],
    );
    if (ends.some((end) => end > this.#limit)) return false;
    if (new Set(stated).size > 1 || ends.some((end) => end > Math.min(...stated))) return false;
    if (all.some(([, { plainBytes, dataLeft }]) => plainBytes === 0 && dataLeft !== 0)) return false;
    let offset = 0;
    let next = 0;
    for (const [number, header] of all) {
      if (number !== next) return true;
      // A record behind the last one.
      if (next > 0 && this.#opened.get(next - 1)!.dataLeft === 0) return false;
      if (header.offset !== offset) return false;
      offset += header.plainBytes;
      next += 1;
    }
    return true;
  }

  #advance(): void {
    for (let next = this.#opened.get(this.records.length); next !== undefined; ) {
      this.records.push(next);
      if (next.dataLeft === 0) this.complete = true;
      next = this.#opened.get(this.records.length);
    }
  }
}

function count({ bytes }: Partial): number {
  return bytes.filter((byte) => byte !== undefined).length;
}
