/** The reference as a subject, third part: sealing, replay, records and their segments. */

import type * as wire from '../../src/wire/index.ts';
import { EPOCH_MAX } from './answer-keys.ts';
import { Refused } from './fields.ts';
import { BadRequest, bytesOf, type Fields, hexOf, type Json, tagOf } from './json.ts';
import { Receiver, ReplaySet, sealPacket, sealRecord } from './sealing.ts';
import { cut, type OpenedRecord, ReceivingFlow } from './segments.ts';
import type { Operations } from './subject.ts';

const U32_MAX = 2 ** 32 - 1;
const U48_MAX = 2 ** 48 - 1;

export const SEALING_OPERATIONS: Operations = {
  'sealed.seal': (request) => {
    const [traffic, epoch] = [request.bytes('trafficSecret', 32), request.number('epoch', EPOCH_MAX)];
    const number = request.number('packetNumber', U48_MAX);
    return { packet: hexOf(sealPacket(traffic, epoch, tagIn(request), number, request.bytes('plaintext'))) };
  },
  'record.seal': (request) => {
    const header = {
      encoding: request.number('encoding', 1) as 0 | 1,
      offset: request.number('offset', U48_MAX),
      dataLeft: request.number('dataLeft', Number.MAX_SAFE_INTEGER, -1),
      plainBytes: request.number('plainLength', U32_MAX),
    };
    const [traffic, epoch] = [request.bytes('trafficSecret', 32), request.number('epoch', EPOCH_MAX)];
    const [flowId, record] = [request.number('flowId', U32_MAX), request.number('recordNumber', U32_MAX)];
    try {
      return { sealed: hexOf(sealRecord(traffic, epoch, flowId, record, header, request.bytes('payload'))) };
    } catch (error) {
      if (error instanceof Refused) return undefined;
      throw error;
    }
  },
  'receive.trace': (request) => {
    const receiver = new Receiver(request.bytes('trafficSecret', 32), tagIn(request));
    return { results: request.objects('events').map((event) => received(receiver, event)) };
  },
  'replay.trace': (request) => {
    const seen = new ReplaySet();
    const fresh = request.objects('events').map((event) => {
      const number = event.number('packetNumber', U48_MAX);
      const isFresh = seen.isFresh(number);
      if (isFresh && event.flag('opens')) seen.commit(number);
      return isFresh;
    });
    return { fresh };
  },
  'segments.cut': (request) => {
    const fields = {
      tag: tagIn(request),
      epochBits: request.number('epochBits', 3),
      flowId: request.number('flowId', U32_MAX),
      record: request.number('recordNumber', U32_MAX),
    };
    const sealed = request.bytes('sealed');
    const slices = request.objects('slices').map((slice) => ({
      offset: slice.number('offset', U32_MAX),
      length: slice.number('length', U32_MAX),
    }));
    const packets = cut(fields, request.number('segmentNumber', U48_MAX), sealed, slices);
    const isInside = slices.every(({ offset, length }) => length > 0 && offset + length <= sealed.length);
    return isInside ? { packets: packets.map((packet) => hexOf(packet)) } : undefined;
  },
  'flow.receive': (request) => {
    const receiver = new Receiver(request.bytes('trafficSecret', 32), tagIn(request));
    const flow = new ReceivingFlow(
      receiver,
      request.number('flowId', U32_MAX),
      request.number('credit', U48_MAX),
    );
    const results: Json[] = [];
    for (const packet of request.list('packets')) {
      if (typeof packet !== 'string') throw new BadRequest('a packet is hex');
      const [segment] = receiver.packetsOf([...bytesOf(packet)]);
      if (segment?.type !== 6) throw new BadRequest('a packet of this trace is a SEGMENT of this session');
      const { verdict, acknowledged } = flow.onSegment(segment);
      results.push({ verdict, acknowledged });
      // With the session everything of it has ended.
      if (verdict === 'close') return { results, records: [], complete: false };
    }
    return { results, records: flow.records.map(recordJson), complete: flow.complete };
  },
};

function received(receiver: Receiver, event: Fields): Json {
  const opened: Uint8Array[] = [];
  switch (event.text('event')) {
    case 'datagram':
      for (const packet of receiver.packetsOf([...event.bytes('bytes')])) {
        const plaintext = packet.type === 5 ? receiver.openPacket(packet) : undefined;
        if (plaintext !== undefined) opened.push(plaintext);
      }
      break;
    case 'record': {
      const [bits, flowId] = [event.number('epochBits', 3), event.number('flowId', U32_MAX)];
      const plaintext = receiver.openRecord(
        bits,
        flowId,
        event.number('recordNumber', U32_MAX),
        event.bytes('sealed'),
      );
      if (plaintext !== undefined) opened.push(plaintext);
      break;
    }
    case 'forget':
      receiver.forgetPreviousControl();
      break;
    default:
      throw new BadRequest('an event of this trace is datagram, record or forget');
  }
  return { opened: opened.map((plaintext) => hexOf(plaintext)), epoch: receiver.epoch };
}

function recordJson({ encoding, offset, dataLeft, plainBytes, payload }: OpenedRecord): Json {
  return { encoding, offset, dataLeft, plainLength: plainBytes, payload: hexOf(payload) };
}

function tagIn(request: Fields): wire.SessionTag {
  return tagOf(request.text('receiverTag'));
}
