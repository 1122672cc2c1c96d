/**
 * Packets: what stands in a UDP payload, one or several, each carrying its own length [PKT-1].
 *
 * HELLO, COOKIE, WELCOME and REFUSED pass the front port; SEALED and SEGMENT belong to a session.
 * This file knows layouts only: MACs, cookies and sealing are bytes to it (`crypto/` computes
 * them, `session/` checks them).
 */

import { assert } from '../base/assert.ts';
import type { PacketNumber } from '../base/units.ts';
import {
  CLUSTER_ID_BYTES,
  COOKIE_BYTES,
  HELLO_MAC_BYTES,
  MAGIC,
  PACKET_BYTES_MAX,
  PACKET_PREFIX_BYTES,
  PacketType,
  SEALED_HEADER_BYTES,
  SECRET_ID_BYTES,
  SEGMENT_HEADER_BYTES,
  SESSION_TAG_BYTES,
} from './constants.ts';
import { type DecodeFailure, Reader } from './reader.ts';
import { SegmentView, writeSegmentHeader } from './segment.ts';
import { Writer } from './writer.ts';

/** A 64-bit random number that names a session at one end, as two 32-bit halves. */
export interface SessionTag {
  readonly high: number;
  readonly low: number;
}

export interface HelloPacket {
  readonly type: typeof PacketType.HELLO;
  readonly version: number;
  /** Which cluster secret the MAC and the handshake use. */
  readonly secretId: Uint8Array;
  /** The initiator's tag: what the responder writes into its packets. */
  readonly tag: SessionTag;
  /** Absent in the first HELLO. */
  readonly cookie: Uint8Array | undefined;
  /** Noise message 1; empty exactly when the cookie is absent [HS-12]. */
  readonly noise: Uint8Array;
  readonly mac: Uint8Array;
}

export interface CookiePacket {
  readonly type: typeof PacketType.COOKIE;
  readonly tag: SessionTag;
  readonly cookie: Uint8Array;
  /** The responder's cluster, part of the Noise prologue [HS-13]. */
  readonly clusterId: Uint8Array;
  readonly mac: Uint8Array;
}

export interface WelcomePacket {
  readonly type: typeof PacketType.WELCOME;
  readonly tag: SessionTag;
  /** Noise message 2. */
  readonly noise: Uint8Array;
  readonly mac: Uint8Array;
}

export interface RefusedPacket {
  readonly type: typeof PacketType.REFUSED;
  readonly tag: SessionTag;
  /** A result code: BUSY, DENIED or UNSUPPORTED. */
  readonly code: number;
  readonly retryMillis: number;
  readonly mac: Uint8Array;
}

export interface SealedPacket {
  readonly type: typeof PacketType.SEALED;
  readonly tag: SessionTag;
  /** Key epoch modulo 4. */
  readonly epochBits: number;
  readonly number: PacketNumber;
  /** The header as received, borrowed: the AEAD's associated data. */
  readonly header: Uint8Array;
  /** Ciphertext and tag, borrowed. */
  readonly sealed: Uint8Array;
}

export interface SegmentPacket {
  readonly type: typeof PacketType.SEGMENT;
  readonly tag: SessionTag;
  readonly epochBits: number;
  readonly number: PacketNumber;
  readonly flowId: number;
  readonly record: number;
  /** Where this payload stands in the sealed record. */
  readonly offset: number;
  /** Length of the whole sealed record. */
  readonly sealedBytes: number;
  /** A slice of the sealed record, borrowed. */
  readonly payload: Uint8Array;
}

export type Packet =
  | HelloPacket
  | CookiePacket
  | WelcomePacket
  | RefusedPacket
  | SealedPacket
  | SegmentPacket;

const HELLO_FIXED_BYTES = PACKET_PREFIX_BYTES + 4 + 1 + SECRET_ID_BYTES + SESSION_TAG_BYTES + COOKIE_BYTES;
const FLAG_HAS_COOKIE = 0x01;
const EPOCH_MASK = 0x03;
const NO_NOISE = new Uint8Array(0);

