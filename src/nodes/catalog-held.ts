/** What a node holds as the catalog has it: from memory where that knows all, otherwise from the store. */

import { concatBytes } from '../base/bytes.ts';
import { HASH_BYTES } from '../wire/index.ts';
import { type CatalogEntry, decodeEntry, hasReplica } from './catalog-entry.ts';
import type { CatalogIndex } from './catalog-index.ts';
import type { StateStore } from './ports.ts';
import { KEY_STEP, OBJECT_END, OBJECT_PREFIX } from './state-keys.ts';

/** Entries that are read from the store in one go: this long nothing else runs. */
export const PAGE_ENTRIES_MAX = 1_024;
/** What a part of the index counts for, beside entries that are read one by one. */
const SCAN_UNITS = 128;
/** Behind every hash that begins with a given half. */
const TAG_END = new Uint8Array(HASH_BYTES / 2 + 1).fill(255);
/** Objects that share the first half of their hash: none do by chance. */
const TAG_ENTRIES_MAX = 16;

/** Whether an object is asked about; told its hash, or the first half of it. */
export type HashFilter = (hash: Uint8Array) => boolean;

/** An object that a node holds. */
export interface HeldObject {
  readonly hash: Uint8Array;
  readonly entry: CatalogEntry;
}

/** What the node of this id and number holds, as far as it is asked about; the index must know all. */
export async function* heldInMemory(
  state: StateStore,
  index: CatalogIndex,
  { nodeId, number }: { readonly nodeId: Uint8Array; readonly number: number },
  pause: (entries: number) => Promise<void>,
  isAsked: HashFilter,
): AsyncIterable<HeldObject> {
  for (let from: number | undefined = 0; from !== undefined; await pause(SCAN_UNITS)) {
    const wanted: Uint8Array[] = [];
    from = index.scan(from, (tag) => {
      if (index.isReplica(number) && isAsked(tag)) wanted.push(tag.slice());
    });
    // The store knows the whole hash.
    for (const tag of wanted) {
      const start = concatBytes(OBJECT_PREFIX, tag);
      for (const [key, value] of state.range(start, concatBytes(start, TAG_END), TAG_ENTRIES_MAX)) {
        const entry = decodeEntry(value);
        if (hasReplica(entry, nodeId)) yield { hash: key.slice(1), entry };
      }
    }
  }
}

/** The same from the state store. */
export async function* heldInStore(
  state: StateStore,
  nodeId: Uint8Array,
  pause: (entries: number) => Promise<void>,
  isAsked: HashFilter,
): AsyncIterable<HeldObject> {
  for await (const { hash, entry } of allInStore(state, pause, isAsked)) {
    if (hasReplica(entry, nodeId)) yield { hash, entry };
  }
}

/** All objects of the state store that are asked about, whoever holds them. */
export async function* allInStore(
  state: StateStore,
  pause: (entries: number) => Promise<void>,
  isAsked: HashFilter = () => true,
): AsyncIterable<HeldObject> {
  for (let start: Uint8Array = OBJECT_PREFIX; ; await pause(PAGE_ENTRIES_MAX)) {
    let entries = 0;
    for (const [key, value] of state.range(start, OBJECT_END, PAGE_ENTRIES_MAX)) {
      entries += 1;
      // The least key behind this one.
      start = concatBytes(key, KEY_STEP);
      const hash = key.slice(1);
      if (isAsked(hash)) yield { hash, entry: decodeEntry(value) };
    }
    if (entries < PAGE_ENTRIES_MAX) return;
  }
}
