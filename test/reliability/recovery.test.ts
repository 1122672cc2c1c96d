import { describe, expect, it } from 'vitest';
import { type Micros, micros, type PacketNumber } from '../../src/base/units.ts';
import {
  type CongestionController,
  GRANULARITY_MICROS,
  NewReno,
  PTO_MICROS_MAX,
  Recovery,
  SENT_PACKETS_MAX,
} from '../../src/reliability/index.ts';

const CONTROL = 0;
const SEGMENT = 1;
const BYTES = 1_000;

/** A recovery whose packets carry their own number, and what became of them. */
class Trace {
  readonly acked: string[] = [];
  readonly lost: string[] = [];
  readonly congestion: string[] = [];
  readonly recovery: Recovery<string>;

  constructor(windowBytesMax = Number.MAX_SAFE_INTEGER, controller?: CongestionController) {
    const inner = controller ?? new NewReno(1_200);
    const { congestion } = this;
    const recorded: CongestionController = {
      get windowBytes() {
        return inner.windowBytes;
      },
      onAcked: (...values) => inner.onAcked(...values),
      onLost(now, sentAt) {
        congestion.push(`lost@${sentAt}`);
        inner.onLost(now, sentAt);
      },
      onPersistentCongestion() {
        congestion.push('persistent');
        inner.onPersistentCongestion();
      },
      setDatagramBytes: (bytes) => inner.setDatagramBytes(bytes),
    };
    this.recovery = new Recovery<string>(
      recorded,
      {
        onPacketAcked: (space, content) => this.acked.push(`${space}:${content}`),
        onPacketLost: (space, content) => this.lost.push(`${space}:${content}`),
      },
      windowBytesMax,
    );
  }

  send(at: number, space = CONTROL, bytes = BYTES, isProbe = false): PacketNumber {
    const number = this.recovery.takeNumber(space);
    this.recovery.onPacketSent(micros(at), space, number, bytes, `${number}`, isProbe);
    return number;
  }

  ack(at: number, ranges: string, space = CONTROL, delay = 0): number {
    const parsed = ranges.split(',').map((range) => {
      const [first, last = first] = range.split('-').map(Number);
      return { first: first!, last: last! };
    });
    return this.recovery.onAckReceived(micros(at), space, parsed, micros(delay));
  }
}

describe('loss detection', () => {
  it('declares a packet lost when three later numbers were acknowledged, and not at two [REL-6]', () => {
    const trace = new Trace();
    for (let number = 0; number < 4; number++) trace.send(number);
    trace.ack(10_000, '1-2');
    expect(trace.lost).toEqual([]);
    trace.ack(10_000, '1-3');
    expect(trace.lost).toEqual(['0:0']);
    expect(trace.recovery.bytesInFlight).toBe(0);
  });

  it('declares an overtaken packet lost after 9/8 of the RTT [REL-7]', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(8_000, '1');
    // The RTT is 8 ms: packet 0 counts as lost 9 ms after it was sent.
    expect(trace.recovery.timeoutAt()).toBe(9_000);
    expect(trace.recovery.onTimeout(micros(8_999))).toBeUndefined();
    expect(trace.lost).toEqual([]);
    trace.recovery.onTimeout(micros(9_000));
    expect(trace.lost).toEqual(['0:0']);
    expect(trace.recovery.timeoutAt()).toBeUndefined();
  });

  it('sets its timer to a whole microsecond', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(8_001, '1');
    expect(trace.recovery.timeoutAt()).toBe(9_002);
  });

  it('leaves a packet that nothing has overtaken to the probe timeout', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(8_000, '0');
    expect(trace.recovery.timeoutAt()).toBe(trace.recovery.rtt.ptoMicros);
    expect(trace.recovery.onTimeout(trace.recovery.timeoutAt()!)).toBe(CONTROL);
    expect(trace.lost).toEqual([]);
  });

  it('waits at least the granularity of timers', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(40, '1');
    expect(trace.recovery.timeoutAt()).toBe(GRANULARITY_MICROS);
  });

  it('judges each space by itself [PKT-11]', () => {
    const trace = new Trace();
    for (let number = 0; number < 5; number++) trace.send(0, CONTROL);
    trace.send(0, SEGMENT);
    trace.ack(5_000, '4', CONTROL);
    expect(trace.lost).toEqual(['0:0', '0:1']);
    trace.ack(5_000, '0', SEGMENT);
    expect(trace.acked).toEqual(['0:4', '1:0']);
  });

  it('passes over a late acknowledgement of what was declared lost', () => {
    const trace = new Trace();
    for (let number = 0; number < 4; number++) trace.send(0);
    trace.ack(5_000, '1-3');
    expect(trace.lost).toEqual(['0:0']);
    expect(trace.ack(5_100, '0-3')).toBe(0);
    expect(trace.acked).toEqual(['0:1', '0:2', '0:3']);
    expect(trace.recovery.bytesInFlight).toBe(0);
  });

  it('finds what is acknowledged whether ranges or packets in flight are more', () => {
    const many = new Trace();
    for (let number = 0; number < 100; number++) many.send(0);
    many.ack(5_000, '99,50-51,3');
    expect(many.acked).toEqual(['0:99', '0:50', '0:51', '0:3']);
    const few = new Trace();
    for (let number = 0; number < 3; number++) few.send(0);
    few.ack(5_000, '0-2');
    expect(few.acked).toEqual(['0:0', '0:1', '0:2']);
  });
});

