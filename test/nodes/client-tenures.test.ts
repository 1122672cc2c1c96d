/** Locks and user sessions as clients have them, on whole simulated clusters. */

import { describe, expect, it } from 'vitest';
import { SimCluster } from '../../sim/cluster.ts';
import { utf8 } from '../../src/base/bytes.ts';
import { millis, seconds } from '../../src/base/units.ts';
import type { HeldLock } from '../../src/nodes/client.ts';
import { CLIENT_LOCKS_MAX } from '../../src/nodes/client-lock.ts';

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
    const refusals = [
      [client.session({ resume: wrong }), 'GRAMLINE_DENIED'],
      [client.session({ resume: 'abc' }), 'GRAMLINE_INVALID'],
      [client.session({ lifetimeSeconds: 0 }), 'GRAMLINE_INVALID'],
      [session.write(new Uint8Array(641)), 'GRAMLINE_INVALID'],
    ] as const;
    for (const [refused, code] of refusals) {
      refused.catch(() => undefined);
      await expect(cluster.drive<unknown>(refused)).rejects.toMatchObject({ code });
    }
    await cluster.close();
  });
});
