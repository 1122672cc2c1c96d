/**
 * Whose replicas count [REP-2]: those of nodes that are up and stay, and, for a while, of nodes that went.
 *
 * That while is counted by the leader's own clock, from when it first saw that a node was away: a new leader
 * grants it anew, and no wall clock that is set shortens it. Pure: time is an argument.
 */

import { toHex } from '../base/bytes.ts';
import { type Micros, micros } from '../base/units.ts';
import { type CatalogEntry, WANTED_UNKNOWN, wantedReplicas } from './catalog-entry.ts';
import type { Member, Membership } from './membership.ts';
import type { Connection } from './ports.ts';

/** How one member was seen last. */
interface Seen {
  awaySince: Micros | undefined;
  counts: boolean;
  isHere: boolean;
  isDraining: boolean;
  /** Its session: another one says that it was away, however shortly. */
  connection: Connection | undefined;
}

const NEVER_SEEN: Seen = {
  awaySince: undefined,
  counts: true,
  isHere: false,
  isDraining: false,
  connection: undefined,
};

/** What is to be done about an object. */
export interface Plan {
  /** Replicas that count. */
  readonly counting: number;
  /** Replicas that are to be added, where somebody is here who has the object. */
  readonly missing: number;
  /** Nodes that are here, hold it, and may be read from. */
  readonly sources: readonly Member[];
  /** Those of them that stay. */
  readonly staying: readonly Member[];
  /** Nodes whose replicas are not needed, the one to go first in front. */
  readonly surplus: readonly Member[];
  /** Whether `surplus` are nodes that want to leave: then nothing is to be waited for. */
  readonly isLeaving: boolean;
  /** Replicas of nodes that are not here and do not count. */
  readonly absent: readonly Uint8Array[];
}

export class Attendance {
  readonly #members: Membership;
  readonly #delay: Micros;
  readonly #hasTold: (member: Member) => boolean;
  readonly #seen = new Map<Member, Seen>();
  #allCount = true;

  /**
   * @param delay So long replicas count whose node went [REP-2].
   * @param hasTold Whether a member is here, and has told what it holds.
   */
  constructor(members: Membership, delay: Micros, hasTold: (member: Member) => boolean) {
    this.#members = members;
    this.#delay = delay;
    this.#hasTold = hasTold;
  }

  /** Whether the replicas of every member counted when they were looked at last. */
  get allCount(): boolean {
    return this.#allCount;
  }

  /** Looks at all members; those whose objects may have too few or too many replicas from now on. */
  look(now: Micros): Member[] {
    const { all } = this.#members;
    const changed: Member[] = [];
    let allCount = true;
    for (const member of all) {
      const before = this.#seen.get(member);
      const seen = this.#see(member, before, now);
      this.#seen.set(member, seen);
      if (!seen.counts) allCount = false;
      const { counts, isHere, isDraining, connection } = before ?? NEVER_SEEN;
      const isWorse = counts && !seen.counts;
      // What was committed while it was away could not be copied from it.
      const isBack = seen.isHere && !(isHere && seen.connection === connection);
      if (isWorse || isBack || isDraining !== seen.isDraining) changed.push(member);
    }
    if (this.#seen.size > all.length) {
      const known = new Set(all);
      for (const member of this.#seen.keys()) if (!known.has(member)) this.#seen.delete(member);
    }
    this.#allCount = allCount;
    return changed;
  }

  #see(member: Member, before: Seen | undefined, now: Micros): Seen {
    const awaySince = member.isUp ? undefined : (before?.awaySince ?? now);
    const isGrace = awaySince === undefined || now < micros(awaySince + this.#delay);
    const isDraining = member.draining;
    const { connection } = member;
    return {
      ...{ awaySince, counts: !isDraining && isGrace },
      ...{ isHere: this.#hasTold(member), isDraining, connection },
    };
  }

  /** What an object lacks, or has too much of. */
  plan(entry: CatalogEntry): Plan {
    const sources: Member[] = [];
    const staying: Member[] = [];
    const leaving: Member[] = [];
    const absent: Uint8Array[] = [];
    let counting = 0;
    for (const nodeId of entry.replicas) {
      const member = this.#members.get(nodeId);
      const counts = member !== undefined && this.#counts(member);
      if (counts) counting += 1;
      if (member?.connection === undefined) {
        if (!counts) absent.push(nodeId);
        continue;
      }
      sources.push(member);
      // What a node that just joined holds is not sure yet.
      if (this.#hasTold(member)) (member.draining ? leaving : staying).push(member);
    }
    const wanted = wantedReplicas(entry);
    const missing = sources.length === 0 ? 0 : Math.max(0, wanted - counting);
    const isLeaving = leaving.length > 0 && staying.length >= wanted;
    const isTooMany = entry.wanted !== WANTED_UNKNOWN && staying.length > wanted;
    const surplus = isLeaving ? leaving : isTooMany ? fullestFirst(staying) : [];
    return { counting, missing, sources, staying, surplus, isLeaving, absent };
  }

  #counts(member: Member): boolean {
    if (member.draining) return false;
    // One that has just come, or is back, was not seen since.
    return member.isUp || (this.#seen.get(member)?.counts ?? true);
  }
}

/** The one with the least free share first; which one of equals does not depend on the order of replicas. */
function fullestFirst(members: readonly Member[]): Member[] {
  const freeShare = ({ quotaBytes, freeBytes }: Member): number =>
    quotaBytes === 0 ? 0 : freeBytes / quotaBytes;
  return [...members].sort(
    (left, right) =>
      freeShare(left) - freeShare(right) || (toHex(left.nodeId) < toHex(right.nodeId) ? -1 : 1),
  );
}
