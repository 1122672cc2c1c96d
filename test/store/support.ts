/** What the tests of the stores share: bytes from a seed, directories that go away, failing files. */

import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { ObjectReader, ObjectStore } from '../../src/nodes/ports.ts';
import { type FileSystem, nodeFileSystem } from '../../src/store/durable-files.ts';

export const TOKEN = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);

/** `count` bytes that differ from seed to seed and do not compress. */
export function bytesOfSeed(seed: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let index = 0; index < count; index++) {
    // xorshift32
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    bytes[index] = state;
  }
  return bytes;
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash('sha256').update(bytes).digest());
}

/** A directory of its own, in memory where there is /dev/shm; removed behind the test. */
export function temporaryDirectory(): string {
  const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const directory = mkdtempSync(join(parent, 'gramline-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Stores `bytes` in pieces; returns the hash. */
export async function put(store: ObjectStore, bytes: Uint8Array, pieceBytes = 65_536): Promise<Uint8Array> {
  const writer = await store.create(TOKEN, bytes.length);
  for (let at = 0; at < bytes.length; at += pieceBytes)
    await writer.write(bytes.subarray(at, at + pieceBytes));
  return (await writer.finish()).hash;
}

/** Expects two byte strings to be equal: `toEqual` takes seconds for a few MiB. */
export function expectBytes(actual: Uint8Array | undefined, expected: Uint8Array | undefined): void {
  expect(actual?.length).toBe(expected?.length);
  if (actual === undefined || expected === undefined) return;
  if (Buffer.compare(actual, expected) === 0) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  expect.fail(`the bytes differ from byte ${at} on`);
}

/** All bytes of an object. */
export async function readAll(store: ObjectStore, hash: Uint8Array): Promise<Uint8Array | undefined> {
  const reader = await store.open(hash);
  if (reader === undefined) return undefined;
  try {
    return await readRange(reader, 0, reader.bytes);
  } finally {
    await reader.close();
  }
}

/** The bytes of a range, of however many reads: each ends where a stored chunk does. */
export async function readRange(reader: ObjectReader, offset: number, length: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let at = offset; at < offset + length; ) {
    const part = await reader.read(at, offset + length - at);
    if (part.length === 0) break;
    parts.push(part.slice());
    at += part.length;
  }
  return Buffer.concat(parts);
}

/** File operations that fail when a test says so. */
export class FaultyFileSystem {
  /** Counts the operations that may fail: all that change something. */
  operations = 0;
  /** What was done, as in `rename objects/ab/...`: the step and the last two parts of the path. */
  readonly steps: string[] = [];
  /** Whether operation number `operations` fails, and with which errno name. */
  fault: (operation: number, name: string) => string | undefined = () => undefined;

  readonly fs: FileSystem = {
    ...nodeFileSystem,
    open: (async (...args: Parameters<FileSystem['open']>) => {
      if (args[1] !== 'r') this.#step('open', args[0]);
      return this.#wrap(await nodeFileSystem.open(...args), args[0]);
    }) as FileSystem['open'],
    rename: async (from, to) => {
      this.#step('rename', to);
      await nodeFileSystem.rename(from, to);
    },
    mkdir: (async (...args: Parameters<FileSystem['mkdir']>) => {
      this.#step('mkdir', args[0]);
      return nodeFileSystem.mkdir(...args);
    }) as FileSystem['mkdir'],
  };

  #wrap(handle: FileHandle, path: unknown): FileHandle {
    const step = (name: string) => this.#step(name, path);
    return new Proxy(handle, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== 'function') return value;
        if (property !== 'write' && property !== 'writeFile' && property !== 'sync')
          return value.bind(target);
        return async (...args: unknown[]) => {
          step(property);
          return value.apply(target, args);
        };
      },
    });
  }

  #step(name: string, path: unknown): void {
    this.steps.push(`${name} ${String(path).split('/').slice(-2).join('/')}`);
    const code = this.fault(this.operations, name);
    this.operations++;
    if (code !== undefined) throw Object.assign(new Error(`${code}: injected into ${name}`), { code });
  }
}
