/**
 * Cases of sections 4.3, 4.4 and 4.6: a sender on a path that is made up here. The path decides what arrives and
 * when; the trace that is kept names no path, only the events that the sender saw.
 */

import type { Json, JsonObject } from '../json.ts';
import { RecoveryTwin } from '../recovery.ts';
import { CaseList, fixedBytes, type VectorFile } from '../vectors.ts';
import { ROUNDING } from './acks.ts';

const DATAGRAM = 1_472;
const PEER_WINDOW = 4_194_304;
/** Packets of one event of a trace. */
const PACKETS_MAX = 1_000;

/** A link with a queue that drops at its tail, and loss by chance. */
interface Path {
  readonly microsAway: number;
  readonly microsPerPacket: number;
  readonly queuePackets: number;
  /** Of 256 packets. */
  readonly lossShare: number;
  /** So many packets in a row share an ACK. */
  readonly ackEvery: number;
}

interface Arrival {
  readonly at: number;
  readonly first: number;
  readonly last: number;
}

/** Runs a sender that always has something to send, and notes what it sees. */
function watched(name: string, path: Path, micros: number, eventsMax: number): JsonObject[] {
  const sender = new RecoveryTwin(DATAGRAM, PEER_WINDOW);
  const chance = fixedBytes(`path ${name}`, 65_536);
  const events: JsonObject[] = [];
  const arrivals: Arrival[] = [];
  let [now, freeAt, number, waiting] = [0, 0, 0, 0];
  const note = (event: JsonObject): void => {
    events.push({ at: now, ...event });
  };
  const send = (): void => {
    let packets = 0;
    for (; sender.room >= DATAGRAM && packets < PACKETS_MAX; packets++) {
      sender.onSent(now, 1, DATAGRAM, false);
      const starts = Math.max(now, freeAt);
      const isDropped = starts - now > path.queuePackets * path.microsPerPacket;
      if (!isDropped) freeAt = starts + path.microsPerPacket;
      const isLost = isDropped || chance[number % chance.length]! < path.lossShare;
      if (!isLost) {
        waiting += 1;
        const at = starts + path.microsPerPacket + 2 * path.microsAway;
        const before = arrivals.at(-1);
        if (before !== undefined && before.last === number - 1 && waiting % path.ackEvery !== 1) {
          arrivals[arrivals.length - 1] = { at, first: before.first, last: number };
        } else arrivals.push({ at, first: number, last: number });
      }
      number += 1;
    }
    if (packets === 0) return;
    note({ event: 'sent', space: 1, bytes: DATAGRAM, packets });
    sender.onHeldBack();
    note({ event: 'held' });
  };
  send();
  while (now < micros && events.length < eventsMax) {
    const arrival = arrivals[0];
    const timer = sender.timer;
    if (arrival !== undefined && (timer === undefined || arrival.at <= timer)) {
      arrivals.shift();
      now = arrival.at;
      const ranges = [{ first: arrival.first, last: arrival.last }];
      sender.onAck(now, 1, ranges, 0);
      note({ event: 'ack', space: 1, ranges, delay: 0 });
    } else if (timer === undefined) break;
    else {
      now = Math.max(now, timer);
      const { probe } = sender.onTimer(now);
      note({ event: 'timer' });
      if (probe !== undefined) {
        sender.onSent(now, 1, DATAGRAM, false);
        note({ event: 'sent', space: 1, bytes: DATAGRAM });
        arrivals.push({ at: now + 2 * path.microsAway, first: number, last: number });
        number += 1;
      }
    }
    send();
  }
  return events;
}

export function congestionFile(): VectorFile {
  const cases = new CaseList('Congestion: a sender that always has something to send', ROUNDING);
  const add = (name: string, clauses: string, path: Path, micros: number, eventsMax: number): void => {
    const events = watched(name, path, micros, eventsMax) as unknown as Json;
    cases.takes(name, clauses, 'recovery.trace', {
      datagramBytes: DATAGRAM,
      windowBytes: PEER_WINDOW,
      events,
    });
  };
  const lan: Path = { microsAway: 50, microsPerPacket: 12, queuePackets: 44, lossShare: 0, ackEvery: 2 };
  add('a link of 1 Gbit/s with 64 KB of queue', 'CC-1 CC-2 CC-8', lan, 200_000, 600);
  add('the same with 1 % of loss', 'CC-7 CC-8', { ...lan, lossShare: 3 }, 400_000, 600);
  add('the same with 5 % of loss', 'CC-8', { ...lan, lossShare: 13 }, 400_000, 600);
  add('the same with 20 % of loss', 'CC-8', { ...lan, lossShare: 51 }, 400_000, 600);
  const slow: Path = { microsAway: 200, microsPerPacket: 1_178, queuePackets: 40, lossShare: 0, ackEvery: 2 };
  add('a link of 10 Mbit/s, whose queue stands', 'CC-7', slow, 4_000_000, 600);
  add('the same with 2 % of loss', 'CC-7 CC-8', { ...slow, lossShare: 5 }, 4_000_000, 600);
  const narrow: Path = {
    microsAway: 300,
    microsPerPacket: 11_776,
    queuePackets: 30,
    lossShare: 2,
    ackEvery: 2,
  };
  add('a link of 1 Mbit/s: the base is looked for anew', 'CC-9', narrow, 12_000_000, 900);
  const far: Path = {
    microsAway: 20_000,
    microsPerPacket: 120,
    queuePackets: 60,
    lossShare: 1,
    ackEvery: 40,
  };
  add('a path of 40 ms: the cubic grows', 'CC-2', far, 8_000_000, 900);
  return cases.file;
}

