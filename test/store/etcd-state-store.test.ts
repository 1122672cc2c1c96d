/** What the store in etcd promises beyond the contract: two of them, etcd that dies, is cut off, full or strange. */

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { base64, ETCD_PROGRAM, EtcdProcesses, etcdCall } from '../../bench/etcd-processes.ts';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import type { StateStore } from '../../src/nodes/ports.ts';
import { READ_CHANGES_MAX } from '../../src/store/etcd-follower.ts';
import { type EtcdStateStoreOptions, openEtcdStateStore } from '../../src/store/etcd-state-store.ts';
import { eventually } from '../cli/support.ts';
import { Cable } from './cable.ts';
import { changes, textAt } from './state-store-contract.ts';
import { expectBytes } from './support.ts';

const RECOVERY_MILLIS_MAX = 20_000;
const missing = ETCD_PROGRAM === undefined ? ' (skipped: etcd is not installed)' : '';

/** Opens a store that is closed behind the test. */
async function open(options: EtcdStateStoreOptions): Promise<StateStore> {
  const store = await openEtcdStateStore(options);
  onTestFinished(() => store.close());
  return store;
}

function freshPrefix(): string {
  return `test-${randomBytes(8).toString('hex')}/`;
}

function keysOf(store: StateStore): string[] {
  return Array.from(store.range(utf8(''), utf8('~'), 1e6), ([key]) => fromUtf8(key)!);
}

/** Every change that `store` tells of, as `key=value`. */
function hear(store: StateStore): string[] {
  const heard: string[] = [];
  store.watch(store.revision, (news) => {
    for (const { key, value } of news)
      heard.push(`${fromUtf8(key)}=${value === undefined ? '-' : fromUtf8(value)}`);
  });
  return heard;
}

function isCurrent(store: StateStore, wanted = true): Promise<void> {
  return eventually(`isCurrent is ${wanted}`, () => store.isCurrent === wanted, RECOVERY_MILLIS_MAX);
}

