/** A check that can't fail is a defect: each invariant of the simulator is broken here once. */

import { describe, expect, test } from 'vitest';
import { CapacityChecker } from '../../sim/capacity-checker.ts';
import {
  checkMemory,
  checkObjects,
  checkTotals,
  Invariant,
  type MemorySample,
  NonceChecker,
  SessionChecker,
  Violations,
} from '../../sim/checkers.ts';
import { contentOf, hashOf, InvariantError, SimCluster } from '../../sim/cluster.ts';
import { LeaseChecker } from '../../sim/lease-checker.ts';
import { OnceChecker, type SeenChange } from '../../sim/once-checker.ts';
import { PromiseBook } from '../../sim/promise-book.ts';
import { concatBytes, fromHex, utf8 } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { encodeEntry, encodeTombstone, NO_TOKEN } from '../../src/nodes/catalog-entry.ts';
import { objectKey, tombstoneKey } from '../../src/nodes/state-keys.ts';
import { FLOW_WINDOW_BYTES, SEND_FLOW_BYTES_MAX } from '../../src/session/index.ts';

const EMPTY: MemorySample = {
  creditTakenBytes: 0,
  heldBytes: 0,
  keptBytes: 0,
  sendingFlows: 0,
  framesQueuedMax: 0,
  packetsInFlightMax: 0,
};

function brokenBy(run: (violations: Violations) => void): string | undefined {
  const violations = new Violations();
  run(violations);
  return violations.first?.invariant;
}