describe('an acknowledgement of what was never sent', () => {
  it('is counted', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    expect(trace.ack(5_000, '1-4')).toBe(3);
    expect(trace.ack(5_000, '9,5-6')).toBe(3);
  });

  it('makes nothing that is in flight look overtaken [ACK-7]', () => {
    const trace = new Trace();
    for (let number = 0; number < 10; number++) trace.send(number, SEGMENT);
    trace.ack(5_000, '60000,1', SEGMENT);
    expect(trace.acked).toEqual(['1:1']);
    expect(trace.lost).toEqual([]);
    // And the round trip of the newest one that was sent is measured all the same.
    expect(trace.recovery.rtt.latestMicros).toBe(4_999);
  });

  it('changes nothing by itself', () => {
    const trace = new Trace();
    for (let number = 0; number < 10; number++) trace.send(number, SEGMENT);
    expect(trace.ack(5_000, '70000', SEGMENT)).toBe(1);
    expect([trace.acked, trace.lost]).toEqual([[], []]);
    expect(trace.recovery.packetsInFlight).toBe(10);
  });
});

describe('RTT samples', () => {
  it('come from the newest acknowledged packet only, and only when it is news [REL-2]', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(1_000);
    trace.send(2_000);
    trace.ack(3_000, '0-1');
    expect(trace.recovery.rtt.latestMicros).toBe(2_000);
    trace.ack(50_000, '0-1');
    expect(trace.recovery.rtt.latestMicros).toBe(2_000);
    trace.ack(60_000, '1-2');
    expect(trace.recovery.rtt.latestMicros).toBe(58_000);
  });

  it('are not taken when the newest was settled before', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(0);
    trace.ack(1_000, '1');
    trace.ack(30_000, '0-1');
    expect(trace.recovery.rtt.latestMicros).toBe(1_000);
  });
});

describe('the probe timeout', () => {
  it('is srtt + max(4 rttvar, granularity) + max ack delay after the last packet [REL-9]', () => {
    const trace = new Trace();
    trace.send(0);
    expect(trace.recovery.timeoutAt()).toBe(32_000);
    trace.send(500);
    expect(trace.recovery.timeoutAt()).toBe(32_500);
    trace.ack(1_500, '0-1');
    trace.send(2_000);
    // RTT 1,000 and its half: 1,000 + 2,000 + 2,000.
    expect(trace.recovery.timeoutAt()).toBe(7_000);
  });

  it('doubles with each one, up to two seconds, and starts anew with an acknowledgement [REL-10]', () => {
    const trace = new Trace();
    trace.send(0);
    let now = 0;
    const spans: number[] = [];
    for (let count = 0; count < 12; count++) {
      const at: Micros = trace.recovery.timeoutAt()!;
      spans.push(at - now);
      now = at;
      expect(trace.recovery.onTimeout(at)).toBe(CONTROL);
    }
    const doubled = [1, 2, 4, 8, 16, 32].map((factor) => factor * 32_000);
    expect(spans).toEqual([...doubled, ...Array<number>(6).fill(PTO_MICROS_MAX)]);
    expect(trace.recovery.ptoCount).toBe(10);
    trace.ack(now + 100, '0');
    expect(trace.recovery.ptoCount).toBe(0);
  });

  it('asks for a probe in the space that waits longest [REL-11]', () => {
    const trace = new Trace();
    trace.send(0, SEGMENT);
    trace.send(10, CONTROL);
    expect(trace.recovery.onTimeout(trace.recovery.timeoutAt()!)).toBe(SEGMENT);
    expect(trace.recovery.oldest(SEGMENT)).toBe('0');
  });

  it('is not set when nothing is in flight', () => {
    const trace = new Trace();
    expect(trace.recovery.timeoutAt()).toBeUndefined();
    expect(trace.recovery.onTimeout(micros(1_000_000))).toBeUndefined();
    trace.send(0);
    trace.recovery.forget(CONTROL, () => true);
    expect(trace.recovery.timeoutAt()).toBeUndefined();
    expect(trace.recovery.bytesInFlight).toBe(0);
    expect(trace.recovery.oldest(CONTROL)).toBeUndefined();
  });

  it('always moves on: a timer that is handled lies in the future', () => {
    const trace = new Trace();
    trace.send(0, SEGMENT);
    trace.send(3, CONTROL);
    trace.send(3, CONTROL);
    trace.ack(41, '1', CONTROL);
    for (let step = 0, now = 0; step < 200; step++) {
      const at = trace.recovery.timeoutAt();
      if (at === undefined) break;
      expect(Number.isSafeInteger(at)).toBe(true);
      now = Math.max(now, at);
      for (let calls = 0; (trace.recovery.timeoutAt() ?? Number.POSITIVE_INFINITY) <= now; calls++) {
        expect(calls).toBeLessThan(3);
        trace.recovery.onTimeout(micros(now));
      }
    }
  });
});

