/** The scenarios of `incast.ts` that every congestion controller must stand. */

import { expect, test } from 'vitest';
import { type Incast, incast, quantile } from './incast.ts';

const GIGABIT = 125_000_000;
/** A small switch: half a millisecond of the link. */
const QUEUE_BYTES = 64_000;
/** What Linux grants where nobody raised `rmem_max`, at a machine that reads 300 MB/s. */
const SLOW_READER = { bufferBytes: 425_984, bytesPerSecond: 300_000_000, datagramBytes: 1_500 };

/**
 * Headers take 4.4 %, and the port refuses some: what is asked of the rest. The share counts until the last
 * flow is over, so that one flow's late loss costs all of it.
 */
export function incastScenarios(shareMin: number, lossyShareMin: number): void {
  test.each([
    [8, 1_000_000],
    [32, 500_000],
  ])(
    '%i senders to one receiver fill its switch port, and queries stay quick',
    async (senders, bytesEach) => {
      const port = { bytesPerSecond: GIGABIT, queueBytes: QUEUE_BYTES };
      const result = await incast({ senders, bytesEach, port, queryEveryMicros: 2_000 });
      expect(result.share).toBeGreaterThan(shareMin);
      expectQuick(result);
      expect(result.statistics.dropped.port).toBeGreaterThan(0);
      expect(result.statistics.dropped.port).toBeLessThan(0.2 * result.statistics.sent);
    },
  );

  test('8 senders to a slow reader do not overflow its sockets', async () => {
    const port = { bytesPerSecond: 10 * GIGABIT, queueBytes: 10 * QUEUE_BYTES };
    const limited = { senders: 8, bytesEach: 1_000_000, port, receive: SLOW_READER, queryEveryMicros: 2_000 };
    const result = await incast(limited);
    expect(result.statistics.dropped.buffer).toBe(0);
    // A datagram costs the reader as much again as its bytes: half of 300 MB/s, of 1,250.
    expect(result.share).toBeGreaterThan(0.1);
    expect(result.share).toBeLessThan(0.13);
  });

  test('8 senders with 5 % of random loss besides', async () => {
    const port = { bytesPerSecond: GIGABIT, queueBytes: QUEUE_BYTES };
    const faults = { lossProbability: 0.05 };
    const result = await incast({ senders: 8, bytesEach: 1_000_000, port, faults, queryEveryMicros: 2_000 });
    expect(result.share).toBeGreaterThan(lossyShareMin);
    expectQuick(result);
  });
}

function expectQuick({ queryMicros }: Incast): void {
  expect(queryMicros.length).toBeGreaterThan(10);
  expect(quantile(queryMicros, 0.5)).toBeLessThan(2_000);
  // A query that is lost before the first round trip was measured waits 32 ms.
  expect(Math.max(...queryMicros)).toBeLessThan(80_000);
}
