/** What every state store must do, on lmdb, in memory or in etcd. */

import { setTimeout as pause } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fromUtf8, utf8 } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import type { StateLease, StateOperation, StateStore } from '../../src/nodes/ports.ts';
import { HISTORY_CHANGES_MAX } from '../../src/store/change-feed.ts';
import {
  COMMIT_BYTES_MAX,
  COMMIT_PARTS_MAX,
  COMMITS_QUEUED_MAX,
  STATE_KEY_BYTES_MAX,
} from '../../src/store/state-limits.ts';

/** One store under test, through its lives. */
export interface StateStoreHarness {
  readonly store: StateStore;
  /** Closes the store and opens it again. */
  restart(): Promise<StateStore>;
  /** Makes the disk full, or gives it room again. */
  fail(full: boolean): void | Promise<void>;
}

/** What the stores do not promise alike. */
export interface StateStorePromises {
  /**
   * The revision begins at 0 and grows by one with every commit that succeeds. Otherwise it begins anywhere, commits may
   * share one, and those that change nothing need none.
   */
  readonly countsCommits: boolean;
  /** Most comparisons of one commit. */
  readonly comparisonsMax: number;
}

const OWN_STORE: StateStorePromises = { countsCommits: true, comparisonsMax: COMMIT_PARTS_MAX };

/** A commit's operations, written as texts: `undefined` removes. */
export function changes(fields: Readonly<Record<string, string | undefined>>): StateOperation[] {
  return Object.entries(fields).map(([key, value]) => ({
    key: utf8(key),
    value: value === undefined ? undefined : utf8(value),
  }));
}

export function textAt(store: StateStore, key: string): string | undefined {
  const value = store.get(utf8(key));
  return value === undefined ? undefined : fromUtf8(value);
}

/** As many operations as a commit may have, each on a key of its own. */
function manyParts(): StateOperation[] {
  return Array.from({ length: COMMIT_PARTS_MAX }, (_, index) => ({
    key: utf8(`p${String(index).padStart(4, '0')}`),
    value: utf8('v'),
  }));
}

/** Keeps the lease alive until the function it returns is called; that one resolves when nothing is asked any more. */
function keepAliveEvery(millis: number, store: StateStore, lease: StateLease): () => Promise<void> {
  const stopped = new AbortController();
  const done = (async () => {
    while (!stopped.signal.aborted) {
      await store.keepAlive(lease);
      await pause(millis, undefined, { signal: stopped.signal }).catch(() => undefined);
    }
  })();
  return () => {
    stopped.abort();
    return done;
  };
}

function keysIn(store: StateStore, start: string, end: string, limit = 1000): (string | undefined)[] {
  return Array.from(store.range(utf8(start), utf8(end), limit), ([key]) => fromUtf8(key));
}

