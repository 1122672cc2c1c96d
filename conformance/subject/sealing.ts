/** Our code as a subject, fourth part: sealing, replay, records and segments, by `src/crypto` and `src/session`. */

import { BadRequest, bytesOf, type Fields, hexOf, type Json, tagOf } from '../../spec/reference/json.ts';
import type { Operations } from '../../spec/reference/subject.ts';
import { micros, type PacketNumber } from '../../src/base/units.ts';
import { ReplayWindow, SendKeys, type Suite } from '../../src/crypto/index.ts';
import { AckTracker, CreditPool } from '../../src/reliability/index.ts';
import { SEGMENT_NUMBER_JUMP_MAX } from '../../src/reliability/limits.ts';
import { FlowTable } from '../../src/session/flows.ts';
import { PacketOpener } from '../../src/session/packet-opener.ts';
import * as wire from '../../src/wire/index.ts';
import { orRefused, recordHeaderIn } from './codec.ts';

const U32_MAX = 2 ** 32 - 1;
const U48_MAX = wire.PACKET_NUMBER_MAX;
const EPOCH_MAX = 1_000;
/** The most credit that a trace may grant. */
const CREDIT_MAX = 2 ** 40;

export function sealingOperations(suite: Suite): Operations {
  return {
    'sealed.seal': (request) => {
      const plaintext = request.bytes('plaintext');
      const number = request.number('packetNumber', U48_MAX);
      const keys = sendKeysIn(suite, request);
      const bytes = wire.SEALED_HEADER_BYTES + plaintext.length + 16;
      const packet = new Uint8Array(bytes);
      wire.encodeSealedHeader(packet, 0, bytes, keys.epoch % 4, tagIn(request), number as PacketNumber);
      const header = packet.subarray(0, wire.SEALED_HEADER_BYTES);
      keys.sealControl(number, header, plaintext, packet, wire.SEALED_HEADER_BYTES);
      return { packet: hexOf(packet) };
    },
    'record.seal': (request) => {
      const [flowId, record] = [request.number('flowId', U32_MAX), request.number('recordNumber', U32_MAX)];
      const payload = request.bytes('payload');
      const header = recordHeaderIn(request);
      const plaintext = new Uint8Array(wire.RECORD_HEADER_BYTES + payload.length);
      const isWritten = orRefused(() => {
        wire.encodeRecordHeader(header, plaintext, 0);
        plaintext.set(payload, wire.RECORD_HEADER_BYTES);
        return !wire.isFailure(wire.decodeRecordHeader(plaintext));
      });
      if (isWritten !== true) return undefined;
      const sealed = new Uint8Array(plaintext.length + 16);
      sendKeysIn(suite, request).sealRecord(flowId, record, plaintext, sealed, 0);
      return { sealed: hexOf(sealed) };
    },
    'receive.trace': (request) => {
      const opener = openerOf(suite, request);
      return { results: request.objects('events').map((event) => received(opener, event)) };
    },
    'replay.trace': (request) => {
      const window = new ReplayWindow();
      const fresh = request.objects('events').map((event) => {
        const number = event.number('packetNumber', U48_MAX);
        const isFresh = window.check(number) === 'fresh';
        if (isFresh && event.flag('opens')) window.commit(number);
        return isFresh;
      });
      return { fresh };
    },
    'segments.cut': (request) =>
      orRefused(() => ({ packets: segmentsOf(request).map((bytes) => hexOf(bytes)) })),
    'flow.receive': (request) => flowReceived(suite, request),
  };
}

function sendKeysIn(suite: Suite, request: Fields): SendKeys {
  const keys = new SendKeys(suite, request.bytes('trafficSecret', 32));
  const epoch = request.number('epoch', EPOCH_MAX);
  while (keys.epoch < epoch) keys.update();
  return keys;
}

function openerOf(suite: Suite, request: Fields): PacketOpener {
  return new PacketOpener({
    suite,
    receiveSecret: request.bytes('trafficSecret', 32),
    localTag: tagIn(request),
    drop: () => undefined,
    onKeyUpdate: () => undefined,
  });
}

function received(opener: PacketOpener, event: Fields): Json {
  const opened: string[] = [];
  switch (event.text('event')) {
    case 'datagram':
      opener.split(event.bytes('bytes'), (packet) => {
        const plaintext = packet.type === wire.PacketType.SEALED ? opener.open(packet) : undefined;
        if (plaintext !== undefined) opened.push(hexOf(plaintext));
        return 'go on';
      });
      break;
    case 'record': {
      const [bits, flowId] = [event.number('epochBits', 3), event.number('flowId', U32_MAX)];
      const sealed = event.bytes('sealed');
      const bytes = opener.openRecord(bits, flowId, event.number('recordNumber', U32_MAX), sealed, sealed);
      if (bytes >= 0) opened.push(hexOf(sealed.subarray(0, bytes)));
      break;
    }
    case 'forget':
      opener.dropPreviousKeys();
      break;
    default:
      throw new BadRequest('an event of this trace is datagram, record or forget');
  }
  return { opened, epoch: opener.epoch };
}

