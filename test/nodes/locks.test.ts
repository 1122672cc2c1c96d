import { beforeEach, describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { millis, seconds } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { LOCK_PLACES_MAX } from '../../src/nodes/lock-queue.ts';
import {
  GIVEN_BACK_MAX,
  LOCK_LEASE_MILLIS_MAX,
  LOCK_LEASE_MILLIS_MIN,
  Locks,
} from '../../src/nodes/locks.ts';
import { LOCK_END, LOCK_PREFIX } from '../../src/nodes/state-keys.ts';
import {
  decodeMessage,
  encodeMessage,
  isFailure,
  lockQuery,
  lockReply,
  QueryKind,
  ResultCode,
  unlockQuery,
} from '../../src/wire/index.ts';
import { ask, Bench, noAnswer } from './tenures-support.ts';

const LEASE_MILLIS = 3_000;
/** What a refusal says. */
const NOTHING = { held: false, fencing: 0, leaseMillis: 0, ahead: 0 };

let bench: Bench;
let locks: Locks;
beforeEach(() => {
  bench = new Bench();
  locks = new Locks(bench.options);
});

const tokenOf = (n: number): Uint8Array => new Uint8Array(16).fill(n);

async function lock(
  n: number,
  options: { shared?: boolean; leaseMillis?: number; waitMillis?: number; name?: string } = {},
) {
  const message = { name: 'a', token: tokenOf(n), shared: false, leaseMillis: LEASE_MILLIS, waitMillis: 0 };
  const body = encodeMessage(lockQuery, { ...message, ...options });
  const reply = await ask((query) => locks.lock(query), QueryKind.LOCK, body);
  const answer = decodeMessage(lockReply, reply.body);
  if (reply.code !== ResultCode.OK || isFailure(answer)) return { ...NOTHING, code: reply.code };
  return { ...answer, code: reply.code };
}

async function unlock(n: number, fencing = 0, name = 'a'): Promise<number> {
  const body = encodeMessage(unlockQuery, { name, token: tokenOf(n), fencing });
  return (await ask((query) => locks.unlock('10.0.0.7', query), QueryKind.UNLOCK, body)).code;
}

/** The next epoch, on what the state has. */
function succeed(): void {
  locks.close();
  locks = new Locks(bench.options);
}

/** Lets promises settle, without time. */
async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

async function sweep(spanMicros: number): Promise<void> {
  await bench.pass(spanMicros);
  await locks.sweep();
}

describe('a lock', () => {
  it('is held by who asked first, and by the next one when it is given back [LOCK-2] [LOCK-3]', async () => {
    const first = await lock(1);
    expect(first).toMatchObject({ code: ResultCode.OK, held: true, leaseMillis: LEASE_MILLIS, ahead: 0 });
    expect(await lock(2)).toMatchObject({ held: false, fencing: 0, ahead: 1 });
    const waits = lock(2, { waitMillis: 1_000 });
    await turn();
    expect(await unlock(1, first.fencing)).toBe(ResultCode.OK);
    const second = await waits;
    expect(second.held).toBe(true);
    expect(second.fencing).toBeGreaterThan(first.fencing);
  });

  it('is shared by those who say so, as long as nobody else came between [LOCK-2]', async () => {
    expect((await lock(1, { shared: true })).held).toBe(true);
    expect((await lock(2, { shared: true })).held).toBe(true);
    expect((await lock(3)).held).toBe(false);
    expect((await lock(4, { shared: true })).held).toBe(false);
    const waits = lock(3, { waitMillis: 1_000 });
    await unlock(1);
    await unlock(2);
    expect((await waits).held).toBe(true);
    const both = lock(4, { shared: true, waitMillis: 1_000 });
    await unlock(3);
    expect((await both).held).toBe(true);
  });

  it('is answered when the wait is over, 30 s at most [LOCK-3]', async () => {
    await lock(1, { leaseMillis: LOCK_LEASE_MILLIS_MAX });
    let answered = 0;
    for (const [n, waitMillis] of [
      [2, 500],
      [3, 2 ** 32 - 1],
    ] as const) {
      void lock(n, { waitMillis, leaseMillis: LOCK_LEASE_MILLIS_MAX }).then(() => {
        answered += 1;
      });
    }
    await bench.pass(millis(499));
    expect(answered).toBe(0);
    await bench.pass(millis(2));
    expect(answered).toBe(1);
    await bench.pass(millis(29_400));
    expect(answered).toBe(1);
    await bench.pass(millis(100));
    expect(answered).toBe(2);
  });

  it('ends by its lease unless it is renewed, and the next one is told [LOCK-3]', async () => {
    const first = await lock(1);
    await sweep(millis(2_000));
    expect(await lock(1)).toMatchObject({ held: true, fencing: first.fencing });
    const waits = lock(2, { waitMillis: 30_000, leaseMillis: 60_000 });
    await sweep(millis(2_999));
    await turn();
    expect(bench.events).toEqual([]);
    await sweep(millis(1));
    expect((await waits).held).toBe(true);
    expect(bench.events).toEqual(['a lease of a lock has ended']);
    // Who lost it gets a place at the end, under another number.
    expect(await lock(1)).toMatchObject({ held: false, ahead: 1 });
  });

  it('is asked for in vain when the lease of the place ends meanwhile [LOCK-3]', async () => {
    await lock(1, { leaseMillis: 60_000 });
    const waits = lock(2, { waitMillis: 30_000, leaseMillis: 1_000 });
    await sweep(seconds(1));
    expect((await waits).code).toBe(ResultCode.EXPIRED);
  });

  it('keeps the lease and the kind that its place was made with [LOCK-3]', async () => {
    await lock(1);
    expect((await lock(1, { leaseMillis: 60_000 })).leaseMillis).toBe(LEASE_MILLIS);
    expect((await lock(1, { shared: true })).code).toBe(ResultCode.MALFORMED);
  });

  it.each([0, LOCK_LEASE_MILLIS_MIN - 1, LOCK_LEASE_MILLIS_MAX + 1])(
    'is not asked for with a lease of %i ms [LOCK-6]',
    async (leaseMillis) => {
      expect((await lock(1, { leaseMillis })).code).toBe(ResultCode.MALFORMED);
    },
  );

  it('has a name of 1 to 80 bytes [LOCK-1]', async () => {
    expect((await lock(1, { name: 'x'.repeat(80) })).held).toBe(true);
    const body = Uint8Array.of(0, ...new Uint8Array(16 + 1 + 4 + 4));
    const { code } = await ask((query) => locks.lock(query), QueryKind.LOCK, body);
    expect(code).toBe(ResultCode.MALFORMED);
  });

  it('has 1,024 places; one more is busy, and one that goes makes room [LOCK-6]', async () => {
    const names = Array.from({ length: LOCK_PLACES_MAX }, (_, index) => index);
    const all = await Promise.all(
      names.map((index) => {
        const token = nodeSuite.sha256(Uint8Array.of(index >>> 8, index & 255)).subarray(0, 16);
        const message = { name: 'a', token, shared: false, leaseMillis: 60_000, waitMillis: 0 };
        return ask((query) => locks.lock(query), QueryKind.LOCK, encodeMessage(lockQuery, message));
      }),
    );
    expect(all.every(({ code }) => code === ResultCode.OK)).toBe(true);
    // Asked for in one turn, they share commits.
    expect(bench.commits).toBe(LOCK_PLACES_MAX / 64);
    expect((await lock(250)).code).toBe(ResultCode.BUSY);
    expect((await lock(250, { name: 'b' })).code).toBe(ResultCode.OK);
  });
});

describe('what is durable of a lock', () => {
  it('has no token in it [LOCK-2]', async () => {
    await lock(7);
    const all = [...bench.state.range(LOCK_PREFIX, LOCK_END, 10)].map(
      ([key, value]) => toHex(key) + toHex(value),
    );
    expect(all).toHaveLength(2);
    expect(all.join()).not.toContain(toHex(tokenOf(7)).slice(0, 16));
  });

  it('outlasts a leader: the same queue, each with a whole lease [LOCK-2] [LOCK-3]', async () => {
    const first = await lock(1);
    await lock(2);
    await bench.pass(millis(2_900));
    succeed();
    await sweep(millis(2_900));
    expect(await lock(1)).toMatchObject({ held: true, fencing: first.fencing });
    expect(await lock(2)).toMatchObject({ held: false, ahead: 1 });
  });

  it('lets fencing tokens grow, across leaders and when all was given back [LOCK-4]', async () => {
    let before = 0;
    for (let n = 1; n <= 6; n++) {
      const { fencing } = await lock(n);
      expect(fencing).toBeGreaterThan(before);
      before = fencing;
      if (n % 2 === 0) succeed();
      expect(await unlock(n)).toBe(ResultCode.OK);
    }
  });

  it('is the same place where the answer of its commit was lost [LOCK-2] [LEAD-6]', async () => {
    bench.instead.push(async (commit) => {
      await commit();
      throw noAnswer();
    });
    await expect(lock(1)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    expect((await lock(1)).held).toBe(true);
    expect(bench.commits).toBe(1);
  });

  it('is one place where a commit that was not answered comes late [LOCK-4]', async () => {
    let late = (): Promise<unknown> => Promise.resolve();
    bench.instead.push(async (commit) => {
      late = commit;
      throw noAnswer();
    });
    await expect(lock(1)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    expect((await lock(2)).held).toBe(true);
    await late();
    expect(await lock(1)).toMatchObject({ held: false, ahead: 1 });
    expect([...bench.state.range(LOCK_PREFIX, LOCK_END, 10)]).toHaveLength(3);
  });

  it('lets nobody hold it whose predecessor could not be removed durably [LOCK-2]', async () => {
    await lock(1);
    await lock(2);
    bench.instead.push(() => Promise.reject(noAnswer()));
    await expect(unlock(1)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    expect((await lock(2)).held).toBe(false);
    await locks.sweep();
    expect((await lock(2)).held).toBe(true);
  });
});

describe('giving a lock back [LOCK-5]', () => {
  it('is done once, and answered OK again', async () => {
    const { fencing } = await lock(1);
    await lock(2);
    expect(await unlock(1, fencing)).toBe(ResultCode.OK);
    expect(await unlock(1, fencing)).toBe(ResultCode.OK);
    expect(bench.warnings).toEqual([]);
  });

  it('is denied to a stranger where somebody holds it, and logged without the token', async () => {
    await lock(1);
    expect(await unlock(9)).toBe(ResultCode.DENIED);
    expect(bench.warnings).toHaveLength(1);
    expect(JSON.stringify(bench.warnings)).not.toContain('0909');
    expect((await lock(1)).held).toBe(true);
  });

  it('is OK where nobody holds it', async () => {
    expect(await unlock(9)).toBe(ResultCode.OK);
  });

  it('under another fencing token is stale, logged, and changes nothing', async () => {
    const { fencing } = await lock(1);
    expect(await unlock(1, fencing + 1)).toBe(ResultCode.STALE_EPOCH);
    expect(bench.warnings).toHaveLength(1);
    expect((await lock(1)).held).toBe(true);
  });

  it('counts for a LOCK that comes behind it, for a while', async () => {
    await lock(1);
    await unlock(1);
    expect((await lock(1)).code).toBe(ResultCode.EXPIRED);
    await sweep(seconds(60));
    expect((await lock(1)).code).toBe(ResultCode.OK);
  });

  it('counts for a LOCK that waits until an older place of its token is gone', async () => {
    await lock(1, { leaseMillis: 1_000 });
    await bench.pass(seconds(2));
    const go = bench.hold();
    const late = lock(1);
    await turn();
    const given = unlock(1);
    await turn();
    go();
    await given;
    expect((await late).code).toBe(ResultCode.EXPIRED);
    expect((await lock(2)).held).toBe(true);
  });

  it('is remembered of so many, however many strangers give back what they never had', async () => {
    await lock(1);
    await unlock(1);
    for (let n = 0; n <= GIVEN_BACK_MAX; n++) {
      const token = new Uint8Array(16);
      new DataView(token.buffer).setUint32(0, n + 1);
      const body = encodeMessage(unlockQuery, { name: 'z', token, fencing: 0 });
      await ask((query) => locks.unlock('10.0.0.7', query), QueryKind.UNLOCK, body);
    }
    expect((await lock(1)).code).toBe(ResultCode.EXPIRED);
    // The last of them counts, too; the first is forgotten.
    const last = new Uint8Array(16);
    new DataView(last.buffer).setUint32(0, GIVEN_BACK_MAX + 1);
    const body = encodeMessage(lockQuery, {
      ...{ name: 'z', token: last, shared: false, leaseMillis: LEASE_MILLIS, waitMillis: 0 },
    });
    expect((await ask((query) => locks.lock(query), QueryKind.LOCK, body)).code).toBe(ResultCode.EXPIRED);
  });

  it('waits for a place that is being made', async () => {
    const go = bench.hold();
    const locked = lock(1, { waitMillis: 1_000 });
    await turn();
    const unlocked = unlock(1);
    go();
    await Promise.all([locked, unlocked]);
    expect((await lock(2)).held).toBe(true);
  });

  it('ends a LOCK of the same place that waits', async () => {
    await lock(1);
    const waits = lock(2, { waitMillis: 1_000 });
    await turn();
    await unlock(2);
    expect((await waits).code).toBe(ResultCode.EXPIRED);
  });
});

describe('the end of an epoch [LEAD-2]', () => {
  it('sends those who wait elsewhere', async () => {
    await lock(1);
    const waits = lock(2, { waitMillis: 10_000 });
    await turn();
    locks.close();
    await expect(waits).rejects.toMatchObject({ code: 'GRAMLINE_NOT_LEADER' });
    await expect(lock(1)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_LEADER' });
    await expect(unlock(1)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_LEADER' });
  });
});
