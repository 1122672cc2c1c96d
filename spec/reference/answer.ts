/** The reference as a subject of page 08: it says what is right. First part: what bytes mean. */

import { KEY_OPERATIONS } from './answer-keys.ts';
import { RELIABILITY_OPERATIONS } from './answer-reliability.ts';
import { SEALING_OPERATIONS } from './answer-sealing.ts';
import {
  decodeFrames,
  decodeMessage,
  decodePacket,
  decodeRecordHeader,
  encodeFrames,
  encodeMessage,
  encodePacket,
  encodeRecordHeader,
  packetLength,
} from './codec.ts';
import { left, Refused, varint } from './fields.ts';
import {
  BadRequest,
  bytesOf,
  type Fields,
  FRAME_NAMES,
  FRAME_TYPES,
  FRONT_NAMES,
  fromJson,
  hexOf,
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
} from './json.ts';
import { expandBlock } from './lz4.ts';
import { answerBy, type Operations, type Reply } from './subject.ts';

const RECORD_HEADER_BYTES = 19;

/** Answers a request of page 08 by the reference. */
export function answer(request: unknown): Reply {
  return answerBy(OPERATIONS, request);
}

export const CODEC_OPERATIONS: Operations = {
  'packet.decode': (request) => {
    const bytes = [...request.bytes('bytes')];
    const packet = packetLength(bytes) === bytes.length ? decodePacket(bytes) : undefined;
    return packet === undefined ? undefined : { packet: packetJson(packet) };
  },
  'packet.encode': (request) => unlessRefused(() => bytesReply(encodePacket(packetOf(request)))),
  'datagram.split': (request) => {
    const bytes = [...request.bytes('bytes')];
    const packets: Json[] = [];
    let at = 0;
    for (let length = packetLength(bytes); length > 0; length = packetLength(bytes, at)) {
      const packet = decodePacket(bytes, at);
      packets.push({ at, length, packet: packet === undefined ? null : packetJson(packet) });
      at += length;
    }
    return { packets, rest: bytes.length - at };
  },
  'frames.decode': (request) => {
    const frames = decodeFrames([...request.bytes('bytes')]);
    // [FRM-2] A packet without a frame breaks the protocol, too.
    if (frames === undefined || frames.length === 0) return undefined;
    return { frames: frames.map((frame) => named(frame, FRAME_TYPES, FRAME_NAMES)) };
  },
  'frames.encode': (request) =>
    unlessRefused(() => {
      const frames = request.list('frames').map((frame) => typed(frame, FRAME_TYPES, FRAME_NAMES));
      return bytesReply(encodeFrames(frames as never));
    }),
  'message.decode': (request) => {
    const title = titleOf(request);
    const value = decodeMessage(MESSAGE_CODECS[title], [...request.bytes('bytes')]);
    return value === undefined ? undefined : { value: toJson(value, messageNames(title)) };
  },
  'message.encode': (request) =>
    unlessRefused(() => {
      const title = titleOf(request);
      const value = fromJson(request.json('value'), messageNames(title));
      return bytesReply(encodeMessage(MESSAGE_CODECS[title], value));
    }),
  'record.decode': (request) => {
    const bytes = request.bytes('bytes');
    const header = decodeRecordHeader([...bytes]);
    if (header === undefined) return undefined;
    const { encoding, offset, dataLeft, plainBytes } = header;
    return {
      encoding,
      offset,
      dataLeft,
      plainLength: plainBytes,
      payload: hexOf(bytes.slice(RECORD_HEADER_BYTES)),
    };
  },
  'record.encode': (request) =>
    unlessRefused(() => {
      const header = {
        encoding: request.number('encoding', 1) as 0 | 1,
        offset: request.number('offset'),
        dataLeft: request.number('dataLeft', Number.MAX_SAFE_INTEGER, -1),
        plainBytes: request.number('plainLength'),
      };
      return bytesReply([...encodeRecordHeader(header), ...request.bytes('payload')]);
    }),
  'record.expand': (request) => {
    const plainLength = request.number('plainLength', 65_536);
    const payload = request.bytes('payload');
    const plaintext = payload.length < plainLength ? expandBlock(payload, plainLength) : undefined;
    return plaintext === undefined ? undefined : { plaintext: hexOf(plaintext) };
  },
  'varint.decode': (request) =>
    unlessRefused(() => {
      const input = { bytes: [...request.bytes('bytes')], at: 0 };
      const value = varint.get(input);
      const isWhole = left(input) === 0 && value < 2n ** 53n;
      return isWhole ? { value: Number(value) } : undefined;
    }),
};

const OPERATIONS: Operations = {
  ...CODEC_OPERATIONS,
  ...KEY_OPERATIONS,
  ...SEALING_OPERATIONS,
  ...RELIABILITY_OPERATIONS,
};

function unlessRefused(encode: () => JsonObject | undefined): JsonObject | undefined {
  try {
    return encode();
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}

function bytesReply(bytes: readonly number[]): JsonObject {
  return { bytes: hexOf(bytes) };
}

function titleOf(request: Fields): MessageTitle {
  const title = request.text('message');
  if (!Object.hasOwn(MESSAGE_CODECS, title)) throw new BadRequest(`no message is called '${title}'`);
  return title as MessageTitle;
}

function packetNames(type: number): Names {
  if (type === 5) return SEALED_NAMES;
  return type === 6 ? SEGMENT_NAMES : FRONT_NAMES;
}

function packetJson(packet: { readonly type: number }): Json {
  const { header: _, ...fields } = packet as { type: number; header?: unknown };
  return named(fields, PACKET_TYPES, packetNames(packet.type));
}

function packetOf(request: Fields): never {
  const packet = request.json('packet');
  const type = PACKET_TYPES.indexOf(request.object('packet').text('type') as never);
  const fields = typed(packet, PACKET_TYPES, packetNames(type)) as { header?: Uint8Array };
  fields.header = bytesOf('');
  return fields as never;
}

/** A packet or frame with its type as a name, which comes first. */
function named(value: { readonly type: number }, types: readonly string[], names: Names): Json {
  const { type, ...fields } = value;
  return { type: types[type]!, ...(toJson(fields, names) as JsonObject) };
}

function typed(value: Json, types: readonly string[], names: Names): object {
  const { type, ...fields } = value as JsonObject;
  return { type: types.indexOf(type as string), ...(fromJson(fields, names) as object) };
}
