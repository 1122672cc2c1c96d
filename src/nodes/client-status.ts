/** The cluster as a coordinator sees it, gathered page by page. */

import { toHex } from '../base/bytes.ts';
import {
  type NodeState,
  RepairKnown,
  type StatusQuery,
  type StatusReply,
  statusReply,
} from '../wire/index.ts';
import type { Reply } from './ports.ts';
import { readReply } from './roles.ts';

export interface ClusterStatus {
  /** The one that answered first. */
  readonly coordinators: readonly {
    readonly address: string;
    readonly leads: boolean;
    readonly answers: boolean;
    readonly offload: boolean;
  }[];
  /** Revision of the state, as the coordinator that answered knows it. */
  readonly revision: number;
  /** Whether that may be old: the shared state is out of its reach. */
  readonly stale: boolean;
  readonly nodes: readonly {
    readonly name: string;
    readonly id: string;
    readonly address: string;
    readonly state: NodeState;
    readonly quotaBytes: number;
    readonly freeBytes: number;
    readonly objects: number;
    readonly offload: boolean;
  }[];
  readonly objects: number;
  readonly bytes: number;
  /** What repair has to do; undefined where the coordinator that answered does not know it. */
  readonly repair: ClusterRepair | undefined;
}

/** Counts of objects. */
export interface ClusterRepair {
  /** With fewer replicas than they are to have: being copied, or waiting for their turn or for a place. */
  readonly missing: number;
  /** Being copied or checked. */
  readonly copying: number;
  /** With replicas to take away. */
  readonly surplus: number;
  /** Whether objects are still being looked through: there may be more. */
  readonly scanning: boolean;
}

/** @param ask asks a coordinator for one page */
export async function askStatus(ask: (query: StatusQuery) => Promise<Reply>): Promise<ClusterStatus> {
  const nodes: ClusterStatus['nodes'][number][] = [];
  let first: StatusReply | undefined;
  for (;;) {
    const page = readReply(await ask({ cursor: nodes.length }), statusReply, 'asking for status');
    first ??= page;
    for (const { nodeId, ...node } of page.nodes) nodes.push({ id: toHex(nodeId), ...node });
    if (nodes.length < page.nodesTotal && page.nodes.length > 0) continue;
    const { revision, stale, objects, bytes } = page;
    return {
      coordinators: first.coordinators,
      revision,
      stale,
      nodes,
      objects,
      bytes,
      repair: repairOf(page),
    };
  }
}

function repairOf({ repair, missing, copying, surplus }: StatusReply): ClusterRepair | undefined {
  if (repair === RepairKnown.UNKNOWN) return undefined;
  return { missing, copying, surplus, scanning: repair === RepairKnown.LOOKING };
}
