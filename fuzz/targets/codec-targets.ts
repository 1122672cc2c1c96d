/**
 * The decoders of `src/wire`, each held against its slow twin in `spec/reference`: both accept or both
 * refuse, with the same value; what is accepted encodes to the same bytes; nothing throws, reads past the
 * end, or gives back more than came in.
 */

import type { Random } from '../../sim/random.ts';
import * as twin from '../../spec/reference/codec.ts';
import type { MessageName } from '../../spec/reference/messages.ts';
import { concatBytes, fromUtf8, utf8 } from '../../src/base/bytes.ts';
import * as wire from '../../src/wire/index.ts';
import { checkBounded, decodeInside, same } from '../engine/comparison.ts';
import { LayoutBuilder, numberAt } from '../engine/layout.ts';
import { check, type Target } from '../engine/target.ts';
import { bytesUpTo, frames, MESSAGE_VALUES, packet, unsigned } from './values.ts';
import { codecOf, isMessageName, MESSAGE_NAMES } from './wire-codecs.ts';
import { datagramLayout, framesLayout, messageLayout, recordLayout } from './wire-layouts.ts';

const DATAGRAM_BYTES_MAX = 4_096;

/** A decoder beside its twin; both return undefined, or why, where they refuse. */
interface Pair<Value extends object> {
  decode(bytes: Uint8Array): Value | string;
  twinDecode(bytes: readonly number[]): unknown;
  encode(value: Value): Uint8Array;
}

/** Holds one input against the laws; the value, or why it was refused. */
function obeyLaws<Value extends object>(pair: Pair<Value>, input: Uint8Array): Value | string {
  const result = decodeInside(input, (bytes) => pair.decode(bytes));
  const expected = pair.twinDecode([...input]);
  if (typeof result === 'string') {
    check(expected === undefined, `refused as ${result}, which the reference accepts`);
    return result;
  }
  check(expected !== undefined, 'accepted what the reference refuses');
  check(same(result, expected), 'decoded to another value than the reference');
  checkBounded(pair.decode(input), input);
  check(same(pair.encode(result), input), 'encodes to other bytes than it was decoded from');
  return result;
}

// ---------------------------------------------------------------- packets

const packetPair: Pair<wire.Packet> = {
  decode: (bytes) => wire.decodePacket(bytes),
  twinDecode: (bytes) => twin.decodePacket(bytes),
  encode: encodedPacket,
};

function encodedPacket(value: wire.Packet): Uint8Array {
  const bytes = new Uint8Array(wire.packetSize(value));
  wire.encodePacket(value, bytes);
  return bytes;
}

/** Whole datagrams: they split as the reference splits them, and each packet keeps the laws. */
const datagrams: Target = {
  name: 'datagrams',
  description: 'datagrams of several packets: split, decoded, encoded again',
  weight: 14,
  inputBytesMax: DATAGRAM_BYTES_MAX,
  generate: (random) =>
    concatBytes(...Array.from({ length: 1 + random.integer(3) }, () => encodedPacket(packet(random)))),
  layout: datagramLayout,
  run(input) {
    const expected = twin.splitDatagram([...input]);
    let outcome = 'nothing';
    let at = 0;
    for (const part of expected) {
      const length = wire.packetLength(input, at);
      check(length === part.length, 'the datagram splits elsewhere than in the reference');
      const result = obeyLaws(packetPair, input.slice(at, at + length));
      checkSegmentView(input, at, length);
      outcome = typeof result === 'string' ? result : `type ${result.type}`;
      at += length;
    }
    check(wire.packetLength(input, at) === 0, 'the datagram goes on behind the end in the reference');
    return `${outcome} at the end`;
  },
};

/** The view that sessions read segments by says what the decoder says. */
function checkSegmentView(input: Uint8Array, at: number, length: number): void {
  if (input[at] !== wire.PacketType.SEGMENT) return;
  const view = new wire.SegmentView();
  const failure = view.read(input, at, length);
  const decoded = wire.decodePacket(input, at);
  if (wire.isFailure(decoded)) check(failure === decoded, 'the segment view refuses otherwise');
  else check(same({ ...view }, { ...decoded }), 'the segment view reads otherwise');
}

// ---------------------------------------------------------------- frames and records

const framePair: Pair<wire.Frame[]> = {
  decode: (bytes) => wire.decodeFrames(bytes),
  twinDecode: (bytes) => twin.decodeFrames(bytes),
  encode: encodedFrames,
};

/** The plaintext of a SEALED packet with these frames. */
export function encodedFrames(list: readonly wire.Frame[]): Uint8Array {
  const bytes = new Uint8Array(list.reduce((sum, entry) => sum + wire.frameSize(entry), 0));
  const writer = new wire.Writer(bytes);
  for (const entry of list) wire.encodeFrame(entry, writer);
  return bytes;
}

const frameTarget: Target = {
  name: 'frames',
  description: 'the plaintext of sealed packets: every frame',
  weight: 16,
  inputBytesMax: DATAGRAM_BYTES_MAX,
  generate: (random) => encodedFrames(frames(random, 5)),
  layout: framesLayout,
  run(input) {
    const result = obeyLaws(framePair, input);
    if (typeof result === 'string') return result;
    return result.length === 0 ? 'no frame' : `frame ${result[0]!.type} first`;
  },
};

