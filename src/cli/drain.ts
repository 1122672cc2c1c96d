/** `gramline node --drain`: stays until all objects of the node are elsewhere, then says so [REP-6]. */

import { setTimeout as pause } from 'node:timers/promises';
import { toHex } from '../base/bytes.ts';
import type { StorageNode } from '../nodes/node.ts';
import { NodeState } from '../wire/index.ts';
import { type ClusterOptions, withOpenClient } from './options.ts';
import { formatCount, print, printJson, remark } from './output.ts';

/** How often the node looks what it still holds. */
const LOOK_MILLIS = 500;
/** After so long without an object less it looks why, and says so; again each time. */
const STALLED_MILLIS = 15_000;

/**
 * Resolves when `node`, which drains, holds nothing any more, or `signal` aborts. The leader takes an object away
 * only when enough others have it, and one that waits to be settled counts until it is.
 */
export async function drain(node: StorageNode, options: ClusterOptions, signal: AbortSignal): Promise<void> {
  const { objects } = node;
  let left = objects;
  let changedAt = performance.now();
  while (node.objects > 0) {
    await pause(LOOK_MILLIS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    const now = performance.now();
    if (node.objects < left) [left, changedAt] = [node.objects, now];
    if (now - changedAt < STALLED_MILLIS) continue;
    changedAt = now;
    remark(`${formatCount(node.objects, 'object')} left; ${await whyStalled(node, options)}`);
  }
  const count = `${formatCount(objects, 'object')} ${objects === 1 ? 'is' : 'are'}`;
  if (options.json === true) printJson({ drained: true, objects });
  else print(`drained: ${count} elsewhere; this directory can be removed`);
}

/** What keeps objects from leaving, as far as the cluster tells. */
async function whyStalled(node: StorageNode, options: ClusterOptions): Promise<string> {
  try {
    const { nodes } = await withOpenClient(options, (client) => client.status());
    const own = toHex(node.nodeId);
    const takers = nodes.filter(({ id, state }) => id !== own && state === NodeState.UP);
    if (takers.length === 0) return 'no other node takes objects: start one; waiting';
    return `waiting until other nodes have them all: ${formatCount(takers.length, 'node')} can take objects`;
  } catch (error) {
    return `waiting, and no coordinator says why: ${String(error)}`;
  }
}
