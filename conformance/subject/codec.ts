/** Our code as a subject of page 08, first part: what bytes mean, by `src/wire`. */

import {
  BadRequest,
  bytesOf,
  type Fields,
  FRAME_NAMES,
  FRAME_TYPES,
  FRONT_NAMES,
  fromJson,
  hexOf,
  isObject,
  type Json,
  type JsonObject,
  MESSAGE_CODECS,
  type MessageTitle,
  messageNames,
  type Names,
  PACKET_TYPES,
  SEALED_NAMES,
  SEGMENT_NAMES,
  toJson,
} from '../../spec/reference/json.ts';
import type { Operations } from '../../spec/reference/subject.ts';
import { AssertionError } from '../../src/base/assert.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import * as wire from '../../src/wire/index.ts';

export const CODEC_OPERATIONS: Operations = {
  'packet.decode': (request) => {
    const bytes = request.bytes('bytes');
    const packet = wire.packetLength(bytes, 0) === bytes.length ? wire.decodePacket(bytes) : 'length';
    return wire.isFailure(packet) ? undefined : { packet: packetJson(packet) };
  },
  'packet.encode': (request) => {
    const packet = packetIn(request);
    return encoded(() => {
      const bytes = new Uint8Array(wire.packetSize(packet));
      wire.encodePacket(packet, bytes);
      return bytes;
    });
  },
  'datagram.split': (request) => {
    const bytes = request.bytes('bytes');
    const packets: Json[] = [];
    let at = 0;
    for (let length = wire.packetLength(bytes, at); length > 0; length = wire.packetLength(bytes, at)) {
      const packet = wire.decodePacket(bytes, at);
      packets.push({ at, length, packet: wire.isFailure(packet) ? null : packetJson(packet) });
      at += length;
    }
    return { packets, rest: bytes.length - at };
  },
  'frames.decode': (request) => {
    const frames = wire.decodeFrames(request.bytes('bytes'));
    // [FRM-2] The session refuses an empty packet by the same rule.
    if (wire.isFailure(frames) || frames.length === 0) return undefined;
    return { frames: frames.map((frame) => named(frame, FRAME_TYPES, FRAME_NAMES)) };
  },
  'frames.encode': (request) => {
    const frames = request.list('frames').map((frame) => typed<wire.Frame>(frame, FRAME_TYPES, FRAME_NAMES));
    return encoded(() => {
      const size = frames.reduce((sum, frame) => sum + wire.frameSize(frame), 0);
      if (!Number.isSafeInteger(size) || size > wire.PACKET_BYTES_MAX) return undefined;
      const writer = new wire.Writer(new Uint8Array(size));
      for (const frame of frames) wire.encodeFrame(frame, writer);
      return writer.buffer;
    });
  },
  'message.decode': (request) => {
    const title = titleIn(request);
    const value = wire.decodeMessage(codecOf(title), request.bytes('bytes'));
    return wire.isFailure(value) ? undefined : { value: toJson(value, messageNames(title)) };
  },
  'message.encode': (request) => {
    const title = titleIn(request);
    const value = fromJson(request.json('value'), messageNames(title));
    return encoded(() => wire.encodeMessage(codecOf(title), value as object));
  },
  'record.decode': (request) => {
    const bytes = request.bytes('bytes');
    const header = wire.decodeRecordHeader(bytes);
    if (wire.isFailure(header)) return undefined;
    const { encoding, offset, dataLeft, plainBytes } = header;
    const payload = hexOf(bytes.subarray(wire.RECORD_HEADER_BYTES));
    return { encoding, offset, dataLeft, plainLength: plainBytes, payload };
  },
  'record.encode': (request) => {
    const header = recordHeaderIn(request);
    const payload = request.bytes('payload');
    return encoded(() => {
      const bytes = new Uint8Array(wire.RECORD_HEADER_BYTES + payload.length);
      wire.encodeRecordHeader(header, bytes, 0);
      bytes.set(payload, wire.RECORD_HEADER_BYTES);
      return bytes;
    });
  },
  'record.expand': (request) => {
    const payload = request.bytes('payload');
    const plaintext = lz4Compression.decompress(
      payload,
      request.number('plainLength', wire.RECORD_BYTES_MAX),
    );
    return plaintext === undefined ? undefined : { plaintext: hexOf(plaintext) };
  },
  'varint.decode': (request) => {
    const reader = new wire.Reader(request.bytes('bytes'));
    const value = reader.varint();
    reader.end();
    return reader.failure === undefined ? { value } : undefined;
  },
};

