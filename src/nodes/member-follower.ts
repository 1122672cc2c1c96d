/**
 * Following who comes, goes and changes, from any coordinator [MEM-3]: one question that waits for news, asked
 * again behind the last that was told.
 */

import { toHex } from '../base/bytes.ts';
import { type Micros, micros } from '../base/units.ts';
import {
  encodeMessage,
  type MemberChange,
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
/** Behind all changes of one revision. */
const EVERYBODY = new Uint8Array(NODE_ID_BYTES).fill(255);

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
  /** The last change that is known. */
  #after = 0;
  #afterId: Uint8Array = NOBODY;
  /** While all are listed: revision at which that began, and who has not been named yet. */
  #listing: { from: number | undefined; readonly unnamed: Set<string> } | undefined = newListing([]);

  constructor(ask: AskMembers) {
    this.#ask = ask;
  }

  /** Those that are known, as they were told last. */
  get members(): readonly ClusterMember[] {
    return [...this.#known.values()];
  }

  /** Resolves to who has changed since the last call, perhaps nobody. Rejects as the question does. */
  async next(): Promise<ClusterMember[]> {
    const waitMillis = this.#listing === undefined ? WAIT_MILLIS : 0;
    const body = encodeMessage(membersQuery, { after: this.#after, afterId: this.#afterId, waitMillis });
    const reply = await this.#ask(body, micros(2 * WAIT_MILLIS * 1_000));
    const { full, revision, members } = readReply(reply, membersReply, 'asking for members');
    if (full) {
      this.#listing = newListing(this.#known.keys());
      [this.#after, this.#afterId] = [0, NOBODY];
      return [];
    }
    const changes: ClusterMember[] = [];
    for (const change of members) {
      // Who went before this one came is no news.
      if (change.state !== NodeState.GONE || this.#known.has(toHex(change.nodeId)))
        changes.push(this.#take(change));
    }
    const last = members.at(-1);
    if (this.#listing !== undefined) this.#listing.from ??= revision;
    if (last !== undefined) [this.#after, this.#afterId] = [last.changed, last.nodeId];
    else changes.push(...this.#endOfPage(revision));
    return changes;
  }

  /** A page with nobody: all up to here is known. Those whom no page of a list has named are gone. */
  #endOfPage(revision: number): ClusterMember[] {
    const { from = revision, unnamed = new Set<string>() } = this.#listing ?? {};
    this.#listing = undefined;
    // Who went while the list was made is asked for from its beginning.
    [this.#after, this.#afterId] = [from, EVERYBODY];
    return [...unnamed].map((id) => this.#forget(id));
  }

  #take({ nodeId, name, address, incarnation, state }: MemberChange): ClusterMember {
    const id = toHex(nodeId);
    const member = { id, name, address, incarnation, state };
    this.#listing?.unnamed.delete(id);
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

function newListing(known: Iterable<string>): { from: number | undefined; readonly unnamed: Set<string> } {
  return { from: undefined, unnamed: new Set(known) };
}
