import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Micros, micros } from '../../src/base/units.ts';
import { type CongestionController, Recovery, SentPackets } from '../../src/reliability/index.ts';
import { NaiveRecovery } from './twins/naive-recovery.ts';

const SPACES = [0, 1];

interface AckedCall {
  readonly key: string;
  bytes: number;
}

/** A recovery, fast or naive, and all that it told its owner and its controller. */
class Subject {
  readonly told: string[] = [];
  readonly #acked: AckedCall[] = [];
  readonly recovery: Recovery<string> | NaiveRecovery<string>;

  constructor(kind: typeof Recovery<string> | typeof NaiveRecovery<string>) {
    // Linear and exact, so that it does not matter how bytes are summed up before they are told.
    let windowBytes = 150_000;
    const controller: CongestionController = {
      get windowBytes() {
        return windowBytes;
      },
      onAcked: (now, sentAt, bytes, rtt, limited) => {
        if (limited) windowBytes += bytes;
        // Packets that left at one instant may be told of in one call.
        const key = `${now} ${sentAt} ${rtt} ${limited}`;
        const last = this.#acked[this.#acked.length - 1];
        if (last?.key === key) last.bytes += bytes;
        else this.#acked.push({ key, bytes });
      },
      onLost: (now, sentAt) => {
        windowBytes = Math.max(2_400, windowBytes - 3_000);
        this.told.push(`controller lost ${sentAt} at ${now}`);
      },
      onPersistentCongestion: () => {
        windowBytes = 2_400;
        this.told.push('persistent');
      },
      setDatagramBytes: () => undefined,
    };
    const owner = {
      onPacketAcked: (space: number, content: string) => this.told.push(`acked ${space}:${content}`),
      onPacketLost: (space: number, content: string) => this.told.push(`lost ${space}:${content}`),
    };
    this.recovery = new kind(controller, owner, 400_000);
  }

  get state(): unknown {
    const { recovery } = this;
    const { smoothedMicros, varianceMicros, latestMicros, minMicros } = recovery.rtt;
    return {
      told: this.told.splice(0),
      acked: this.#acked.splice(0),
      bytesInFlight: recovery.bytesInFlight,
      packetsInFlight: recovery.packetsInFlight,
      roomBytes: recovery.roomBytes,
      timeoutAt: recovery.timeoutAt(),
      ptoCount: recovery.ptoCount,
      oldest: SPACES.map((space) => recovery.oldest(space)),
      oldestEven: SPACES.map((space) => recovery.oldest(space, (content) => Number(content) % 2 === 0)),
      rtt: [smoothedMicros, varianceMicros, latestMicros, minMicros],
    };
  }
}

const space = fc.constantFrom(0, 1);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      space,
      count: fc.integer({ min: 1, max: 40 }),
      bytes: fc.oneof(fc.integer({ min: 0, max: 1_500 }), fc.integer({ min: 0, max: 62_000 })),
      /** Numbers that go to packets which are not recorded, before each. */
      skipped: fc.constantFrom(0, 0, 0, 1, 7),
      isProbe: fc.nat(9).map((chance) => chance === 0),
    }),
  },
  {
    weight: 6,
    // Ranges from the newest number down: steps of gap and length.
    arbitrary: fc.record({
      do: fc.constant('ack' as const),
      space,
      ahead: fc.integer({ min: -3, max: 30 }),
      parts: fc.array(fc.tuple(fc.nat(6), fc.nat(20)), { minLength: 1, maxLength: 6 }),
      delay: fc.nat(3_000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), span: fc.nat(9_000) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('timeout' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('forget' as const),
      space,
      divisor: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('limited' as const) }) },
);

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

function play({ recovery }: Subject, given: Step, now: Micros): unknown {
  switch (given.do) {
    case 'send':
      for (let index = 0; index < given.count; index++) {
        for (let skipped = 0; skipped < given.skipped; skipped++) recovery.takeNumber(given.space);
        const number = recovery.takeNumber(given.space);
        recovery.onPacketSent(now, given.space, number, given.bytes, `${number}`, given.isProbe);
      }
      return undefined;
    case 'ack': {
      const ranges: { first: number; last: number }[] = [];
      let at = recovery.nextNumber(given.space) - 1 - given.ahead;
      for (const [gap, length] of given.parts) {
        const last = at - gap;
        const first = last - length;
        if (first < 0) break;
        ranges.push({ first, last });
        at = first - 2;
      }
      return recovery.onAckReceived(now, given.space, ranges, micros(given.delay));
    }
    case 'timeout':
      return recovery.onTimeout(now);
    case 'forget':
      recovery.forget(given.space, (content) => Number(content) % given.divisor === 0);
      return undefined;
    case 'limited':
      recovery.onWindowLimited();
      return undefined;
    case 'wait':
      return undefined;
  }
}

describe('recovery and its naive twin', () => {
  it('say the same, whatever is sent, acknowledged, forgotten or waited for', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const fast = new Subject(Recovery<string>);
        const naive = new Subject(NaiveRecovery<string>);
        let now = 1_000;
        for (const given of steps) {
          if (given.do === 'wait') now += given.span;
          if (given.do === 'timeout') now = Math.max(now, naive.recovery.timeoutAt() ?? now);
          const [left, right] = [fast, naive].map((subject) => play(subject, given, micros(now)));
          expect(left).toEqual(right);
          expect(fast.state).toEqual(naive.state);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('sent packets', () => {
  it('find the place of a number where numbers are missing', () => {
    const packets = new SentPackets<number>();
    for (const number of [3, 4, 9, 10, 30]) packets.push(number as never, micros(0), 1, number, false);
    const found = [0, 3, 4, 5, 9, 10, 11, 30].map((number) => packets.numberAt(packets.positionOf(number)));
    expect(found).toEqual([3, 3, 4, 9, 9, 10, 30, 30]);
    expect(packets.positionOf(31)).toBe(packets.tail);
  });

  it('begin with the oldest that is in flight', () => {
    const packets = new SentPackets<number>();
    for (let number = 0; number < 10; number++) packets.push(number as never, micros(0), 1, number, false);
    const begins = (...settled: number[]): number => {
      for (const number of settled) packets.settle(packets.positionOf(number));
      packets.trim();
      return packets.head;
    };
    expect(begins(1, 2)).toBe(0);
    expect(begins(0)).toBe(3);
    expect(begins(4, 5, 6, 7, 8, 9)).toBe(3);
    expect(begins(3)).toBe(packets.tail);
  });

  it('span little more than what is in flight, though one of them is never settled', () => {
    const packets = new SentPackets<number>();
    packets.push(0 as never, micros(0), 1, 0, false);
    for (let number = 1; number < 100_000; number++) {
      packets.push(number as never, micros(number), 1, number, false);
      packets.settle(packets.tail - 1);
      if (number % 100 === 0) packets.compact();
      packets.trim();
      expect(packets.tail - packets.head).toBeLessThan(102);
    }
    expect(packets.contentAt(packets.head)).toBe(0);
  });
});
