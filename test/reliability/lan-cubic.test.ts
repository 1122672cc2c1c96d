import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { micros, seconds } from '../../src/base/units.ts';
import {
  BASE_RTT_MICROS_MAX_AGE,
  type CongestionController,
  Cubic,
  LanCubic,
  LOW_WINDOW_SHARE,
  QUEUE_MICROS_TOLERATED,
} from '../../src/reliability/index.ts';

const DATAGRAM = 1_200;
const RTT = 200;

/** Plays rounds to a controller: the window is sent, some of it is lost, the rest acknowledged. */
class Rounds {
  readonly controller: CongestionController;
  now = 1_000_000;

  constructor(controller: CongestionController = new LanCubic(DATAGRAM)) {
    this.controller = controller;
  }

  get datagrams(): number {
    return Math.floor(this.controller.windowBytes / DATAGRAM);
  }

  /** One round trip of `rtt` in which the last `lost` packets of the window are lost. */
  play(lost = 0, rtt = RTT): this {
    const sentAt = micros(this.now);
    const packets = Math.max(lost, this.datagrams);
    this.now += rtt;
    const at = micros(this.now);
    if (packets > lost) this.controller.onAcked(at, sentAt, (packets - lost) * DATAGRAM, micros(rtt), true);
    for (let packet = 0; packet < lost; packet++) this.controller.onLost(at, sentAt);
    this.now += 1;
    return this;
  }

  /** Until the window has this many datagrams. */
  growTo(datagrams: number, rtt = RTT): this {
    while (this.datagrams < datagrams) this.play(0, rtt);
    return this;
  }

  /** Loses one packet of every `every`, counted over rounds, for `rounds` rounds. */
  playLossy(every: number, rounds: number): this {
    let owed = 0;
    for (let round = 0; round < rounds; round++) {
      owed += this.datagrams / every;
      const lost = Math.floor(owed);
      owed -= lost;
      this.play(lost);
    }
    return this;
  }
}

/** Out of slow start by an overflow, with a window below the full one. */
function low(rtt = RTT): Rounds {
  const rounds = new Rounds().growTo(100, rtt);
  rounds.play(Math.floor(0.3 * rounds.datagrams), rtt);
  expect(rounds.datagrams).toBeLessThan(250);
  return rounds.play(0, rtt);
}

describe('a loss', () => {
  it('of a few packets does not end slow start, of many it does', () => {
    const rounds = new Rounds().growTo(100);
    const before = rounds.datagrams;
    rounds.play(3);
    expect(rounds.datagrams).toBe(2 * before - 3);
    const full = rounds.datagrams;
    rounds.play(Math.floor(0.3 * full));
    expect(rounds.datagrams).toBe(Math.floor(0.7 * (full + full - Math.floor(0.3 * full))));
  });

  it('shrinks the window when it comes where nothing was lost below [CC-8]', () => {
    const rounds = low();
    const start = rounds.controller.windowBytes;
    rounds.growTo(Math.ceil(((start / DATAGRAM) * 0.95) / 0.7));
    const before = rounds.controller.windowBytes;
    rounds.play(1);
    expect(rounds.controller.windowBytes).toBeCloseTo(0.7 * before, -3);
    rounds.play(1);
    expect(rounds.controller.windowBytes, 'but not below').toBeGreaterThan(0.7 * before);
  });

  it('shrinks the window anywhere when the round trip has grown, and not by the jitter of a loop [CC-7]', () => {
    const rounds = low();
    const before = rounds.controller.windowBytes;
    rounds
      .play(1, RTT + QUEUE_MICROS_TOLERATED)
      .play(1, RTT + QUEUE_MICROS_TOLERATED)
      .play();
    expect(rounds.controller.windowBytes).toBeGreaterThanOrEqual(before);
    const queued = RTT + QUEUE_MICROS_TOLERATED + 1;
    rounds.play(1, queued).play();
    expect(rounds.controller.windowBytes, 'one round alone').toBeGreaterThanOrEqual(before);
    rounds.play(1, queued).play(1, queued).play(0, queued);
    expect(rounds.controller.windowBytes).toBeLessThan(0.75 * before);
  });

  it('shrinks no window that is as small as at the start for the sake of a round trip [CC-7]', () => {
    const controller = new LanCubic(DATAGRAM);
    const startBytes = controller.windowBytes;
    let now = 0;
    /** Packets that did not fill the window, so that it does not grow. */
    const round = (rtt: number, lost: number): void => {
      const sentAt = micros(now);
      now += rtt;
      controller.onAcked(micros(now), sentAt, (10 - lost) * DATAGRAM, micros(rtt), false);
      if (lost > 0) controller.onLost(micros(now), sentAt);
      now += 1;
    };
    for (let count = 0; count < 2; count++) round(RTT, 0);
    for (let count = 0; count < 4; count++) round(5_000, 1);
    expect(controller.windowBytes).toBe(startBytes);
  });

  it('shrinks the window anywhere when it is more than the ceiling, and not by chance [CC-8]', () => {
    const rounds = low();
    const before = rounds.controller.windowBytes;
    rounds.play(Math.floor(0.3 * rounds.datagrams));
    expect(rounds.controller.windowBytes).toBeLessThan(0.75 * before);
  });
});

