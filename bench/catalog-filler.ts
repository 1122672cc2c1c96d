/**
 * Where a catalog of millions of objects comes from. Storing them through a client would take hours: this
 * writes what a coordinator's state directory would hold, before a coordinator opens it.
 */

import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { concatBytes, toHex } from '../src/base/bytes.ts';
import { encodeEntry, NO_TOKEN } from '../src/nodes/catalog-entry.ts';
import type { StateOperation } from '../src/nodes/ports.ts';
import { OBJECT_PREFIX } from '../src/nodes/state-keys.ts';
import { openStateStore } from '../src/store/index.ts';

export interface Filling {
  /** Of the coordinator; it does not exist yet, and nobody has it open. */
  readonly stateDirectory: string;
  readonly objects: number;
  /** The node on which all objects are said to lie, 16 bytes. */
  readonly nodeId: Uint8Array;
  /** Where the hashes of 10,000 of the objects (all, if fewer) are to be written: hex, one a line. */
  readonly samplePath: string;
}

const SAMPLE_OBJECTS = 10_000;
const OBJECTS_PER_COMMIT = 500;
const COMMITS_AT_ONCE = 8;
/** Later than the session of any node: its inventory, which is empty, strikes older entries [DEFS-12]. */
const LATE_REVISION = 2 ** 46;
const OBJECT_BYTES = 64;

/** Fills the directory. Ten million objects take a minute or two. */
export async function fillCatalog(filling: Filling): Promise<void> {
  const { objects, nodeId } = filling;
  const entropy = (count: number): Uint8Array => new Uint8Array(randomBytes(count));
  const state = await openStateStore({ directory: filling.stateDirectory, entropy });
  const value = encodeEntry({
    bytes: OBJECT_BYTES,
    createdMillis: Date.now(),
    revision: LATE_REVISION,
    requests: 0,
    expiresMillis: 0,
    wanted: 2,
    madeBy: NO_TOKEN,
    replicas: [nodeId],
  });
  const sample: string[] = [];
  const sampleEvery = Math.max(1, Math.ceil(objects / SAMPLE_OBJECTS));
  let underWay: Promise<unknown>[] = [];
  for (let first = 0; first < objects; first += OBJECTS_PER_COMMIT) {
    const operations: StateOperation[] = [];
    for (let at = first; at < Math.min(objects, first + OBJECTS_PER_COMMIT); at++) {
      // In the order of keys, which the store takes soonest.
      const hash = randomBytes(32);
      hash.writeUIntBE(Math.floor((at / objects) * 2 ** 48), 0, 6);
      if (at % sampleEvery === 0) sample.push(toHex(hash));
      operations.push({ key: concatBytes(OBJECT_PREFIX, hash), value });
    }
    underWay.push(state.commit([], operations));
    if (underWay.length < COMMITS_AT_ONCE) continue;
    await Promise.all(underWay);
    underWay = [];
  }
  await Promise.all(underWay);
  await state.close();
  await writeFile(filling.samplePath, sample.join('\n'));
}