export function describeStateStore(
  name: string,
  openHarness: () => Promise<StateStoreHarness>,
  { countsCommits, comparisonsMax }: StateStorePromises = OWN_STORE,
): void {
  async function open(): Promise<StateStoreHarness> {
    const harness = await openHarness();
    onTestFinished(() => harness.store.close());
    return harness;
  }

  describe(name, () => {
    test('what was committed is read, and what was removed is not', async () => {
      const { store } = await open();
      expect(textAt(store, 'a')).toBeUndefined();
      await store.commit([], changes({ a: '1', b: '2' }));
      expect([textAt(store, 'a'), textAt(store, 'b')]).toEqual(['1', '2']);
      await store.commit([], changes({ a: undefined, b: '3', c: undefined }));
      expect([textAt(store, 'a'), textAt(store, 'b'), textAt(store, 'c')]).toEqual([
        undefined,
        '3',
        undefined,
      ]);
    });

    test('the revision grows by one with every commit that changes something and by none with refused ones', async () => {
      const { store } = await open();
      const first = store.revision + 1;
      if (countsCommits) expect(first).toBe(1);
      expect(await store.commit([], changes({ a: '1' }))).toEqual({ ok: true, revision: first });
      expect(await store.commit([{ key: utf8('a'), equals: undefined }], changes({ a: '2' }))).toEqual({
        ok: false,
        revision: first,
      });
      const last = countsCommits ? first + 1 : first;
      expect(await store.commit([{ key: utf8('a'), equals: utf8('1') }], [])).toEqual({
        ok: true,
        revision: last,
      });
      expect(store.revision).toBe(last);
      expect(textAt(store, 'a')).toBe('1');
      expect((await store.commit([], changes({ b: '1' }))).revision).toBe(last + 1);
    });

    test.each<[string, string | undefined, boolean]>([
      ['a', '1', true],
      ['a', '2', false],
      ['a', '12', false],
      ['a', '', false],
      ['a', undefined, false],
      ['empty', '', true],
      ['empty', undefined, false],
      ['none', undefined, true],
      ['none', '', false],
    ])('a comparison of %j with %j holds: %s', async (key, equals, ok) => {
      const { store } = await open();
      await store.commit([], changes({ a: '1', empty: '' }));
      const comparison = { key: utf8(key), equals: equals === undefined ? undefined : utf8(equals) };
      expect((await store.commit([comparison], changes({ z: 'z' }))).ok).toBe(ok);
      expect(textAt(store, 'z')).toBe(ok ? 'z' : undefined);
    });

    test('one comparison that fails keeps all operations of its commit from happening', async () => {
      const { store } = await open();
      await store.commit([], changes({ a: '1', b: '2' }));
      const compare = [
        { key: utf8('a'), equals: utf8('1') },
        { key: utf8('b'), equals: utf8('x') },
      ];
      expect((await store.commit(compare, changes({ a: undefined, c: '3' }))).ok).toBe(false);
      expect([textAt(store, 'a'), textAt(store, 'c')]).toEqual(['1', undefined]);
    });

    test('of commits in one turn that compare the same key the first wins', async () => {
      const { store } = await open();
      const { revision } = store;
      const results = await Promise.all(
        Array.from({ length: 100 }, (_, index) =>
          store.commit([{ key: utf8('lock'), equals: undefined }], changes({ lock: String(index) })),
        ),
      );
      expect(results.map(({ ok }) => ok)).toEqual([true, ...new Array<boolean>(99).fill(false)]);
      expect(textAt(store, 'lock')).toBe('0');
      expect(store.revision).toBe(revision + 1);
    });

    test('a commit sees the commits before it, in the order of the calls', async () => {
      const { store } = await open();
      const first = store.revision + 1;
      // Of commits on one key, etcd takes one after the other.
      const turns = countsCommits ? 2500 : 500;
      const results = await Promise.all(
        Array.from({ length: turns }, (_, turn) =>
          store.commit(
            [{ key: utf8('count'), equals: turn === 0 ? undefined : utf8(String(turn - 1)) }],
            changes({ count: String(turn) }),
          ),
        ),
      );
      expect(results).toEqual(
        Array.from({ length: turns }, (_, turn) => ({ ok: true, revision: first + turn })),
      );
      expect(textAt(store, 'count')).toBe(String(turns - 1));
    });

    test('later operations of one commit win over earlier ones on the same key', async () => {
      const { store } = await open();
      await store.commit([], [...changes({ a: '1' }), ...changes({ a: undefined }), ...changes({ a: '2' })]);
      expect(textAt(store, 'a')).toBe('2');
    });

    test('a range holds its start, not its end, in byte order, up to its limit', async () => {
      const { store } = await open();
      await store.commit([], changes({ b: '', ba: '', a: '', c: '', bb: '', aa: '' }));
      expect(keysIn(store, 'a', 'c')).toEqual(['a', 'aa', 'b', 'ba', 'bb']);
      expect(keysIn(store, 'aa', 'b')).toEqual(['aa']);
      expect(keysIn(store, '', 'zz', 2)).toEqual(['a', 'aa']);
      for (const [start, end, limit] of [
        ['b', 'b', 9],
        ['c', 'a', 9],
        ['a', '', 9],
        ['a', 'z', 0],
      ] as const)
        expect(keysIn(store, start, end, limit)).toEqual([]);
    });

    test('keys and values of any bytes equal those of a plain map, and so do ranges', async () => {
      const { store } = await open();
      const key = fc.uint8Array({ minLength: 1, maxLength: 3 });
      const bytes = fc.uint8Array({ maxLength: 20 });
      const twin = new Map<string, Uint8Array>();
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(key, fc.option(bytes, { nil: undefined }))),
          key,
          key,
          async (ops, start, end) => {
            await store.commit(
              [],
              ops.map(([key, value]) => ({ key, value })),
            );
            for (const [key, value] of ops) {
              const name = Buffer.from(key).toString('hex');
              if (value === undefined) twin.delete(name);
              else twin.set(name, value);
            }
            for (const [key] of ops)
              expect(store.get(key)).toEqual(twin.get(Buffer.from(key).toString('hex')));
            const [from, to] = [Buffer.from(start).toString('hex'), Buffer.from(end).toString('hex')];
            const expected = [...twin.keys()].filter((name) => name >= from && name < to).sort();
            const found = [...store.range(start, end, 10_000)];
            expect(found.map(([key]) => Buffer.from(key).toString('hex'))).toEqual(expected);
            expect(found.map(([, value]) => value)).toEqual(expected.map((name) => twin.get(name)));
          },
        ),
        { numRuns: countsCommits ? 50 : 15 },
      );
    });

    test('what is read belongs to the caller, and what is committed is copied', async () => {
      const { store } = await open();
      const [key, value] = [utf8('key'), utf8('value')];
      const committed = store.commit([], [{ key, value }]);
      key.fill(0);
      value.fill(0);
      await committed;
      store.get(utf8('key'))?.fill(0);
      for (const [foundKey, found] of store.range(utf8('k'), utf8('l'), 9)) {
        foundKey.fill(0);
        found.fill(0);
      }
      expect(textAt(store, 'key')).toBe('value');
    });

    test('keys, values, revision and cluster id outlast a restart', async () => {
      const harness = await open();
      await harness.store.commit([], changes({ a: '1' }));
      const { revision } = await harness.store.commit([], changes({ b: '2' }));
      const { clusterId } = harness.store;
      expect(clusterId).toHaveLength(16);
      const store = await harness.restart();
      expect(store.clusterId).toEqual(clusterId);
      expect([store.revision, textAt(store, 'a'), textAt(store, 'b')]).toEqual([revision, '1', '2']);
      expect((await store.commit([], changes({ c: '3' }))).revision).toBe(revision + 1);
    });

    test('the longest key and the largest commit are taken, and one byte or part more is refused', async () => {
      const { store } = await open();
      const key = new Uint8Array(STATE_KEY_BYTES_MAX).fill(1);
      const value = new Uint8Array(COMMIT_BYTES_MAX - key.length).fill(2);
      const invalid = { code: 'GRAMLINE_INVALID' };
      expect((await store.commit([], [{ key, value }])).ok).toBe(true);
      expect(store.get(key)).toHaveLength(value.length);
      await expect(
        store.commit([{ key: utf8('k'), equals: undefined }], [{ key, value }]),
      ).rejects.toMatchObject(invalid);
      await expect(
        store.commit([], [{ key: new Uint8Array(STATE_KEY_BYTES_MAX + 1), value: key }]),
      ).rejects.toMatchObject(invalid);
      await expect(store.commit([{ key: new Uint8Array(), equals: undefined }], [])).rejects.toMatchObject(
        invalid,
      );
      const parts = manyParts();
      expect((await store.commit([], parts)).ok).toBe(true);
      await expect(store.commit([{ key: utf8('p'), equals: undefined }], parts)).rejects.toMatchObject(
        invalid,
      );
      const compare = Array.from({ length: comparisonsMax }, (_, index) => ({
        key: utf8(`n${index}`),
        equals: undefined,
      }));
      const rest = parts.slice(0, COMMIT_PARTS_MAX - comparisonsMax);
      expect((await store.commit(compare, rest)).ok).toBe(true);
      await expect(store.commit([...compare, compare[0]!], rest)).rejects.toMatchObject(invalid);
      // All or nothing, however many they are.
      await store.commit([], changes({ [`n${comparisonsMax - 1}`]: '1' }));
      const removals = rest.map(({ key }) => ({ key, value: undefined }));
      expect((await store.commit(compare, removals)).ok).toBe(false);
      expect([...store.range(utf8('p'), utf8('q'), COMMIT_PARTS_MAX + 1)]).toHaveLength(COMMIT_PARTS_MAX);
      const border = new Uint8Array(STATE_KEY_BYTES_MAX + 1).fill(1);
      expect([store.get(new Uint8Array()), store.get(border)]).toEqual([undefined, undefined]);
      expect([...store.range(key, utf8('z'), 1)]).toHaveLength(1);
      expect(() => store.range(border, utf8('z'), 1)).toThrowError(expect.objectContaining(invalid));
      expect(() => store.range(key, border, 1)).toThrowError(expect.objectContaining(invalid));
    });

    test('the most commits wait at once, and one more is told to come back', async () => {
      const { store } = await open();
      const waiting = Array.from({ length: COMMITS_QUEUED_MAX }, () => store.commit([], []));
      await expect(store.commit([], [])).rejects.toMatchObject({ code: 'GRAMLINE_BUSY', retryable: true });
      await Promise.all(waiting);
      const { ok, revision } = await store.commit([], []);
      expect(ok).toBe(true);
      if (countsCommits) expect(revision).toBe(COMMITS_QUEUED_MAX + 1);
    });

    test('a full disk refuses commits and changes nothing, and commits go on when it has room', async () => {
      const harness = await open();
      const { store } = harness;
      const { revision } = await store.commit([], changes({ a: '1' }));
      await harness.fail(true);
      await expect(store.commit([], changes({ a: '2' }))).rejects.toMatchObject({
        code: 'GRAMLINE_NO_SPACE',
      });
      // However much was refused, none of it counts afterwards.
      const large = [{ key: utf8('b'), value: new Uint8Array(COMMIT_BYTES_MAX - 1) }];
      for (let turn = 0; turn < (countsCommits ? 120 : 3); turn++)
        await expect(store.commit([], large)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      expect([store.revision, textAt(store, 'a')]).toEqual([revision, '1']);
      await harness.fail(false);
      expect(await store.commit([], changes({ a: '2' }))).toEqual({ ok: true, revision: revision + 1 });
    });

    test('watchers hear of every change once, in order, before the commit is answered', async () => {
      const { store } = await open();
      const heard: string[] = [];
      const stop = store.watch(store.revision, (news) => {
        for (const { key, value, revision } of news) {
          heard.push(`${fromUtf8(key)}=${value === undefined ? '-' : fromUtf8(value)}`);
          expect(store.revision).toBeGreaterThanOrEqual(revision);
          // Reads see what is told.
          if (value !== undefined && fromUtf8(key) === 'a') expect(textAt(store, 'a')).toBeDefined();
        }
      });
      await store.commit([], changes({ a: '1', b: '2' }));
      expect(heard).toEqual(['a=1', 'b=2']);
      await store.commit([{ key: utf8('a'), equals: undefined }], changes({ c: '3' }));
      await Promise.all([store.commit([], changes({ a: '4' })), store.commit([], changes({ b: undefined }))]);
      expect(heard).toEqual(['a=1', 'b=2', 'a=4', 'b=-']);
      stop();
      stop();
      await store.commit([], changes({ a: '5' }));
      expect(heard).toHaveLength(4);
    });

    test('a watcher that comes later is told what it missed, and one that is too late to read anew', async () => {
      const { store } = await open();
      const from = store.revision;
      const { revision } = await store.commit([], changes({ a: '1' }));
      await store.commit([], changes({ b: '2' }));
      const heard = (after: number): string[] => {
        const keys: string[] = [];
        store.watch(after, (news) => keys.push(...news.map(({ key }) => fromUtf8(key)!)))();
        return keys;
      };
      expect(heard(from)).toEqual(['a', 'b']);
      expect(heard(revision)).toEqual(['b']);
      expect(heard(store.revision)).toEqual([]);
      const parts = manyParts();
      for (let commits = 0; commits * COMMIT_PARTS_MAX < 2 * HISTORY_CHANGES_MAX; commits++)
        await store.commit([], parts);
      expect(() => heard(from)).toThrowError(expect.objectContaining({ code: 'GRAMLINE_EXPIRED' }));
    });

    test('a lease that is kept alive keeps its entries, and one that is not loses them', async () => {
      const { store } = await open();
      const [kept, left] = [await store.lease(seconds(2)), await store.lease(seconds(1))];
      await store.commit([], [{ key: utf8('kept'), value: utf8('1'), lease: kept }]);
      await store.commit(
        [],
        ['gone', 'written', 'removed'].map((key) => ({ key: utf8(key), value: utf8('1'), lease: left })),
      );
      // Written anew without the lease: it stays.
      await store.commit([], changes({ written: '2', removed: undefined }));
      const removed: string[] = [];
      const isGone = new Promise<void>((resolve) => {
        store.watch(store.revision, (news) => {
          for (const { key, value } of news) if (value === undefined) removed.push(fromUtf8(key)!);
          if (removed.includes('gone')) resolve();
        });
      });
      expect(await store.keepAlive(kept)).toBe(true);
      const stop = keepAliveEvery(200, store, kept);
      onTestFinished(stop);
      await isGone;
      expect(removed).toEqual(['gone']);
      expect(await store.keepAlive(left)).toBe(false);
      expect([textAt(store, 'kept'), textAt(store, 'gone'), textAt(store, 'written')]).toEqual([
        '1',
        undefined,
        '2',
      ]);
      const late = store.commit([], [{ key: utf8('late'), value: utf8('1'), lease: left }]);
      await expect(late).rejects.toMatchObject({ code: 'GRAMLINE_EXPIRED' });
      await stop();
      // And the store goes on.
      expect((await store.commit([], changes({ next: '1' }))).ok).toBe(true);
    });

    test('a closed store has answered what was asked before, and refuses everything', async () => {
      const harness = await open();
      const { store } = harness;
      const last = store.commit([], changes({ a: '1' }));
      await store.close();
      await store.close();
      expect((await last).ok).toBe(true);
      await expect(store.commit([], [])).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
      const closed = expect.objectContaining({ code: 'GRAMLINE_CLOSED' });
      expect(() => store.get(utf8('a'))).toThrowError(closed);
      expect(() => store.range(utf8('a'), utf8('b'), 1)).toThrowError(closed);
      expect(textAt(await harness.restart(), 'a')).toBe('1');
    });
  });
}
