import { describe, expect, it } from 'vitest';
import { type Micros, micros, seconds } from '../../src/base/units.ts';
import { type CongestionController, Cubic, LanCubic, NewReno } from '../../src/reliability/index.ts';

const DATAGRAM = 1_200;
const RTT: Micros = micros(10_000);

/** So long a way that the curve, and not the Reno estimate, decides. */
const LONG_RTT: Micros = micros(200_000);

/** Acknowledges `bytes` of packets that were sent one RTT before. */
function acked(
  controller: CongestionController,
  at: number,
  bytes: number,
  limited = true,
  rtt: Micros = RTT,
): void {
  controller.onAcked(micros(at), micros(at - rtt), bytes, rtt, limited);
}

/** Acknowledges a whole window every RTT from `from` until `until`; returns when the next one is due. */
function run(controller: CongestionController, from: number, until: number): number {
  let at = from;
  for (; at < until; at += LONG_RTT) acked(controller, at, controller.windowBytes, true, LONG_RTT);
  return at;
}

describe.each([
  ['NewReno', () => new NewReno(DATAGRAM), 0.5],
  ['CUBIC', () => new Cubic(DATAGRAM), 0.7],
  ['LAN CUBIC', () => new LanCubic(DATAGRAM), 0.7],
] as const)('%s', (_name, create, reduction) => {
  it('starts with ten datagrams, or 14,720 bytes where datagrams are large [CC-2]', () => {
    expect(create().windowBytes).toBe(12_000);
    const large = create();
    large.setDatagramBytes(1_472);
    expect(large.windowBytes).toBe(14_720);
    large.setDatagramBytes(8_972);
    expect(large.windowBytes).toBe(17_944);
    large.setDatagramBytes(1_200);
    expect(large.windowBytes, 'a smaller datagram takes nothing away').toBe(17_944);
  });

  it('grows by what is acknowledged in slow start', () => {
    const controller = create();
    acked(controller, 20_000, 1_200);
    acked(controller, 20_000, 2_400);
    expect(controller.windowBytes).toBe(15_600);
  });

  it('does not grow while the window is not in use', () => {
    const controller = create();
    acked(controller, 20_000, 1_200, false);
    expect(controller.windowBytes).toBe(12_000);
  });

  it('shrinks once for all losses of one round trip', () => {
    const controller = create();
    controller.onLost(micros(100_000), micros(90_000));
    controller.onLost(micros(100_000), micros(91_000));
    controller.onLost(micros(105_000), micros(100_000));
    expect(controller.windowBytes).toBe(12_000 * reduction);
    controller.onLost(micros(120_000), micros(100_001));
    expect(controller.windowBytes).toBeCloseTo(12_000 * reduction * reduction, 6);
  });

  it('does not grow by packets that were sent before the loss', () => {
    const controller = create();
    controller.onLost(micros(100_000), micros(90_000));
    controller.onAcked(micros(101_000), micros(100_000), 6_000, RTT, true);
    expect(controller.windowBytes).toBe(12_000 * reduction);
  });

  it('never falls below two datagrams [CC-2]', () => {
    const controller = create();
    for (let at = 1; at < 50; at++) controller.onLost(micros(at * 20_000), micros(at * 20_000 - 1));
    expect(controller.windowBytes).toBe(2 * DATAGRAM);
  });

  it('falls to two datagrams at persistent congestion and starts slowly again', () => {
    const controller = create();
    controller.onLost(micros(100_000), micros(90_000));
    const threshold = controller.windowBytes;
    controller.onPersistentCongestion();
    expect(controller.windowBytes).toBe(2 * DATAGRAM);
    acked(controller, 120_000, 1_200);
    expect(controller.windowBytes, 'slow start').toBe(3 * DATAGRAM);
    expect(threshold).toBeGreaterThan(3 * DATAGRAM);
  });
});

describe('slow start', () => {
  it('ends at the threshold, however much is acknowledged at once', () => {
    const controller = new NewReno(DATAGRAM);
    controller.onLost(micros(100_000), micros(90_000));
    controller.onPersistentCongestion();
    expect(controller.windowBytes).toBe(2_400);
    acked(controller, 120_000, 12_000);
    // Up to 6,000 in slow start; one datagram a window for the 8,400 bytes beyond.
    expect(controller.windowBytes).toBe(6_000 + (DATAGRAM * 8_400) / 6_000);
  });
});

describe('NewReno after a loss', () => {
  it('grows by one datagram a window', () => {
    const controller = new NewReno(DATAGRAM);
    controller.onLost(micros(100_000), micros(90_000));
    expect(controller.windowBytes).toBe(6_000);
    acked(controller, 120_000, 1_200);
    expect(controller.windowBytes).toBe(6_000 + (1_200 * 1_200) / 6_000);
  });
});

