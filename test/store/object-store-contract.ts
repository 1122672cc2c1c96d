/** What every object store must do, on disk or in memory. */

import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.ts';
import type { ObjectReader, ObjectStore } from '../../src/nodes/ports.ts';
import { CHUNK_BYTES, OBJECT_BYTES_MAX } from '../../src/store/object-file.ts';
import { READ_BYTES_MAX } from '../../src/store/object-reader.ts';
import { READERS_MAX, TOKEN_BYTES_MAX, WRITERS_MAX } from '../../src/store/store-limits.ts';
import { bytesOfSeed, expectBytes, put, readAll, readRange, sha256, TOKEN } from './support.ts';

/** One store under test, through its lives. */
export interface ObjectStoreHarness {
  readonly store: ObjectStore;
  /** Closes the store and opens it again. */
  restart(): Promise<ObjectStore>;
  /** Ends the store as `kill -9` would, and opens it again. */
  crash(): Promise<ObjectStore>;
  /** Flips one byte of a stored object's payload. */
  corrupt(hash: Uint8Array, offset: number): Promise<void>;
  /** Makes the disk full, or gives it room again. */
  fail(full: boolean): void;
  wallMillis: number;
}

export const QUOTA_BYTES = 8 * MIB;

export function describeObjectStore(
  name: string,
  openHarness: (quotaBytes: number) => Promise<ObjectStoreHarness>,
): void {
  async function open(quotaBytes = QUOTA_BYTES): Promise<ObjectStoreHarness> {
    const harness = await openHarness(quotaBytes);
    onTestFinished(() => harness.store.close());
    return harness;
  }

  describe(name, () => {
    test('an object that was stored is found by its SHA-256 and reads as it was written', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(1, 3 * MIB + 12_345);
      const writer = await store.create(TOKEN, bytes.length);
      for (let at = 0; at < bytes.length; at += 65_536) await writer.write(bytes.subarray(at, at + 65_536));
      const result = await writer.finish();
      expect(result).toEqual({ hash: sha256(bytes), bytes: bytes.length });
      expectBytes(await readAll(store, result.hash), bytes);
      expect(store.objects).toBe(1);
      expect([...store.inventory()]).toEqual([{ hash: result.hash, bytes: bytes.length }]);
    });

    test.each([0, 1, 1023, 1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])(
      'an object of %i bytes is stored and read',
      async (count) => {
        const { store } = await open();
        const bytes = bytesOfSeed(count, count);
        const hash = await put(store, bytes);
        expect(hash).toEqual(sha256(bytes));
        expectBytes(await readAll(store, hash), bytes);
        expect(store.freeBytes).toBe(QUOTA_BYTES - Math.ceil(count / KIB) * KIB);
      },
    );

    test('bytes that are another object than was expected become no object [REP-4]', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, 100);
      await writer.write(new Uint8Array(100));
      await expect(writer.finish(sha256(new Uint8Array(99)))).rejects.toMatchObject({
        code: 'GRAMLINE_CORRUPT',
      });
      expect([store.objects, store.pending(), store.freeBytes]).toEqual([0, [], QUOTA_BYTES]);
      const again = await store.create(TOKEN, 100);
      await again.write(new Uint8Array(100));
      expect((await again.finish(sha256(new Uint8Array(100)))).bytes).toBe(100);
    });

    test('bytes that change after a write has resolved do not change the object', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, 200);
      const bytes = new Uint8Array(100).fill(7);
      await writer.write(bytes);
      bytes.fill(9);
      await writer.write(bytes);
      const { hash } = await writer.finish();
      const expected = new Uint8Array(200).fill(7, 0, 100).fill(9, 100);
      expectBytes(await readAll(store, hash), expected);
    });

    test('writes that nobody waits for keep their order', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(2, 3 * MIB);
      const writer = await store.create(TOKEN, bytes.length);
      const writes: Promise<void>[] = [];
      for (let at = 0; at < bytes.length; at += 100_000)
        writes.push(writer.write(bytes.subarray(at, at + 100_000)));
      const { hash } = await writer.finish();
      await Promise.all(writes);
      expect(hash).toEqual(sha256(bytes));
    });

    test('an object is invisible until it is finished', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(3, 5000);
      const writer = await store.create(TOKEN, bytes.length);
      await writer.write(bytes);
      expect(store.objects).toBe(0);
      expect([...store.inventory()]).toEqual([]);
      expect(store.pending()).toEqual([]);
      expect(await store.open(sha256(bytes))).toBeUndefined();
      await writer.finish();
      expect(store.objects).toBe(1);
    });

    test('an aborted writer leaves nothing and gives its room back', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, MIB);
      await writer.write(bytesOfSeed(4, 1000));
      expect(store.freeBytes).toBe(QUOTA_BYTES - MIB);
      await writer.abort();
      await writer.abort();
      expect(store.freeBytes).toBe(QUOTA_BYTES);
      expect(store.objects).toBe(0);
      await expect(writer.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
      await expect(writer.finish()).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
    });

    test('an abort after finish changes nothing', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, 3);
      await writer.write(new Uint8Array(3));
      const { hash } = await writer.finish();
      await writer.abort();
      expectBytes(await readAll(store, hash), new Uint8Array(3));
      expect(store.freeBytes).toBe(QUOTA_BYTES - KIB);
    });

    test('a writer that gets one byte more than announced refuses and leaves nothing [DEFS-20]', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, 1000);
      await writer.write(new Uint8Array(1000));
      await expect(writer.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
      await expect(writer.finish()).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
      expect(store.objects).toBe(0);
      expect(store.freeBytes).toBe(QUOTA_BYTES);
    });

    test('a writer that is finished one byte early refuses and leaves nothing [DEFS-20]', async () => {
      const { store } = await open();
      const writer = await store.create(TOKEN, 1000);
      await writer.write(new Uint8Array(999));
      await expect(writer.finish()).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
      expect(store.objects).toBe(0);
      expect(store.freeBytes).toBe(QUOTA_BYTES);
    });

    test.each([-1, 0.5, Number.NaN, OBJECT_BYTES_MAX + 1])(
      'a writer for %d bytes is refused',
      async (count) => {
        const { store } = await open();
        await expect(store.create(TOKEN, count)).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
      },
    );

    test('a token of the longest length is kept, and one of a byte more is refused', async () => {
      const { store } = await open();
      const token = bytesOfSeed(5, TOKEN_BYTES_MAX);
      await (await store.create(token, 0)).finish();
      expect(store.pending()[0]?.token).toEqual(token);
      await expect(store.create(new Uint8Array(TOKEN_BYTES_MAX + 1), 0)).rejects.toMatchObject({
        code: 'GRAMLINE_INVALID',
      });
    });

    test('the same bytes twice are one object and take room once', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(6, 100_000);
      const first = await put(store, bytes);
      const freeBytes = store.freeBytes;
      expect(await put(store, bytes)).toEqual(first);
      expect(store.objects).toBe(1);
      expect(store.freeBytes).toBe(freeBytes);
      expectBytes(await readAll(store, first), bytes);
    });

    test('an object as large as the quota fits, and one byte more does not', async () => {
      const { store } = await open(MIB);
      await expect(store.create(TOKEN, MIB + 1)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      await put(store, bytesOfSeed(7, MIB));
      expect(store.freeBytes).toBe(0);
      await expect(store.create(TOKEN, 1)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      // An empty object takes no room.
      await put(store, new Uint8Array());
    });

    test('room is counted in KiB, rounded up [DEFS-7]', async () => {
      const { store } = await open(3 * KIB);
      await put(store, bytesOfSeed(8, KIB + 1));
      expect(store.freeBytes).toBe(KIB);
      await expect(store.create(TOKEN, KIB + 1)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      await put(store, bytesOfSeed(9, KIB));
      expect(store.freeBytes).toBe(0);
    });

    test('writers that are open together cannot take more room than there is', async () => {
      const { store } = await open(10 * KIB);
      const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => store.create(TOKEN, KIB)));
      expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
      expect(store.freeBytes).toBe(0);
    });

    test('the most writers are open at once, and one more is told to come back', async () => {
      const { store } = await open();
      const writers = await Promise.all(Array.from({ length: WRITERS_MAX }, () => store.create(TOKEN, 1)));
      await expect(store.create(TOKEN, 1)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY', retryable: true });
      await writers[0]?.abort();
      await (await store.create(TOKEN, 1)).abort();
      await Promise.all(writers.map((writer) => writer.abort()));
      expect(store.freeBytes).toBe(QUOTA_BYTES);
    });

    test('the most readers are open at once, and one more is told to come back', async () => {
      const { store } = await open();
      const hash = await put(store, bytesOfSeed(10, 10));
      const readers: (ObjectReader | undefined)[] = [];
      for (let index = 0; index < READERS_MAX; index++) readers.push(await store.open(hash));
      await expect(store.open(hash)).rejects.toMatchObject({ code: 'GRAMLINE_BUSY', retryable: true });
      await readers[0]?.close();
      await (await store.open(hash))?.close();
      await Promise.all(readers.map((reader) => reader?.close()));
    });

    test('twenty writers at once, some of the same bytes, store what each was given', async () => {
      const { store } = await open(64 * MIB);
      const contents = Array.from({ length: 20 }, (_, index) =>
        bytesOfSeed(index % 15, 300_000 + (index % 15) * 1000),
      );
      const hashes = await Promise.all(
        contents.map((bytes, index) => put(store, bytes, 10_000 + index * 777)),
      );
      expect(hashes).toEqual(contents.map(sha256));
      expect(store.objects).toBe(15);
      expect(store.pending()).toHaveLength(15);
      for (const [index, hash] of hashes.entries()) expectBytes(await readAll(store, hash), contents[index]);
    });

    test('a removed object is gone, its room is free, and it can be stored again', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(11, 5000);
      const hash = await put(store, bytes);
      expect(await store.remove(hash)).toBe(true);
      expect(await store.remove(hash)).toBe(false);
      expect(await store.open(hash)).toBeUndefined();
      expect([store.objects, store.freeBytes, store.pending()]).toEqual([0, QUOTA_BYTES, []]);
      expect(await put(store, bytes)).toEqual(hash);
      expectBytes(await readAll(store, hash), bytes);
    });

    test('an object that rotted unseen is whole again when it is stored again', async () => {
      const harness = await open();
      const bytes = bytesOfSeed(14, 5000);
      const hash = await put(harness.store, bytes);
      await harness.corrupt(hash, 100);
      expect(await put(harness.store, bytes)).toEqual(hash);
      expectBytes(await readAll(harness.store, hash), bytes);
      expect(harness.store.objects).toBe(1);
    });

    test('a reader that is open goes on when its object is removed', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(12, 3 * MIB);
      const reader = await store.open(await put(store, bytes));
      expectBytes(await reader?.read(0, 100), bytes.subarray(0, 100));
      await store.remove(sha256(bytes));
      expectBytes(await reader?.read(2 * MIB, MIB), bytes.subarray(2 * MIB));
      await reader?.close();
    });

    test('an object stays pending, with token and time, until it is settled', async () => {
      const harness = await open();
      const { store } = harness;
      harness.wallMillis = 12_345;
      const hash = await put(store, bytesOfSeed(13, 100));
      expect(store.pending()).toEqual([{ token: TOKEN, hash, storedMillis: 12_345 }]);
      await store.settle(hash, true);
      expect(store.pending()).toEqual([]);
      expect(store.objects).toBe(1);
    });

    test('an object that is settled against goes', async () => {
      const { store } = await open();
      const hash = await put(store, bytesOfSeed(14, 100));
      await store.settle(hash, false);
      expect([store.objects, store.pending(), store.freeBytes]).toEqual([0, [], QUOTA_BYTES]);
    });

    test('an object that was settled for good outlives a later answer and a later storer', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(15, 100);
      const hash = await put(store, bytes);
      await store.settle(hash, true);
      await put(store, bytes);
      expect(store.pending()).toEqual([]);
      await store.settle(hash, false);
      expectBytes(await readAll(store, hash), bytes);
    });

    test('an object that is pending and stored again waits for the later storer', async () => {
      const harness = await open();
      const { store } = harness;
      const bytes = bytesOfSeed(16, 100);
      harness.wallMillis = 1;
      const hash = await put(store, bytes);
      harness.wallMillis = 2;
      const token = new Uint8Array(8).fill(9);
      const writer = await store.create(token, bytes.length);
      await writer.write(bytes);
      await writer.finish();
      expect(store.pending()).toEqual([{ token, hash, storedMillis: 2 }]);
    });

    test('objects, markers and the node id outlast a restart, and the incarnation grows', async () => {
      const harness = await open();
      const { nodeId, incarnation } = harness.store;
      harness.wallMillis = 77;
      const kept = await put(harness.store, bytesOfSeed(17, 2 * MIB + 5));
      const waiting = await put(harness.store, bytesOfSeed(18, 0));
      await harness.store.settle(kept, true);
      const freeBytes = harness.store.freeBytes;
      const store = await harness.restart();
      expect(store.nodeId).toEqual(nodeId);
      expect(store.nodeId).toHaveLength(16);
      expect(store.incarnation).toBe(incarnation + 1);
      expect([store.objects, store.freeBytes]).toEqual([2, freeBytes]);
      expect(store.pending()).toEqual([{ token: TOKEN, hash: waiting, storedMillis: 77 }]);
      expectBytes(await readAll(store, kept), bytesOfSeed(17, 2 * MIB + 5));
    });

    test('a crash loses what was not finished and nothing else', async () => {
      const harness = await open();
      const hash = await put(harness.store, bytesOfSeed(19, 1234));
      const unfinished = await harness.store.create(TOKEN, 3 * MIB);
      await unfinished.write(bytesOfSeed(20, 2 * MIB));
      const { incarnation } = harness.store;
      const store = await harness.crash();
      expect(store.incarnation).toBe(incarnation + 1);
      expect([store.objects, store.freeBytes]).toEqual([1, QUOTA_BYTES - 2 * KIB]);
      expect(store.pending().map((object) => object.hash)).toEqual([hash]);
      expectBytes(await readAll(store, hash), bytesOfSeed(19, 1234));
    });

    test('a read of a corrupt chunk rejects, and other chunks still read', async () => {
      const harness = await open();
      const { store } = harness;
      const bytes = bytesOfSeed(21, 3 * MIB);
      const hash = await put(store, bytes);
      await harness.corrupt(hash, MIB + 500_000);
      const reader = await store.open(hash);
      expectBytes(await reader?.read(0, MIB), bytes.subarray(0, MIB));
      await expect(reader?.read(MIB, 1)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
      // A read ends with its chunk, and the next one tells of the damage.
      expect(await reader?.read(MIB - 1, 2)).toHaveLength(1);
      await expect(reader?.read(2 * MIB - 1, 1)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
      expectBytes(await reader?.read(2 * MIB, MIB), bytes.subarray(2 * MIB));
      await reader?.close();
    });

    test('a quarantined object is out of service, and a good copy takes its place', async () => {
      const harness = await open();
      const { store } = harness;
      const bytes = bytesOfSeed(22, 5000);
      const hash = await put(store, bytes);
      await harness.corrupt(hash, 0);
      await store.quarantine(hash);
      await store.quarantine(hash);
      expect([store.objects, store.pending(), store.freeBytes]).toEqual([0, [], QUOTA_BYTES]);
      expect(await store.open(hash)).toBeUndefined();
      await put(store, bytes);
      expectBytes(await readAll(store, hash), bytes);
      const reopened = await harness.restart();
      expect(reopened.objects).toBe(1);
    });

    test('a full disk refuses the object, leaves nothing, and says so until it has room again', async () => {
      const harness = await open();
      const { store } = harness;
      const kept = await put(store, bytesOfSeed(23, 1000));
      const freeBytes = store.freeBytes;
      const writer = await store.create(TOKEN, 3 * MIB);
      harness.fail(true);
      const writeAll = async () => {
        for (let at = 0; at < 3; at++) await writer.write(bytesOfSeed(24 + at, MIB));
        await writer.finish();
      };
      await expect(writeAll()).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      expect(store.full).toBe(true);
      expect(store.objects).toBe(1);
      await store.probe();
      expect([store.full, store.freeBytes]).toEqual([true, 0]);
      await expect(store.create(TOKEN, 1)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      expectBytes(await readAll(store, kept), bytesOfSeed(23, 1000));
      harness.fail(false);
      await store.probe();
      expect([store.full, store.freeBytes]).toEqual([false, freeBytes]);
      await put(store, bytesOfSeed(27, 1000));
    });

    test('a write that succeeds clears the sign of a full disk', async () => {
      const harness = await open();
      const { store } = harness;
      const [failing, later] = [await store.create(TOKEN, 1), await store.create(TOKEN, 1)];
      harness.fail(true);
      await expect(failing.write(new Uint8Array(1)).then(() => failing.finish())).rejects.toMatchObject({
        code: 'GRAMLINE_NO_SPACE',
      });
      expect(store.full).toBe(true);
      harness.fail(false);
      await later.write(new Uint8Array(1));
      await later.finish();
      expect(store.full).toBe(false);
    });

    test('ranges of an object equal those of a plain array', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(28, 2 * MIB + 777);
      const reader = await store.open(await put(store, bytes));
      // Near the borders of chunks as often as anywhere.
      const offset = fc.oneof(
        fc.nat(bytes.length + 10),
        fc
          .constantFrom(0, MIB, 2 * MIB, bytes.length)
          .chain((at) => fc.integer({ min: Math.max(0, at - 3), max: at + 3 })),
      );
      const range = fc.record({ offset, length: fc.oneof(fc.nat(10), fc.nat(bytes.length)) });
      await fc.assert(
        fc.asyncProperty(fc.array(range, { maxLength: 4 }), async (ranges) => {
          for (const { offset, length } of ranges) {
            const read = await readRange(reader!, offset, length);
            if (Buffer.compare(read, bytes.subarray(offset, offset + length)) !== 0)
              throw new Error(`range ${offset}+${length} differs`);
          }
        }),
        { numRuns: 60 },
      );
      await reader?.close();
    });

    test('what a read returns stays as it is while the next one is read', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(29, 4 * MIB);
      const reader = await store.open(await put(store, bytes));
      for (let at = 0, before: Uint8Array | undefined; at < bytes.length; ) {
        const part = await reader!.read(at, 300_000);
        if (before !== undefined) expectBytes(before, bytes.subarray(at - before.length, at));
        before = part;
        at += part.length;
      }
      await reader?.close();
    });

    test('reads far apart, asked for at once, bring what they should', async () => {
      const { store } = await open();
      const bytes = bytesOfSeed(30, 6 * MIB);
      const reader = (await store.open(await put(store, bytes)))!;
      for (const at of [0, 1000, 4 * MIB, 2 * MIB, 2 * MIB + 9, 5 * MIB, MIB]) {
        expectBytes((await reader.read(at, 500)).slice(), bytes.subarray(at, at + 500));
      }
      await reader.close();
    });

    test('reads of no range, of too much, and of a closed reader are refused', async () => {
      const { store } = await open(2 * READ_BYTES_MAX);
      const reader = await store.open(await put(store, new Uint8Array(READ_BYTES_MAX + 1), MIB));
      const invalid = { code: 'GRAMLINE_INVALID' };
      await expect(reader?.read(-1, 1)).rejects.toMatchObject(invalid);
      await expect(reader?.read(0, -1)).rejects.toMatchObject(invalid);
      await expect(reader?.read(0.5, 1)).rejects.toMatchObject(invalid);
      await expect(reader?.read(0, READ_BYTES_MAX + 1)).rejects.toMatchObject(invalid);
      expect(await reader?.read(1, READ_BYTES_MAX)).toHaveLength(MIB - 1);
      expect(await reader?.read(READ_BYTES_MAX + 1, 1)).toHaveLength(0);
      await reader?.close();
      await reader?.close();
      await expect(reader?.read(0, 1)).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
    });

    test('a closed store aborts its writers and refuses everything', async () => {
      const harness = await open();
      const { store } = harness;
      const writer = await store.create(TOKEN, 10);
      await store.close();
      await store.close();
      const closed = { code: 'GRAMLINE_CLOSED' };
      await expect(writer.write(new Uint8Array(10))).rejects.toMatchObject(closed);
      await expect(store.create(TOKEN, 1)).rejects.toMatchObject(closed);
      await expect(store.open(TOKEN)).rejects.toMatchObject(closed);
      await expect(store.remove(TOKEN)).rejects.toMatchObject(closed);
      await expect(store.probe()).rejects.toMatchObject(closed);
      expect((await harness.restart()).objects).toBe(0);
    });

    test('an object that is being finished when the store closes is stored whole', async () => {
      const harness = await open();
      const writer = await harness.store.create(TOKEN, 10);
      await writer.write(new Uint8Array(10));
      const [result] = await Promise.all([writer.finish(), harness.store.close()]);
      expectBytes(await readAll(await harness.restart(), result.hash), new Uint8Array(10));
    });
  });
}