function segmentsOf(request: Fields): Uint8Array[] {
  const sealed = request.bytes('sealed');
  const first = request.number('segmentNumber', U48_MAX);
  const [flowId, record] = [request.number('flowId', U32_MAX), request.number('recordNumber', U32_MAX)];
  return request.objects('slices').map((slice, index) => {
    const [offset, length] = [slice.number('offset', U32_MAX), slice.number('length', wire.PACKET_BYTES_MAX)];
    const bytes = wire.SEGMENT_HEADER_BYTES + length;
    const packet = new Uint8Array(bytes);
    wire.writeSegmentHeader(
      packet,
      0,
      bytes,
      tagIn(request),
      request.number('epochBits', 3),
      (first + index) as PacketNumber,
      flowId,
      record,
      offset,
      sealed.length,
    );
    packet.set(sealed.subarray(offset, offset + length), wire.SEGMENT_HEADER_BYTES);
    return packet;
  });
}

/** One flow of a session that receives; acknowledgement as `session.ts` decides it. */
function flowReceived(suite: Suite, request: Fields): { results: Json; records: Json; complete: boolean } {
  const opener = openerOf(suite, request);
  const flowId = request.number('flowId', U32_MAX);
  let asked: 'resend' | 'stop' | undefined;
  const table = new FlowTable({
    seal: () => {
      throw new Error('nothing is sent here');
    },
    open: (bits, flow, record, sealed, into) => opener.openRecord(bits, flow, record, sealed, into),
    pool: new CreditPool(2 * CREDIT_MAX),
    emit: () => undefined,
    send: ({ type }) => {
      if (type === wire.FrameType.RESEND) asked = 'resend';
      if (type === wire.FrameType.STOP) asked = 'stop';
    },
  });
  table.openReceive(flowId, request.number('credit', CREDIT_MAX, 1));
  const flow = table.receiving.get(flowId)!;
  const acks = new AckTracker(wire.ACK_RANGES_MAX);
  const results: Json[] = [];
  for (const packet of request.list('packets')) {
    asked = undefined;
    const result = segmentReceived(opener, table, acks, packet);
    results.push({ ...result, verdict: asked ?? result.verdict });
    if (result.verdict === 'close') return { results, records: [], complete: false };
  }
  const { complete } = flow;
  const records: Json[] = [];
  for (let record = flow.take(); record !== undefined; record = flow.take()) {
    const { encoding, offset, dataLeft, plainBytes, payload } = record;
    records.push({ encoding, offset, dataLeft, plainLength: plainBytes, payload: hexOf(payload) });
  }
  return { results, records, complete };
}

function segmentReceived(
  opener: PacketOpener,
  table: FlowTable,
  acks: AckTracker,
  packet: Json,
): { verdict: string; acknowledged: boolean } {
  if (typeof packet !== 'string') throw new BadRequest('a packet is hex');
  let result: { verdict: string; acknowledged: boolean } | undefined;
  opener.split(bytesOf(packet), (segment) => {
    if (segment.type !== wire.PacketType.SEGMENT) return 'stop';
    result = judged(table, acks, segment);
    return 'stop';
  });
  if (result === undefined) throw new BadRequest('a packet of this trace is a SEGMENT of this session');
  return result;
}

function judged(
  table: FlowTable,
  acks: AckTracker,
  segment: wire.SegmentPacket,
): { verdict: string; acknowledged: boolean } {
  if (segment.number > acks.largest + SEGMENT_NUMBER_JUMP_MAX)
    return { verdict: 'dropped', acknowledged: false };
  const isOpen = table.receiving.has(segment.flowId);
  const verdict = table.onSegment(segment);
  if (typeof verdict === 'object') return { verdict: 'close', acknowledged: false };
  if (verdict === 'drop') return { verdict: 'dropped', acknowledged: false };
  const isNews = verdict !== 'stale' || !acks.has(segment.number);
  if (isNews) acks.onReceived(micros(0), segment.number, true);
  const words = { ack: 'kept', stale: isOpen ? 'known' : 'ignored', 'proves-life': 'opened' };
  return { verdict: words[verdict], acknowledged: isNews };
}

function tagIn(request: Fields): wire.SessionTag {
  return tagOf(request.text('receiverTag'));
}
