/** The reference as a subject, fourth part: traces of acknowledgement, recovery, congestion and datagram size. */

import { Acknowledger, type AckRange } from './acks.ts';
import { BadRequest, type Fields, type Json, type JsonObject } from './json.ts';
import { DatagramSize } from './mtu.ts';
import { type Outcome, RecoveryTwin, RoundTrip } from './recovery.ts';
import { SenderTwin } from './sender.ts';
import type { Operations } from './subject.ts';

const U16_MAX = 65_535;
const U32_MAX = 2 ** 32 - 1;
const U48_MAX = 2 ** 48 - 1;
/** A trace lasts less than three years. */
const MICROS_MAX = 2 ** 46;
/** Packets of one event. */
const PACKETS_MAX = 1_000;

export const RELIABILITY_OPERATIONS: Operations = {
  'ack.trace': (request) => {
    const acks = new Acknowledger();
    const results = request.objects('events').map((event): JsonObject => {
      const at = timeOf(event);
      if (event.text('event') === 'send') return { delay: acks.send(at).delay, ...ackState(acks) };
      acks.onReceived(at, event.number('number', U48_MAX), event.flag('ackEliciting'));
      return ackState(acks);
    });
    return { results };
  },
  'rtt.trace': (request) => {
    const rtt = new RoundTrip();
    const results = request.objects('samples').map((sample) => {
      rtt.sample(sample.number('latest', MICROS_MAX, 1), sample.number('ackDelay', MICROS_MAX));
      return { ...rttState(rtt), least: rtt.least };
    });
    return { results };
  },
  'recovery.trace': (request) => {
    const recovery = recoveryOf(request);
    return { results: request.objects('events').map((event) => recovered(recovery, event)) };
  },
  'sender.trace': (request) => {
    const recovery = recoveryOf(request);
    const sender = new SenderTwin(recovery, request.number('datagramBytes', U16_MAX, 1));
    for (const event of request.objects('events')) {
      const at = timeOf(event);
      sender.advance(at);
      switch (event.text('event')) {
        case 'offer':
          sender.offer(
            at,
            event.number('space', 1),
            event.number('packets', PACKETS_MAX),
            event.number('bytes', U16_MAX, 1),
          );
          break;
        case 'ack':
          sender.acknowledge(
            at,
            event.number('space', 1),
            rangesOf(event),
            event.number('delay', MICROS_MAX),
          );
          break;
        case 'wait':
          break;
        default:
          throw new BadRequest('an event of this trace is offer, ack or wait');
      }
    }
    return { transmissions: sender.transmissions as unknown as Json, ...recoveryState(recovery) };
  },
  'mtu.trace': (request) => {
    const sizes = request.list('sizes').map(Number);
    const search = new DatagramSize(sizes, 0);
    const results = request.objects('events').map((event) => {
      const at = timeOf(event);
      let probe: number | undefined;
      switch (event.text('event')) {
        case 'poll':
          probe = search.probe(at);
          break;
        case 'probeAcked':
          search.onProbeAcked(at);
          break;
        case 'probeLost':
          search.onProbeLost(at);
          break;
        case 'largeAcked':
          search.onLargeAcked();
          break;
        case 'largeLost':
          search.onLargeLost(at);
          break;
        default:
          throw new BadRequest('no such event in this trace');
      }
      return { probe: probe ?? null, datagramBytes: search.bytes, nextAt: search.probeAt ?? null };
    });
    return { results };
  },
};

function recovered(recovery: RecoveryTwin, event: Fields): JsonObject {
  const at = timeOf(event);
  let outcome: Outcome | undefined;
  switch (event.text('event')) {
    case 'sent': {
      const [space, bytes] = [event.number('space', 1), event.number('bytes', U16_MAX, 1)];
      const isProbe = event.has('probe') && event.flag('probe');
      for (let left = packetsIn(event); left > 0; left--) recovery.onSent(at, space, bytes, isProbe);
      break;
    }
    case 'ack':
      outcome = recovery.onAck(
        at,
        event.number('space', 1),
        rangesOf(event),
        event.number('delay', MICROS_MAX),
      );
      break;
    case 'timer':
      outcome = recovery.onTimer(at);
      break;
    case 'held':
      recovery.onHeldBack();
      break;
    case 'datagramBytes':
      recovery.datagramBytes = event.number('bytes', U16_MAX, 1);
      break;
    default:
      throw new BadRequest('an event of this trace is sent, ack, timer, held or datagramBytes');
  }
  const told =
    outcome === undefined
      ? {}
      : {
          acked: outcome.acked as unknown as Json,
          lost: outcome.lost as unknown as Json,
          unsent: outcome.unsent,
          probeSpace: outcome.probe ?? null,
        };
  return { ...told, ...recoveryState(recovery) };
}

function recoveryState(recovery: RecoveryTwin): JsonObject {
  return {
    window: Math.round(recovery.window),
    room: Math.round(recovery.room),
    inFlight: recovery.bytesInFlight,
    timer: recovery.timer ?? null,
    ...rttState(recovery.rtt),
  };
}

function rttState(rtt: RoundTrip): JsonObject {
  return { srtt: Math.round(rtt.smoothed), rttvar: Math.round(rtt.deviation), pto: rtt.pto };
}

function ackState(acks: Acknowledger): JsonObject {
  return { due: acks.due ?? null, ranges: acks.ranges as unknown as Json };
}

function recoveryOf(request: Fields): RecoveryTwin {
  return new RecoveryTwin(
    request.number('datagramBytes', U16_MAX, 1),
    request.number('windowBytes', U32_MAX, 1),
  );
}

function rangesOf(event: Fields): AckRange[] {
  return event
    .objects('ranges')
    .map((range) => ({ first: range.number('first', U48_MAX), last: range.number('last', U48_MAX) }));
}

/** How many packets leave at one instant: one where nothing is said. */
function packetsIn(event: Fields): number {
  return event.has('packets') ? event.number('packets', PACKETS_MAX, 1) : 1;
}

function timeOf(event: Fields): number {
  return event.number('at', MICROS_MAX);
}
