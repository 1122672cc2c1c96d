/** Where fields stand in packets, frames, records and messages, also in those that are not quite valid. */

import type { MessageName } from '../../spec/reference/messages.ts';
import { FrameType, PacketType, Reader } from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt } from '../engine/layout.ts';
import { codecOf } from './wire-codecs.ts';

const PREFIX_BYTES = 4;

/** All packets of a datagram, each by its stated length. */
export function datagramLayout(input: Uint8Array): Layout {
  const layout = new LayoutBuilder();
  let at = 0;
  while (at < input.length && !layout.full) {
    const stated = numberAt(input, at + 2, 2);
    const end = stated < PREFIX_BYTES ? input.length : Math.min(at + stated, input.length);
    layout.item(at, end - at);
    layout.number(at, 1);
    layout.number(at + 1, 1);
    layout.length(at + 2, 2, at, end);
    packetFields(layout, input[at]!, at, end);
    at = end;
  }
  return layout;
}

function packetFields(layout: LayoutBuilder, type: number, at: number, end: number): void {
  const widths = PACKET_WIDTHS.get(type) ?? [];
  let place = at + PREFIX_BYTES;
  for (const width of widths) {
    if (place + width > end) break;
    if (width <= 8) layout.number(place, width);
    else layout.bytes(place, width);
    place += width;
  }
  layout.bytes(place, end - place);
}

/** Widths of the fields behind the prefix, before what is open at its end. */
const PACKET_WIDTHS: ReadonlyMap<number, readonly number[]> = new Map([
  [PacketType.HELLO, [4, 1, 8, 4, 4, 24]],
  [PacketType.COOKIE, [4, 4, 24, 16, 16]],
  [PacketType.WELCOME, [4, 4]],
  [PacketType.REFUSED, [4, 4, 1, 2, 16]],
  [PacketType.SEALED, [4, 4, 6]],
  [PacketType.SEGMENT, [4, 4, 6, 4, 4, 4, 4]],
]);

/** Frames, one behind the other, as far as they can be told apart. */
export function framesLayout(input: Uint8Array): Layout {
  const layout = new LayoutBuilder();
  let at = 0;
  while (at < input.length && !layout.full) {
    const end = Math.min(frameFields(layout, input, at), input.length);
    layout.item(at, end - at);
    at = end;
  }
  return layout;
}

/** Notes the fields of the frame at `at`; where it ends, if it is whole. */
function frameFields(layout: LayoutBuilder, input: Uint8Array, at: number): number {
  layout.number(at, 1);
  switch (input[at]) {
    case FrameType.ACK:
      return ackFields(layout, input, at);
    case FrameType.CLOSE:
      layout.number(at + 1, 2);
      return behindLength(layout, input, at + 3, 1);
    case FrameType.QUERY:
    case FrameType.REPLY:
      layout.number(at + 1, 4);
      layout.number(at + 5, 1);
      return behindLength(layout, input, at + 6, 2);
    case FrameType.NOTICE:
      layout.number(at + 1, 1);
      return behindLength(layout, input, at + 2, 2);
    case FrameType.CREDIT:
      return behindNumbers(layout, at + 1, [4, 6, 6, 1]);
    case FrameType.RESEND:
      return behindNumbers(layout, at + 1, [4, 4]);
    case FrameType.STOP:
    case FrameType.RESET:
      return behindNumbers(layout, at + 1, [4, 1]);
    default:
      return at + 1;
  }
}

function ackFields(layout: LayoutBuilder, input: Uint8Array, at: number): number {
  const countAt = at + 4;
  let end = behindNumbers(layout, at + 1, [1, 2, 1, 6, 4]);
  const count = numberAt(input, countAt, 1);
  for (let index = 1; index < count && end + 8 <= input.length; index++) {
    layout.item(end, 8, countAt);
    end = behindNumbers(layout, end, [4, 4]);
  }
  return end;
}

function behindNumbers(layout: LayoutBuilder, at: number, widths: readonly number[]): number {
  let end = at;
  for (const width of widths) {
    layout.number(end, width);
    end += width;
  }
  return end;
}

