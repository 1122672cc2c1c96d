import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open as openFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { MIB } from '../../src/base/units.ts';
import type { ObjectStore } from '../../src/nodes/ports.ts';
import { CHUNK_BYTES, FOOTER_BYTES, trailerBytesOf } from '../../src/store/object-file.ts';
import { openObjectStore } from '../../src/store/object-store.ts';
import { bundleModule } from '../support/bundle.ts';
import { describeObjectStore, type ObjectStoreHarness, QUOTA_BYTES } from './object-store-contract.ts';
import {
  bytesOfSeed,
  expectBytes,
  FaultyFileSystem,
  put,
  readAll,
  sha256,
  TOKEN,
  temporaryDirectory,
} from './support.ts';

class DiskHarness implements ObjectStoreHarness {
  wallMillis = 0;
  readonly faults = new FaultyFileSystem();
  store!: ObjectStore;
  #directory = join(temporaryDirectory(), 'first');
  readonly #quotaBytes: number;

  constructor(quotaBytes: number) {
    this.#quotaBytes = quotaBytes;
  }

  get directory(): string {
    return this.#directory;
  }

  async open(): Promise<ObjectStore> {
    const fs = {
      ...this.faults.fs,
      statfs: (async (path: string) => {
        const stats = await this.faults.fs.statfs(path);
        return this.#isFull ? { ...stats, bavail: 0 } : stats;
      }) as typeof this.faults.fs.statfs,
    };
    this.store = await openObjectStore({
      directory: this.#directory,
      quotaBytes: this.#quotaBytes,
      wallMillis: () => this.wallMillis,
      entropy: (count) => bytesOfSeed(99, count),
      fs,
    });
    return this.store;
  }

  async restart(): Promise<ObjectStore> {
    await this.store.close();
    return this.open();
  }