describe.skipIf(ETCD_PROGRAM === undefined)(`stores on one etcd${missing}`, () => {
  let etcd: EtcdProcesses;
  let url: string;
  beforeAll(async () => {
    etcd = await EtcdProcesses.start();
    url = etcd.urls[0]!;
  });
  afterAll(() => etcd?.stop());

  async function openTwo(): Promise<[StateStore, StateStore, string]> {
    const prefix = freshPrefix();
    const one = await open({ endpoints: [url], prefix });
    return [one, await open({ endpoints: [url], prefix }), prefix];
  }

  test('belong to one cluster, whose id the first made', async () => {
    const prefix = freshPrefix();
    const options = { endpoints: [url], prefix };
    const stores = await Promise.all([open(options), open(options), open(options)]);
    const [{ clusterId }] = stores;
    expect(clusterId).toHaveLength(16);
    for (const store of stores) expect([store.clusterId, store.isShared]).toEqual([clusterId, true]);
    const refusal = openEtcdStateStore({ ...options, clusterId: new Uint8Array(16).fill(0xab) });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(refusal).rejects.toThrowError(
      new RegExp(`belongs to cluster ${Buffer.from(clusterId).toString('hex')}, not (?:ab){16}`),
    );
    expect((await open({ ...options, clusterId })).clusterId).toEqual(clusterId);
  });

  test.each([
    ['4', 'GRAMLINE_INVALID', /has format 4, and this Gramline knows formats up to 3\b/],
    ['2', 'GRAMLINE_INVALID', /has format 2, .* Start with an empty state/],
    ['0', 'GRAMLINE_CORRUPT', /unreadable/],
    ['new', 'GRAMLINE_CORRUPT', /unreadable/],
  ])('of format %j is refused as %s', async (format, code, text) => {
    const prefix = freshPrefix();
    await (await openEtcdStateStore({ endpoints: [url], prefix })).close();
    await etcdCall(url, '/v3/kv/put', { key: base64(`${prefix}m/format`), value: base64(format) });
    const refusal = openEtcdStateStore({ endpoints: [url], prefix });
    await expect(refusal).rejects.toMatchObject({ code });
    await expect(refusal).rejects.toThrowError(text);
  });

  test('see each other commit, in one order', async () => {
    const [one, two] = await openTwo();
    const [heardByOne, heardByTwo] = [hear(one), hear(two)];
    await Promise.all(
      Array.from({ length: 200 }, (_, turn) =>
        (turn % 2 === 0 ? one : two).commit([], changes({ shared: String(turn), [`own${turn}`]: '1' })),
      ),
    );
    // What a store has committed it sees at once, and the other soon.
    const last = await one.commit([], changes({ last: '1' }));
    await eventually('the other one has seen it', () => two.revision >= last.revision);
    expect(heardByTwo).toEqual(heardByOne);
    expect(heardByOne).toHaveLength(401);
    expect(textAt(two, 'shared')).toBe(textAt(one, 'shared'));
    await Promise.all([isCurrent(one), isCurrent(two)]);
  });

  test('let exactly one of 50 rivals win, and the others see why they lost', async () => {
    const [one, two] = await openTwo();
    for (const round of ['a', 'b', 'c']) {
      const results = await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          const store = index % 2 === 0 ? one : two;
          const { ok } = await store.commit(
            [{ key: utf8(round), equals: undefined }],
            changes({ [round]: String(index) }),
          );
          if (!ok) expect(textAt(store, round)).toBeDefined();
          return ok;
        }),
      );
      const winner = results.indexOf(true);
      expect(results.filter((ok) => ok)).toHaveLength(1);
      expect([textAt(one, round), textAt(two, round)]).toEqual([String(winner), String(winner)]);
    }
  });

  test('see what a lost comparison was about when the key was removed elsewhere', async () => {
    const [one, two] = await openTwo();
    await one.commit([], changes({ a: '1' }));
    await two.commit([{ key: utf8('a'), equals: utf8('1') }], changes({ a: undefined }));
    expect((await one.commit([{ key: utf8('a'), equals: utf8('1') }], changes({ b: '1' }))).ok).toBe(false);
    expect(textAt(one, 'a')).toBeUndefined();
  });

  test('stay current beside others who write to the same etcd', async () => {
    const [one] = await openTwo();
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    let writes = 0;
    const others = (async () => {
      while (!stop.signal.aborted) {
        await etcdCall(url, '/v3/kv/put', { key: base64('of-others'), value: base64(String(writes++)) });
      }
    })();
    // Refused, and nothing of it is told by the watch: it is answered all the same.
    expect((await one.commit([{ key: utf8('a'), equals: utf8('1') }], [])).ok).toBe(false);
    // Each time it is current, it has been told of a later mark.
    const revisions = new Set<number>();
    await eventually(
      'it is current at three marks',
      () => {
        if (one.isCurrent) revisions.add(one.revision);
        return revisions.size > 3;
      },
      RECOVERY_MILLIS_MAX,
    );
    stop.abort();
    await others;
    expect(keysOf(one)).toEqual([]);
  });

  test('read all that there is at the start, in however many pages', async () => {
    const prefix = freshPrefix();
    const one = await open({ endpoints: [url], prefix });
    const entries = (from: number, count: number) =>
      Object.fromEntries(
        Array.from({ length: count }, (_, index) => [`k${from + index}`, `v${from + index}`]),
      );
    for (let from = 0; from < 3000; from += 1000) await one.commit([], changes(entries(from, 1000)));
    for (const large of ['x', 'y', 'z'])
      await one.commit([], [{ key: utf8(large), value: new Uint8Array(1_000_000) }]);
    const two = await open({ endpoints: [url], prefix });
    expect(two.revision).toBe(one.revision);
    const [all, expected] = [two, one].map((store) => [...store.range(utf8(''), utf8('~'), 1e6)]);
    expect(all).toHaveLength(3003);
    for (const [index, [key, value]] of all!.entries()) {
      expectBytes(key, expected![index]![0]);
      expectBytes(value, expected![index]![1]);
    }
  });

  test('lose what a lease kept when its holder is gone', async () => {
    const [, two, prefix] = await openTwo();
    const holder = await openEtcdStateStore({ endpoints: [url], prefix });
    const lease = await holder.lease(seconds(1));
    const { revision } = await holder.commit([], [{ key: utf8('led'), value: utf8('1'), lease }]);
    await holder.close();
    const isGone = new Promise<void>((resolve) => {
      two.watch(revision, (news) => {
        if (news.some(({ key, value }) => fromUtf8(key) === 'led' && value === undefined)) resolve();
      });
    });
    await isGone;
    expect(textAt(two, 'led')).toBeUndefined();
    expect(await two.keepAlive(lease)).toBe(false);
  });

  test('refuse a commit with a lease that has ended, and none of those beside it', async () => {
    const [one] = await openTwo();
    const results = await Promise.allSettled([
      one.commit([], changes({ a: '1' })),
      one.commit([], [{ key: utf8('b'), value: utf8('1'), lease: { id: '12345' } }]),
      one.commit([], changes({ c: '1' })),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(results[1]).toMatchObject({ reason: { code: 'GRAMLINE_EXPIRED', retryable: true } });
    expect(keysOf(one)).toEqual(['a', 'c']);
  });
});

