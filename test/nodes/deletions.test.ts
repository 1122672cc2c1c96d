import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { micros } from '../../src/base/units.ts';
import {
  Deletions,
  ORDERS_ENDED_MAX,
  ORDERS_MAX,
  ORDERS_UNCONFIRMED_MAX,
} from '../../src/nodes/deletions.ts';

const NODE_ID = new Uint8Array(16).fill(1);

function hash(n: number): Uint8Array {
  const bytes = new Uint8Array(32);
  new DataView(bytes.buffer).setUint32(0, n);
  return bytes;
}

let clock: VirtualClock;
let deletions: Deletions;
beforeEach(() => {
  clock = new VirtualClock();
  deletions = new Deletions(clock);
});

const at = async (time: number): Promise<void> => {
  await clock.run({ untilMicros: micros(time), stepsMax: 1 });
};

describe('orders to delete', () => {
  it('touch an object while they are under way, and what was held before they were over', async () => {
    const order = deletions.start(NODE_ID, hash(1))!;
    expect(deletions.touched(NODE_ID, hash(1), micros(100))).toBe(true);
    await at(50);
    order.end();
    expect(deletions.touched(NODE_ID, hash(1), micros(50))).toBe(true);
    expect(deletions.touched(NODE_ID, hash(1), undefined)).toBe(true);
    expect(deletions.touched(NODE_ID, hash(1), micros(51))).toBe(false);
    expect(deletions.touched(NODE_ID, hash(2), micros(0))).toBe(false);
    deletions.forgetBefore(micros(51));
    expect(deletions.touched(NODE_ID, hash(1), micros(0))).toBe(false);
  });

  it('that are taken back touched nothing', () => {
    const [first, second] = [deletions.start(NODE_ID, hash(1))!, deletions.start(NODE_ID, hash(1))!];
    first.takeBack();
    expect(deletions.isRunning(NODE_ID, hash(1))).toBe(true);
    second.takeBack();
    expect(deletions.touched(NODE_ID, hash(1), undefined)).toBe(false);
  });

  it('are refused beyond their maximum', () => {
    const orders = Array.from({ length: ORDERS_MAX }, (_, n) => deletions.start(NODE_ID, hash(n))!);
    expect(deletions.start(NODE_ID, hash(0))).toBeUndefined();
    orders[0]!.takeBack();
    // All or none.
    expect(() => deletions.startAll([NODE_ID, NODE_ID], hash(0))).toThrowError(
      expect.objectContaining({ code: 'GRAMLINE_BUSY', retryable: true }),
    );
    expect(deletions.start(NODE_ID, hash(0))).toBeDefined();
  });

  it('that were forgotten beyond the maximum count for every object, until nobody asks any more', async () => {
    await at(10);
    deletions.start(NODE_ID, hash(0))!.end();
    await at(20);
    for (let n = 1; n < ORDERS_ENDED_MAX; n++) deletions.start(NODE_ID, hash(n))!.end();
    expect(deletions.touched(NODE_ID, hash(ORDERS_ENDED_MAX + 5), micros(0))).toBe(false);
    deletions.start(NODE_ID, hash(ORDERS_ENDED_MAX))!.end();
    expect(deletions.touched(NODE_ID, hash(0), micros(10))).toBe(true);
    expect(deletions.touched(NODE_ID, hash(0), micros(11))).toBe(false);
    deletions.forgetBefore(micros(11));
    expect(deletions.touched(NODE_ID, hash(0), micros(0))).toBe(false);
    expect(deletions.touched(NODE_ID, hash(1), micros(0))).toBe(true);
  });

  it('that wait for another try are kept up to their maximum, in turn', () => {
    for (let n = 0; n < ORDERS_UNCONFIRMED_MAX; n++) expect(deletions.keep(NODE_ID, hash(n))).toBe(true);
    expect(deletions.keep(NODE_ID, hash(ORDERS_UNCONFIRMED_MAX))).toBe(false);
    expect(deletions.keep(NODE_ID, hash(0))).toBe(true);
    expect(deletions.unconfirmed[0]!.hash).toEqual(hash(1));
    deletions.drop(NODE_ID, hash(1));
    expect(deletions.keep(NODE_ID, hash(ORDERS_UNCONFIRMED_MAX))).toBe(true);
    expect(deletions.unconfirmed).toHaveLength(ORDERS_UNCONFIRMED_MAX);
  });
});
