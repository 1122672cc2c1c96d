/**
 * Following who comes, goes and changes, from any coordinator [MEM-3]: one question that waits for news, asked
 * again behind the last that was told.
 */

import { toHex } from '../base/bytes.ts';
import { type Micros, micros } from '../base/units.ts';
import {
  encodeMessage,
  type MemberChange,
  type MembersQuery,
  membersQuery,
  membersReply,
  NODE_ID_BYTES,
  NodeState,
} from '../wire/index.ts';
import type { Reply } from './ports.ts';
import { readReply } from './roles.ts';

/** How long a coordinator may wait for news: well within the time that an answer may take. */
const WAIT_MILLIS = 5_000;
const NOBODY = new Uint8Array(NODE_ID_BYTES);

/** A node as the cluster knows it. */
export interface ClusterMember {
  /** 16 bytes in hex. */
  readonly id: string;
  readonly name: string;
  /** `host:port` of its front port. */
  readonly address: string;
  readonly incarnation: number;
  readonly state: NodeState;
}

/** Asks a coordinator for news of members; the reply to MEMBERS. */
export type AskMembers = (body: Uint8Array, timeoutMicros: Micros) => Promise<Reply>;

export class MemberFollower {
  readonly #ask: AskMembers;
  readonly #known = new Map<string, ClusterMember>();
  #place: MembersQuery = { after: 0, afterId: NOBODY, waitMillis: WAIT_MILLIS };
  /** Whom no page has named since all is told anew: who is left at its end is gone. */
  #unnamed: Set<string> | undefined;

  constructor(ask: AskMembers) {
    this.#ask = ask;
  }

  /** Those that are known, as they were told last. */
  get members(): readonly ClusterMember[] {
    return [...this.#known.values()];
  }

  /** Resolves to who has changed since the last call; to nobody when a while has passed. Rejects as the question does. */
  async next(): Promise<ClusterMember[]> {
    const reply = await this.#ask(encodeMessage(membersQuery, this.#place), micros(2 * WAIT_MILLIS * 1_000));
    const { full, members } = readReply(reply, membersReply, 'asking for members');
    if (full) {
      this.#unnamed = new Set(this.#known.keys());
      this.#place = { after: 0, afterId: NOBODY, waitMillis: WAIT_MILLIS };
    }
    const changes: ClusterMember[] = [];
    for (const change of members) {
      // Who went before this one came is no news.
      if (change.state !== NodeState.GONE || this.#known.has(toHex(change.nodeId)))
        changes.push(this.#take(change));
    }
    const last = members.at(-1);
    if (last !== undefined) this.#place = { ...this.#place, after: last.changed, afterId: last.nodeId };
    // A page with nobody ends what is told anew: whoever was not named is gone.
    if (members.length === 0 && this.#unnamed !== undefined) {
      for (const id of this.#unnamed) changes.push(this.#forget(id));
      this.#unnamed = undefined;
    }
    return changes;
  }

  #take({ nodeId, name, address, incarnation, state }: MemberChange): ClusterMember {
    const id = toHex(nodeId);
    const member = { id, name, address, incarnation, state };
    this.#unnamed?.delete(id);
    if (state === NodeState.GONE) this.#known.delete(id);
    else this.#known.set(id, member);
    return member;
  }

  #forget(id: string): ClusterMember {
    const member = { ...this.#known.get(id)!, state: NodeState.GONE };
    this.#known.delete(id);
    return member;
  }
}