  /** What a killed process leaves is what another one sees meanwhile: a copy of the files. */
  async crash(): Promise<ObjectStore> {
    const copy = join(this.#directory, '..', 'second');
    cpSync(this.#directory, copy, { recursive: true, filter: (path) => !path.includes('in-use.') });
    expect(readdirSync(join(copy, 'temporary'))).not.toEqual([]);
    await this.store.close();
    this.#directory = copy;
    const store = await this.open();
    expect(readdirSync(join(copy, 'temporary'))).toEqual([]);
    return store;
  }

  async corrupt(hash: Uint8Array, offset: number): Promise<void> {
    await flipBit(this.objectPath(hash), offset);
  }

  fail(full: boolean): void {
    this.#isFull = full;
    this.faults.fault = () => (full ? 'ENOSPC' : undefined);
  }

  objectPath(hash: Uint8Array): string {
    const name = toHex(hash);
    return join(this.#directory, 'objects', name.slice(0, 2), name);
  }

  /** All files of the store but its identity and lock. */
  files(): string[] {
    return readdirSync(this.#directory, { recursive: true, encoding: 'utf8' })
      .filter((name) => !name.startsWith('in-use.') && name !== 'node.json')
      .filter((name) => statSync(join(this.#directory, name)).isFile())
      .sort();
  }

  #isFull = false;
}

async function openHarness(quotaBytes = QUOTA_BYTES): Promise<DiskHarness> {
  const harness = new DiskHarness(quotaBytes);
  await harness.open();
  return harness;
}

async function openDisk(): Promise<DiskHarness> {
  const harness = await openHarness();
  onTestFinished(() => harness.store.close());
  return harness;
}

async function flipBit(path: string, offset: number): Promise<void> {
  const file = await openFile(path, 'r+');
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0]! ^= 0x10;
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}

function openAt(directory: string, fields: Partial<Parameters<typeof openObjectStore>[0]> = {}) {
  return openObjectStore({
    directory,
    quotaBytes: QUOTA_BYTES,
    wallMillis: () => 0,
    entropy: (count) => new Uint8Array(count),
    ...fields,
  });
}

describeObjectStore('the object store on disk', openHarness);

describe('damage to the file of an object', () => {
  const BYTES = 2 * CHUNK_BYTES + 100;
  const regions: [string, number][] = [
    ['its first byte', 0],
    ['the last byte of its payload', BYTES - 1],
    ['its first checksum', BYTES],
    ['its last checksum', BYTES + 23],
  ];

  test.each(regions)('a flipped bit in %s makes a read reject', async (_, offset) => {
    const harness = await openDisk();
    const hash = await put(harness.store, bytesOfSeed(1, BYTES));
    await flipBit(harness.objectPath(hash), offset);
    await expect(readAll(harness.store, hash)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
  });

  test('a flipped bit in any byte of its footer makes a read reject', async () => {
    const harness = await openDisk();
    const bytes = bytesOfSeed(1, 100);
    const hash = await put(harness.store, bytes);
    for (let at = 0; at < FOOTER_BYTES; at++) {
      const offset = bytes.length + trailerBytesOf(bytes.length) - FOOTER_BYTES + at;
      await flipBit(harness.objectPath(hash), offset);
      await expect(readAll(harness.store, hash), `byte ${at}`).rejects.toMatchObject({
        code: 'GRAMLINE_CORRUPT',
      });
      await flipBit(harness.objectPath(hash), offset);
    }
    expectBytes(await readAll(harness.store, hash), bytes);
  });

  test.each([
    0,
    1,
    FOOTER_BYTES,
    BYTES,
    BYTES + trailerBytesOf(BYTES) - 1,
    BYTES + trailerBytesOf(BYTES) + 1,
  ])('a file of %i bytes makes a read reject, before and after a restart', async (fileBytes) => {
    const harness = await openDisk();
    const hash = await put(harness.store, bytesOfSeed(2, BYTES));
    truncateSync(harness.objectPath(hash), fileBytes);
    await expect(harness.store.open(hash)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    const store = await harness.restart();
    expect(store.objects).toBe(1);
    await expect(store.open(hash)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    await store.quarantine(hash);
    expect(store.freeBytes).toBe(QUOTA_BYTES);
  });

  test('a file that is missing makes a read reject', async () => {
    const harness = await openDisk();
    const hash = await put(harness.store, bytesOfSeed(3, 10));
    rmSync(harness.objectPath(hash));
    await expect(harness.store.open(hash)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
    await harness.store.quarantine(hash);
    expect(harness.store.objects).toBe(0);
  });

  test('a file under the name of another object makes a read reject', async () => {
    const harness = await openDisk();
    const [first, second] = [
      await put(harness.store, bytesOfSeed(4, 10)),
      await put(harness.store, bytesOfSeed(5, 10)),
    ];
    cpSync(harness.objectPath(first), harness.objectPath(second));
    await expect(harness.store.open(second)).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
  });

  test('a quarantined file is kept for an admin', async () => {
    const harness = await openDisk();
    const hash = await put(harness.store, bytesOfSeed(6, 10));
    await harness.store.quarantine(hash);
    expect(harness.files()).toEqual([`quarantine/${toHex(hash)}`]);
  });
});

describe('the directory of an object store', () => {
  test('a stored object is two files, and one when it is settled', async () => {
    const harness = await openDisk();
    const name = toHex(await put(harness.store, bytesOfSeed(1, 10)));
    const objectFile = `objects/${name.slice(0, 2)}/${name}`;
    expect(harness.files()).toEqual([objectFile, `pending/${name}`]);
    await harness.store.settle(sha256(bytesOfSeed(1, 10)), true);
    expect(harness.files()).toEqual([objectFile]);
  });

  test('bytes are flushed before the marker, the marker before the name, and the name before the answer', async () => {
    const harness = await openDisk();
    const first = harness.faults.steps.length;
    const name = toHex(await put(harness.store, bytesOfSeed(1, 10)));
    const prefix = name.slice(0, 2);
    const steps = harness.faults.steps.slice(first).map((step) => step.replace(/temporary\/.*/, 'temporary'));
    expect(steps).toEqual([
      'open temporary',
      'write temporary', // payload
      'write temporary', // checksums and footer
      'sync temporary',
      'open temporary', // marker
      'writeFile temporary',
      'sync temporary',
      `rename pending/${name}`,
      'sync first/pending',
      `mkdir objects/${prefix}`,
      'sync first/objects',
      `rename ${prefix}/${name}`,
      `sync objects/${prefix}`,
    ]);
  });

  test('a marker without an object, unfinished files and strangers are cleared away or passed over', async () => {
    const harness = await openDisk();
    const hash = await put(harness.store, bytesOfSeed(2, 10));
    await harness.store.close();
    const stray = 'ab'.repeat(32);
    writeFileSync(join(harness.directory, 'temporary', 'leftover'), 'x');
    writeFileSync(join(harness.directory, 'pending', stray), '{"token":"00","storedMillis":1}');
    writeFileSync(join(harness.directory, 'objects', toHex(hash).slice(0, 2), 'stranger'), 'x');
    writeFileSync(join(harness.directory, 'objects', 'stranger'), 'x');
    const store = await harness.open();
    expect(store.objects).toBe(1);
    expect(store.pending()).toHaveLength(1);
    expect(existsSync(join(harness.directory, 'temporary', 'leftover'))).toBe(false);
    expect(existsSync(join(harness.directory, 'pending', stray))).toBe(false);
  });

  test.each(['', '[]', '{"token":5}', '{"token":"xy","storedMillis":1}'])(
    'an object whose marker reads %j stays and is no longer pending',
    async (marker) => {
      const harness = await openDisk();
      const hash = await put(harness.store, bytesOfSeed(3, 10));
      await harness.store.close();
      writeFileSync(join(harness.directory, 'pending', toHex(hash)), marker);
      const store = await harness.open();
      expect([store.objects, store.pending()]).toEqual([1, []]);
    },
  );

  test('a directory of a newer format is refused by name and left alone', async () => {
    const harness = await openDisk();
    await harness.store.close();
    const path = join(harness.directory, 'node.json');
    const text = readFileSync(path, 'utf8').replace('"format":1', '"format":2');
    writeFileSync(path, text);
    writeFileSync(join(harness.directory, 'temporary', 'theirs'), 'x');
    await expect(harness.open()).rejects.toMatchObject({
      code: 'GRAMLINE_INVALID',
      message: expect.stringContaining('format 2'),
    });
    expect(readFileSync(path, 'utf8')).toBe(text);
    expect(existsSync(join(harness.directory, 'temporary', 'theirs'))).toBe(true);
  });

  test.each(['', '{}', 'null', '{"format":1,"nodeId":"00","incarnation":1}', '{"format":1,"nodeId":5}'])(
    'a node.json that reads %j is refused as corrupt',
    async (text) => {
      const harness = await openDisk();
      await harness.store.close();
      writeFileSync(join(harness.directory, 'node.json'), text);
      await expect(harness.open()).rejects.toMatchObject({ code: 'GRAMLINE_CORRUPT' });
      // The lock was given back.
      rmSync(join(harness.directory, 'node.json'));
      await harness.open();
    },
  );

  test('a second store on the directory is refused, with the directory and the process named', async () => {
    const harness = await openDisk();
    const refusal = openAt(harness.directory);
    await expect(refusal).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await expect(refusal).rejects.toThrowError(harness.directory);
    await expect(refusal).rejects.toThrowError(String(process.pid));
    await harness.restart();
  });

  test('a quota that is no number of bytes is refused', async () => {
    const directory = temporaryDirectory();
    await expect(openAt(directory, { quotaBytes: -1 })).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
    await expect(openAt(directory, { quotaBytes: 0.5 })).rejects.toMatchObject({ code: 'GRAMLINE_INVALID' });
  });

  test('the most objects are held, and one more is refused', async () => {
    const directory = temporaryDirectory();
    const store = await openAt(directory, { objectsMax: 3 });
    for (let seed = 0; seed < 2; seed++) await put(store, bytesOfSeed(seed, 10));
    const last = await store.create(TOKEN, 10);
    await expect(store.create(TOKEN, 10)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    await last.write(bytesOfSeed(2, 10));
    await last.finish();
    await expect(store.create(TOKEN, 10)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    await store.close();
    await expect(openAt(directory, { objectsMax: 2 })).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
    await (await openAt(directory, { objectsMax: 3 })).close();
  });
});

describe('a failing disk', () => {
  test.each([
    ['ENOSPC', 'GRAMLINE_NO_SPACE', true],
    ['EDQUOT', 'GRAMLINE_NO_SPACE', true],
    ['EIO', 'GRAMLINE_IO', true],
    ['EACCES', 'GRAMLINE_IO', false],
    ['EMFILE', 'GRAMLINE_BUSY', false],
  ])('%s is told as %s', async (errno, code, full) => {
    const { store, faults } = await openDisk();
    faults.fault = () => errno;
    await expect(put(store, bytesOfSeed(1, 10))).rejects.toMatchObject({ code });
    expect(store.full).toBe(full);
  });

  test('whichever step of storing fails, the object is not there and leaves nothing', async () => {
    const bytes = bytesOfSeed(2, 2 * MIB + 10);
    let failures = 0;
    for (let failing = 0; ; failing++) {
      const harness = await openDisk();
      const { store, faults } = harness;
      const first = faults.operations;
      faults.fault = (operation) => (operation === first + failing ? 'ENOSPC' : undefined);
      const outcome = await put(store, bytes).catch((error: unknown) => error);
      if (outcome instanceof Uint8Array) break;
      failures++;
      expect(outcome).toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      expect([store.objects, store.freeBytes, store.pending(), store.full]).toEqual([
        0,
        QUOTA_BYTES,
        [],
        true,
      ]);
      expect(harness.files()).toEqual([]);
      expect(await put(store, bytes)).toEqual(sha256(bytes));
      await harness.restart();
      expectBytes(await readAll(harness.store, sha256(bytes)), bytes);
    }
    // Opening, three chunks, trailer and flush; marker; directories; renames.
    expect(failures).toBeGreaterThan(10);
  });

  const canMount = process.platform === 'linux' && process.getuid?.() === 0 && hasMount();
  test.skipIf(!canMount)(
    'a real disk that fills up refuses, keeps what it has, and recovers (needs root)',
    async () => {
      const directory = temporaryDirectory();
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', directory]);
      onTestFinished(() => {
        execFileSync('umount', ['-l', directory]);
      });
      const store = await openAt(directory, { quotaBytes: 100 * MIB });
      expect(store.freeBytes).toBeLessThanOrEqual(4 * MIB);
      const kept = await put(store, bytesOfSeed(3, MIB));
      const writer = await store.create(TOKEN, 2 * MIB);
      // Somebody else takes the room that the store had counted on.
      writeFileSync(join(directory, 'other'), Buffer.alloc(2.5 * MIB));
      const fill = async () => {
        for (let at = 0; at < 2; at++) await writer.write(bytesOfSeed(4 + at, MIB));
        await writer.finish();
      };
      await expect(fill()).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      expect(store.full).toBe(true);
      expect(readdirSync(join(directory, 'temporary'))).toEqual([]);
      expectBytes(await readAll(store, kept), bytesOfSeed(3, MIB));
      await expect(store.create(TOKEN, 2 * MIB)).rejects.toMatchObject({ code: 'GRAMLINE_NO_SPACE' });
      rmSync(join(directory, 'other'));
      await put(store, bytesOfSeed(6, 2 * MIB));
      expect(store.full).toBe(false);
      await store.close();
    },
  );
});

describe('a killed process', () => {
  test('every object that it acknowledged is there, whole, and nothing half-done is', async () => {
    const directory = join(temporaryDirectory(), 'store');
    const bundle = await bundleModule('src/store/index.ts');
    onTestFinished(() => rmSync(bundle, { force: true }));
    const script = `
      const { openObjectStore } = await import(${JSON.stringify(pathToFileURL(bundle).href)});
      const store = await openObjectStore({ directory: ${JSON.stringify(directory)}, quotaBytes: 1e12,
        wallMillis: () => 0, entropy: (count) => new Uint8Array(count) });
      const work = async (worker) => {
        for (let turn = 0; ; turn++) {
          const bytes = new Uint8Array(1000 + 300_000 * (turn % 5)).fill(worker * 16 + (turn % 16));
          bytes.set([worker, turn, turn >> 8]);
          const writer = await store.create(new Uint8Array(8), bytes.length);
          await writer.write(bytes);
          console.log(Buffer.from((await writer.finish()).hash).toString('hex'));
        }
      };
      for (let worker = 0; worker < 4; worker++) work(worker);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const acknowledged = await linesUntilKilled(child, 60);
    expect(acknowledged.length).toBeGreaterThanOrEqual(60);
    const store = await openAt(directory, { quotaBytes: 1e12 });
    onTestFinished(() => store.close());
    for (const name of acknowledged) {
      const bytes = await readAll(store, new Uint8Array(Buffer.from(name, 'hex')));
      expect(bytes === undefined ? undefined : toHex(sha256(bytes))).toBe(name);
    }
    // What was in flight may be there too; it is whole then, and pending.
    for (const { hash } of store.inventory()) expect(sha256((await readAll(store, hash))!)).toEqual(hash);
    expect(store.pending()).toHaveLength(store.objects);
    expect(readdirSync(join(directory, 'temporary'))).toEqual([]);
    expect(store.incarnation).toBe(2);
  });
});

/** Kills `child` when it has printed `count` lines; all whole lines that it printed. */
async function linesUntilKilled(child: ChildProcess, count: number): Promise<string[]> {
  const lines: string[] = [];
  const input = createInterface({ input: child.stdout! });
  input.on('line', (line) => {
    lines.push(line);
    if (lines.length === count) child.kill('SIGKILL');
  });
  await Promise.all([once(child, 'exit'), once(input, 'close')]);
  return lines.filter((line) => line.length === 64);
}

function hasMount(): boolean {
  const directory = '/proc/self/ns/mnt';
  try {
    execFileSync('mount', ['--version'], { stdio: 'ignore' });
    return existsSync(directory);
  } catch {
    return false;
  }
}
