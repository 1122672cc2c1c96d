/**
 * Frames: what stands inside a SEALED packet, one behind the other [FRM-1].
 *
 * Bodies of queries, replies and notices are bytes here; `messages.ts` knows them. All frames but
 * PADDING, ACK and CLOSE are ack-eliciting, and all ack-eliciting ones but PING and NOTICE are
 * sent again when lost [FRM-3].
 */

import { assert } from '../base/assert.ts';
import type { PacketNumber } from '../base/units.ts';
import { ACK_RANGES_MAX, BODY_BYTES_MAX, CLOSE_TEXT_BYTES_MAX, FrameType, Space } from './constants.ts';
import { type DecodeFailure, Reader } from './reader.ts';
import { text8Size, type Writer } from './writer.ts';

/** Packet numbers `first` to `last`, both included. */
export interface AckRange {
  readonly first: PacketNumber;
  readonly last: PacketNumber;
}

export type Frame =
  | { readonly type: typeof FrameType.PADDING; readonly bytes: number }
  | { readonly type: typeof FrameType.PING }
  | {
      readonly type: typeof FrameType.ACK;
      readonly space: Space;
      /** In units of 8 us. */
      readonly delayUnits: number;
      /** Highest first, disjoint, not adjacent; 1 to {@link ACK_RANGES_MAX}. */
      readonly ranges: readonly AckRange[];
    }
  | { readonly type: typeof FrameType.CLOSE; readonly code: number; readonly text: string }
  | {
      readonly type: typeof FrameType.QUERY;
      readonly id: number;
      readonly kind: number;
      readonly body: Uint8Array;
    }
  | {
      readonly type: typeof FrameType.REPLY;
      readonly id: number;
      readonly code: number;
      readonly body: Uint8Array;
    }
  | { readonly type: typeof FrameType.NOTICE; readonly kind: number; readonly body: Uint8Array }
  | {
      readonly type: typeof FrameType.CREDIT;
      readonly flowId: number;
      /** The flow's plaintext may be sent up to this offset. */
      readonly limitBytes: number;
      /** The flow's plaintext before this offset has been opened, without a gap. */
      readonly openedBytes: number;
      /** Whether the whole flow has been opened. */
      readonly complete: boolean;
    }
  | { readonly type: typeof FrameType.RESEND; readonly flowId: number; readonly record: number }
  | { readonly type: typeof FrameType.STOP; readonly flowId: number; readonly code: number }
  | { readonly type: typeof FrameType.RESET; readonly flowId: number; readonly code: number };

export type AckFrame = Extract<Frame, { type: typeof FrameType.ACK }>;

/** Whether a packet with this frame asks for an acknowledgement [FRM-3]. */
export function isAckEliciting(frame: Frame): boolean {
  return frame.type !== FrameType.PADDING && frame.type !== FrameType.ACK && frame.type !== FrameType.CLOSE;
}

/** Bytes that `frame` takes. */
export function frameSize(frame: Frame): number {
  switch (frame.type) {
    case FrameType.PADDING:
      return frame.bytes;
    case FrameType.PING:
      return 1;
    case FrameType.ACK:
      return 1 + 1 + 2 + 1 + 6 + 4 + (frame.ranges.length - 1) * 8;
    case FrameType.CLOSE:
      return 1 + 2 + text8Size(frame.text);
    case FrameType.QUERY:
    case FrameType.REPLY:
      return 1 + 4 + 1 + 2 + frame.body.length;
    case FrameType.NOTICE:
      return 1 + 1 + 2 + frame.body.length;
    case FrameType.CREDIT:
      return 1 + 4 + 6 + 6 + 1;
    case FrameType.RESEND:
      return 1 + 4 + 4;
    case FrameType.STOP:
    case FrameType.RESET:
      return 1 + 4 + 1;
  }
}

/** Writes `frame` at the writer's place. */
export function encodeFrame(frame: Frame, writer: Writer): void {
  const start = writer.at;
  if (frame.type === FrameType.PADDING) {
    assert(frame.bytes > 0, 'padding of no bytes');
    writer.zeros(frame.bytes);
    return;
  }
  writer.u8(frame.type);
  switch (frame.type) {
    case FrameType.PING:
      break;
    case FrameType.ACK:
      encodeAck(frame, writer);
      break;
    case FrameType.CLOSE:
      assert(text8Size(frame.text) <= CLOSE_TEXT_BYTES_MAX + 1, 'close text too long');
      writer.u16(frame.code);
      writer.text8(frame.text);
      break;
    case FrameType.QUERY:
      writer.u32(frame.id);
      writer.u8(frame.kind);
      encodeBody(frame.body, writer);
      break;
    case FrameType.REPLY:
      writer.u32(frame.id);
      writer.u8(frame.code);
      encodeBody(frame.body, writer);
      break;
    case FrameType.NOTICE:
      writer.u8(frame.kind);
      encodeBody(frame.body, writer);
      break;
    case FrameType.CREDIT:
      assert(frame.openedBytes <= frame.limitBytes, 'opened past the credit');
      writer.u32(frame.flowId);
      writer.u48(frame.limitBytes);
      writer.u48(frame.openedBytes);
      writer.u8(frame.complete ? 1 : 0);
      break;
    case FrameType.RESEND:
      writer.u32(frame.flowId);
      writer.u32(frame.record);
      break;
    case FrameType.STOP:
    case FrameType.RESET:
      writer.u32(frame.flowId);
      writer.u8(frame.code);
      break;
  }
  assert(writer.at === start + frameSize(frame), 'frame size and encoding disagree');
}

