/** Locks and user sessions as clients have them, on whole simulated clusters. */

import { describe, expect, it } from 'vitest';
import { SimCluster } from '../../sim/cluster.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { millis, seconds } from '../../src/base/units.ts';
import type { HeldLock } from '../../src/nodes/client.ts';
import { CLIENT_LOCKS_MAX } from '../../src/nodes/client-lock.ts';
import {
  openSession,
  SESSION_WRITES_MAX,
  SESSIONS_WATCHED_MAX,
  type WatchedSession,
} from '../../src/nodes/client-session.ts';
import { ResultCode } from '../../src/wire/index.ts';

async function clusterOf(coordinators: number): Promise<SimCluster> {
  const cluster = new SimCluster({ seed: 5, coordinators, nodes: 0 });
  await cluster.start();
  return cluster;
}

const textOf = (data: Uint8Array): string => Buffer.from(data).toString();

describe('a lock of a client', () => {
  it('is renewed for as long as it is held, and then goes to the next in the queue [LOCK-3]', async () => {
    const cluster = await clusterOf(1);
    const [left, right] = [cluster.client().role, cluster.client().role];
    const first = await cluster.drive(left.lock('a', { leaseMillis: 1_000 }));
    const waits = right.lock('a', { leaseMillis: 1_000 });
    let second: HeldLock | undefined;
    void waits.then((lock) => {
      second = lock;
    });
    await cluster.pass(seconds(10));
    expect([first.isHeld, first.signal.aborted, second]).toEqual([true, false, undefined]);
    await cluster.drive(first.release());
    expect(first.isHeld).toBe(false);
    expect((await cluster.drive(waits)).fencing).toBeGreaterThan(first.fencing);
    await cluster.close();
  });

  it('is lost when it cannot be renewed, before anybody else holds it [LOCK-3]', async () => {
    const cluster = await clusterOf(1);
    const [left, right] = [cluster.client(), cluster.client()];
    const first = await cluster.drive(left.role.lock('a', { leaseMillis: 2_000 }));
    let isHeldBeside = false;
    left.pause(seconds(5), false);
    const second = await cluster.drive(right.role.lock('a'));
    isHeldBeside = first.isHeld;
    expect([isHeldBeside, second.isHeld]).toEqual([false, true]);
    await cluster.pass(seconds(6));
    expect(first.signal.reason).toMatchObject({ code: 'GRAMLINE_EXPIRED' });
    await cluster.drive(first.release());
    expect(second.isHeld).toBe(true);
    await cluster.close();
  });

  it('outlasts the coordinator that gave it [LEAD-6]', async () => {
    const cluster = await clusterOf(3);
    const lock = await cluster.drive(cluster.client().role.lock('a', { leaseMillis: 15_000 }));
    cluster.leader!.crash();
    await cluster.pass(seconds(40));
    expect(lock.isHeld).toBe(true);
    await cluster.drive(lock.release());
    const next = await cluster.drive(cluster.client().role.lock('a', { timeoutMillis: 0 }));
    expect(next.fencing).toBeGreaterThan(lock.fencing);
  });

  it('gives its place back when its caller gives up, by time or by signal', async () => {
    const cluster = await clusterOf(1);
    const client = cluster.client().role;
    const held = await cluster.drive(client.lock('a'));
    const late = client.lock('a', { timeoutMillis: 500, leaseMillis: 3_600_000 });
    await expect(cluster.drive(late)).rejects.toMatchObject({ code: 'GRAMLINE_TIMEOUT' });
    const stop = new AbortController();
    const ended = client.lock('a', { signal: stop.signal, leaseMillis: 3_600_000 });
    ended.catch(() => undefined);
    await cluster.pass(millis(100));
    stop.abort(new Error('enough'));
    await expect(cluster.drive(ended)).rejects.toThrow('enough');
    await cluster.drive(held.release());
    const next = await cluster.drive(client.lock('a', { timeoutMillis: 1_000 }));
    expect(next.isHeld).toBe(true);
    await cluster.close();
  });

  it('is given back when its client is closed', async () => {
    const cluster = await clusterOf(1);
    const leaving = cluster.client();
    const lock = await cluster.drive(leaving.role.lock('a', { leaseMillis: 3_600_000 }));
    await cluster.drive(leaving.stop());
    expect(lock.signal.reason).toMatchObject({ code: 'GRAMLINE_CLOSED' });
    const next = await cluster.drive(cluster.client().role.lock('a', { timeoutMillis: 0 }));
    expect(next.isHeld).toBe(true);
    await cluster.close();
  });

  it.each([
    ['', {}],
    ['x'.repeat(81), {}],
    ['a', { leaseMillis: 999 }],
    ['a', { leaseMillis: 3_600_001 }],
    ['a', { timeoutMillis: -1 }],
  ])('is refused as "%s" with %j', async (name, options) => {
    const cluster = await clusterOf(1);
    const refused = cluster.drive(cluster.client().role.lock(name, options));
    await expect(refused).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await cluster.close();
  });

  it('is one of 1,024 at most', async () => {
    const cluster = await clusterOf(1);
    const client = cluster.client().role;
    const locks = Array.from({ length: CLIENT_LOCKS_MAX }, (_, index) =>
      client.lock(`${index}`, { leaseMillis: 3_600_000 }).catch(() => undefined),
    );
    await expect(cluster.drive(client.lock('more'))).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    await cluster.drive(Promise.all(locks));
  });
});

