/** What becomes of objects that a node stored, and of which it does not know that they were committed [DEFS-10]. */

import { type SettleEntry, Settlement } from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import { hasReplica } from './catalog-entry.ts';

export interface SettlingOptions {
  readonly entries: readonly SettleEntry[];
  /** Who asks. */
  readonly nodeId: Uint8Array;
  readonly catalog: Catalog;
  readonly wallMillis: number;
  /** Whether a commit under this token may still come: of a live reservation, or one that a restart forgot. */
  readonly mayCommit: (token: Uint8Array) => boolean;
  /** Whether the node is being told to delete the object. */
  readonly isDeleting: (hash: Uint8Array) => boolean;
}

/**
 * An answer for each entry, in their order. What is answered drop has been dropped durably.
 *
 * @throws GramlineError as the catalog does when its state refuses a change.
 */
export async function settle(options: SettlingOptions): Promise<Settlement[]> {
  const { entries, catalog, wallMillis } = options;
  const first = entries.map((entry) => settlementOf(options, entry));
  const rescued = await Promise.all(
    entries.map((entry, index) => first[index] === Settlement.DROP && rescue(options, entry)),
  );
  const isDoomed = (index: number): boolean => first[index] === Settlement.DROP && !rescued[index];
  const dropped = entries.filter((_entry, index) => isDoomed(index));
  if (dropped.length > 0) {
    // [DEFS-29] A later leader must not commit them, however late it is asked to.
    const tokens = dropped.map(({ token }) => token);
    await catalog.drop(tokens, wallMillis);
  }
  return entries.map((entry, index) => {
    if (rescued[index]) return Settlement.KEEP;
    // One that was on its way may have come first.
    return isDoomed(index) ? settlementOf(options, entry) : first[index]!;
  });
}

function settlementOf({ catalog, nodeId, mayCommit }: SettlingOptions, entry: SettleEntry): Settlement {
  const known = catalog.lookup(entry.hash);
  if (known !== undefined && hasReplica(known, nodeId)) return Settlement.KEEP;
  return mayCommit(entry.token) ? Settlement.WAIT : Settlement.DROP;
}

/** Keeps a copy that nobody committed where its object has too few: it may be the last one. */
function rescue({ catalog, nodeId, isDeleting }: SettlingOptions, entry: SettleEntry): Promise<boolean> {
  const { token, hash } = entry;
  // What is being deleted may be gone by now.
  return catalog.rescue(hash, nodeId, token, () => !isDeleting(hash));
}