/**
 * All frames of an opened SEALED packet, in order, or why it breaks a rule. Bodies borrow from
 * `bytes`. At most one frame a byte is made: the packet's length bounds the work.
 */
export function decodeFrames(bytes: Uint8Array): Frame[] | DecodeFailure {
  const reader = new Reader(bytes);
  const frames: Frame[] = [];
  while (reader.remaining > 0 && reader.failure === undefined) {
    const frame = decodeFrame(reader, bytes);
    if (typeof frame === 'string') return frame;
    frames.push(frame);
  }
  return reader.failure ?? frames;
}

function decodeFrame(reader: Reader, bytes: Uint8Array): Frame | DecodeFailure {
  const type = reader.u8();
  switch (type) {
    case FrameType.PADDING: {
      const start = reader.at;
      while (reader.remaining > 0 && bytes[reader.at] === 0) reader.at += 1;
      return { type, bytes: reader.at - start + 1 };
    }
    case FrameType.PING:
      return { type };
    case FrameType.ACK:
      return decodeAck(reader);
    case FrameType.CLOSE: {
      const code = reader.u16();
      const start = reader.at;
      const text = reader.text8();
      if (reader.at - start - 1 > CLOSE_TEXT_BYTES_MAX) return 'length';
      return { type, code, text };
    }
    case FrameType.QUERY:
      return { type, id: reader.u32(), kind: reader.u8(), body: decodeBody(reader) };
    case FrameType.REPLY:
      return { type, id: reader.u32(), code: reader.u8(), body: decodeBody(reader) };
    case FrameType.NOTICE:
      return { type, kind: reader.u8(), body: decodeBody(reader) };
    case FrameType.CREDIT:
      return decodeCredit(reader);
    case FrameType.RESEND:
      return { type, flowId: reader.u32(), record: reader.u32() };
    case FrameType.STOP:
      return { type, flowId: reader.u32(), code: reader.u8() };
    case FrameType.RESET:
      return { type, flowId: reader.u32(), code: reader.u8() };
    default:
      return 'unknown';
  }
}

function encodeBody(body: Uint8Array, writer: Writer): void {
  assert(body.length <= BODY_BYTES_MAX, 'body too long');
  writer.u16(body.length);
  writer.bytes(body);
}

function decodeBody(reader: Reader): Uint8Array {
  const length = reader.u16();
  // [FRM-4] Bodies are bounded, so that any query fits any path.
  if (length > BODY_BYTES_MAX) reader.refuse('length');
  return reader.view(length);
}

function decodeCredit(reader: Reader): Frame | DecodeFailure {
  const flowId = reader.u32();
  const limitBytes = reader.u48();
  const openedBytes = reader.u48();
  const complete = reader.u8();
  // [FLOW-5] No flow is opened past what was granted.
  if (complete > 1 || openedBytes > limitBytes) return 'range';
  return { type: FrameType.CREDIT, flowId, limitBytes, openedBytes, complete: complete === 1 };
}

function encodeAck(frame: AckFrame, writer: Writer): void {
  const { ranges } = frame;
  assert(ranges.length >= 1 && ranges.length <= ACK_RANGES_MAX, 'number of ack ranges');
  assert(frame.space === Space.CONTROL || frame.space === Space.SEGMENT, 'unknown space');
  writer.u8(frame.space);
  writer.u16(frame.delayUnits);
  writer.u8(ranges.length);
  writer.u48(ranges[0]!.last);
  writer.u32(ranges[0]!.last - ranges[0]!.first);
  for (let index = 1; index < ranges.length; index++) {
    const range = ranges[index]!;
    writer.u32(ranges[index - 1]!.first - range.last - 2);
    writer.u32(range.last - range.first);
  }
}

/** [ACK-3] Largest first; then gap and length of each further range, as RFC 9000 19.3.1 counts them. */
function decodeAck(reader: Reader): AckFrame | DecodeFailure {
  const space = reader.u8();
  const delayUnits = reader.u16();
  const count = reader.u8();
  if (reader.failure === undefined) {
    if (space !== Space.CONTROL && space !== Space.SEGMENT) return 'unknown';
    if (count < 1 || count > ACK_RANGES_MAX) return 'range';
  }
  let last = reader.u48();
  let first = last - reader.u32();
  const ranges: AckRange[] = [];
  for (let index = 0; index < count && reader.failure === undefined; index++) {
    if (index > 0) {
      last = first - reader.u32() - 2;
      first = last - reader.u32();
    }
    if (first < 0) return 'range';
    ranges.push({ first: first as PacketNumber, last: last as PacketNumber });
  }
  return reader.failure ?? { type: FrameType.ACK, space: space as Space, delayUnits, ranges };
}