describe('a user session of a client', () => {
  it('is taken up again at another coordinator, when the one that made it has died [USR-1]', async () => {
    const cluster = await clusterOf(3);
    const session = await cluster.drive(cluster.client().role.session({ data: utf8('one') }));
    await cluster.drive(session.write(utf8('two')));
    cluster.leader!.crash();
    const again = await cluster.drive(cluster.client().role.session({ resume: session.token }));
    expect([textOf(again.data), again.number]).toEqual(['two', 2]);
    await cluster.drive(again.write(utf8('three')));
    expect(textOf((await cluster.drive(session.read())).data)).toBe('three');
  });

  it('takes writes in the order in which they are called [USR-3]', async () => {
    const cluster = await clusterOf(1);
    const session = await cluster.drive(cluster.client().role.session());
    const writes = Array.from({ length: 20 }, (_, index) => session.write(utf8(`${index}`)));
    await cluster.drive(Promise.all(writes));
    const { data, number, remainingSeconds } = await cluster.drive(session.read());
    expect([textOf(data), number, remainingSeconds]).toEqual(['19', 21, 3_600]);
    await cluster.close();
  });

  it('holds what is written while the shared state is away, and pushes it in order when that is back', async () => {
    const cluster = await clusterOf(3);
    const session = await cluster.drive(cluster.client().role.session());
    cluster.engine!.setDown(true);
    await cluster.pass(seconds(5));
    const writes = ['one', 'two', 'three'].map((text) => session.write(utf8(text)));
    const durable: number[] = [];
    for (const [index, write] of writes.entries()) void write.then(() => durable.push(index));
    expect([textOf(session.data), session.pending, session.number]).toEqual(['three', 3, 1]);
    await cluster.pass(seconds(40));
    expect([textOf(session.data), session.pending, durable]).toEqual(['three', 3, []]);
    cluster.engine!.setDown(false);
    await cluster.drive(Promise.all(writes), seconds(60));
    expect([durable, session.pending, session.number]).toEqual([[0, 1, 2], 0, 4]);
    expect(textOf((await cluster.drive(session.read())).data)).toBe('three');
    await cluster.close();
  });

  it('says what is durable again when a write that was held is given up', async () => {
    const cluster = await clusterOf(3);
    const session = await cluster.drive(cluster.client().role.session({ data: utf8('first') }));
    cluster.engine!.setDown(true);
    await cluster.pass(seconds(5));
    const stop = new AbortController();
    const writes = [session.write(utf8('one')), session.write(utf8('two'), { signal: stop.signal })];
    const [first, second] = writes.map((write) => write.catch((error: unknown) => error));
    stop.abort(new Error('enough'));
    // It need not wait for its turn.
    expect(await second).toMatchObject({ message: 'enough' });
    expect(session.pending).toBe(1);
    cluster.engine!.setDown(false);
    expect(await cluster.drive(first!, seconds(60))).toBeUndefined();
    expect([textOf(session.data), session.pending]).toEqual(['one', 0]);
    await cluster.close();
  });

  it('gives a write up when the lifetime is over before there is a coordinator', async () => {
    const cluster = await clusterOf(3);
    const session = await cluster.drive(cluster.client().role.session({ lifetimeSeconds: 15 }));
    cluster.engine!.setDown(true);
    const write = session.write(utf8('late'));
    await expect(cluster.drive(write, seconds(60))).rejects.toMatchObject({ retryable: true });
    await cluster.close();
  });

  it('tells that it has ended, by its lifetime or by somebody else', async () => {
    const cluster = await clusterOf(1);
    const client = cluster.client().role;
    const session = await cluster.drive(client.session({ lifetimeSeconds: 10 }));
    const other = await cluster.drive(client.session({ lifetimeSeconds: 10 }));
    const [gone, ended] = [session.signal, other.signal];
    await cluster.pass(seconds(8));
    await cluster.drive(session.write(utf8('again')));
    const again = await cluster.drive(cluster.client().role.session({ resume: other.token }));
    await cluster.drive(again.end());
    await cluster.pass(seconds(6));
    // What was written lasts; what another handle ended is found out when it would have ended.
    expect([gone.aborted, ended.aborted]).toEqual([false, true]);
    await cluster.pass(seconds(9));
    expect(gone.reason).toMatchObject({ code: 'GRAMLINE_EXPIRED' });
    await expect(session.write(utf8('more'))).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    expect(again.signal.aborted).toBe(true);
    await cluster.close();
  });

  it('is watched of so many of one client; one more is refused', async () => {
    const others = Array.from({ length: SESSIONS_WATCHED_MAX - 1 }, () => ({ stop: () => undefined }));
    const context = {
      clock: new VirtualClock(),
      entropy: { bytes: (count: number) => new Uint8Array(count), fraction: () => 0.5 },
      ask: async () => ({ code: ResultCode.OK, body: new Uint8Array(0) }),
      watched: new Set<WatchedSession>(others),
    };
    const [last, more] = [await openSession(context, {}), await openSession(context, {})];
    expect(last.signal.aborted).toBe(false);
    expect(() => more.signal).toThrowError(expect.objectContaining({ code: 'GRAMLINE_BUSY' }));
    await last.end();
    expect(last.signal.aborted).toBe(true);
    expect(more.signal.aborted).toBe(false);
  });

  it('has so many writes waiting; one more is refused, and there is room when they are through', async () => {
    let answer = (): void => undefined;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let asked = 0;
    const context = {
      clock: new VirtualClock(),
      entropy: { bytes: (count: number) => new Uint8Array(count), fraction: () => 0.5 },
      ask: async () => {
        asked += 1;
        if (asked > 1) await answered;
        return { code: ResultCode.OK, body: new Uint8Array(0) };
      },
      watched: new Set<WatchedSession>(),
    };
    const session = await openSession(context, {});
    const writes = Array.from({ length: SESSION_WRITES_MAX }, () => session.write(utf8('x')));
    await expect(session.write(utf8('y'))).rejects.toMatchObject({ code: 'GRAMLINE_BUSY' });
    expect([session.pending, asked]).toEqual([SESSION_WRITES_MAX, 2]);
    answer();
    await Promise.all(writes);
    await session.write(utf8('y'));
    expect([session.pending, asked]).toEqual([0, SESSION_WRITES_MAX + 2]);
  });

  it('ends, and cannot be read or taken up any more [USR-4]', async () => {
    const cluster = await clusterOf(1);
    const client = cluster.client().role;
    const session = await cluster.drive(client.session());
    await cluster.drive(session.end());
    await cluster.drive(session.end());
    await expect(cluster.drive(session.read())).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    const resumed = client.session({ resume: session.token });
    await expect(cluster.drive(resumed)).rejects.toMatchObject({ code: 'GRAMLINE_NOT_FOUND' });
    await cluster.close();
  });

  it('is refused with a wrong token, too much data, or a lifetime out of range [USR-1] [USR-2]', async () => {
    const cluster = await clusterOf(1);
    const client = cluster.client().role;
    const session = await cluster.drive(client.session());
    const wrong = `${session.token.slice(0, 32)}${'0'.repeat(32)}`;
    const refusals: readonly (readonly [() => Promise<unknown>, string])[] = [
      [() => client.session({ resume: wrong }), 'GRAMLINE_DENIED'],
      [() => client.session({ resume: 'abc' }), 'GRAMLINE_INVALID'],
      [() => client.session({ lifetimeSeconds: 0 }), 'GRAMLINE_INVALID'],
      [() => session.write(new Uint8Array(641)), 'GRAMLINE_INVALID'],
    ];
    for (const [refused, code] of refusals) {
      await expect(cluster.drive(refused())).rejects.toMatchObject({ code });
    }
    await cluster.close();
  });
});
