/** Our code as a subject, fifth part: traces of acknowledgement, recovery, congestion and datagram size. */

import { BadRequest, type Fields, type Json, type JsonObject } from '../../spec/reference/json.ts';
import type { Operations } from '../../spec/reference/subject.ts';
import { type Micros, micros, type PacketNumber } from '../../src/base/units.ts';
import {
  AckTracker,
  LanCubic,
  MtuProbe,
  Recovery,
  RttEstimator,
  SENT_PACKETS_MAX,
} from '../../src/reliability/index.ts';
import { CONTROL_HEADROOM_DATAGRAMS } from '../../src/session/limits.ts';
import { ACK_DELAY_UNIT_MICROS, ACK_RANGES_MAX } from '../../src/wire/index.ts';

const U16_MAX = 65_535;
const U32_MAX = 2 ** 32 - 1;
const U48_MAX = 2 ** 48 - 1;
const MICROS_MAX = 2 ** 46;
/** Packets of one event. */
const PACKETS_MAX = 1_000;
/** Timers that may run between two events of a trace. */
const TIMERS_MAX = 10_000;

export const RELIABILITY_OPERATIONS: Operations = {
  'ack.trace': (request) => {
    const acks = new AckTracker(ACK_RANGES_MAX);
    const results = request.objects('events').map((event): JsonObject => {
      const at = timeIn(event);
      if (event.text('event') !== 'send') {
        acks.onReceived(at, event.number('number', U48_MAX), event.flag('ackEliciting'));
        return ackState(acks);
      }
      const delay = Math.min(U16_MAX, Math.floor(acks.delayMicros(at) / ACK_DELAY_UNIT_MICROS));
      acks.onAckSent();
      return { delay, ...ackState(acks) };
    });
    return { results };
  },
  'rtt.trace': (request) => {
    const rtt = new RttEstimator();
    const results = request.objects('samples').map((sample) => {
      rtt.update(
        micros(sample.number('latest', MICROS_MAX, 1)),
        micros(sample.number('ackDelay', MICROS_MAX)),
      );
      return { ...rttState(rtt), least: rtt.minMicros };
    });
    return { results };
  },
  'recovery.trace': (request) => {
    const trace = new RecoveryTrace(request);
    return { results: request.objects('events').map((event) => trace.take(event)) };
  },
  'sender.trace': (request) => new SenderTrace(request).run(request),
  'mtu.trace': (request) => {
    const sizes = request.list('sizes').map(Number);
    if (sizes.length === 0) throw new BadRequest('there is at least one size');
    const search = new MtuProbe(sizes, micros(0));
    return { results: request.objects('events').map((event) => searched(search, event)) };
  },
};

interface PacketName {
  readonly space: number;
  readonly number: number;
}

class RecoveryTrace {
  readonly controller: LanCubic;
  readonly recovery: Recovery<PacketName>;
  #acked: PacketName[] = [];
  #lost: PacketName[] = [];

  constructor(request: Fields) {
    this.controller = new LanCubic(request.number('datagramBytes', U16_MAX, 1));
    const owner = {
      onPacketAcked: (_: number, packet: PacketName) => this.#acked.push(packet),
      onPacketLost: (_: number, packet: PacketName) => this.#lost.push(packet),
    };
    this.recovery = new Recovery(this.controller, owner, request.number('windowBytes', U32_MAX, 1));
  }

