/**
 * The slow twin of the codec, second part: packets, frames and the record header.
 *
 * Names and shapes are those of `src/wire`, of which only types are imported; bytes are plain
 * lists of numbers. `decode*` returns undefined where it refuses.
 */

import type * as wire from '../../src/wire/index.ts';
import {
  type AnyField,
  body,
  bytes,
  decodeAll,
  type Field,
  flag,
  type Input,
  i64,
  left,
  oneOf,
  Refused,
  refuseUnless,
  restBut,
  table,
  take,
  text,
  u8,
  u16,
  u32,
  u48,
  unlessRefused,
} from './fields.ts';
import { MESSAGES, type MessageName } from './messages.ts';

const MAC_BYTES = 16;
const COOKIE_BYTES = 24;
const PACKET_BYTES_MAX = 65_507;
const BODY_BYTES_MAX = 1_024;
const MAGIC = [...'GRML'].map((letter) => letter.charCodeAt(0));

const tag = table<wire.SessionTag>({ high: u32, low: u32 });
const mac = bytes(MAC_BYTES);

// ---------------------------------------------------------------- packets

/** Behind the four bytes of type, flags and length. */
const hello = table({
  magic: bytes(4),
  version: u8,
  secretId: bytes(8),
  tag,
  cookie: bytes(COOKIE_BYTES),
  noise: restBut(MAC_BYTES),
  mac,
});
const cookie = table({ tag, cookie: bytes(COOKIE_BYTES), clusterId: bytes(16), mac });
const welcome = table({ tag, noise: restBut(MAC_BYTES), mac });
const refused = table({ tag, code: u8, retryMillis: u16, mac });
const sealed = table({ tag, number: u48, sealed: restBut(0) });
const segment = table({
  tag,
  number: u48,
  flowId: u32,
  record: u32,
  offset: u32,
  sealedBytes: u32,
  payload: restBut(0),
});

/** The bytes of one packet. */
export function encodePacket(packet: wire.Packet): number[] {
  switch (packet.type) {
    case 1: {
      const { version, secretId, noise } = packet;
      refuseUnless((packet.cookie === undefined) === (noise.length === 0), 'cookie and Noise go together');
      const shown = packet.cookie ?? new Uint8Array(COOKIE_BYTES);
      const fields = {
        magic: Uint8Array.from(MAGIC),
        version,
        secretId,
        tag: packet.tag,
        noise,
        mac: packet.mac,
      };
      return framed(1, packet.cookie === undefined ? 0 : 1, hello.put({ ...fields, cookie: shown }));
    }
    case 2:
      return framed(2, 0, cookie.put(packet));
    case 3:
      return framed(3, 0, welcome.put(packet));
    case 4:
      return framed(4, 0, refused.put(packet));
    case 5:
      return framed(5, packet.epochBits, sealed.put(packet));
    case 6:
      return framed(6, packet.epochBits, segment.put(packet));
  }
}

/** The packet that starts at `at`; what stands behind its stated length is another packet's. */
export function decodePacket(datagram: readonly number[], at = 0): wire.Packet | undefined {
  const length = packetLength(datagram, at);
  if (length === 0 || length > PACKET_BYTES_MAX) return undefined;
  return unlessRefused(() => {
    const input = { bytes: datagram.slice(at, at + length), at: 0 };
    const [type, flags] = take(input, 4);
    const packet = packetBody(type!, flags!, input);
    refuseUnless(left(input) === 0, 'trailing bytes');
    return packet as wire.Packet;
  });
}

/** The stated length of the packet at `at`, or 0 when that is none or does not fit. */
export function packetLength(datagram: readonly number[], at = 0): number {
  const [, , high, low] = datagram.slice(at, at + 4);
  if (high === undefined || low === undefined) return 0;
  const length = high * 256 + low;
  return length < 4 || at + length > datagram.length ? 0 : length;
}

/** All packets of a datagram, up to the first one whose length does not fit. */
export function splitDatagram(datagram: readonly number[]): number[][] {
  const packets: number[][] = [];
  let rest = [...datagram];
  while (packetLength(rest) > 0) {
    packets.push(rest.slice(0, packetLength(rest)));
    rest = rest.slice(packetLength(rest));
  }
  return packets;
}

function framed(type: number, flags: number, content: readonly number[]): number[] {
  refuseUnless(4 + content.length <= PACKET_BYTES_MAX, 'packet too long');
  return [type, flags, ...u16.put(4 + content.length), ...content];
}

function packetBody(type: number, flags: number, input: Input): object {
  switch (type) {
    case 1: {
      refuseUnless(flags === 0 || flags === 1, 'reserved flags');
      const { magic, ...fields } = hello.get(input);
      refuseUnless(
        [...magic].every((byte, index) => byte === MAGIC[index]),
        'no magic',
      );
      const hasCookie = flags === 1;
      refuseUnless(hasCookie === fields.noise.length > 0, 'cookie and Noise go together');
      refuseUnless(hasCookie || fields.cookie.every((byte) => byte === 0), 'cookie without its flag');
      return { type, ...fields, cookie: hasCookie ? fields.cookie : undefined };
    }
    case 2:
      refuseUnless(flags === 0, 'reserved flags');
      return { type, ...cookie.get(input) };
    case 3:
      refuseUnless(flags === 0, 'reserved flags');
      return { type, ...welcome.get(input) };
    case 4:
      refuseUnless(flags === 0, 'reserved flags');
      return { type, ...refused.get(input) };
    case 5: {
      refuseUnless(flags < 4, 'reserved flags');
      const fields = sealed.get(input);
      return { type, epochBits: flags, header: Uint8Array.from(input.bytes.slice(0, 18)), ...fields };
    }
    case 6: {
      refuseUnless(flags < 4, 'reserved flags');
      const fields = segment.get(input);
      refuseUnless(fields.sealedBytes <= 19 + 65_536 + 16, 'record too long');
      refuseUnless(fields.payload.length > 0, 'empty segment');
      refuseUnless(fields.offset + fields.payload.length <= fields.sealedBytes, 'outside the record');
      return { type, epochBits: flags, ...fields };
    }
    default:
      throw new Refused('unknown type');
  }
}

