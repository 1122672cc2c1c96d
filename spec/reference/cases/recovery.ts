/** Cases of sections 4.2, 4.3 and 4.6: loss recovery and congestion, event by event. Times in us. */

import type { JsonObject } from '../json.ts';
import { CaseList, type VectorFile } from '../vectors.ts';
import { ROUNDING } from './acks.ts';

type Range = readonly [number, number];

const sent = (at: number, bytes = 1_200, space = 1): JsonObject => ({
  at,
  event: 'sent',
  space,
  bytes,
});
const probe = (at: number, bytes: number): JsonObject => ({
  at,
  event: 'sent',
  space: 0,
  bytes,
  probe: true,
});
const acked = (at: number, ranges: readonly Range[], space = 1, delay = 0): JsonObject => ({
  at,
  event: 'ack',
  space,
  ranges: ranges.map(([first, last]) => ({ first, last })),
  delay,
});
const timer = (at: number): JsonObject => ({ at, event: 'timer' });

export function recoveryFile(): VectorFile {
  const cases = new CaseList('Loss recovery, event by event', ROUNDING);
  const add = (
    name: string,
    clauses: string,
    events: readonly JsonObject[],
    windowBytes = 1_000_000,
  ): void => {
    cases.takes(name, clauses, 'recovery.trace', { datagramBytes: 1_200, windowBytes, events });
  };
  const five = [0, 10, 20, 30, 40].map((at) => sent(at));
  add('one packet, acknowledged', 'REL-2 REL-4', [sent(0), acked(500, [[0, 0]])]);
  add('nothing is in flight', 'REL-10', [timer(0), acked(10, [[0, 0]])]);
  add('an acknowledgement twice', 'REL-2', [
    sent(0),
    sent(0),
    acked(500, [[0, 0]]),
    acked(600, [[0, 0]]),
    acked(700, [[0, 1]]),
  ]);
  add('no sample from a packet below the largest', 'REL-2', [
    sent(0),
    sent(100),
    acked(600, [[1, 1]]),
    acked(9_000, [[0, 1]]),
  ]);
  add('overtaken by two', 'REL-6 REL-7', [...five, acked(500, [[2, 2]])]);
  add('overtaken by three', 'REL-6', [...five, acked(500, [[3, 3]])]);
  add('overtaken by four, and two of three lost', 'REL-6', [...five, acked(500, [[4, 4]])]);
  add('overtaken, and late by the timer', 'REL-7', [
    ...five,
    acked(500, [[1, 1]]),
    timer(999),
    timer(1_000),
    timer(1_010),
  ]);
  add('the timer waits 9/8 of a long round trip', 'REL-7', [
    ...five,
    acked(16_010, [[1, 1]]),
    timer(18_009),
    timer(18_010),
    timer(18_011),
  ]);
  add('lost at once, by time', 'REL-7', [sent(0), sent(5_000), acked(5_400, [[1, 1]])]);
  add('at least 1 ms', 'REL-7', [sent(0), sent(100), acked(200, [[1, 1]]), timer(999), timer(1_000)]);
  add('an acknowledgement of what counted as lost', 'REL-6', [
    ...five,
    acked(500, [[4, 4]]),
    acked(900, [[0, 4]]),
  ]);
  add('gaps in an ACK', 'ACK-3 REL-6', [
    ...five,
    ...five,
    acked(700, [
      [9, 9],
      [6, 7],
      [1, 2],
    ]),
  ]);
  add('spaces count apart', 'REL-6 PKT-11', [
    sent(0, 100, 0),
    ...five,
    acked(500, [[4, 4]]),
    sent(510, 90, 0),
    acked(800, [[0, 1]], 0),
  ]);
  add('the delay of the peer', 'REL-5', [
    sent(0),
    acked(400, [[0, 0]]),
    sent(1_000),
    acked(3_400, [[1, 1]], 1, 1_500),
  ]);
  add('numbers of space 1 that were never sent', 'ACK-7', [
    sent(0),
    sent(0),
    acked(400, [[1, 9]]),
    acked(500, [
      [70, 90],
      [0, 0],
    ]),
  ]);
  add('only numbers that were never sent', 'ACK-7', [sent(0), acked(400, [[5, 9]])]);
  add('the PTO, once', 'REL-9 REL-10 REL-11', [
    sent(0),
    timer(31_999),
    timer(32_000),
    sent(32_000),
    acked(32_500, [[1, 1]]),
  ]);
  const doubling: JsonObject[] = [sent(0)];
  for (let count = 0, at = 0; count < 12; count++) {
    at += Math.min(32_000 * 2 ** Math.min(count, 10), 2_000_000);
    doubling.push(timer(at), sent(at));
  }
  add('the PTO doubles, up to 2 s', 'REL-10 REL-11', doubling);
  add('an acknowledgement ends the back-off', 'REL-10', [
    sent(0),
    timer(32_000),
    sent(32_000),
    timer(96_000),
    sent(96_000),
    acked(96_300, [[2, 2]]),
    sent(96_400),
  ]);
  add('the PTO is that of the space that waits longest', 'REL-11', [
    sent(0, 100, 0),
    sent(5_000),
    timer(32_000),
    sent(32_000, 101, 0),
    timer(69_000),
    timer(96_000),
  ]);
  add('a loss timer comes before a PTO', 'REL-7 REL-10', [
    ...five,
    acked(400, [[2, 2]]),
    sent(450),
    timer(1_010),
  ]);
  add('a probe of the datagram size that arrives', 'MTU-6', [
    probe(0, 8_972),
    sent(10),
    acked(400, [[0, 0]], 0),
  ]);
  add('a probe of the datagram size that is lost', 'MTU-6', [
    probe(0, 8_972),
    ...[1, 2, 3].map((at) => sent(at, 60, 0)),
    acked(400, [[1, 3]], 0),
  ]);
  add(
    'the window of the peer',
    'CC-1 FLOW-7',
    [...five, { at: 50, event: 'held' }, acked(500, [[0, 4]]), sent(600)],
    4_800,
  );
  add('a window in use grows, one that is not does not', 'CC-2', [
    ...five,
    acked(400, [[0, 4]]),
    ...[500, 510, 520].map((at) => sent(at)),
    { at: 530, event: 'held' },
    sent(540),
    acked(900, [[5, 8]]),
  ]);
  add('a larger datagram raises the window', 'CC-2 MTU-2', [
    sent(0),
    acked(300, [[0, 0]]),
    { at: 400, event: 'datagramBytes', bytes: 8_972 },
    sent(500, 8_972),
    { at: 600, event: 'datagramBytes', bytes: 62_000 },
    { at: 700, event: 'datagramBytes', bytes: 1_200 },
  ]);
  add('persistent congestion', 'CC-2', persistent(0));
  add('a packet that arrived between ends it', 'CC-2', persistent(1));
  add('a probe of the datagram size among them', 'CC-2 MTU-6', [
    sent(0, 100, 0),
    acked(400, [[0, 0]], 0),
    ...[1_000, 5_000, 9_000].map((at) => sent(at, 100, 0)),
    probe(13_000, 8_972),
    ...[20_000, 30_000, 40_000, 40_001, 40_002].map((at) => sent(at, 100, 0)),
    acked(40_500, [[9, 9]], 0),
  ]);
  add(
    'a window above that of the peer does not grow',
    'CC-2 FLOW-7',
    inRounds([{ rtt: 400, packets: 1 }, ...new Array<Round>(6).fill({ rtt: 400, packets: 11 })]).concat([
      sent(90_000),
      sent(90_001),
      ...new Array<JsonObject>(8).fill({ ...sent(90_002) }),
      acked(90_500, [
        [76, 76],
        [70, 70],
      ]),
    ]),
    13_000,
  );
  add(
    'bursts of at most 1 MiB',
    'CC-5',
    [
      { at: 0, event: 'datagramBytes', bytes: 62_000 },
      ...inRounds([20, 40, 60].map((packets) => ({ rtt: 400, packets, bytes: 62_000 }))),
      { ...sent(90_000, 62_000), packets: 10 },
      { at: 90_000, event: 'held' },
      timer(91_000),
      { ...sent(91_100, 62_000), packets: 17 },
      { at: 91_100, event: 'held' },
      timer(92_100),
    ],
    16_777_216,
  );
  add('both spaces wait equally long', 'REL-11', [sent(0, 100, 0), sent(0), timer(32_000), timer(64_000)]);
  add('the first of them left as the first sample came', 'CC-2', [
    sent(0),
    acked(400, [[0, 0]]),
    ...[400, 9_000, 20_000, 40_000, 40_001, 40_002].map((at) => sent(at)),
    acked(40_500, [[6, 6]]),
  ]);
  add('a second slow start, and what comes behind it', 'CC-2', [
    ...persistent(0).slice(0, -1),
    acked(40_500, [[9, 11]]),
    ...[50, 60, 70, 80, 90, 100].flatMap((at, index) => {
      const first = 12 + 4 * index;
      const start = 1_000 * at;
      return [
        { ...sent(start), packets: 4 },
        { at: start, event: 'held' },
        acked(start + 400, [[first, first + 3]]),
      ];
    }),
  ]);
  addQueues(add);
  return cases.file;
}