describe('random loss', () => {
  it.each([100, 20])('of one packet in %i does not keep the window small', (every) => {
    const lan = new Rounds().playLossy(every, 3_000);
    const plain = new Rounds(new Cubic(DATAGRAM)).playLossy(every, 3_000);
    expect(lan.datagrams).toBeGreaterThan(120);
    expect(plain.datagrams).toBeLessThan(30);
  });

  it('of one packet in ten is more than is tolerated: the window stays as small as that of CUBIC', () => {
    const lan = new Rounds().playLossy(10, 3_000);
    expect(lan.datagrams).toBeLessThan(40);
  });

  it('that ends is forgotten: overflow shrinks the window again', () => {
    const rounds = new Rounds().playLossy(20, 3_000);
    // From here on a packet is lost when, and only when, the window exceeds 200 datagrams.
    let largest = 0;
    for (let round = 0; round < 3_000; round++) {
      rounds.play(Math.max(0, rounds.datagrams - 200));
      if (round > 1_000) largest = Math.max(largest, rounds.datagrams);
    }
    expect(largest).toBeGreaterThanOrEqual(200);
    expect(largest).toBeLessThan(206);
  });
});

describe('the round trip of the empty path', () => {
  /** A window in use over a queue that stands. */
  function standing(): Rounds {
    const rounds = low();
    const end = rounds.now + BASE_RTT_MICROS_MAX_AGE;
    while (rounds.now + 3_000 < end) rounds.play(0, 3_000);
    return rounds;
  }

  it('is looked for with few packets in flight when it was not seen for two seconds [CC-9]', () => {
    const rounds = standing();
    const before = rounds.controller.windowBytes;
    expect(before).toBeGreaterThan(20 * DATAGRAM);
    expect(rounds.play(0, 3_000).controller.windowBytes).toBe(10 * DATAGRAM);
    rounds.play(0, 500);
    expect(rounds.controller.windowBytes, 'the window is as it was').toBeGreaterThanOrEqual(before);
    expect(rounds.controller.windowBytes).toBeLessThan(1.1 * before);
    rounds.play(0, 3_000);
    expect(rounds.controller.windowBytes).toBeGreaterThan(10 * DATAGRAM);
  });

  it('is taken from any packet then, when the window is not in use [CC-13]', () => {
    const rounds = standing();
    rounds.now += 6_000;
    rounds.controller.onAcked(micros(rounds.now), micros(rounds.now - 3_000), DATAGRAM, micros(3_000), false);
    rounds.play(0, 3_000);
    expect(rounds.controller.windowBytes).toBeGreaterThan(10 * DATAGRAM);
  });

  it('is forgotten at persistent congestion', () => {
    const rounds = new Rounds().growTo(100);
    rounds.controller.onPersistentCongestion();
    rounds.growTo(20, 30_000).play(1, 30_000).play(0, 30_000);
    const low = rounds.controller.windowBytes;
    rounds.play(1, 30_000).play(0, 30_000);
    expect(rounds.controller.windowBytes, 'no queue').toBeGreaterThanOrEqual(low);
  });
});

describe('without loss in a low window', () => {
  it('it is CUBIC, loss by loss', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 300 }), (steps) => {
        const lan = new Rounds();
        const plain = new Rounds(new Cubic(DATAGRAM));
        let full = 0;
        for (const [index, step] of steps.entries()) {
          const before = plain.controller.windowBytes;
          // The first loss is an overflow, the others are of one packet.
          const many = full === 0 ? Math.ceil(0.4 * plain.datagrams) : 1;
          const lost = before >= LOW_WINDOW_SHARE * full && step < 3 ? many : 0;
          for (const rounds of [lan, plain]) rounds.play(lost, RTT + step);
          if (lost > 0) full = plain.controller.windowBytes / 0.7;
          expect(lan.controller.windowBytes, `in round ${index}`).toBe(plain.controller.windowBytes);
        }
      }),
    );
  });
});

describe('a trace', () => {
  it('of slow start, overflow, random loss, a queue and persistent congestion is as it always was [CC-12] [CC-13]', () => {
    const rounds = new Rounds();
    const trace: number[] = [];
    const note = (): void => {
      trace.push(Math.round(rounds.controller.windowBytes));
    };
    for (let round = 0; round < 3; round++, note()) rounds.play();
    for (let round = 0; round < 3; round++, note()) rounds.play(round === 0 ? 30 : 0);
    for (let round = 0; round < 4; round++, note()) rounds.play(2);
    for (let round = 0; round < 3; round++, note()) rounds.play(1, 2_000);
    rounds.controller.onPersistentCongestion();
    for (let round = 0; round < 3; round++, note()) rounds.play();
    rounds.now += seconds(1);
    for (let round = 0; round < 2; round++, note()) rounds.play();
    expect(trace).toMatchInlineSnapshot(`
      [
        24000,
        48000,
        96000,
        109200,
        109835,
        110467,
        111088,
        111706,
        112327,
        112944,
        113572,
        79500,
        80124,
        4800,
        9600,
        19200,
        38400,
        76800,
      ]
    `);
  });
});
