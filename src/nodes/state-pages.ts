/** Reading much of the state without holding everything else up. */

import { concatBytes } from '../base/bytes.ts';
import { micros } from '../base/units.ts';
import type { Clock, StateStore } from './ports.ts';
import { sleep } from './roles.ts';
import { KEY_STEP } from './state-keys.ts';

/** Entries that are read in one turn. */
export const PAGE_ENTRIES_MAX = 512;

/**
 * Shows `onEntry` what stands in a range, page by page: the first page in this turn, so that a small range is
 * read when this returns. What changes meanwhile behind the page that was read is for a watcher to tell.
 * Resolves early when `signal` aborts.
 */
export async function readPages(
  {
    clock,
    state,
    signal,
  }: { readonly clock: Clock; readonly state: StateStore; readonly signal: AbortSignal },
  range: { readonly start: Uint8Array; readonly end: Uint8Array },
  onEntry: (key: Uint8Array, value: Uint8Array) => void,
): Promise<void> {
  for (let { start } = range; !signal.aborted; ) {
    let entries = 0;
    for (const [key, value] of state.range(start, range.end, PAGE_ENTRIES_MAX)) {
      entries += 1;
      start = key;
      onEntry(key, value);
    }
    if (entries < PAGE_ENTRIES_MAX) return;
    start = concatBytes(start, KEY_STEP);
    await sleep(clock, micros(0), signal);
  }
}
