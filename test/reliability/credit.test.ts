import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KIB, MIB } from '../../src/base/units.ts';
import {
  type CreditAccount,
  CreditPool,
  FLOW_WINDOW_BYTES,
  FLOW_WINDOW_BYTES_MAX,
  FLOW_WINDOW_BYTES_MIN,
} from '../../src/reliability/index.ts';

const UNKNOWN = Number.POSITIVE_INFINITY;

/** Takes all that is outstanding, record by record, `rounds` times. */
function drain(account: CreditAccount, rounds: number, remainingBytes = UNKNOWN): void {
  for (let round = 0; round < rounds; round++) {
    for (let left = account.outstandingBytes; left > 0; left -= 64 * KIB) {
      account.take(Math.min(left, 64 * KIB), remainingBytes);
    }
  }
}

function openMany(pool: CreditPool, count: number): CreditAccount[] {
  return Array.from({ length: count }, () => pool.open()!);
}

describe('the first window', () => {
  it('is 1 MiB where a flow is alone, and less the more there are', () => {
    const pool = new CreditPool(64 * MIB);
    const windows = openMany(pool, 100).map((account) => account.windowBytes);
    expect(windows[0]).toBe(FLOW_WINDOW_BYTES);
    expect(windows[4]).toBe(FLOW_WINDOW_BYTES / 2);
    expect(windows[99]).toBe(FLOW_WINDOW_BYTES_MIN);
    expect(windows).toEqual([...windows].sort((left, right) => right - left));
  });

  it('is what a query announced, exactly, or none', () => {
    const pool = new CreditPool(2 * MIB + 100_000);
    expect(pool.open(MIB)?.windowBytes).toBe(MIB);
    expect(pool.open(MIB)?.windowBytes).toBe(MIB);
    expect(pool.open(MIB)).toBeUndefined();
    expect(pool.firstWindowBytes).toBe(FLOW_WINDOW_BYTES_MIN);
    expect(pool.open()?.windowBytes).toBe(FLOW_WINDOW_BYTES_MIN);
    expect(pool.firstWindowBytes).toBe(0);
    expect(pool.open()).toBeUndefined();
  });

  it('is there for 1,024 flows that open at one instant, in 80 MiB', () => {
    const pool = new CreditPool(80 * MIB);
    for (const account of openMany(pool, 1_024)) expect(account).toBeDefined();
    expect(pool.flows).toBe(1_024);
  });

  it('is there for 1,024 flows in 64 MiB, once those before have read what they were given', () => {
    const pool = new CreditPool(64 * MIB);
    const accounts: CreditAccount[] = [];
    for (let flow = 0; flow < 1_024; flow++) {
      const account = pool.open();
      if (account === undefined) throw new Error(`no room for flow ${flow}`);
      accounts.push(account);
      for (const each of accounts.slice(-20)) drain(each, 2);
      if (flow % 32 === 0) for (const each of accounts) drain(each, 1);
    }
    expect(pool.takenBytes).toBeLessThanOrEqual(64 * MIB);
    expect(pool.open()).toBeUndefined();
  });
});