export function senderFile(): VectorFile {
  const cases = new CaseList('A sender: what leaves when', ROUNDING);
  const add = (
    name: string,
    clauses: string,
    events: readonly JsonObject[],
    windowBytes = PEER_WINDOW,
  ): void => {
    cases.takes(name, clauses, 'sender.trace', { datagramBytes: 1_200, windowBytes, events: events as Json });
  };
  const offer = (at: number, packets: number, space = 1, bytes = 1_200): JsonObject => ({
    at,
    event: 'offer',
    space,
    packets,
    bytes,
  });
  const ack = (at: number, ...ranges: readonly (readonly [number, number])[]): JsonObject =>
    ackIn(1, at, ...ranges);
  const ackIn = (
    space: number,
    at: number,
    ...ranges: readonly (readonly [number, number])[]
  ): JsonObject => ({
    at,
    event: 'ack',
    space,
    ranges: ranges.map(([first, last]) => ({ first, last })),
    delay: 0,
  });
  const wait = (at: number): JsonObject => ({ at, event: 'wait' });
  add('three packets, all arrive', 'REL-10', [offer(0, 3), ack(400, [0, 2]), wait(10_000_000)]);
  add('more than the window', 'CC-1 CC-2', [
    offer(0, 20),
    ack(400, [0, 3]),
    ack(500, [0, 9]),
    ack(900, [0, 19]),
  ]);
  add('one lost, found by the packets behind it', 'REL-6 REL-8', [
    offer(0, 6),
    ack(400, [1, 5]),
    ack(800, [6, 6], [1, 5]),
  ]);
  add('the last one lost: the probe brings it', 'REL-10 REL-11', [
    offer(0, 3),
    ack(400, [0, 1]),
    wait(20_000),
    ack(20_500, [3, 3], [0, 1]),
  ]);
  add('all lost: probes at spans that double', 'REL-10 REL-11', [offer(0, 3), wait(5_000_000)]);
  add('a probe arrives, and tells of the loss of the rest', 'REL-7 REL-11', [
    offer(0, 4),
    wait(40_000),
    ack(40_400, [4, 4]),
    wait(50_000),
    ack(50_400, [4, 8]),
  ]);
  add('a packet found late: it is not sent twice', 'REL-8', [
    offer(0, 6),
    ack(400, [3, 5]),
    ack(410, [0, 5]),
    wait(100_000),
  ]);
  add('lost by time, in the middle of nothing', 'REL-7 REL-8', [
    offer(0, 3),
    ack(400, [2, 2]),
    wait(3_000),
    ack(3_400, [3, 4], [2, 2]),
  ]);
  add('control leaves beside a full window', 'CC-3', [
    offer(0, 30),
    offer(10, 8, 0, 300),
    ackIn(0, 500, [0, 7]),
  ]);
  add('control leaves up to four datagrams beyond it', 'CC-3', [
    offer(0, 30),
    offer(10, 12, 0, 1_200),
    ack(600, [0, 9]),
  ]);
  add('both spaces lose: the older one is probed', 'REL-10 REL-11', [
    offer(0, 1, 0, 200),
    offer(4_000, 2),
    wait(400_000),
  ]);
  add(
    'the window of the peer',
    'CC-1 FLOW-7',
    [offer(0, 12), ack(300, [0, 3]), ack(600, [0, 7]), ack(900, [0, 11])],
    4_800,
  );
  add('a burst ends after a part of a large window', 'CC-5', [
    ...burst(),
    offer(100_000, 1_000, 1, 1_200),
    wait(101_000),
    wait(103_000),
  ]);
  add('an item and its probe are lost together', 'REL-8 REL-11', [
    offer(0, 1),
    wait(32_000),
    offer(32_100, 5),
    ack(32_600, [6, 6]),
    wait(33_700),
  ]);
  add('losses in several rounds', 'REL-6 REL-8 CC-8', rounds());
  return cases.file;
}