/** Our codecs by the names of `MESSAGE_CODECS`; each takes what belongs to it. */
const CODECS = {
  initiatorParameters: wire.initiatorParameters,
  responderParameters: wire.responderParameters,
  statusQuery: wire.statusQuery,
  statusReply: wire.statusReply,
  whereToQuery: wire.whereToQuery,
  whereToReply: wire.whereToReply,
  hashQuery: wire.hashQuery,
  removeQuery: wire.removeQuery,
  whereIsReply: wire.whereIsReply,
  whereIsManyQuery: wire.whereIsManyQuery,
  whereIsManyReply: wire.whereIsManyReply,
  commitQuery: wire.commitQuery,
  revisionReply: wire.revisionReply,
  tokenQuery: wire.tokenQuery,
  emptyMessage: wire.emptyMessage,
  joinQuery: wire.joinQuery,
  joinReply: wire.joinReply,
  admitQuery: wire.admitQuery,
  admitReply: wire.admitReply,
  inventoryQuery: wire.inventoryQuery,
  settleQuery: wire.settleQuery,
  settleReply: wire.settleReply,
  storeQuery: wire.storeQuery,
  storeReply: wire.storeReply,
  readQuery: wire.readQuery,
  readReply: wire.readReply,
  loadNotice: wire.loadNotice,
  busyReply: wire.busyReply,
  noSpaceReply: wire.noSpaceReply,
  notLeaderReply: wire.notLeaderReply,
  membersQuery: wire.membersQuery,
  membersReply: wire.membersReply,
  digestQuery: wire.digestQuery,
  digestReply: wire.digestReply,
  lockQuery: wire.lockQuery,
  lockReply: wire.lockReply,
  unlockQuery: wire.unlockQuery,
  sessionWriteQuery: wire.sessionWriteQuery,
  sessionQuery: wire.sessionQuery,
  sessionReply: wire.sessionReply,
  copyQuery: wire.copyQuery,
};

/** The header of a record, out of the fields of a request. */
export function recordHeaderIn(request: Fields): wire.RecordHeader {
  return {
    encoding: request.number('encoding', 1) as wire.RecordEncoding,
    offset: request.number('offset'),
    dataLeft: request.number('dataLeft', Number.MAX_SAFE_INTEGER, wire.DATA_LEFT_UNKNOWN),
    plainBytes: request.number('plainLength', 2 ** 32 - 1),
  };
}

/** What `encode` makes; undefined where our encoder finds that no bytes can say that. */
export function encoded(encode: () => Uint8Array | undefined): JsonObject | undefined {
  const bytes = orRefused(encode);
  return bytes === undefined ? undefined : { bytes: hexOf(bytes) };
}

/** What `make` makes. Our own code asserts on what it is asked to write: that is a refusal here. */
export function orRefused<Value>(make: () => Value): Value | undefined {
  try {
    return make();
  } catch (error) {
    // A field of another kind, such as a number where bytes belong, ends in the other two.
    const isRefusal =
      error instanceof AssertionError || error instanceof TypeError || error instanceof RangeError;
    if (isRefusal) return undefined;
    throw error;
  }
}

function titleIn(request: Fields): MessageTitle {
  const title = request.text('message');
  if (!Object.hasOwn(MESSAGE_CODECS, title)) throw new BadRequest(`no message is called '${title}'`);
  return title as MessageTitle;
}

function codecOf(title: MessageTitle): wire.Codec<object> {
  return CODECS[MESSAGE_CODECS[title]] as unknown as wire.Codec<object>;
}

function packetNames(type: number): Names {
  if (type === wire.PacketType.SEALED) return SEALED_NAMES;
  return type === wire.PacketType.SEGMENT ? SEGMENT_NAMES : FRONT_NAMES;
}

function packetJson(packet: wire.Packet): Json {
  const { header: _, ...fields } = packet as { readonly type: number; readonly header?: Uint8Array };
  return named(fields, PACKET_TYPES, packetNames(packet.type));
}

function packetIn(request: Fields): wire.Packet {
  const name = request.object('packet').text('type');
  const names = packetNames(PACKET_TYPES.indexOf(name as never));
  const fields = typed<wire.Packet>(request.json('packet'), PACKET_TYPES, names);
  return { header: bytesOf(''), ...fields } as wire.Packet;
}

function named(value: { readonly type: number }, types: readonly string[], names: Names): Json {
  const { type, ...fields } = value;
  return { type: types[type]!, ...(toJson(fields, names) as JsonObject) };
}

function typed<Value>(value: Json, types: readonly string[], names: Names): Value {
  if (!isObject(value)) throw new BadRequest('a packet or frame is an object');
  const { type, ...fields } = value;
  const index = types.indexOf(type as string);
  if (index < 0) throw new BadRequest(`no type is called '${String(type)}'`);
  return { type: index, ...(fromJson(fields, names) as object) } as Value;
}
