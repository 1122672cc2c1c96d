/** Whether objects have as many replicas as they are to have [REP-2] [REP-5]: judges `Invariant.REPLICATED`. */

import { toHex } from '../src/base/bytes.ts';
import { decodeEntry, hasReplica, WANTED_UNKNOWN, wantedReplicas } from '../src/nodes/catalog-entry.ts';
import { accountedBytes } from '../src/nodes/membership.ts';
import { OBJECT_END, OBJECT_PREFIX } from '../src/nodes/state-keys.ts';
import type { SimCluster } from './cluster.ts';

/**
 * What repair has left to do, a sentence for each object. Left out is what cannot be repaired: nobody who runs
 * has a copy, no node has the room, or a copy was damaged.
 */
export function unrepaired(cluster: SimCluster, damaged: ReadonlySet<string>): string[] {
  const running = cluster.nodes.filter((node) => node.isRunning);
  const staying = running.filter((node) => !node.isDraining);
  const found: string[] = [];
  for (const [key, value] of cluster.truth.range(OBJECT_PREFIX, OBJECT_END, Number.MAX_SAFE_INTEGER)) {
    const hash = toHex(key.subarray(1));
    if (damaged.has(hash)) continue;
    const entry = decodeEntry(value);
    const holders = running.filter((node) => hasReplica(entry, node.nodeId) && node.holds(hash));
    if (holders.length === 0) continue;
    const counting = holders.filter((node) => !node.isDraining).length;
    const accounted = accountedBytes(entry.bytes);
    const hasRoom = staying.some((node) => !holders.includes(node) && node.store.freeBytes >= accounted);
    const short = hash.slice(0, 12);
    const wanted = wantedReplicas(entry);
    const isTooMany = entry.wanted !== WANTED_UNKNOWN && counting > wanted;
    if (counting < wanted && hasRoom)
      found.push(`${short}: ${counting} replicas count, ${wanted} are wanted`);
    else if (isTooMany || (counting === wanted && holders.length > counting))
      found.push(`${short}: ${holders.length} replicas, ${wanted} are wanted`);
  }
  return found;
}