/** Bytes that `packet` takes on the wire. */
export function packetSize(packet: Packet): number {
  switch (packet.type) {
    case PacketType.HELLO:
      return HELLO_FIXED_BYTES + packet.noise.length + HELLO_MAC_BYTES;
    case PacketType.COOKIE:
      return PACKET_PREFIX_BYTES + SESSION_TAG_BYTES + COOKIE_BYTES + CLUSTER_ID_BYTES + HELLO_MAC_BYTES;
    case PacketType.WELCOME:
      return PACKET_PREFIX_BYTES + SESSION_TAG_BYTES + packet.noise.length + HELLO_MAC_BYTES;
    case PacketType.REFUSED:
      return PACKET_PREFIX_BYTES + SESSION_TAG_BYTES + 1 + 2 + HELLO_MAC_BYTES;
    case PacketType.SEALED:
      return SEALED_HEADER_BYTES + packet.sealed.length;
    case PacketType.SEGMENT:
      return SEGMENT_HEADER_BYTES + packet.payload.length;
  }
}

/** Writes `packet` into `buffer` from `at`; returns the bytes written. */
export function encodePacket(packet: Packet, buffer: Uint8Array, at = 0): number {
  const bytes = packetSize(packet);
  assert(bytes <= PACKET_BYTES_MAX, 'packet too long');
  const writer = new Writer(buffer, at, at + bytes);
  switch (packet.type) {
    case PacketType.HELLO:
      assert((packet.cookie === undefined) === (packet.noise.length === 0), 'cookie and Noise go together');
      encodePrefix(writer, packet.type, packet.cookie === undefined ? 0 : FLAG_HAS_COOKIE, bytes);
      writer.u32(MAGIC);
      writer.u8(packet.version);
      writer.fixed(packet.secretId, SECRET_ID_BYTES);
      encodeTag(writer, packet.tag);
      if (packet.cookie === undefined) writer.zeros(COOKIE_BYTES);
      else writer.fixed(packet.cookie, COOKIE_BYTES);
      writer.bytes(packet.noise);
      writer.fixed(packet.mac, HELLO_MAC_BYTES);
      break;
    case PacketType.COOKIE:
      encodePrefix(writer, packet.type, 0, bytes);
      encodeTag(writer, packet.tag);
      writer.fixed(packet.cookie, COOKIE_BYTES);
      writer.fixed(packet.clusterId, CLUSTER_ID_BYTES);
      writer.fixed(packet.mac, HELLO_MAC_BYTES);
      break;
    case PacketType.WELCOME:
      encodePrefix(writer, packet.type, 0, bytes);
      encodeTag(writer, packet.tag);
      writer.bytes(packet.noise);
      writer.fixed(packet.mac, HELLO_MAC_BYTES);
      break;
    case PacketType.REFUSED:
      encodePrefix(writer, packet.type, 0, bytes);
      encodeTag(writer, packet.tag);
      writer.u8(packet.code);
      writer.u16(packet.retryMillis);
      writer.fixed(packet.mac, HELLO_MAC_BYTES);
      break;
    case PacketType.SEALED:
      encodeSealedHeader(writer.buffer, at, bytes, packet.epochBits, packet.tag, packet.number);
      writer.at += SEALED_HEADER_BYTES;
      writer.bytes(packet.sealed);
      break;
    case PacketType.SEGMENT:
      writeSegmentHeader(
        writer.buffer,
        at,
        bytes,
        packet.tag,
        packet.epochBits,
        packet.number,
        packet.flowId,
        packet.record,
        packet.offset,
        packet.sealedBytes,
      );
      writer.at += SEGMENT_HEADER_BYTES;
      writer.bytes(packet.payload);
      break;
  }
  assert(writer.at === at + bytes, 'packet size and encoding disagree');
  return bytes;
}

/** Writes the header of a SEALED packet that is `bytes` long in all; the body is sealed in place behind it. */
export function encodeSealedHeader(
  buffer: Uint8Array,
  at: number,
  bytes: number,
  epochBits: number,
  tag: SessionTag,
  number: PacketNumber,
): void {
  assert(epochBits <= EPOCH_MASK, 'epoch bits out of range');
  const writer = new Writer(buffer, at, at + SEALED_HEADER_BYTES);
  encodePrefix(writer, PacketType.SEALED, epochBits, bytes);
  encodeTag(writer, tag);
  writer.u48(number);
}

/**
 * The packet that starts at `at`, or why it is refused. The payload fields borrow from `bytes`.
 * Never throws, whatever the bytes; allocates only views. The next packet starts at
 * `at + packetLength(bytes, at)`.
 */
