import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { open as openLmdb } from 'lmdb';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { utf8 } from '../../src/base/bytes.ts';
import { MIB, seconds } from '../../src/base/units.ts';
import type { StateStore } from '../../src/nodes/ports.ts';
import { openStateStore, STATE_FREE_BYTES_MIN } from '../../src/store/state-store.ts';
import { bundleModule } from '../support/bundle.ts';
import { changes, describeStateStore, type StateStoreHarness, textAt } from './state-store-contract.ts';
import { temporaryDirectory } from './support.ts';

class LmdbHarness implements StateStoreHarness {
  readonly directory = temporaryDirectory();
  store!: StateStore;
  #freeBytes = 100 * MIB;

  async open() {
    this.store = await openStateStore({ directory: this.directory, freeBytes: async () => this.#freeBytes });
    return this.store;
  }

  async restart() {
    await this.store.close();
    return this.open();
  }

  fail(full: boolean) {
    this.#freeBytes = full ? STATE_FREE_BYTES_MIN - 1 : 100 * MIB;
    // The store asks the disk at most once a second.
    if (full) this.#elapse();
  }

  #elapse() {
    const now = performance.now();
    const clock = vi.spyOn(performance, 'now').mockReturnValue(now + 60_000);
    onTestFinished(() => clock.mockRestore());
  }
}

describeStateStore('the state store on lmdb', async () => {
  const harness = new LmdbHarness();
  await harness.open();
  return harness;
});

describe('the directory of a state store', () => {
  test('a cluster id that is given is kept, and another one is refused afterwards', async () => {
    const directory = temporaryDirectory();
    const clusterId = new Uint8Array(16).fill(7);
    const store = await openStateStore({ directory, clusterId });
    expect(store.clusterId).toEqual(clusterId);
    await store.close();
    const refusal = openStateStore({ directory, clusterId: new Uint8Array(16) });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(refusal).rejects.toThrowError(/(?:07){16}.*(?:00){16}/);
    await (await openStateStore({ directory, clusterId })).close();
  });

  test('a cluster id is made of the entropy that is given, or by chance', async () => {
    const entropy = (count: number) => new Uint8Array(count).fill(9);
    const store = await openStateStore({ directory: temporaryDirectory(), entropy });
    expect(store.clusterId).toEqual(new Uint8Array(16).fill(9));
    await store.close();
    const others = [];
    for (let turn = 0; turn < 2; turn++) {
      const other = await openStateStore({ directory: temporaryDirectory() });
      others.push(other.clusterId);
      await other.close();
    }
    expect(others[0]).not.toEqual(others[1]);
  });

  test('a cluster id of wrong length is refused', async () => {
    const refusal = openStateStore({ directory: temporaryDirectory(), clusterId: new Uint8Array(15) });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
  });

  test('a second store on the directory is refused', async () => {
    const directory = temporaryDirectory();
    const store = await openStateStore({ directory });
    const refusal = openStateStore({ directory });
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await expect(refusal).rejects.toThrowError(directory);
    await store.close();
    await (await openStateStore({ directory })).close();
  });

  test('a directory may have a dot in its name', async () => {
    const directory = join(temporaryDirectory(), 'state.d');
    const store = await openStateStore({ directory });
    await store.commit([], changes({ a: '1' }));
    expect(textAt(store, 'a')).toBe('1');
    await store.close();
  });

  test.each([
    [[0, 0, 0, 0, 0, 0, 0, 4], 'GRAMLINE_INVALID', /format 4, and .* up to 3\b/],
    [[0, 0, 0, 0, 0, 0, 0, 2], 'GRAMLINE_INVALID', /format 2, .* Start with an empty state/],
    [[1], 'GRAMLINE_CORRUPT', 'unreadable'],
  ])('a format of %j is refused as %s', async (format, code, text) => {
    const directory = temporaryDirectory();
    await (await openStateStore({ directory })).close();
    const root = openLmdb<Buffer, Uint8Array>({ path: join(directory, 'state.mdb'), noSubdir: true });
    const meta = root.openDB<Buffer, Uint8Array>('meta', { encoding: 'binary', keyEncoding: 'binary' });
    await meta.put(utf8('format'), Buffer.from(format));
    await root.close();
    for (let turn = 0; turn < 2; turn++) {
      const refusal = openStateStore({ directory });
      await expect(refusal).rejects.toMatchObject({ code });
      await expect(refusal).rejects.toThrowError(text);
    }
  });

  test.each([1, 159, 160, 4096, 10_000])(
    'a file of %i bytes that is no database is refused, and ends no process',
    async (count) => {
      const directory = temporaryDirectory();
      writeFileSync(join(directory, 'state.mdb'), 'x'.repeat(count));
      await expect(openStateStore({ directory })).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    },
  );

  test.each([4096, 8191, 8192])('a database that was cut to %i bytes is refused', async (count) => {
    const directory = temporaryDirectory();
    const store = await openStateStore({ directory });
    await store.commit([], changes({ a: '1' }));
    await store.close();
    truncateSync(join(directory, 'state.mdb'), count);
    await expect(openStateStore({ directory })).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
  });

  test('an empty file, as a crash at the first start leaves, becomes a database', async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, 'state.mdb'), '');
    const store = await openStateStore({ directory });
    expect((await store.commit([], changes({ a: '1' }))).ok).toBe(true);
    await store.close();
  });

  test('what leases of an earlier process kept is gone at the next start', async () => {
    const directory = temporaryDirectory();
    const store = await openStateStore({ directory });
    const lease = await store.lease(seconds(60));
    await store.commit([], [{ key: utf8('led'), value: utf8('1'), lease }, ...changes({ stays: '1' })]);
    await store.close();
    const next = await openStateStore({ directory });
    expect([textAt(next, 'led'), textAt(next, 'stays'), next.revision]).toEqual([undefined, '1', 2]);
    await next.close();
  });

  test('a directory in place of the file is refused with its reason', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'state.mdb'));
    await expect(openStateStore({ directory })).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
  });
});