  take(event: Fields): JsonObject {
    const { recovery } = this;
    const at = timeIn(event);
    let told: JsonObject = {};
    switch (event.text('event')) {
      case 'sent': {
        const [space, bytes] = [event.number('space', 1), event.number('bytes', U16_MAX, 1)];
        const isProbe = event.has('probe') && event.flag('probe');
        const packets = event.has('packets') ? event.number('packets', PACKETS_MAX, 1) : 1;
        if (recovery.packetsInFlight > SENT_PACKETS_MAX) throw new BadRequest('too many packets in flight');
        for (let left = packets; left > 0; left--) {
          const number = recovery.takeNumber(space);
          recovery.onPacketSent(at, space, number, bytes, { space, number }, isProbe);
        }
        break;
      }
      case 'ack': {
        const delay = micros(event.number('delay', MICROS_MAX));
        const unsent = recovery.onAckReceived(at, event.number('space', 1), rangesIn(event), delay);
        told = { ...this.#told(), unsent, probeSpace: null };
        break;
      }
      case 'timer': {
        const probeSpace = recovery.onTimeout(at) ?? null;
        told = { ...this.#told(), unsent: 0, probeSpace };
        break;
      }
      case 'held':
        recovery.onWindowLimited();
        break;
      case 'datagramBytes':
        this.controller.setDatagramBytes(event.number('bytes', U16_MAX, 1));
        break;
      default:
        throw new BadRequest('an event of this trace is sent, ack, timer, held or datagramBytes');
    }
    return { ...told, ...recoveryState(recovery) };
  }

  #told(): JsonObject {
    const told = { acked: this.#acked as unknown as Json, lost: this.#lost as unknown as Json };
    this.#acked = [];
    this.#lost = [];
    return told;
  }
}

interface Item {
  readonly item: number;
  readonly space: number;
  readonly bytes: number;
}

/** A sender on top of our recovery, by the rules that page 08 gives for this trace. */
class SenderTrace {
  readonly #recovery: Recovery<Item>;
  readonly #headroomBytes: number;
  readonly #queues: [(Item & { why: string })[], (Item & { why: string })[]] = [[], []];
  readonly #done = new Set<number>();
  readonly #lost: Item[] = [];
  readonly #transmissions: Json[] = [];
  #items = 0;

  constructor(request: Fields) {
    const datagramBytes = request.number('datagramBytes', U16_MAX, 1);
    this.#headroomBytes = CONTROL_HEADROOM_DATAGRAMS * datagramBytes;
    const owner = {
      onPacketAcked: (_: number, { item }: Item) => this.#done.add(item),
      onPacketLost: (_: number, item: Item) => this.#lost.push(item),
    };
    const windowBytes = request.number('windowBytes', U32_MAX, 1);
    this.#recovery = new Recovery(new LanCubic(datagramBytes), owner, windowBytes);
  }

  run(request: Fields): JsonObject {
    for (const event of request.objects('events')) this.#take(event);
    return { transmissions: this.#transmissions, ...recoveryState(this.#recovery) };
  }

  #take(event: Fields): void {
    const at = timeIn(event);
    this.#advance(at);
    switch (event.text('event')) {
      case 'offer': {
        const space = event.number('space', 1) as 0 | 1;
        const bytes = event.number('bytes', U16_MAX, 1);
        for (let left = event.number('packets', PACKETS_MAX); left > 0; left--) {
          this.#queues[space].push({ item: this.#items++, space, bytes, why: 'new' });
        }
        break;
      }
      case 'ack': {
        const delay = micros(event.number('delay', MICROS_MAX));
        this.#recovery.onAckReceived(at, event.number('space', 1), rangesIn(event), delay);
        this.#requeue();
        break;
      }
      case 'wait':
        return;
      default:
        throw new BadRequest('an event of this trace is offer, ack or wait');
    }
    this.#send(at);
  }

  #advance(until: Micros): void {
    for (let count = 0; count < TIMERS_MAX; count++) {
      const at = this.#recovery.timeoutAt();
      if (at === undefined || at > until) return;
      const probe = this.#recovery.onTimeout(at) as 0 | 1 | undefined;
      this.#requeue();
      const oldest =
        probe === undefined ? undefined : this.#recovery.oldest(probe, ({ item }) => !this.#done.has(item));
      if (probe !== undefined && oldest !== undefined) {
        this.#queues[probe] = this.#queues[probe].filter(({ item }) => item !== oldest.item);
        this.#transmit(at, oldest, 'probe');
      }
      this.#send(at);
    }
    throw new BadRequest('this trace has too many timers');
  }

  /** What was lost and still matters stands before what is new; what has arrived waits no longer. */
  #requeue(): void {
    for (const space of [0, 1] as const) {
      const queue = this.#queues[space].filter(({ item }) => !this.#done.has(item));
      const again = this.#lost.filter((lost) => lost.space === space && !this.#done.has(lost.item));
      const fresh = again.filter(
        ({ item }, index) =>
          !queue.some((waiting) => waiting.item === item) &&
          again.findIndex((other) => other.item === item) === index,
      );
      this.#queues[space] = [...fresh.map((item) => ({ ...item, why: 'again' })), ...queue];
    }
    this.#lost.length = 0;
  }

  #send(at: Micros): void {
    const [control, segments] = this.#queues;
    while (control.length > 0 && this.#recovery.roomBytes + this.#headroomBytes > 0) this.#next(at, control);
    while (segments.length > 0 && this.#recovery.roomBytes >= segments[0]!.bytes) this.#next(at, segments);
    if (segments.length > 0) this.#recovery.onWindowLimited();
  }

  #next(at: Micros, queue: (Item & { why: string })[]): void {
    const { why, ...item } = queue.shift()!;
    this.#transmit(at, item, why);
  }

  #transmit(at: Micros, item: Item, why: string): void {
    const number = this.#recovery.takeNumber(item.space);
    this.#recovery.onPacketSent(at, item.space, number, item.bytes, item);
    this.#transmissions.push({ at, space: item.space, number, item: item.item, why });
  }
}

function searched(search: MtuProbe, event: Fields): Json {
  const at = timeIn(event);
  let probe: number | undefined;
  switch (event.text('event')) {
    case 'poll':
      probe = search.takeProbe(at);
      break;
    case 'probeAcked':
      search.onProbeAcked(at, event.number('bytes', U16_MAX));
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
  return { probe: probe ?? null, datagramBytes: search.datagramBytes, nextAt: search.timeoutAt() ?? null };
}

function recoveryState(recovery: Recovery<unknown>): JsonObject {
  return {
    window: Math.round(recovery.windowBytes),
    room: Math.round(recovery.roomBytes),
    inFlight: recovery.bytesInFlight,
    timer: recovery.timeoutAt() ?? null,
    ...rttState(recovery.rtt),
  };
}

function rttState(rtt: RttEstimator): JsonObject {
  return { srtt: Math.round(rtt.smoothedMicros), rttvar: Math.round(rtt.varianceMicros), pto: rtt.ptoMicros };
}

function ackState(acks: AckTracker): JsonObject {
  return { due: acks.dueAt ?? null, ranges: acks.ranges() };
}

function rangesIn(event: Fields): { first: PacketNumber; last: PacketNumber }[] {
  return event.objects('ranges').map((range) => {
    const [first, last] = [range.number('first', U48_MAX), range.number('last', U48_MAX)];
    if (first > last) throw new BadRequest('a range ends before it starts');
    return { first: first as PacketNumber, last: last as PacketNumber };
  });
}

function timeIn(event: Fields): Micros {
  return micros(event.number('at', MICROS_MAX));
}