/** The header in front of a record's payload, and the payload. */
export function openedRecord(random: Random): Uint8Array {
  const payload = bytesUpTo(random, 1_200);
  const compressed = random.chance(0.4);
  const plainBytes = payload.length + (compressed ? 1 + random.integer(60_000) : 0);
  const dataLeft = random.pick([-1, 0, 1, unsigned(random, 48), Number.MAX_SAFE_INTEGER]);
  const bytes = new Uint8Array(wire.RECORD_HEADER_BYTES + payload.length);
  const offset = unsigned(random, 48);
  wire.encodeRecordHeader({ encoding: compressed ? 1 : 0, offset, dataLeft, plainBytes }, bytes, 0);
  bytes.set(payload, wire.RECORD_HEADER_BYTES);
  return bytes;
}

const recordHeaders: Target = {
  name: 'record-headers',
  description: 'the header inside sealed records',
  weight: 8,
  inputBytesMax: DATAGRAM_BYTES_MAX,
  generate: openedRecord,
  layout: recordLayout,
  run(input) {
    const result = obeyLaws(
      {
        decode: (bytes) => wire.decodeRecordHeader(bytes),
        twinDecode: (bytes) => twin.decodeRecordHeader(bytes),
        encode(header) {
          const bytes = input.slice();
          wire.encodeRecordHeader(header, bytes, 0);
          return bytes;
        },
      },
      input,
    );
    return typeof result === 'string' ? result : `encoding ${result.encoding}`;
  },
};

// ---------------------------------------------------------------- messages

/** An input says itself which message it is: a length, the name, the body. */
const messages: Target = {
  name: 'messages',
  description: 'the body of every query, reply and notice, and the parameters of the handshake',
  weight: 26,
  inputBytesMax: DATAGRAM_BYTES_MAX,
  generate(random) {
    const name = random.pick(MESSAGE_NAMES);
    const codec = codecOf(name);
    const value = MESSAGE_VALUES[name](random);
    const body = new Uint8Array(codec.size(value));
    codec.encode(value, new wire.Writer(body));
    return concatBytes(Uint8Array.of(name.length), utf8(name), body);
  },
  layout(input) {
    const layout = new LayoutBuilder();
    const named = messageIn(input);
    if (named !== undefined) layout.nested(named.at, messageLayout(named.name, input.subarray(named.at)));
    return layout;
  },
  run(input) {
    const named = messageIn(input);
    if (named === undefined) return 'no message';
    const { name, at } = named;
    const codec = codecOf(name);
    const body = input.slice(at);
    const result = obeyLaws<object>(
      {
        decode: (bytes) => wire.decodeMessage(codec, bytes) as object | string,
        twinDecode: (bytes) => twin.decodeMessage(name, bytes),
        encode(value) {
          const bytes = new Uint8Array(codec.size(value));
          codec.encode(value, new wire.Writer(bytes));
          return bytes;
        },
      },
      body,
    );
    if (name === 'whereIsManyQuery') checkCount(body, result);
    if (name === 'whereIsManyReply') checkView(body, result);
    return `${name}: ${typeof result === 'string' ? result : 'accepted'}`;
  },
};

function messageIn(input: Uint8Array): { name: MessageName; at: number } | undefined {
  const at = 1 + numberAt(input, 0, 1);
  const name = fromUtf8(input.subarray(1, at)) ?? '';
  return isMessageName(name) ? { name, at } : undefined;
}

/** The hot reader of WHERE_IS_MANY queries counts as the plain codec does. */
function checkCount(body: Uint8Array, plain: object | string): void {
  const count = decodeInside(body, wire.whereIsManyCount);
  const expected = typeof plain === 'string' ? undefined : (plain as wire.WhereIsManyQuery).hashes.length;
  check(count === expected, `WHERE_IS_MANY counts ${count} hashes instead of ${expected}`);
}

/** The hot reader of WHERE_IS_MANY replies says what the plain codec says. */
function checkView(body: Uint8Array, plain: object | string): void {
  const view = new wire.WhereIsManyView(body);
  if (typeof plain === 'string') return check(view.failure !== undefined, 'the view accepts what is refused');
  check(view.failure === undefined, `the view refuses as ${view.failure} what is accepted`);
  const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
  const seen = {
    revision: view.revision,
    stale: view.stale,
    locations: upTo(view.locations).map((index) => ({
      nodeId: view.nodeId(index),
      address: view.address(index),
    })),
    answers: upTo(view.count).map((index) => {
      const code = view.code(index);
      if (code === wire.ResultCode.BUSY) return { code, retryMillis: view.retryMillis(index) };
      if (code !== wire.ResultCode.OK) return { code };
      const replicas = upTo(view.replicas(index)).map((rank) => view.replica(index, rank));
      return { code, bytes: view.bytes(index), replicas };
    }),
  };
  check(same(seen, plain), 'the view reads otherwise');
}

export const codecTargets: readonly Target[] = [datagrams, frameTarget, recordHeaders, messages];
