import { describe, expect, it } from 'vitest';
import { type CongestionController, Cubic, LanCubic, NewReno } from '../../src/reliability/index.ts';
import { Bottleneck, type BottleneckOptions, fairness } from '../support/bottleneck.ts';

const GIGABIT = 125_000_000;
const SETTLE_MICROS = 500_000;
const SPAN_MICROS = 1_000_000;
const CONTROLLERS = { NewReno, Cubic, LanCubic };
type Kind = keyof typeof CONTROLLERS;

interface Outcome {
  /** Of the link's rate, all senders together. */
  readonly share: number;
  readonly shares: readonly number[];
  /** Of the datagrams sent, those that the full queue refused. */
  readonly overflow: number;
  readonly queueMicrosMax: number;
}

/** What senders that start 10 ms after one another have of a link of 1 Gbit/s and 100 us. */
function outcome(kinds: readonly Kind[], options: Partial<BottleneckOptions>): Outcome {
  const bottleneck = new Bottleneck({
    bytesPerSecond: GIGABIT,
    queueBytes: 256_000,
    delayMicros: 40,
    ...options,
  });
  const controllers: CongestionController[] = kinds.map((kind) => new CONTROLLERS[kind](1_200));
  const senders = controllers.map((controller, index) => bottleneck.add(controller, index * 10_000));
  bottleneck.run(SETTLE_MICROS);
  bottleneck.run(SPAN_MICROS);
  const sent = senders.reduce((sum, sender) => sum + sender.sentPackets, 0);
  const overflows = senders.reduce((sum, sender) => sum + sender.overflows, 0);
  return {
    share: bottleneck.share(SPAN_MICROS),
    shares: senders.map((sender) => bottleneck.share(SPAN_MICROS, [sender])),
    overflow: overflows / sent,
    queueMicrosMax: bottleneck.queueMicrosMax,
  };
}

describe('one flow over a lossy link', () => {
  it.each([0.01, 0.05])('that loses %d at random uses all that the link lets through', (lossProbability) => {
    const lan = outcome(['LanCubic'], { lossProbability });
    expect(lan.share).toBeGreaterThan(0.95 * (1 - lossProbability));
    expect(lan.overflow).toBeLessThan(0.02);
    const plain = outcome(['Cubic'], { lossProbability });
    expect(lan.share).toBeGreaterThan(plain.share);
  });

  it('of 5 Gbit/s and 5 % has more than three times what CUBIC has, and keeps the queue short', () => {
    const link = { bytesPerSecond: 5 * GIGABIT, lossProbability: 0.05, queueBytes: 4_000_000 };
    const lan = outcome(['LanCubic'], link);
    expect(lan.share).toBeGreaterThan(3 * outcome(['Cubic'], link).share);
    expect(lan.queueMicrosMax).toBeLessThan(2_000);
  });
});

describe('where loss is congestion', () => {
  it.each([64_000, 256_000, 1_000_000])(
    'a queue of %d bytes overflows as seldom as under CUBIC',
    (queueBytes) => {
      const lan = outcome(['LanCubic'], { queueBytes });
      expect(lan.share).toBeGreaterThan(0.98);
      expect(lan.overflow).toBeLessThan(0.005);
    },
  );

  it.each([64_000, 256_000])('two flows share a queue of %d bytes fairly', (queueBytes) => {
    const { share, shares, overflow } = outcome(['LanCubic', 'LanCubic'], { queueBytes });
    expect(share).toBeGreaterThan(0.98);
    expect(fairness(shares)).toBeGreaterThan(0.8);
    expect(overflow).toBeLessThan(0.1);
  });

  it.each([64_000, 256_000])('NewReno beside it at a queue of %d bytes does not starve', (queueBytes) => {
    const { share, shares } = outcome(['NewReno', 'LanCubic'], { queueBytes });
    expect(share).toBeGreaterThan(0.98);
    expect(shares[0]).toBeGreaterThan(0.05);
  });

  it.each([
    [8, 64_000, 0.13],
    [8, 256_000, 0.1],
    [32, 256_000, 0.13],
  ])('%i senders use the link, and a queue of %d bytes refuses less than %d', (count, queueBytes, most) => {
    const { share, shares, overflow } = outcome(Array<Kind>(count).fill('LanCubic'), { queueBytes });
    expect(share).toBeGreaterThan(0.98);
    expect(overflow).toBeLessThan(most);
    expect(Math.min(...shares), 'nobody starves').toBeGreaterThan(0.1 / count);
  });

  it('32 senders, with a queue for a packet of each, do no worse than NewReno', () => {
    const lan = outcome(Array<Kind>(32).fill('LanCubic'), { queueBytes: 48_000 });
    const plain = outcome(Array<Kind>(32).fill('NewReno'), { queueBytes: 48_000 });
    expect(lan.share).toBeGreaterThan(0.95);
    expect(lan.overflow).toBeLessThan(1.25 * plain.overflow);
  });
});