describe('CUBIC after a loss', () => {
  /** A window of 100 datagrams, reduced to 70 at one second. */
  function reduced(): Cubic {
    const controller = new Cubic(DATAGRAM);
    acked(controller, 20_000, 108_000);
    expect(controller.windowBytes).toBe(100 * DATAGRAM);
    controller.onLost(seconds(1), micros(990_000));
    expect(controller.windowBytes).toBeCloseTo(70 * DATAGRAM, 6);
    return controller;
  }

  it('returns to the window before the loss along C (t - K)^3 + Wmax, and is flat there [CC-11]', () => {
    const controller = reduced();
    // K = cbrt((100 - 70) / 0.4) = 4.217 s. The first acknowledgement starts the epoch.
    const k = Math.cbrt(30 / 0.4);
    expect(k).toBeCloseTo(4.217, 3);
    const startedAt = 1_300_000;
    const at = run(controller, startedAt, startedAt + k * 1_000_000);
    // The target of every acknowledgement lies one RTT ahead of its time.
    const t = (at - startedAt) / 1_000_000 - k;
    expect(controller.windowBytes / DATAGRAM).toBeCloseTo(0.4 * t ** 3 + 100, 2);
    const end = run(controller, at, startedAt + (k + 2) * 1_000_000);
    const later = (end - startedAt) / 1_000_000 - k;
    expect(controller.windowBytes / DATAGRAM).toBeCloseTo(0.4 * later ** 3 + 100, 2);
  });

  it('moves towards its target by the share of the window that was acknowledged [CC-11]', () => {
    const controller = reduced();
    const before = controller.windowBytes;
    const k = Math.cbrt(30 / 0.4);
    // Window of one RTT into the epoch, in bytes.
    const target = (0.4 * (0.01 - k) ** 3 + 100) * DATAGRAM;
    acked(controller, 1_020_000, DATAGRAM);
    // The Reno estimate is above the curve here: 70 + 0.529 / 70 datagrams, against 70 at t = 0.
    const alpha = (3 * 0.3) / 1.7;
    expect(target).toBeGreaterThan(before);
    expect(controller.windowBytes).toBeCloseTo(before + (alpha * DATAGRAM * DATAGRAM) / before, 6);
  });

  it('is never slower than Reno with the same reduction (RFC 9438 4.3) [CC-11]', () => {
    const controller = new Cubic(DATAGRAM);
    controller.onLost(seconds(1), micros(990_000));
    let estimate = controller.windowBytes;
    const prior = 12_000;
    for (let at = 1_020_000; at < 1_300_000; at += 1_000) {
      const { windowBytes } = controller;
      const alpha = estimate < prior ? (3 * 0.3) / 1.7 : 1;
      estimate += (alpha * DATAGRAM * windowBytes) / windowBytes;
      controller.onAcked(micros(at), micros(at - 1_000), windowBytes, micros(1_000), true);
      expect(controller.windowBytes).toBeGreaterThanOrEqual(estimate - 1e-6);
    }
    expect(estimate).toBeGreaterThan(prior);
  });

  it('grows by half of the window a round trip at most', () => {
    const controller = reduced();
    acked(controller, 1_020_000, DATAGRAM);
    const before = controller.windowBytes;
    // A minute later the curve is far above.
    acked(controller, 61_000_000, before);
    expect(controller.windowBytes).toBeCloseTo(1.5 * before, 6);
  });

  it('does not count the time in which the window was not in use [CC-11]', () => {
    const controller = reduced();
    acked(controller, 1_020_000, DATAGRAM);
    const before = controller.windowBytes;
    acked(controller, 1_030_000, DATAGRAM, false);
    // The curve of a minute later would be far above; 1.5 times the window were the least of it.
    acked(controller, 61_000_000, controller.windowBytes);
    expect(controller.windowBytes / before).toBeLessThan(1.03);
    // And from there it goes on along the curve, one pause counted once.
    const k = Math.cbrt(30 / 0.4);
    run(controller, 61_000_000 + LONG_RTT, 61_000_000 + k * 1_000_000);
    expect(controller.windowBytes / DATAGRAM).toBeGreaterThan(99);
  });

  it('aims lower after a second loss below the last maximum (fast convergence) [CC-11]', () => {
    const controller = reduced();
    controller.onLost(micros(2_000_000), micros(1_990_000));
    expect(controller.windowBytes).toBeCloseTo(49 * DATAGRAM, 6);
    // Wmax = 70 x (1 + 0.7) / 2 = 59.5: K = cbrt((59.5 - 49) / 0.4).
    const k = Math.cbrt(10.5 / 0.4);
    run(controller, 2_300_000, 2_300_000 + k * 1_000_000);
    expect(controller.windowBytes / DATAGRAM).toBeCloseTo(59.5, 1);
  });
});