export function decodePacket(bytes: Uint8Array, at = 0): Packet | DecodeFailure {
  const length = packetLength(bytes, at);
  if (length === 0) return 'truncated';
  const type = bytes[at]!;
  const flags = bytes[at + 1]!;
  if (type === PacketType.SEGMENT) return decodeSegment(bytes, at, length);
  const reader = new Reader(bytes, at + PACKET_PREFIX_BYTES, at + length);
  const packet = decodeBody(reader, type, flags, bytes, at);
  if (typeof packet === 'string') return packet;
  reader.end();
  return reader.failure ?? packet;
}

/** The length that the packet at `at` states, or 0 when it does not fit into `bytes` [PKT-3]. */
export function packetLength(bytes: Uint8Array, at: number): number {
  if (bytes.length - at < PACKET_PREFIX_BYTES) return 0;
  const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
  if (length < PACKET_PREFIX_BYTES || length > PACKET_BYTES_MAX) return 0;
  return length <= bytes.length - at ? length : 0;
}

function decodeBody(
  reader: Reader,
  type: number,
  flags: number,
  bytes: Uint8Array,
  at: number,
): Packet | DecodeFailure {
  // [PKT-10] Flag bits without a meaning are zero: every branch refuses others as `reserved`.
  switch (type) {
    case PacketType.HELLO:
      return decodeHello(reader, flags);
    case PacketType.COOKIE: {
      if (flags !== 0) return 'reserved';
      return {
        type,
        tag: decodeTag(reader),
        cookie: reader.bytes(COOKIE_BYTES),
        clusterId: reader.bytes(CLUSTER_ID_BYTES),
        mac: reader.bytes(HELLO_MAC_BYTES),
      };
    }
    case PacketType.WELCOME: {
      if (flags !== 0) return 'reserved';
      const tag = decodeTag(reader);
      if (reader.remaining < HELLO_MAC_BYTES) return 'truncated';
      const noise = reader.bytes(reader.remaining - HELLO_MAC_BYTES);
      return { type, tag, noise, mac: reader.bytes(HELLO_MAC_BYTES) };
    }
    case PacketType.REFUSED: {
      if (flags !== 0) return 'reserved';
      return {
        type,
        tag: decodeTag(reader),
        code: reader.u8(),
        retryMillis: reader.u16(),
        mac: reader.bytes(HELLO_MAC_BYTES),
      };
    }
    case PacketType.SEALED: {
      if ((flags & ~EPOCH_MASK) !== 0) return 'reserved';
      return {
        type,
        tag: decodeTag(reader),
        epochBits: flags,
        number: reader.u48() as PacketNumber,
        header: bytes.subarray(at, Math.min(at + SEALED_HEADER_BYTES, bytes.length)),
        sealed: reader.view(reader.remaining),
      };
    }
    default:
      return 'unknown';
  }
}

function decodeHello(reader: Reader, flags: number): HelloPacket | DecodeFailure {
  if ((flags & ~FLAG_HAS_COOKIE) !== 0) return 'reserved';
  if (reader.u32() !== MAGIC) return 'unknown';
  const version = reader.u8();
  const secretId = reader.bytes(SECRET_ID_BYTES);
  const tag = decodeTag(reader);
  const cookie = reader.bytes(COOKIE_BYTES);
  const hasCookie = (flags & FLAG_HAS_COOKIE) !== 0;
  if (reader.remaining < HELLO_MAC_BYTES) return 'truncated';
  const noise =
    reader.remaining === HELLO_MAC_BYTES ? NO_NOISE : reader.bytes(reader.remaining - HELLO_MAC_BYTES);
  // [HS-12] Without a cookie there is no Noise message, and the cookie field is zero.
  if (hasCookie !== noise.length > 0) return 'length';
  if (!hasCookie && cookie.some((byte) => byte !== 0)) return 'reserved';
  return {
    type: PacketType.HELLO,
    version,
    secretId,
    tag,
    cookie: hasCookie ? cookie : undefined,
    noise,
    mac: reader.bytes(HELLO_MAC_BYTES),
  };
}

function decodeSegment(bytes: Uint8Array, at: number, length: number): SegmentPacket | DecodeFailure {
  const packet = new SegmentView();
  const failure = packet.read(bytes, at, length);
  return failure ?? { ...packet };
}

function encodePrefix(writer: Writer, type: PacketType, flags: number, bytes: number): void {
  writer.u8(type);
  writer.u8(flags);
  writer.u16(bytes);
}

function encodeTag(writer: Writer, tag: SessionTag): void {
  writer.u32(tag.high);
  writer.u32(tag.low);
}

function decodeTag(reader: Reader): SessionTag {
  return { high: reader.u32(), low: reader.u32() };
}