describe('congestion', () => {
  it('counts as persistent when an unbroken span of three probe timeouts is lost [REL-13]', () => {
    const trace = new Trace();
    trace.send(0);
    trace.ack(1_000, '0');
    const pto = trace.recovery.rtt.ptoMicros;
    trace.send(2_000);
    trace.send(2_001 + 3 * 4_500);
    for (let number = 3; number < 6; number++) trace.send(3_000 + 3 * pto);
    trace.ack(4_000 + 3 * pto, '5');
    expect(trace.lost).toEqual(['0:1', '0:2']);
    expect(trace.congestion.at(-1)).toBe('persistent');
  });

  it('is not persistent over a shorter span, nor where an acknowledged packet lies in between [REL-13]', () => {
    const short = new Trace();
    short.send(0);
    short.ack(1_000, '0');
    const pto = short.recovery.rtt.ptoMicros;
    short.send(2_000);
    // The acknowledgement below is a second sample of 1 ms, and makes the timeout 4.5 ms.
    short.send(2_000 + 3 * 4_500);
    for (let number = 3; number < 6; number++) short.send(3_000 + 3 * pto);
    short.ack(4_000 + 3 * pto, '5');
    expect(short.lost).toEqual(['0:1', '0:2']);
    expect(short.congestion).not.toContain('persistent');
    const broken = new Trace();
    broken.send(0);
    broken.ack(1_000, '0');
    broken.send(2_000);
    broken.send(9_000);
    broken.send(2_001 + 3 * pto);
    for (let number = 4; number < 7; number++) broken.send(3_000 + 3 * pto);
    broken.ack(4_000 + 3 * pto, '6,2');
    expect(broken.lost).toEqual(['0:1', '0:3']);
    expect(broken.congestion).not.toContain('persistent');
  });

  it('is not persistent for packets that were sent before the first RTT sample [REL-13]', () => {
    const trace = new Trace();
    trace.send(0);
    trace.send(500_000);
    for (let number = 2; number < 5; number++) trace.send(500_100);
    trace.ack(500_500, '4');
    expect(trace.lost).toEqual(['0:0', '0:1']);
    expect(trace.congestion).not.toContain('persistent');
  });

  it('is not what the loss of a datagram size probe means, and the probe takes no room [MTU-6]', () => {
    const trace = new Trace();
    trace.send(0, CONTROL, 62_000, true);
    expect(trace.recovery.bytesInFlight).toBe(0);
    for (let number = 1; number < 4; number++) trace.send(10);
    trace.ack(1_000, '1-3');
    expect(trace.lost).toEqual(['0:0']);
    expect(trace.congestion).toEqual([]);
  });
});