describe('every invariant can fail', () => {
  test('a nonce that seals twice under one key is found, and other keys may use it', () => {
    const violations = new Violations();
    const checker = new NonceChecker(violations);
    const suite = checker.watch(nodeSuite);
    const into = new Uint8Array(64);
    const seal = (key: number, nonce: number): void => {
      suite
        .aead(new Uint8Array(32).fill(key))
        .seal(new Uint8Array(12).fill(nonce), new Uint8Array(0), new Uint8Array(8), into, 0);
    };
    seal(1, 1);
    seal(1, 2);
    seal(2, 1);
    expect(violations.first).toBeUndefined();
    seal(1, 2);
    expect(violations.first?.invariant).toBe(Invariant.NONCE_ONCE);
    expect(checker.sealings).toBe(4);
  });

  test('a query that is handed up twice is found', () => {
    expect(
      brokenBy((violations) => {
        const checker = new SessionChecker(violations);
        checker.onQuery('a');
        checker.onQuery('b');
        checker.onQuery('a');
      }),
    ).toBe(Invariant.QUERY_ONCE);
  });

  test('a put that makes its object twice is found, and a removal that takes one away twice', () => {
    const [key, token, other] = [1, 2, 3].map((n) => new Uint8Array(n === 1 ? 32 : 8).fill(n));
    const entry = { bytes: 1, createdMillis: 0, revision: 1, requests: 0, expiresMillis: 0, wanted: 1 };
    const made = (madeBy: Uint8Array, before?: Uint8Array): SeenChange => ({
      key: objectKey(key!),
      before,
      value: encodeEntry({ ...entry, madeBy, replicas: [] }),
    });
    const removed = (...done: Uint8Array[]): SeenChange => ({
      key: tombstoneKey(key!),
      before: undefined,
      value: encodeTombstone({ removedMillis: 0, done }),
    });
    const judge = (...changes: SeenChange[]): string | undefined =>
      brokenBy((violations) => {
        const checker = new OnceChecker(violations);
        for (const change of changes) checker.onChange(change);
      });
    expect(judge(made(token!), made(token!, token), removed(token!, other!), made(other!))).toBeUndefined();
    expect(judge(made(NO_TOKEN), made(NO_TOKEN))).toBeUndefined();
    expect(judge(made(token!), made(token!))).toBe(Invariant.QUERY_ONCE);
    expect(judge(removed(token!), removed(other!, token!))).toBe(Invariant.QUERY_ONCE);
  });

  test('a flow is found that brings other bytes, another order, a gap, or more than was written', () => {
    const record = { plainBytes: 3, dataLeft: 3, payload: new Uint8Array([1, 2, 3]) };
    const last = { plainBytes: 3, dataLeft: 0, payload: new Uint8Array([4, 5, 6]) };
    const read = (records: readonly (typeof record & { offset: number })[]): string | undefined =>
      brokenBy((violations) => {
        const checker = new SessionChecker(violations);
        checker.onWrite('flow', record);
        checker.onWrite('flow', last);
        for (const each of records) checker.onRead('flow', each);
      });
    const order = Invariant.FLOW_ORDER;
    expect(
      read([
        { ...record, offset: 0 },
        { ...last, offset: 3 },
      ]),
    ).toBeUndefined();
    expect(read([{ ...last, offset: 0 }])).toBe(order);
    expect(read([{ ...record, offset: 1 }])).toBe(order);
    expect(read([{ ...record, offset: 0, payload: new Uint8Array([1, 2, 4]) }])).toBe(order);
    expect(read([{ ...record, offset: 0, dataLeft: 2 }])).toBe(order);
    const { offset } = { offset: 6 };
    expect(
      read([
        { ...record, offset: 0 },
        { ...last, offset: 3 },
        { ...last, offset },
      ]),
    ).toBe(order);
  });

  test.each([
    ['credit', { ...EMPTY, creditTakenBytes: 64 * 1024 * 1024 + 1 }],
    ['held bytes', { ...EMPTY, creditTakenBytes: FLOW_WINDOW_BYTES, heldBytes: 5 * FLOW_WINDOW_BYTES }],
    ['held bytes without a flow', { ...EMPTY, heldBytes: 1 }],
    ['kept bytes', { ...EMPTY, sendingFlows: 1, keptBytes: 2 * SEND_FLOW_BYTES_MAX }],
    ['kept bytes without a flow', { ...EMPTY, keptBytes: 1 }],
    ['frames', { ...EMPTY, framesQueuedMax: 8_193 }],
    ['packets', { ...EMPTY, packetsInFlightMax: 16_384 + 17 }],
  ])('memory beyond its bounds is found: %s', (_name, sample) => {
    expect(brokenBy((violations) => checkMemory(violations, 'here', EMPTY))).toBeUndefined();
    expect(brokenBy((violations) => checkMemory(violations, 'here', sample))).toBe(Invariant.MEMORY_BOUNDED);
  });

  test('a node that holds more than its quota is found', () => {
    const judge = (stored: number, writing: number): string | undefined =>
      brokenBy((violations) => {
        new CapacityChecker(violations, new SessionChecker(violations)).judge('node', stored, writing, 1_000);
      });
    expect(judge(1_000, 1_000)).toBeUndefined();
    expect(judge(1_001, 0)).toBe(Invariant.WITHIN_CAPACITY);
    expect(judge(0, 1_001)).toBe(Invariant.WITHIN_CAPACITY);
  });

  describe('the ledger of leases', () => {
    const SECOND = 1_000_000;
    const TOKEN = new Uint8Array(8).fill(7);
    const placed = (bytes: number, ...nodes: string[]) => ({ bytes, nodes, leaseMicros: 30 * SECOND });
    const commit = { token: TOKEN, bytes: 1_000, nodes: ['n1'] };

    function judged(run: (ledger: LeaseChecker) => void): string | undefined {
      return brokenBy((violations) => {
        const ledger = new LeaseChecker(violations);
        ledger.onStart(0);
        ledger.onFree('n1', 10_240);
        ledger.onFree('n2', 10_240);
        run(ledger);
      });
    }

    test('finds space that is promised to two: both together have more than the node has free', () => {
      const other = new Uint8Array(8);
      const twice = (bytes: number) => (ledger: LeaseChecker) => {
        ledger.onPlaced(1, 'a', TOKEN, placed(bytes, 'n1'));
        ledger.onPlaced(2, 'b', other, placed(bytes, 'n1'));
      };
      expect(judged(twice(5_120))).toBeUndefined();
      expect(judged(twice(5_121))).toBe(Invariant.PLACED_WITHIN);
      const stranger = (ledger: LeaseChecker) => ledger.onPlaced(1, 'a', TOKEN, placed(1, 'n3'));
      expect(judged(stranger)).toBe(Invariant.PLACED_WITHIN);
      const doubled = (ledger: LeaseChecker) => ledger.onPlaced(1, 'a', TOKEN, placed(1, 'n1', 'n1'));
      expect(judged(doubled)).toBe(Invariant.PLACED_WITHIN);
    });

    test('knows what was committed, released, lapsed or told since', () => {
      const full = placed(10_240, 'n1');
      const again = (between: (ledger: LeaseChecker) => void, at = 2) =>
        judged((ledger) => {
          ledger.onPlaced(1, 'a', TOKEN, full);
          between(ledger);
          ledger.onPlaced(at, 'b', new Uint8Array(8), full);
        });
      expect(again(() => undefined)).toBe(Invariant.PLACED_WITHIN);
      expect(again((ledger) => ledger.onReleased(TOKEN))).toBeUndefined();
      expect(again(() => undefined, 30 * SECOND + 1)).toBeUndefined();
      expect(again((ledger) => ledger.onRenewed(20 * SECOND, TOKEN), 31 * SECOND)).toBe(
        Invariant.PLACED_WITHIN,
      );
      const committed = (ledger: LeaseChecker): void => {
        ledger.onCommitted(ledger.onCommitArrives(2, TOKEN), { ...commit, bytes: 10_240 }, true);
      };
      expect(again(committed)).toBe(Invariant.PLACED_WITHIN);
      expect(
        again((ledger) => {
          committed(ledger);
          ledger.onFree('n1', 10_240);
        }),
      ).toBeUndefined();
    });

    test('finds a token that is held by two, or that holds two places', () => {
      const granted = (host: string, node: string, at = 2) =>
        judged((ledger) => {
          ledger.onPlaced(1, 'a', TOKEN, placed(1_000, 'n1'));
          ledger.onPlaced(at, host, TOKEN, placed(1_000, node));
        });
      expect(granted('a', 'n1')).toBeUndefined();
      expect(granted('b', 'n1')).toBe(Invariant.LEASE_ONCE);
      expect(granted('a', 'n2')).toBe(Invariant.LEASE_ONCE);
      expect(granted('b', 'n2', 30 * SECOND + 1)).toBeUndefined();
    });

    test('finds a token that is honoured after its end, unless the coordinator has just started', () => {
      const committed = (at: number, isNew = true) =>
        judged((ledger) => {
          ledger.onPlaced(40 * SECOND, 'a', TOKEN, placed(1_000, 'n1'));
          ledger.onCommitted(ledger.onCommitArrives(at, TOKEN), commit, isNew);
        });
      expect(committed(69 * SECOND)).toBeUndefined();
      expect(committed(70 * SECOND)).toBe(Invariant.LEASE_ONCE);
      expect(committed(70 * SECOND, false)).toBeUndefined();
      const renewed = (at: number) =>
        judged((ledger) => {
          ledger.onPlaced(1, 'a', TOKEN, placed(1_000, 'n1'));
          ledger.onReleased(TOKEN);
          ledger.onRenewed(at, TOKEN);
        });
      expect(renewed(29 * SECOND)).toBeUndefined();
      expect(renewed(31 * SECOND)).toBe(Invariant.LEASE_ONCE);
    });

    test('hears of what a coordinator grants: one that grants a space twice is found', async () => {
      const cluster = new SimCluster({ seed: 9, nodes: 1, quotaBytes: 10_240 });
      await cluster.start();
      await cluster.drive(cluster.client().role.whereTo(8_000));
      expect(cluster.violations.first).toBeUndefined();
      // What the node says it has free is forgotten to be less than it has.
      cluster.leases.onFree('01'.repeat(16), 1_024);
      const granted = cluster.drive(cluster.client().role.whereTo(2_000));
      await expect(granted).rejects.toMatchObject({ invariant: Invariant.PLACED_WITHIN });
    });
  });

  test('a commit that is answered and then lost is found, unless its object is being removed', async () => {
    const cluster = new SimCluster({ seed: 10, nodes: 1 });
    await cluster.start();
    const client = cluster.client();
    const kept = fromHex((await cluster.drive(client.role.put(new Uint8Array(700)))).hash)!;
    const gone = await cluster.drive(client.role.put(new Uint8Array(800)));
    await cluster.drive(client.role.rm(gone.hash));
    cluster.commits.check(cluster.coordinator.state);
    expect(cluster.violations.first).toBeUndefined();
    await cluster.coordinator.state.commit([], [{ key: concatBytes(utf8('o'), kept), value: undefined }]);
    cluster.coordinator.crash('process');
    expect(cluster.violations.first?.invariant).toBe(Invariant.COMMIT_KEPT);
  });

  test('an object that is not what its name says is found', async () => {
    const cluster = new SimCluster({ seed: 5, nodes: 1 });
    await cluster.start();
    const content = contentOf(cluster.random, 2_000);
    await cluster.drive(cluster.client().role.put(content));
    const { store, name } = cluster.nodes[0]!;
    const violations = new Violations();
    await checkObjects(violations, name, store);
    expect(violations.first).toBeUndefined();
    const open = store.open.bind(store);
    store.open = async (hash) => {
      const reader = await open(hash);
      const read = reader!.read.bind(reader);
      reader!.read = async (offset, length) => (await read(offset, length)).fill(0, 1_999);
      return reader;
    };
    await checkObjects(violations, name, store);
    expect(violations.first?.invariant).toBe(Invariant.NO_HALF_OBJECT);
  });

  test('a status that counts otherwise than the catalog is found', async () => {
    const cluster = new SimCluster({ seed: 4, nodes: 1 });
    await cluster.start();
    await cluster.drive(cluster.client().role.put(new Uint8Array(700)));
    const check = (objects: number, bytes: number): string | undefined =>
      brokenBy((violations) => checkTotals(violations, cluster.coordinator.state, { objects, bytes }));
    expect(check(1, 700)).toBeUndefined();
    expect(check(2, 700)).toBe(Invariant.TOTALS_TRUE);
    expect(check(1, 701)).toBe(Invariant.TOTALS_TRUE);
  });

  test('work that does not end is found, and the failure tells how to replay it', async () => {
    const cluster = new SimCluster({ seed: 6, nodes: 1 });
    await cluster.start();
    const never = cluster.drive(new Promise(() => undefined), seconds(1));
    await expect(never).rejects.toThrow(InvariantError);
    await expect(never).rejects.toMatchObject({ invariant: Invariant.ALL_ENDS });
    await expect(never).rejects.toThrow(/seed 6: broken.*node-1.*npm run sim -- --seed 6 --trace -/s);
  });

  test('a failure of a run with options is replayed with the same options', async () => {
    const cluster = new SimCluster({ seed: 6, nodes: 1, replayOptions: ' --contention' });
    await cluster.start();
    const never = cluster.drive(new Promise(() => undefined), seconds(1));
    await expect(never).rejects.toThrow('npm run sim -- --seed 6 --contention --trace');
  });

  test.each(['socket', 'timer'])('what is left at the end is found: a %s', async (what) => {
    const cluster = new SimCluster({ seed: 7, nodes: 1 });
    await cluster.start();
    const client = cluster.client();
    await cluster.drive(client.role.status());
    const { host, clock } = client.process!;
    const callbacks = { onDatagram: () => undefined, onRefused: () => undefined };
    if (what === 'socket') await host.open({ host: client.ip, port: 0, ...callbacks });
    else clock.setTimer(seconds(1_000), () => undefined);
    const closed = cluster.close();
    await expect(closed).rejects.toMatchObject({ invariant: Invariant.MEMORY_BOUNDED });
    await expect(closed).rejects.toThrow(`client-1: 1 ${what}s left`);
  });

  test('a rejection that nobody awaits, and a bug that was caught and logged, are found', async () => {
    const cluster = new SimCluster({ seed: 8, nodes: 1 });
    cluster.clock.schedule(10, () => void Promise.reject(new TypeError('nobody awaits this')));
    await expect(cluster.pass(1_000)).rejects.toMatchObject({ invariant: Invariant.NO_OWN_BUG });
    const other = new SimCluster({ seed: 8, nodes: 1 });
    await other.start();
    other.nodes[0]!.process!.log.warn('upkeep failed', {
      reason: String(new TypeError('x is not a function')),
    });
    await expect(other.pass(1_000)).rejects.toMatchObject({ invariant: Invariant.NO_OWN_BUG });
  });

  test('an acknowledged object that is gone is found by the book, unless it was removed', async () => {
    const book = new PromiseBook();
    const bytes = new Uint8Array(3);
    const hash = hashOf(bytes);
    book.onPutBegins(hash, bytes);
    expect(book.mustBeReadable(hash)).toBe(false);
    book.onPutEnds(hash, 10, true);
    expect(book.mustBeReadable(hash)).toBe(true);
    book.onRemovalBegins(hash);
    expect(book.mustBeReadable(hash)).toBe(false);
    book.onRemovalEnds(hash, 20, 'removed');
    expect([book.mustBeReadable(hash), book.mustBeGone(hash)]).toEqual([false, true]);
    // A put that began before the removal was over proves nothing; one that began later does.
    book.onPutBegins(hash, bytes);
    book.onPutEnds(hash, 15, true);
    expect([book.mustBeReadable(hash), book.mustBeGone(hash)]).toEqual([false, false]);
    book.onPutBegins(hash, bytes);
    book.onPutEnds(hash, 25, true);
    expect(book.mustBeReadable(hash)).toBe(true);
    book.onRemovalBegins(hash);
    book.onRemovalEnds(hash, 30, 'unknown');
    expect([book.mustBeReadable(hash), book.mustBeGone(hash)]).toEqual([false, false]);
  });
});
