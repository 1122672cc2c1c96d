/**
 * The directory of an object store: where its files stand, who it is (`node.json`), what is in it,
 * and the markers of pending objects. All functions here are about files; the accounting is in
 * `object-store.ts`.
 *
 * ```text
 * node.json         format version, node id, incarnation
 * in-use.*          who holds the directory (directory-lock.ts)
 * objects/ab/HASH   visible objects (object-file.ts); ab = first two digits of HASH
 * pending/HASH      an object of that name waits to be settled: token and time
 * temporary/        objects and markers being written; emptied at each start
 * quarantine/HASH   objects that failed their check
 * ```
 */

import { join } from 'node:path';
import { fromHex, toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import type { Log } from '../nodes/ports.ts';
import { HASH_BYTES, NODE_ID_BYTES } from '../wire/constants.ts';
import { type FileSystem, isMissing, removeIfPresent, replaceFile, syncDirectory } from './durable-files.ts';
import { objectBytesOf } from './object-file.ts';

/** Version of the directory's layout. A change that an older Gramline would misread raises it. */
export const DIRECTORY_FORMAT = 1;

const IDENTITY_FILE = 'node.json';

/** Files whose lengths are asked for at once while the directory is listed. */
const STATS_AT_ONCE = 32;

/** Temporary files that this process has made, in all its stores. */
let temporariesMade = 0;

export interface NodeIdentity {
  readonly nodeId: Uint8Array;
  readonly incarnation: number;
}

export interface Marker {
  readonly token: Uint8Array;
  readonly storedMillis: number;
}

export class StoreDirectory {
  readonly path: string;
  readonly fs: FileSystem;
  readonly #log: Log | undefined;
  /** Directories under `objects/` that exist: at most 256. */
  readonly #prefixes = new Set<string>();

  constructor(path: string, fs: FileSystem, log: Log | undefined) {
    this.path = path;
    this.fs = fs;
    this.#log = log;
  }

  objectPath(name: string): string {
    return join(this.path, 'objects', name.slice(0, 2), name);
  }

  get quarantinePath(): string {
    return join(this.path, 'quarantine');
  }

  /** A name that no other store of this directory takes, past or future, while this process lives. */
  temporaryPath(): string {
    temporariesMade++;
    return join(this.path, 'temporary', `${process.pid}.${temporariesMade}`);
  }

  /** Makes what is missing and removes what an earlier start left half-done. */
  async prepare(): Promise<void> {
    for (const name of ['objects', 'pending', 'temporary', 'quarantine'])
      await this.fs.mkdir(join(this.path, name), { recursive: true });
    await syncDirectory(this.fs, this.path);
    const leftovers = await this.fs.readdir(join(this.path, 'temporary'));
    for (const name of leftovers) await removeIfPresent(this.fs, join(this.path, 'temporary', name));
    if (leftovers.length > 0) this.#log?.info('removed unfinished objects', { count: leftovers.length });
  }

  /** Who this node is; undefined at the first start. Refuses a directory of a newer Gramline. */
  async readIdentity(): Promise<NodeIdentity | undefined> {
    const path = join(this.path, IDENTITY_FILE);
    try {
      return parseIdentity(await this.fs.readFile(path, 'utf8'), path);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async writeIdentity(identity: NodeIdentity): Promise<void> {
    const { nodeId, incarnation } = identity;
    const text = JSON.stringify({ format: DIRECTORY_FORMAT, nodeId: toHex(nodeId), incarnation });
    await replaceFile(this.fs, join(this.path, IDENTITY_FILE), this.temporaryPath(), `${text}\n`);
  }

  /** Calls `onObject` with the name and payload bytes of every object. */
  async listObjects(onObject: (name: string, bytes: number) => void): Promise<void> {
    const objects = join(this.path, 'objects');
    for (const prefix of await this.fs.readdir(objects)) {
      if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
      this.#prefixes.add(prefix);
      const names: string[] = [];
      for (const name of await this.fs.readdir(join(objects, prefix))) {
        if (isObjectName(name) && name.startsWith(prefix)) names.push(name);
        else this.#log?.warn('a file among the objects is none', { file: join(objects, prefix, name) });
      }
      for (let at = 0; at < names.length; at += STATS_AT_ONCE) {
        const group = names.slice(at, at + STATS_AT_ONCE);
        const stats = await Promise.all(group.map((name) => this.fs.stat(join(objects, prefix, name))));
        for (const [index, name] of group.entries()) onObject(name, objectBytesOf(stats[index]!.size));
      }
    }
  }

  /** Makes the sealed file at `temporaryPath` the object `name`, durably. */
  async publish(name: string, temporaryPath: string): Promise<void> {
    const prefix = name.slice(0, 2);
    const directory = join(this.path, 'objects', prefix);
    if (!this.#prefixes.has(prefix)) {
      await this.fs.mkdir(directory, { recursive: true });
      await syncDirectory(this.fs, join(this.path, 'objects'));
      this.#prefixes.add(prefix);
    }
    await this.fs.rename(temporaryPath, this.objectPath(name));
    await syncDirectory(this.fs, directory);
  }

  /** Removes the object's file durably. */
  async removeObject(name: string): Promise<void> {
    if (await removeIfPresent(this.fs, this.objectPath(name)))
      await syncDirectory(this.fs, join(this.path, 'objects', name.slice(0, 2)));
  }

  /** Moves the object's file to the quarantine, over an earlier one of that name. */
  async quarantineObject(name: string): Promise<void> {
    try {
      await this.fs.rename(this.objectPath(name), join(this.quarantinePath, name));
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    await syncDirectory(this.fs, join(this.path, 'objects', name.slice(0, 2)));
    await syncDirectory(this.fs, this.quarantinePath);
  }

  async writeMarker(name: string, marker: Marker): Promise<void> {
    const text = JSON.stringify({ token: toHex(marker.token), storedMillis: marker.storedMillis });
    await replaceFile(this.fs, join(this.path, 'pending', name), this.temporaryPath(), text);
  }

  async removeMarker(name: string): Promise<void> {
    if (await removeIfPresent(this.fs, join(this.path, 'pending', name)))
      await syncDirectory(this.fs, join(this.path, 'pending'));
  }

  /** The markers of objects that are there; those of objects that never became visible are removed. */
  async readMarkers(isObject: (name: string) => boolean): Promise<Map<string, Marker>> {
    const markers = new Map<string, Marker>();
    for (const name of await this.fs.readdir(join(this.path, 'pending'))) {
      const path = join(this.path, 'pending', name);
      if (!isObject(name)) {
        await removeIfPresent(this.fs, path);
        continue;
      }
      const marker = parseMarker(await this.fs.readFile(path, 'utf8'));
      if (marker !== undefined) markers.set(name, marker);
      // The object stays: an inventory will show whether the cluster wants it.
      else this.#log?.warn('a marker of a pending object is unreadable', { file: path });
    }
    return markers;
  }
}

function isObjectName(name: string): boolean {
  return name.length === HASH_BYTES * 2 && /^[0-9a-f]+$/.test(name);
}

function parseIdentity(text: string, path: string): NodeIdentity {
  const fields = parseFields(text);
  const format = fields?.format;
  if (typeof format === 'number' && format > DIRECTORY_FORMAT) {
    throw new GramlineError(
      'GRAMLINE_INVALID',
      `${path} has format ${format}, and this Gramline knows formats up to ${DIRECTORY_FORMAT}. Start a newer Gramline.`,
    );
  }
  const nodeId = typeof fields?.nodeId === 'string' ? fromHex(fields.nodeId) : undefined;
  const incarnation = fields?.incarnation;
  if (
    format !== DIRECTORY_FORMAT ||
    nodeId?.length !== NODE_ID_BYTES ||
    typeof incarnation !== 'number' ||
    !Number.isSafeInteger(incarnation) ||
    incarnation < 0
  ) {
    throw new GramlineError(
      'GRAMLINE_CORRUPT',
      `${path} is unreadable. Restore it from a backup, or remove it: the node then joins as a new one.`,
    );
  }
  return { nodeId, incarnation };
}

function parseMarker(text: string): Marker | undefined {
  const fields = parseFields(text);
  const token = typeof fields?.token === 'string' ? fromHex(fields.token) : undefined;
  const storedMillis = fields?.storedMillis;
  if (token === undefined || typeof storedMillis !== 'number') return undefined;
  return { token, storedMillis };
}

function parseFields(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    return value as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}