describe('the room for sending', () => {
  it('is the window, or the peer’s buffer where that is smaller, less what is in flight [CC-1]', () => {
    const trace = new Trace(5_000);
    expect(trace.recovery.roomBytes).toBe(5_000);
    trace.send(0);
    expect(trace.recovery.roomBytes).toBe(4_000);
    expect(new Trace().recovery.roomBytes).toBe(12_000);
  });

  it('lets the congestion window grow only while that is what holds the sender back [CC-10]', () => {
    const trace = new Trace(20_000);
    for (let round = 0; round < 100; round++) {
      for (let packet = 0; packet < 20; packet++) trace.send(round * 1_000);
      trace.recovery.onWindowLimited();
      trace.ack(round * 1_000 + 500, `${round * 20}-${round * 20 + 19}`);
    }
    expect(trace.recovery.windowBytes).toBe(20_000);
    // A loss is felt at once, since the window did not run away from what can be in flight.
    trace.send(1_000_000);
    for (let packet = 0; packet < 3; packet++) trace.send(1_000_000);
    trace.ack(1_000_500, '2001-2003');
    expect(trace.lost).toEqual(['0:2000']);
    expect(trace.recovery.windowBytes).toBeLessThanOrEqual(20_000);
    trace.send(1_100_000);
    for (let packet = 0; packet < 3; packet++) trace.send(1_100_000);
    trace.ack(1_100_500, '2005-2007');
    expect(trace.recovery.windowBytes).toBeLessThan(20_000);
  });

  it('ends at 16,384 packets of both spaces together', () => {
    const trace = new Trace();
    for (let packet = 0; packet < SENT_PACKETS_MAX - 1; packet++) trace.send(0, packet % 2, 0);
    expect(trace.recovery.roomBytes).toBe(12_000);
    trace.send(0, SEGMENT, 0);
    expect(trace.recovery.packetsInFlight).toBe(SENT_PACKETS_MAX);
    expect(trace.recovery.roomBytes).toBe(Number.NEGATIVE_INFINITY);
    trace.ack(1_000, '0', CONTROL);
    expect(trace.recovery.roomBytes).toBeGreaterThan(0);
  });

  it('takes packets only in the order of their numbers [PKT-12]', () => {
    const trace = new Trace();
    const first = trace.recovery.takeNumber(CONTROL);
    trace.recovery.takeNumber(CONTROL);
    expect(() => trace.recovery.onPacketSent(micros(0), CONTROL, first, 1, 'x')).toThrow('out of turn');
  });
});

describe('a burst', () => {
  const MEBIBYTE = 1_048_576;

  /** A window of so many bytes, all of it free. */
  function open(windowBytes: number): Trace {
    const controller: CongestionController = {
      windowBytes,
      onAcked: () => undefined,
      onLost: () => undefined,
      onPersistentCongestion: () => undefined,
      setDatagramBytes: () => undefined,
    };
    return new Trace(Number.MAX_SAFE_INTEGER, controller);
  }

  it('is half of the window, at least 128 KiB and at most 1 MiB [CC-5]', () => {
    expect(open(100_000).recovery.roomBytes).toBe(100_000);
    expect(open(200_000).recovery.roomBytes).toBe(131_072);
    expect(open(800_000).recovery.roomBytes).toBe(400_000);
    expect(open(4 * MEBIBYTE).recovery.roomBytes).toBe(MEBIBYTE);
    // Two datagrams of the largest size always find room.
    expect(open(124_000).recovery.roomBytes).toBeGreaterThanOrEqual(2 * 62_000);
  });

  it('ends with an acknowledgement', () => {
    const trace = open(800_000);
    trace.send(10_000, SEGMENT, 400_000);
    expect(trace.recovery.roomBytes).toBe(0);
    trace.send(10_000, SEGMENT, 0);
    trace.ack(10_050, '1', SEGMENT);
    expect(trace.recovery.roomBytes).toBe(400_000);
    trace.send(10_050, SEGMENT, 400_000);
    expect(trace.recovery.roomBytes, 'the window is full').toBe(0);
  });

  it('ends after a millisecond, for which a timer is set when the sender was held back', () => {
    const trace = open(800_000);
    trace.send(10_000, SEGMENT, 300_000);
    trace.send(10_400, SEGMENT, 100_000);
    const pto = trace.recovery.timeoutAt()!;
    expect(pto).toBeGreaterThan(20_000);
    trace.recovery.onWindowLimited();
    expect(trace.recovery.timeoutAt()).toBe(11_000);
    expect(trace.recovery.onTimeout(micros(10_999))).toBeUndefined();
    expect(trace.recovery.roomBytes).toBe(0);
    expect(trace.recovery.onTimeout(micros(11_000))).toBeUndefined();
    expect(trace.recovery.roomBytes).toBe(400_000);
    expect(trace.recovery.timeoutAt()).toBe(pto);
    expect(trace.lost).toEqual([]);
  });

  it('that is held back leaves the window in use: it grows, and the next burst with it', () => {
    const trace = new Trace(Number.MAX_SAFE_INTEGER, new NewReno(62_000));
    for (let round = 0; round < 5; round++) {
      trace.send(round * 1_000, SEGMENT, trace.recovery.roomBytes);
      trace.recovery.onWindowLimited();
      trace.ack(round * 1_000 + 500, `${round}`, SEGMENT);
    }
    expect(trace.recovery.windowBytes).toBeGreaterThan(600_000);
    expect(trace.recovery.roomBytes).toBeGreaterThan(300_000);
  });
});
