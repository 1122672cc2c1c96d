/** One page of the answer to STATUS: the nodes from a cursor on, as many as fit a body. */

import { type NodeStatus, nodeStatusSize } from '../wire/index.ts';
import type { Member } from './membership.ts';

/** By name, then id: the same order at all coordinators, so that an asker may go on at another one [MSG-5]. */
export function inOrder(members: readonly Member[]): readonly Member[] {
  return members.toSorted((left, right) => {
    if (left.name !== right.name) return left.name < right.name ? -1 : 1;
    return Buffer.compare(left.nodeId, right.nodeId);
  });
}

/** The nodes from index `cursor` on that fit into `roomBytes`; none where the cursor stands behind the last. */
export function statusPage(
  members: readonly Member[],
  cursor: number,
  roomBytes: number,
): readonly NodeStatus[] {
  const page: NodeStatus[] = [];
  let room = roomBytes;
  for (const { status } of members.slice(cursor)) {
    room -= nodeStatusSize(status);
    if (room < 0) break;
    page.push(status);
  }
  return page;
}