interface Round {
  readonly rtt: number;
  readonly packets: number;
  readonly bytes?: number;
  /** Whether its first packet is lost. */
  readonly lost?: boolean;
}

/** Rounds of packets that leave together, 10 ms apart or more, and are acknowledged together. */
function inRounds(rounds: readonly Round[]): JsonObject[] {
  const events: JsonObject[] = [];
  let [at, next] = [0, 0];
  for (const { rtt, packets, bytes = 1_200, lost = false } of rounds) {
    events.push({ ...sent(at, bytes), packets }, { at, event: 'held' });
    events.push(acked(at + rtt, [[next + (lost ? 1 : 0), next + packets - 1]]));
    next += packets;
    at += Math.max(10_000, rtt + 500);
  }
  return events;
}

/** [CC-7]: which growth of the round trip is a queue, and which loss is its sign. */
function addQueues(add: (name: string, clauses: string, events: readonly JsonObject[]) => void): void {
  const rounds = (base: number, ...grown: readonly (readonly [number, boolean])[]): JsonObject[] =>
    inRounds([
      ...new Array<Round>(3).fill({ rtt: base, packets: 20 }),
      ...grown.map(([rtt, lost]): Round => ({ rtt, packets: 40, lost })),
      { rtt: base, packets: 10 },
    ]);
  add(
    'two queued rounds, the loss found as the second ends',
    'CC-7',
    rounds(400, [1_401, false], [1_401, true]),
  );
  add(
    'two queued rounds, the loss found as the first ends',
    'CC-7',
    rounds(400, [1_401, true], [1_401, false]),
  );
  add('two rounds at the border of a queue', 'CC-7', rounds(400, [1_400, true], [1_400, false]));
  add('one queued round and a loss', 'CC-7', rounds(400, [400, true], [1_900, false], [400, false]));
  add(
    'queued, not queued, queued with a loss',
    'CC-7',
    rounds(400, [1_900, false], [400, true], [1_900, false]),
  );
  add(
    'a long path: a quarter of the base is no queue',
    'CC-7',
    rounds(20_000, [25_000, true], [25_000, false]),
  );
  add('a long path: more than a quarter is one', 'CC-7', rounds(20_000, [25_001, true], [25_001, false]));
  add(
    'a small window fills no queue',
    'CC-7',
    inRounds(
      [
        { rtt: 400, packets: 10 },
        { rtt: 1_900, packets: 10, lost: true },
        { rtt: 1_900, packets: 10 },
      ].map((round, index) => (index === 0 ? round : { ...round, bytes: 100 })),
    ),
  );
  add('the base is that of a probe of the datagram size', 'CC-7 MTU-6', [
    probe(0, 8_972),
    acked(200, [[0, 0]], 0),
    ...later(1_000, rounds(1_300, [1_300, true], [1_300, false])),
  ]);
  add('50 of 466 lost: one more than chance brings', 'CC-8', manyLost(50));
  add('49 of 465 lost: chance', 'CC-8', manyLost(49));
  const shrunk = rounds(400, [1_401, true], [1_401, false]).slice(0, -3);
  add('two losses soon after the window shrank', 'CC-8', [
    ...shrunk,
    ...[60, 61, 62, 63, 64, 65].map((at) => sent(1_000 * at)),
    { at: 65_000, event: 'held' },
    acked(65_400, [[144, 144]]),
    acked(66_000, [[145, 145]]),
  ]);
  add('a pause of 10 s: the window grows by half at most', 'CC-2', [
    ...shrunk,
    { ...sent(60_000), packets: 30 },
    { at: 60_000, event: 'held' },
    acked(60_400, [[140, 169]]),
    { ...sent(10_060_000), packets: 30 },
    { at: 10_060_000, event: 'held' },
    acked(10_060_400, [[170, 171]]),
    acked(10_060_400, [[172, 199]]),
  ]);
}

