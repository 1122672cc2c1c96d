/** One page of the answer to STATUS: the nodes from a cursor on, as many as fit a body. */

import { BODY_BYTES_MAX, type NodeStatus, nodeStatusSize, STATUS_FIXED_BYTES } from '../wire/index.ts';
import type { Member } from './membership.ts';

/** The nodes from index `cursor` on that fit one reply; none where the cursor stands behind the last. */
export function statusPage(members: readonly Member[], cursor: number): readonly NodeStatus[] {
  const page: NodeStatus[] = [];
  let room = BODY_BYTES_MAX - STATUS_FIXED_BYTES;
  for (const { status } of members.slice(cursor)) {
    room -= nodeStatusSize(status);
    if (room < 0) break;
    page.push(status);
  }
  return page;
}