describe.skipIf(ETCD_PROGRAM === undefined)(`a store that is cut off from its etcd${missing}`, () => {
  let etcd: EtcdProcesses;
  beforeAll(async () => {
    etcd = await EtcdProcesses.start();
  });
  afterAll(() => etcd?.stop());

  /** A store behind a cable, and one beside it that stays in touch. */
  async function openCut(): Promise<{ store: StateStore; near: StateStore; cable: Cable }> {
    const prefix = freshPrefix();
    const cable = await Cable.lay(etcd.urls[0]!);
    onTestFinished(() => cable.close());
    const store = await open({ endpoints: [cable.url], prefix });
    return { store, near: await open({ endpoints: etcd.urls, prefix }), cable };
  }

  test.each(['refusing', 'silent'] as const)(
    'by a %s network says so, reads on, refuses commits, and recovers by itself',
    async (how) => {
      const { store, near, cable } = await openCut();
      await store.commit([], changes({ a: '1' }));
      const lease = await store.lease(seconds(60));
      expect(store.isCurrent).toBe(true);
      cable.cut(how);
      const refused = store.commit([], changes({ a: '2' }));
      // It may be known before anybody waits for it.
      refused.catch(() => undefined);
      await isCurrent(store, false);
      expect([textAt(store, 'a'), keysOf(store)]).toEqual(['1', ['a']]);
      await expect(store.keepAlive(lease)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
      await expect(refused).rejects.toMatchObject({ code: 'GRAMLINE_IO', retryable: true });
      await expect(refused).rejects.toThrowError(
        how === 'silent' ? /no answer within .* It may have taken effect/ : /^Cannot commit to the state: /,
      );
      await near.commit([], changes({ b: '1' }));
      expect(textAt(store, 'b')).toBeUndefined();
      cable.mend();
      await isCurrent(store);
      expect(textAt(store, 'b')).toBe('1');
      expect((await store.commit([], changes({ c: '1' }))).ok).toBe(true);
      expect(await store.keepAlive(lease)).toBe(true);
    },
  );

  test('while others compact, is told of the difference and of nothing else', async () => {
    const { store, near, cable } = await openCut();
    await store.commit([], changes({ kept: '1', changed: '1', removed: '1', again: '1' }));
    const { revision } = store;
    const heard = hear(store);
    cable.cut('refusing');
    await isCurrent(store, false);
    await near.commit([], changes({ changed: '2', removed: undefined, again: undefined, brief: '1' }));
    await near.commit([], changes({ changed: '3', again: '1', brief: undefined, added: '1' }));
    await near.commit([], changes({ later: '1' }));
    await etcdCall(etcd.urls[0]!, '/v3/kv/compaction', { revision: String(near.revision) });
    cable.mend();
    await isCurrent(store);
    expect(heard.sort()).toEqual(['added=1', 'changed=3', 'later=1', 'removed=-']);
    expect(keysOf(store)).toEqual(keysOf(near));
    expect(store.revision).toBe(near.revision);
    expect(() => store.watch(revision, () => undefined)).toThrowError(
      expect.objectContaining({ code: 'GRAMLINE_EXPIRED' }),
    );
    await near.commit([], changes({ after: '1' }));
    await eventually('the watch goes on', () => heard.includes('after=1'));
  });

  test('while more changes than take effect together, gets them all', { timeout: 60_000 }, async () => {
    const { store, near, cable } = await openCut();
    const heard = hear(store);
    cable.cut('refusing');
    await isCurrent(store, false);
    const count = READ_CHANGES_MAX + 4096;
    for (let from = 0; from < count; from += 512) {
      const fields = Array.from({ length: 512 }, (_, index) => [`k${from + index}`, '1']);
      await near.commit([], changes(Object.fromEntries(fields)));
    }
    await etcdCall(etcd.urls[0]!, '/v3/kv/compaction', { revision: String(near.revision) });
    cable.mend();
    await isCurrent(store);
    expect(heard).toHaveLength(count);
    expect(new Set(heard).size).toBe(count);
    expect(keysOf(store)).toHaveLength(count);
  });

  test('is closed all the same, and what waited is refused', async () => {
    const { store, cable } = await openCut();
    cable.cut('silent');
    const waiting = store.commit([], changes({ a: '1' }));
    const closed = store.close();
    await expect(waiting).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
    await closed;
  });

  test('from the start is refused, or waited for as long as asked', async () => {
    const cable = await Cable.lay(etcd.urls[0]!);
    onTestFinished(() => cable.close());
    cable.cut('refusing');
    const options = { endpoints: [cable.url], prefix: freshPrefix() };
    const refusal = openEtcdStateStore(options);
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_TIMEOUT', retryable: true });
    await expect(refusal).rejects.toThrowError(`etcd does not answer at ${cable.url}: `);
    const late = openEtcdStateStore({ ...options, waitMillis: 200 });
    await expect(late).rejects.toMatchObject({ code: 'GRAMLINE_TIMEOUT' });
    await expect(late).rejects.toThrowError(`etcd has not answered at ${cable.url} for 0.2 s`);
    const told: string[] = [];
    const opened = open({
      ...options,
      waitMillis: 30_000,
      onWaiting: (sentence) => {
        told.push(sentence);
        cable.mend();
      },
    });
    expect((await opened).isCurrent).toBe(true);
    expect(told).toEqual([
      expect.stringContaining(`etcd does not answer at ${cable.url}: trying again for 30 s`),
    ]);
    cable.cut('refusing');
    const controller = new AbortController();
    const given = openEtcdStateStore({
      ...options,
      waitMillis: 30_000,
      signal: controller.signal,
      onWaiting: () => controller.abort(),
    });
    await expect(given).rejects.toMatchObject({ code: 'GRAMLINE_TIMEOUT' });
  });
});

describe.skipIf(ETCD_PROGRAM === undefined)(`a store on three members${missing}`, () => {
  const members = async (): Promise<EtcdProcesses> => {
    const etcd = await EtcdProcesses.start({ members: 3 });
    onTestFinished(() => etcd.stop());
    return etcd;
  };

  test('loses no acknowledged commit when the leader is killed under load, and recovers by itself', {
    timeout: 60_000,
  }, async () => {
    const etcd = await members();
    const prefix = freshPrefix();
    const leader = await etcd.leader();
    // The worst case: everything goes to the one that dies.
    const endpoints = [...etcd.urls.slice(leader), ...etcd.urls.slice(0, leader)];
    const store = await open({ endpoints, prefix });
    const acknowledged: string[] = [];
    let failures = 0;
    let killedAt = Number.POSITIVE_INFINITY;
    let recoveredAt = Number.POSITIVE_INFINITY;
    const work = async (worker: number): Promise<void> => {
      for (let turn = 0; recoveredAt === Number.POSITIVE_INFINITY; turn++) {
        const key = `w${worker}-${turn}`;
        const startedAt = performance.now();
        try {
          const { ok } = await store.commit([{ key: utf8(key), equals: undefined }], changes({ [key]: '1' }));
          expect(ok).toBe(true);
          acknowledged.push(key);
          if (startedAt > killedAt) recoveredAt = performance.now();
        } catch (error) {
          expect(error).toMatchObject({ code: 'GRAMLINE_IO', retryable: true });
          failures += 1;
        }
      }
    };
    const workers = Promise.all(Array.from({ length: 64 }, (_, worker) => work(worker)));
    await eventually('there is load', () => acknowledged.length > 500, RECOVERY_MILLIS_MAX);
    await etcd.signal(leader, 'SIGKILL');
    killedAt = performance.now();
    await workers;
    await isCurrent(store);
    const current = performance.now() - killedAt;
    console.log(
      `leader killed: next commit after ${Math.round(recoveredAt - killedAt)} ms, current again after ${Math.round(current)} ms, ` +
        `${acknowledged.length} commits acknowledged, ${failures} of unknown outcome`,
    );
    const fresh = await open({ endpoints, prefix });
    const kept = new Set(keysOf(fresh));
    expect(acknowledged.filter((key) => !kept.has(key))).toEqual([]);
    expect(keysOf(store)).toEqual(keysOf(fresh));
  });

  test('goes on when the member of its watch is killed, and when that comes back', async () => {
    const etcd = await members();
    const leader = await etcd.leader();
    const victim = (leader + 1) % 3;
    const others = etcd.urls.filter((_, index) => index !== victim);
    const prefix = freshPrefix();
    const store = await open({ endpoints: [etcd.urls[victim]!, ...others], prefix });
    const near = await open({ endpoints: others, prefix });
    const heard = hear(store);
    await near.commit([], changes({ a: '1' }));
    await etcd.signal(victim, 'SIGKILL');
    await near.commit([], changes({ b: '1' }));
    await eventually('b is heard of', () => heard.includes('b=1'), RECOVERY_MILLIS_MAX);
    await isCurrent(store);
    etcd.restart(victim);
    await etcd.ready();
    await near.commit([], changes({ c: '1' }));
    await eventually('c is heard of', () => heard.includes('c=1'), RECOVERY_MILLIS_MAX);
    expect(heard).toEqual(['a=1', 'b=1', 'c=1']);
  });

  test('leaves a member that answers nothing any more', async () => {
    const etcd = await members();
    const leader = await etcd.leader();
    const victim = (leader + 1) % 3;
    const others = etcd.urls.filter((_, index) => index !== victim);
    const prefix = freshPrefix();
    const store = await open({ endpoints: [etcd.urls[victim]!, ...others], prefix });
    const near = await open({ endpoints: others, prefix });
    const heard = hear(store);
    await etcd.signal(victim, 'SIGSTOP');
    onTestFinished(() => etcd.signal(victim, 'SIGCONT'));
    await near.commit([], changes({ a: '1' }));
    await eventually('a is heard of', () => heard.includes('a=1'), RECOVERY_MILLIS_MAX);
    await isCurrent(store);
    expect((await store.commit([], changes({ b: '1' }))).ok).toBe(true);
  });

  test('is not current on a member without a majority, and refuses commits', async () => {
    const etcd = await members();
    const store = await open({ endpoints: [etcd.urls[0]!], prefix: freshPrefix() });
    await store.commit([], changes({ a: '1' }));
    await Promise.all([etcd.signal(1, 'SIGKILL'), etcd.signal(2, 'SIGKILL')]);
    await isCurrent(store, false);
    await expect(store.commit([], changes({ a: '2' }))).rejects.toMatchObject({
      code: 'GRAMLINE_IO',
      retryable: true,
    });
    expect(textAt(store, 'a')).toBe('1');
    etcd.restart(1);
    await isCurrent(store);
    expect((await store.commit([], changes({ b: '1' }))).ok).toBe(true);
  });
});

describe.skipIf(ETCD_PROGRAM === undefined)(`an etcd with a quota${missing}`, () => {
  test('that is full refuses commits as GRAMLINE_NO_SPACE, and takes them when it has room', {
    timeout: 60_000,
  }, async () => {
    const etcd = await EtcdProcesses.start({ parameters: ['--quota-backend-bytes', '16777216'] });
    onTestFinished(() => etcd.stop());
    const [url] = etcd.urls;
    const store = await open({ endpoints: etcd.urls });
    let written = 0;
    let refusal: unknown;
    while (refusal === undefined) {
      await store.commit([], [{ key: utf8(`k${written}`), value: new Uint8Array(1_000_000) }]).then(
        () => written++,
        (error: unknown) => {
          refusal = error;
        },
      );
    }
    expect(refusal).toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    expect(written).toBeGreaterThan(5);
    const many = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => store.commit([], changes({ [`m${index}`]: 'm' }))),
    );
    for (const outcome of many) expect(outcome).toMatchObject({ reason: { code: 'GRAMLINE_NO_SPACE' } });
    // etcd applies the write that finds its quota used up, and refuses it all the same.
    expect([written, written + 1]).toContain(keysOf(store).length);
    await etcdCall(url!, '/v3/kv/deleterange', {
      key: base64('gramline/e/'),
      range_end: base64('gramline/e0'),
    });
    await eventually('the removals are seen', () => keysOf(store).length === 0);
    await etcdCall(url!, '/v3/kv/compaction', { revision: String(store.revision), physical: true });
    await etcdCall(url!, '/v3/maintenance/defragment', {});
    const { alarms } = await etcdCall(url!, '/v3/maintenance/alarm', { action: 'GET' });
    for (const alarm of alarms as readonly object[])
      await etcdCall(url!, '/v3/maintenance/alarm', { action: 'DEACTIVATE', ...alarm });
    const again = await Promise.all(
      Array.from({ length: 20 }, (_, index) => store.commit([], changes({ [`m${index}`]: 'm' }))),
    );
    expect(again.every(({ ok }) => ok)).toBe(true);
  });
});