// ---------------------------------------------------------------- frames

const ack: Field<{
  readonly space: number;
  readonly delayUnits: number;
  readonly ranges: readonly wire.AckRange[];
}> = {
  put({ space, delayUnits, ranges }) {
    refuseUnless(ranges.length >= 1 && ranges.length <= 32, 'number of ranges');
    const encoded = [
      ...oneOf(0, 1).put(space),
      ...u16.put(delayUnits),
      ranges.length,
      ...u48.put(ranges[0]!.last),
    ];
    ranges.forEach((range, index) => {
      // RFC 9000 19.3.1: a gap of 0 means one number that is missing.
      if (index > 0) encoded.push(...u32.put(ranges[index - 1]!.first - range.last - 2));
      encoded.push(...u32.put(range.last - range.first));
    });
    return encoded;
  },
  get(input) {
    const space = oneOf(0, 1).get(input);
    const delayUnits = u16.get(input);
    const count = u8.get(input);
    refuseUnless(count >= 1 && count <= 32, 'number of ranges');
    const ranges: { first: number; last: number }[] = [];
    let last = u48.get(input);
    while (ranges.length < count) {
      if (ranges.length > 0) last = ranges.at(-1)!.first - u32.get(input) - 2;
      const first = last - u32.get(input);
      refuseUnless(first >= 0, 'below packet number 0');
      ranges.push({ first, last });
    }
    return { space, delayUnits, ranges: ranges as readonly unknown[] as readonly wire.AckRange[] };
  },
};

const credit: Field<{
  readonly flowId: number;
  readonly limitBytes: number;
  readonly openedBytes: number;
  readonly complete: boolean;
}> = {
  put(value) {
    refuseUnless(value.openedBytes <= value.limitBytes, 'opened past what was granted');
    return creditFields.put(value);
  },
  get(input) {
    const value = creditFields.get(input);
    refuseUnless(value.openedBytes <= value.limitBytes, 'opened past what was granted');
    return value;
  },
};
const creditFields = table({ flowId: u32, limitBytes: u48, openedBytes: u48, complete: flag });

/** Frames by their type; 0 is padding. */
const FRAMES = new Map<number, AnyField>([
  [1, table({})],
  [2, ack],
  [3, table({ code: u16, text: text(200) })],
  [4, table({ id: u32, kind: u8, body: body(BODY_BYTES_MAX) })],
  [5, table({ id: u32, code: u8, body: body(BODY_BYTES_MAX) })],
  [6, table({ kind: u8, body: body(BODY_BYTES_MAX) })],
  [7, credit],
  [8, table({ flowId: u32, record: u32 })],
  [9, table({ flowId: u32, code: u8 })],
  [10, table({ flowId: u32, code: u8 })],
]);

/** The bytes of frames, one behind the other. */
export function encodeFrames(frames: readonly wire.Frame[]): number[] {
  return frames.flatMap((frame) => {
    if (frame.type === 0) return new Array<number>(frame.bytes).fill(0);
    return [frame.type, ...FRAMES.get(frame.type)!.put(frame)];
  });
}

/** All frames of an opened SEALED packet. Padding that is adjacent is one frame. */
export function decodeFrames(opened: readonly number[]): wire.Frame[] | undefined {
  return unlessRefused(() => {
    const input = { bytes: opened, at: 0 };
    const frames: object[] = [];
    while (left(input) > 0) {
      const type = u8.get(input);
      if (type === 0) {
        let count = 1;
        while (opened[input.at] === 0) count += take(input, 1).length;
        frames.push({ type, bytes: count });
        continue;
      }
      const field = FRAMES.get(type);
      refuseUnless(field !== undefined, 'unknown frame');
      frames.push({ type, ...field.get(input) });
    }
    return frames as wire.Frame[];
  });
}

// ---------------------------------------------------------------- record header and messages

const recordHeader = table({ encoding: oneOf(0, 1), offset: u48, dataLeft: i64, plainBytes: u32 });

/** The 19 bytes in front of a record's payload. */
export function encodeRecordHeader(header: wire.RecordHeader): number[] {
  refuseUnless(header.dataLeft >= -1, 'dataLeft below -1');
  return recordHeader.put(header);
}

/** The header of an opened record, checked against the length of the record. */
export function decodeRecordHeader(opened: readonly number[]): wire.RecordHeader | undefined {
  return unlessRefused(() => {
    const input = { bytes: opened, at: 0 };
    const header = recordHeader.get(input);
    refuseUnless(header.dataLeft >= -1, 'dataLeft below -1');
    refuseUnless(header.plainBytes <= 65_536, 'record too long');
    const isStored = header.encoding === 0;
    refuseUnless(!isStored || left(input) === header.plainBytes, 'stored payload of another length');
    refuseUnless(isStored || left(input) < header.plainBytes, 'compressed payload that is not shorter');
    return header as wire.RecordHeader;
  });
}

/** The bytes of a message. */
export function encodeMessage(name: MessageName, message: unknown): number[] {
  return MESSAGES[name].put(message as never);
}

/** The message that is exactly these bytes. */
export function decodeMessage(name: MessageName, encoded: readonly number[]): unknown {
  return decodeAll<unknown>(MESSAGES[name] as Field<unknown>, encoded);
}
