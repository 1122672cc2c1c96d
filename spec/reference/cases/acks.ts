/** Cases of sections 4.1 and 4.2: when an ACK is due and what it holds, and the round-trip time. Times in us. */

import { CaseList, fixedBytes, type VectorFile } from '../vectors.ts';

/** `within` of traces that end in rounded numbers [CONF-8]. */
export const ROUNDING = 1;

export function ackFile(): VectorFile {
  const cases = new CaseList('When an ACK is due, and what it holds');
  const add = (
    name: string,
    clauses: string,
    ...events: readonly (readonly [number, number | 'send', boolean?])[]
  ): void => {
    cases.takes(name, clauses, 'ack.trace', {
      events: events.map(([at, what, ackEliciting = true]) =>
        what === 'send' ? { at, event: 'send' } : { at, event: 'received', number: what, ackEliciting },
      ),
    });
  };
  add('one packet waits 2 ms', 'ACK-5', [1_000, 0], [3_000, 'send']);
  add('the second packet asks at once', 'ACK-5', [0, 0], [700, 1], [700, 'send'], [800, 2], [2_800, 'send']);
  add(
    'the wait is that of the first packet',
    'ACK-5',
    [0, 0, false],
    [10, 1],
    [500, 2, false],
    [2_010, 'send'],
  );
  add(
    'a gap asks at once',
    'ACK-3 ACK-5',
    [0, 0],
    [0, 'send'],
    [100, 2],
    [100, 'send'],
    [200, 3],
    [2_200, 'send'],
  );
  add('a first number above 0 asks at once', 'ACK-5', [0, 7], [0, 'send']);
  add(
    'a packet behind the largest asks at once',
    'ACK-5',
    [0, 0],
    [1, 2],
    [1, 'send'],
    [50, 1],
    [50, 'send'],
  );
  add(
    'packets that elicit nothing',
    'ACK-5',
    [0, 0, false],
    [10, 1, false],
    [20, 5, false],
    [9_000, 6],
    [11_000, 'send'],
  );
  add('the delay counts from the largest', 'ACK-2', [0, 5], [79, 3], [87, 'send'], [100, 6], [2_100, 'send']);
  add(
    'the delay in units of 8 us, rounded down',
    'ACK-2',
    [0, 0],
    [7, 'send'],
    [10, 1],
    [18, 'send'],
    [20, 2],
    [35, 'send'],
  );
  add('the longest delay', 'ACK-2', [0, 0], [524_280, 'send'], [524_281, 1], [2_000_000, 'send']);
  add('ranges grow together', 'ACK-3', [0, 0], [1, 2], [2, 4], [3, 3], [4, 1], [4, 'send']);
  add('numbers above 2^32', 'ACK-3', [0, 2 ** 32 + 1], [1, 2 ** 32 + 3], [2, 2 ** 48 - 1], [2, 'send']);
  const odd = Array.from({ length: 34 }, (_, index): [number, number] => [10 * index, 2 * index]);
  add('34 ranges, of which 32 are kept', 'ACK-4', ...odd, [400, 'send'], [410, 67], [420, 'send']);
  add(
    'a number below the newest 32 ranges',
    'ACK-4',
    ...odd,
    [400, 'send'],
    [500, 1],
    [500, 'send'],
    [600, 5],
    [600, 'send'],
  );
  for (const seed of [1, 2]) {
    const bytes = fixedBytes(`acks ${seed}`, 400);
    const events: [number, number | 'send', boolean?][] = [];
    const seen = new Set<number>();
    let [at, base] = [0, 0];
    for (let index = 0; index < 100; index++) {
      at += 37 * bytes[4 * index]!;
      base += [1, 1, 1, 2, 0, 5][bytes[4 * index + 1]! % 6]!;
      const number = Math.max(0, base - [0, 0, 0, 3, 9][bytes[4 * index + 2]! % 5]!);
      if (seen.has(number)) continue;
      seen.add(number);
      events.push([at, number, bytes[4 * index + 3]! % 5 !== 0]);
      if (index % 4 === 3) events.push([at + 100, 'send']);
    }
    add(`a mixture, ${seed}`, 'ACK-2 ACK-3 ACK-5', ...events);
  }
  return cases.file;
}

export function rttFile(): VectorFile {
  const cases = new CaseList('Round-trip time and probe timeout', ROUNDING);
  const add = (name: string, clauses: string, ...samples: readonly (readonly [number, number])[]): void => {
    cases.takes(name, clauses, 'rtt.trace', {
      samples: samples.map(([latest, ackDelay]) => ({ latest, ackDelay })),
    });
  };
  add('the first sample', 'REL-4 REL-9', [1_000, 0]);
  add('the first sample keeps the delay of the peer', 'REL-4', [1_000, 500]);
  add('a steady path', 'REL-3 REL-9', ...new Array<[number, number]>(12).fill([800, 0]));
  add('a path of 100 us: the granularity counts', 'REL-9', ...new Array<[number, number]>(20).fill([100, 0]));
  add('a jump up', 'REL-3', [400, 0], [400, 0], [8_000, 0], [8_000, 0], [8_000, 0]);
  add('a jump down', 'REL-3', [8_000, 0], [400, 0], [400, 0], [400, 0]);
  add('the delay of the peer is taken off', 'REL-5', [400, 0], [2_000, 1_000], [2_000, 1_600]);
  add(
    'a delay that would go below the least sample',
    'REL-5',
    [400, 0],
    [600, 500],
    [500, 99],
    [500, 100],
    [500, 101],
  );
  add('at most 2 ms of delay count', 'REL-5', [400, 0], [9_000, 60_000], [2_400, 3_000], [2_399, 3_000]);
  add('a sample of 1 us', 'REL-4', [1, 0], [1, 0]);
  const bytes = fixedBytes('rtt', 120);
  const mixture = Array.from({ length: 60 }, (_, index): [number, number] => [
    100 + 16 * bytes[2 * index]!,
    9 * bytes[2 * index + 1]!,
  ]);
  add('a mixture', 'REL-3 REL-5 REL-9', ...mixture);
  return cases.file;
}