/** Acknowledgements that open a large window, and then a pause. */
function burst(): JsonObject[] {
  const events: JsonObject[] = [];
  let [at, sent] = [0, 0];
  for (let window = 10; window <= 320; window *= 2) {
    events.push({ at, event: 'offer', space: 1, packets: window + 20, bytes: 1_200 });
    for (let left = window + 20; left > 0; ) {
      const count = Math.min(left, window);
      at += 400;
      events.push({ at, event: 'ack', space: 1, ranges: [{ first: 0, last: sent + count - 1 }], delay: 0 });
      sent += count;
      left -= count;
    }
  }
  return events;
}

/** Every seventh packet of each round is lost the first time. */
function rounds(): JsonObject[] {
  const events: JsonObject[] = [{ at: 0, event: 'offer', space: 1, packets: 60, bytes: 1_200 }];
  for (let round = 0; round < 12; round++) {
    const ranges: { first: number; last: number }[] = [];
    for (let first = 7 * round; first >= 0; first -= 7) ranges.push({ first: first + 1, last: first + 6 });
    events.push({ at: 400 * (round + 1), event: 'ack', space: 1, ranges: ranges.slice(0, 32), delay: 0 });
  }
  return events;
}

export function datagramSizeFile(): VectorFile {
  const cases = new CaseList('The search for the datagram size');
  const sizes = [1_200, 1_472, 8_972, 62_000];
  type Event = readonly [number, string, number?];
  const add = (
    name: string,
    clauses: string,
    events: readonly Event[],
    tried: readonly number[] = sizes,
  ): void => {
    cases.takes(name, clauses, 'mtu.trace', {
      sizes: tried,
      events: events.map(([at, event, bytes]) =>
        bytes === undefined ? { at, event } : { at, event, bytes },
      ),
    });
  };
  const lost = (from: number, count: number): Event[] =>
    Array.from({ length: count }, (_, index): Event[] => [
      [from + 100_500 * index, 'poll'],
      [from + 100_500 * index + 500, 'probeLost'],
    ]).flat();
  add('the largest size arrives', 'MTU-2', [
    [0, 'poll'],
    [10, 'poll'],
    [400, 'probeAcked', 62_000],
    [500, 'poll'],
  ]);
  add('a lost probe is repeated after 100 ms', 'MTU-3', [
    [0, 'poll'],
    [500, 'probeLost'],
    [100_499, 'poll'],
    [100_500, 'poll'],
  ]);
  add('three lost probes, then the next smaller size', 'MTU-3', [
    ...lost(0, 4),
    [402_000, 'poll'],
    [402_400, 'probeAcked', 8_972],
  ]);
  add('all sizes are too large', 'MTU-3 MTU-4', [...lost(0, 9), [1_000_000, 'poll'], [700_000_000, 'poll']]);
  add('the search starts again after 600 s', 'MTU-4', [
    ...lost(0, 3),
    [301_500, 'poll'],
    [302_000, 'probeAcked', 8_972],
    [600_301_999, 'poll'],
    [600_302_000, 'poll'],
    [600_303_000, 'probeAcked', 62_000],
  ]);
  const large = [
    [0, 'poll'],
    [400, 'probeAcked', 62_000],
  ] as const satisfies readonly Event[];
  const bad = (from: number, count: number): Event[] =>
    Array.from({ length: count }, (_, index): Event => [from + 1_000 * index, 'largeLost']);
  add('six instants of loss', 'MTU-5', [...large, ...bad(1_000, 6), [50_000, 'poll'], [106_000, 'poll']]);
  add('many losses at one instant', 'MTU-5', [...large, ...new Array<Event>(8).fill([1_000, 'largeLost'])]);
  add('an acknowledgement between', 'MTU-5', [
    ...large,
    ...bad(1_000, 5),
    [6_500, 'largeAcked'],
    ...bad(7_000, 6),
  ]);
  add('losses at the least size mean nothing', 'MTU-5', [...bad(0, 8), [9_000, 'poll']]);
  add(
    'only the least size',
    'MTU-1 MTU-2',
    [
      [0, 'poll'],
      [1_000, 'poll'],
    ],
    [1_200],
  );
  add('two sizes', 'MTU-2 MTU-3', [...lost(0, 3), [400_000, 'poll'], [600_201_500, 'poll']], [1_200, 1_472]);
  return cases.file;
}
