/** One page of the answer to STATUS: the nodes from a cursor on, as many as fit a body. */

import { type NodeStatus, nodeStatusSize } from '../wire/index.ts';
import type { Member } from './membership.ts';

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