function behindLength(layout: LayoutBuilder, input: Uint8Array, at: number, width: number): number {
  const start = at + width;
  const end = start + numberAt(input, at, width);
  layout.length(at, width, start, end);
  layout.bytes(start, Math.min(end, input.length) - start);
  return end;
}

/** The header in front of a record's payload. */
export function recordLayout(input: Uint8Array): Layout {
  const layout = new LayoutBuilder();
  const end = behindNumbers(layout, 0, [1, 6, 8, 4]);
  layout.bytes(end, input.length - end);
  return layout;
}

// ---------------------------------------------------------------- messages

/**
 * Messages with lists: where the count of the first one stands, and how many fields an item has; then those of
 * the list that stands right behind it.
 */
const LISTS: { readonly [Name in MessageName]?: readonly [countAt: number, ...fieldsPerItem: number[]] } = {
  statusReply: [36, 5, 10],
  whereToReply: [10, 3],
  whereIsReply: [13, 3],
  whereIsManyQuery: [0, 1],
  whereIsManyReply: [7, 3],
  commitQuery: [47, 2],
  settleQuery: [0, 2],
  settleReply: [0, 1],
  membersReply: [7, 8],
  copyQuery: [46, 3],
};

/** Messages with data behind a length of two bytes, and where that stands. */
const DATA_AT: { readonly [Name in MessageName]?: number } = { sessionWriteQuery: 42, sessionReply: 11 };

/** What a codec reads, field by field, until it refuses. */
export function messageLayout(name: MessageName, input: Uint8Array): Layout {
  const reader = new TracingReader(input);
  codecOf(name).decode(reader);
  const { trace } = reader;
  const dataAt = DATA_AT[name];
  if (dataAt !== undefined) {
    const start = dataAt + 2;
    trace.lengths.push({ at: dataAt, bytes: 2, start, end: start + numberAt(input, dataAt, 2) });
  }
  const [firstAt = 0, ...widths] = LISTS[name] ?? [];
  let place = trace.fields.findIndex(({ at }) => at === firstAt);
  for (const perItem of widths) {
    const counted = trace.fields[place];
    if (counted === undefined) break;
    const count = numberAt(input, counted.at, 1);
    for (let index = 0; index < count; index++) {
      const head = trace.fields[place + 1 + index * perItem];
      const tail = trace.fields[place + (index + 1) * perItem];
      if (head === undefined || tail === undefined) break;
      trace.item(head.at, tail.at + tail.bytes - head.at, counted.at);
    }
    place += 1 + count * perItem;
  }
  return trace;
}

/** A reader that notes what it reads. Empty texts are noted, too, so that every item has as many fields. */
class TracingReader extends Reader {
  readonly trace = new LayoutBuilder();
  #depth = 0;

  override u8(): number {
    return this.#traced('number', () => super.u8());
  }
  override u16(): number {
    return this.#traced('number', () => super.u16());
  }
  override u32(): number {
    return this.#traced('number', () => super.u32());
  }
  override u48(): number {
    return this.#traced('number', () => super.u48());
  }
  override i64(): number {
    return this.#traced('number', () => super.i64());
  }
  override bytes(count: number): Uint8Array {
    return this.#traced('bytes', () => super.bytes(count));
  }
  override view(count: number): Uint8Array {
    const { at } = this;
    const view = this.#traced('bytes', () => super.view(count));
    if (this.failure === undefined && this.#depth === 0) this.trace.lengths.push(textLength(at, view.length));
    return view;
  }

  #traced<Value>(kind: 'number' | 'bytes', read: () => Value): Value {
    const { at } = this;
    this.#depth += 1;
    const value = read();
    this.#depth -= 1;
    if (this.#depth === 0 && this.failure === undefined) {
      this.trace.fields.push({ at, bytes: this.at - at, kind });
    }
    return value;
  }
}

/** The byte in front of a text says how long it is. */
function textLength(at: number, bytes: number): { at: number; bytes: number; start: number; end: number } {
  return { at: at - 1, bytes: 1, start: at, end: at + bytes };
}