describe('the window', () => {
  it('of a flow that is alone grows to 4 MiB while its reader keeps up [FLOW-16]', () => {
    const account = new CreditPool(64 * MIB).open()!;
    drain(account, 8);
    expect(account.windowBytes).toBe(FLOW_WINDOW_BYTES_MAX);
    expect(account.outstandingBytes).toBe(FLOW_WINDOW_BYTES_MAX);
  });

  it('of many flows that began with the least grows to 1 MiB where memory allows', () => {
    const accounts = openMany(new CreditPool(1_024 * MIB), 200);
    for (let round = 0; round < 10; round++) for (const account of accounts) drain(account, 1);
    expect(accounts.every(({ windowBytes }) => windowBytes === FLOW_WINDOW_BYTES)).toBe(true);
  });

  it('shrinks as data comes when others need the memory, and never below one record [FLOW-16]', () => {
    const pool = new CreditPool(8 * MIB);
    const [first] = openMany(pool, 1);
    drain(first!, 8);
    expect(first!.outstandingBytes).toBeGreaterThan(2 * MIB);
    const others = openMany(pool, 20);
    const limitBefore = first!.outstandingBytes;
    expect(limitBefore, 'what was granted stays').toBeGreaterThan(2 * MIB);
    drain(first!, 1);
    while (pool.firstWindowBytes > 0) others.push(...openMany(pool, 1));
    expect(others.length).toBeGreaterThan(40);
    drain(first!, 2);
    expect(first!.outstandingBytes).toBeLessThan(256 * KIB);
    for (let round = 0; round < 5; round++) for (const other of others) drain(other, 1);
    expect(first!.outstandingBytes).toBeGreaterThanOrEqual(FLOW_WINDOW_BYTES_MIN);
  });

  it('ends where the flow ends: nothing is granted that will not come', () => {
    const account = new CreditPool(64 * MIB).open()!;
    expect(account.take(64 * KIB, MIB - 64 * KIB)).toBe(0);
    expect(account.outstandingBytes).toBe(MIB - 64 * KIB);
    account.take(64 * KIB, 10);
    expect(account.take(64 * KIB, 0)).toBe(0);
  });

  it('grows by half of what is spare, and leaves the other half', () => {
    const pool = new CreditPool(2 * MIB);
    const account = pool.open(FLOW_WINDOW_BYTES_MIN)!;
    // 2 MiB less the reserve of a quarter and the least window.
    const spareBytes = 1.5 * MIB - FLOW_WINDOW_BYTES_MIN;
    expect(pool.windowBytesFor(account)).toBe(FLOW_WINDOW_BYTES_MIN + spareBytes / 2);
  });

  it('of the flow that will be over first is larger when memory is short', () => {
    const pool = new CreditPool(4 * MIB);
    const accounts = Array.from({ length: 48 }, () => pool.open(FLOW_WINDOW_BYTES_MIN)!);
    const [long, short] = [accounts[46]!, accounts[47]!];
    for (let round = 0; round < 6; round++) {
      for (const account of accounts) drain(account, 1, account === short ? 2 * MIB : 50 * MIB);
    }
    expect(long.outstandingBytes).toBeLessThan(128 * KIB);
    expect(short.outstandingBytes).toBeGreaterThan(256 * KIB);
    short.close();
    long.take(1, MIB);
    for (let round = 0; round < 6; round++) drain(long, 1, MIB);
    expect(long.outstandingBytes, 'then the next one').toBeGreaterThan(256 * KIB);
  });
});

const step = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('open' as const), bytes: fc.constantFrom(0, 64 * KIB, MIB) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('take' as const),
      flow: fc.nat(100),
      share: fc.constantFrom(0.1, 0.5, 1),
      isKnown: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), flow: fc.nat(100) }) },
);

describe('the credit pool', () => {
  it('never grants more than it has, takes nothing back, and leaves every flow room for a record [FLOW-8] [FLOW-16]', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: FLOW_WINDOW_BYTES_MIN, max: 20 * MIB }),
        fc.array(step, { maxLength: 200 }),
        (totalBytes, steps) => {
          const pool = new CreditPool(totalBytes);
          const open: { account: CreditAccount; endBytes: number; taken: number; limit: number }[] = [];
          for (const given of steps) {
            if (given.do === 'open') {
              const account = given.bytes === 0 ? pool.open() : pool.open(given.bytes);
              const endBytes = 10 * MIB + open.length;
              if (account !== undefined) {
                open.push({ account, endBytes, taken: 0, limit: account.outstandingBytes });
              }
            } else if (given.do === 'close') {
              open.splice(given.flow, 1)[0]?.account.close();
            } else {
              const flow = open[given.flow];
              if (flow === undefined) continue;
              const { account } = flow;
              const bytes = Math.min(
                Math.floor(given.share * account.outstandingBytes),
                flow.endBytes - flow.taken,
              );
              flow.taken += bytes;
              const remaining = flow.endBytes - flow.taken;
              flow.limit += account.take(bytes, given.isKnown ? remaining : UNKNOWN);
              expect(flow.limit - flow.taken).toBe(account.outstandingBytes);
              const least = Math.min(FLOW_WINDOW_BYTES_MIN, given.isKnown ? remaining : UNKNOWN);
              expect(account.outstandingBytes).toBeGreaterThanOrEqual(least);
              expect(account.windowBytes).toBeLessThanOrEqual(FLOW_WINDOW_BYTES_MAX);
            }
            // The plain twin: all accounts added up.
            const sum = open.reduce(
              (total, { account }) => total + Math.max(account.outstandingBytes, FLOW_WINDOW_BYTES_MIN),
              0,
            );
            expect(pool.takenBytes).toBe(sum);
            expect(pool.takenBytes).toBeLessThanOrEqual(totalBytes);
            expect(pool.flows).toBe(open.length);
          }
          for (const { account } of open) account.close();
          expect(pool.takenBytes).toBe(0);
        },
      ),
    );
  });

  it('takes it for a bug when more is taken than was granted, and closes an account once', () => {
    const pool = new CreditPool(64 * MIB);
    const account = pool.open()!;
    expect(() => account.take(MIB + 1, UNKNOWN)).toThrow('more taken');
    account.close();
    account.close();
    expect(pool.takenBytes).toBe(0);
  });
});