/** Two packets a PTO and more apart are lost together; `skip` of those between arrived. */
function persistent(skip: number): JsonObject[] {
  const events: JsonObject[] = [sent(0), acked(400, [[0, 0]])];
  for (let count = 0; count < 8; count++) events.push(sent(1_000 + 4_000 * count));
  events.push(...[40_000, 40_001, 40_002].map((at) => sent(at)));
  events.push(
    acked(
      40_500,
      skip === 0
        ? [[11, 11]]
        : [
            [11, 11],
            [4, 4],
          ],
    ),
  );
  return events;
}

/** The same events, so much later. */
function later(micros: number, events: readonly JsonObject[]): JsonObject[] {
  return events.map((event) => ({ ...event, at: Number(event.at) + micros }));
}

/** A window that shrank for a queue; then 400 packets that arrive, 16 more, and `lost` that do not. */
function manyLost(lost: number): JsonObject[] {
  const start = inRounds([
    ...new Array<Round>(3).fill({ rtt: 400, packets: 20 }),
    { rtt: 1_401, packets: 40, lost: true },
    { rtt: 1_401, packets: 40 },
  ]);
  const idle = (at: number, packets: number, first: number): JsonObject[] => [
    { ...sent(at), packets },
    acked(at + 400, [[first, first + packets - 1]]),
  ];
  const unheld = start.filter(({ at, event }) => event !== 'held' || Number(at) < 30_000);
  return [
    ...idle(0, 200, 0),
    ...later(
      10_000,
      unheld.map((event) => shifted(event, 200)),
    ),
    ...idle(100_000, 400, 340),
    { ...sent(110_000), packets: lost + 16 },
    acked(110_400, [[740 + lost, 740 + lost + 15]]),
  ];
}

/** The event about packets whose numbers are higher by `count`. */
function shifted(event: JsonObject, count: number): JsonObject {
  if (event.event !== 'ack') return event;
  const ranges = event.ranges as readonly { readonly first: number; readonly last: number }[];
  return {
    ...event,
    ranges: ranges.map(({ first, last }) => ({ first: first + count, last: last + count })),
  };
}
