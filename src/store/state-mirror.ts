/**
 * What a shared store holds, on this machine: keys and values in an lmdb environment that nobody
 * flushes. It is read anew at every start, so it may be lost; it may also be larger than memory.
 */

import { mkdtemp, rm, rmdir, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { STATE_KEY_BYTES_MAX } from './state-limits.ts';
import { storeError } from './store-errors.ts';

const FILE_NAME = 'mirror.mdb';
/** Entries that are looked at in one go. */
const CHUNK_ENTRIES = 1_024;
/** Behind every key. */
const BEHIND_ALL = new Uint8Array(STATE_KEY_BYTES_MAX + 1).fill(0xff);

export interface MirrorChange {
  readonly key: Uint8Array;
  /** Undefined removes. */
  readonly value: Uint8Array | undefined;
}

/** The entries of a state, readable at once. All byte arrays that it returns are the caller's. */
export interface StateMirror {
  get(key: Uint8Array): Uint8Array | undefined;
  /** As the port's `range`; an undefined end is behind all keys. */
  range(start: Uint8Array, end: Uint8Array | undefined, limit: number): (readonly [Uint8Array, Uint8Array])[];
  /** All changes together, before this returns. */
  apply(changes: readonly MirrorChange[]): void;
  /** Frees everything. */
  close(): Promise<void>;
}

/** @throws GRAMLINE_IO or GRAMLINE_NO_SPACE when the directory for temporary files refuses */
export async function openLmdbMirror(): Promise<StateMirror> {
  let directory: string | undefined;
  try {
    // Only this user may enter it.
    directory = await mkdtemp(join(tmpdir(), 'gramline-mirror-'));
    const path = join(directory, FILE_NAME);
    const root = open<Buffer, Uint8Array>({
      path,
      noSubdir: true,
      noSync: true,
      noMetaSync: true,
      overlappingSync: false,
      eventTurnBatching: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    return new LmdbMirror(root, (await removeNames(directory)) ? undefined : directory);
  } catch (error) {
    if (directory !== undefined) await rm(directory, { recursive: true, force: true });
    throw storeError(error, `open a mirror of the state in ${directory ?? tmpdir()}`);
  }
}

/**
 * Without names the files go with the process, however that ends. False where a system keeps the names of open files.
 */
async function removeNames(directory: string): Promise<boolean> {
  try {
    for (const name of [FILE_NAME, `${FILE_NAME}-lock`]) await unlink(join(directory, name));
    await rmdir(directory);
    return true;
  } catch {
    return false;
  }
}

class LmdbMirror implements StateMirror {
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  /** What is to be removed at the end. */
  readonly #directory: string | undefined;

  constructor(root: RootDatabase<Buffer, Uint8Array>, directory: string | undefined) {
    this.#root = root;
    this.#directory = directory;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.#root.get(key);
    return value === undefined ? undefined : new Uint8Array(value);
  }

  range(
    start: Uint8Array,
    end: Uint8Array | undefined,
    limit: number,
  ): (readonly [Uint8Array, Uint8Array])[] {
    const found: [Uint8Array, Uint8Array][] = [];
    const borders = { end: end ?? BEHIND_ALL, limit, ...(start.length > 0 ? { start } : {}) };
    for (const { key, value } of this.#root.getRange(borders))
      found.push([new Uint8Array(key), new Uint8Array(value)]);
    return found;
  }

  apply(changes: readonly MirrorChange[]): void {
    this.#root.transactionSync(() => {
      for (const { key, value } of changes) {
        if (value === undefined) this.#root.removeSync(key);
        else this.#root.putSync(key, value as Buffer);
      }
    });
  }

  async close(): Promise<void> {
    await this.#root.close();
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }
}

/**
 * What must change in the mirror so that it holds, from `start` to `end`, these entries and no others.
 *
 * @param entries in the order of their keys
 * @param end the first key behind; undefined behind all keys
 */
export function* differences(
  mirror: StateMirror,
  entries: readonly (readonly [Uint8Array, Uint8Array])[],
  start: Uint8Array,
  end: Uint8Array | undefined,
): Generator<MirrorChange> {
  let at = 0;
  for (const [key, value] of mirrored(mirror, start, end)) {
    while (at < entries.length && Buffer.compare(entries[at]![0], key) < 0) yield changeOf(entries[at++]!);
    const entry = entries[at];
    if (entry === undefined || Buffer.compare(entry[0], key) !== 0) {
      yield { key, value: undefined };
    } else {
      at += 1;
      if (Buffer.compare(entry[1], value) !== 0) yield changeOf(entry);
    }
  }
  while (at < entries.length) yield changeOf(entries[at++]!);
}

/** The first key behind `key`. */
export function keyBehind(key: Uint8Array): Uint8Array {
  const behind = new Uint8Array(key.length + 1);
  behind.set(key);
  return behind;
}

function* mirrored(
  mirror: StateMirror,
  start: Uint8Array,
  end: Uint8Array | undefined,
): Generator<readonly [Uint8Array, Uint8Array]> {
  for (let from = start; ; ) {
    const chunk = mirror.range(from, end, CHUNK_ENTRIES);
    yield* chunk;
    if (chunk.length < CHUNK_ENTRIES) return;
    from = keyBehind(chunk.at(-1)![0]);
  }
}

function changeOf([key, value]: readonly [Uint8Array, Uint8Array]): MirrorChange {
  return { key, value };
}