describe('a commit that breaks down inside its transaction', () => {
  test('is undone as a whole, with those that share the transaction', async () => {
    const store = await openStateStore({ directory: temporaryDirectory() });
    onTestFinished(() => store.close());
    await store.commit([], changes({ a: '1' }));
    // Passes for bytes until lmdb looks at it.
    const poison = Object.assign(new Uint8Array(1), { slice: () => 5 });
    const results = await Promise.allSettled([
      store.commit([], changes({ b: '1' })),
      store.commit([], [...changes({ a: '2' }), { key: utf8('c'), value: poison }]),
    ]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect([store.revision, textAt(store, 'a'), textAt(store, 'b')]).toEqual([1, '1', undefined]);
    expect(await store.commit([], changes({ a: '3' }))).toEqual({ ok: true, revision: 2 });
  });
});

describe('a failing disk', () => {
  const canMount = process.platform === 'linux' && process.getuid?.() === 0;
  test.skipIf(!canMount)(
    'a real disk that fills up under lmdb loses no commit and ends no process (needs root)',
    async () => {
      const directory = temporaryDirectory();
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', directory]);
      onTestFinished(() => {
        execFileSync('umount', ['-l', directory]);
      });
      // lmdb prints what it meets.
      const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
      onTestFinished(() => printed.mockRestore());
      let claimed = 100 * MIB;
      const open = () => openStateStore({ directory, freeBytes: async () => claimed });
      const store = await open();
      let acknowledged = 0;
      let refusal: unknown;
      while (refusal === undefined) {
        const fields = changes({ [`key-${acknowledged}`]: 'v'.repeat(30_000) });
        await store.commit([], fields).then(
          () => acknowledged++,
          (error: unknown) => {
            refusal = error;
          },
        );
      }
      expect(refusal).toMatchObject({ code: 'GRAMLINE_IO' });
      for (let turn = 0; turn < 5; turn++) {
        const fields = changes({ [`more-${turn}`]: 'v'.repeat(30_000) });
        await expect(store.commit([], fields)).rejects.toMatchObject({ code: 'GRAMLINE_IO' });
      }
      claimed = 0;
      await expect(store.commit([], changes({ z: 'z' }))).rejects.toMatchObject({
        code: 'GRAMLINE_NO_SPACE',
      });
      expect(acknowledged).toBeGreaterThan(10);
      expect(store.revision).toBe(acknowledged);
      await store.close();
      const reopened = await open();
      expect(reopened.revision).toBe(acknowledged);
      for (let index = 0; index < acknowledged; index++)
        expect(textAt(reopened, `key-${index}`)).toHaveLength(30_000);
      await reopened.close();
    },
  );
});

describe('a killed process', () => {
  test('every commit that it acknowledged is there after each of three kills', {
    timeout: 30_000,
  }, async () => {
    const directory = temporaryDirectory();
    const bundle = await bundleModule('src/store/state-store.ts');
    onTestFinished(() => rmSync(bundle, { force: true }));
    const script = `
      const { openStateStore } = await import(${JSON.stringify(pathToFileURL(bundle).href)});
      const store = await openStateStore({ directory: ${JSON.stringify(directory)} });
      const work = async () => {
        for (;;) {
          const key = crypto.getRandomValues(new Uint8Array(12));
          const { revision } = await store.commit([{ key, equals: undefined }], [{ key, value: key }]);
          console.log(revision + ' ' + Buffer.from(key).toString('hex'));
        }
      };
      for (let worker = 0; worker < 8; worker++) work();
    `;
    const acknowledged = new Map<number, string>();
    for (let kills = 0; kills < 3; kills++) {
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const lines = createInterface({ input: child.stdout });
      let count = 0;
      lines.on('line', (line) => {
        const match = /^([0-9]+) ([0-9a-f]{24})$/.exec(line);
        if (match === null) return;
        expect(acknowledged.has(Number(match[1]))).toBe(false);
        acknowledged.set(Number(match[1]), match[2]!);
        count++;
        if (count === 300 + kills * 101) child.kill('SIGKILL');
      });
      await Promise.all([once(child, 'exit'), once(lines, 'close')]);
      const store = await openStateStore({ directory });
      try {
        expect(count).toBeGreaterThanOrEqual(300);
        expect(store.revision).toBeGreaterThanOrEqual(Math.max(...acknowledged.keys()));
        // Every revision is one key: no commit is half there, none is counted twice.
        expect([...store.range(new Uint8Array([0]), new Uint8Array(13).fill(255), 1e6)]).toHaveLength(
          store.revision,
        );
        for (const name of acknowledged.values())
          expect(store.get(new Uint8Array(Buffer.from(name, 'hex')))).toBeDefined();
      } finally {
        await store.close();
      }
    }
  });
});
