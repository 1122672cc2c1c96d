/** Nodes that have been away for long are no members any more, and their replicas are struck [MEM-5]. */

import type { Catalog } from './catalog.ts';
import { Changes } from './inventory.ts';
import type { MemberBook } from './member-book.ts';
import type { Member, Membership } from './membership.ts';
import type { Pace } from './pace.ts';
import type { Clock, Log } from './ports.ts';

/** A node that is away for longer is no member any more [MEM-5]. */
export const COLLECT_MILLIS = 24 * 3_600_000;

export interface CollectOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly book: MemberBook;
  readonly pace: Pace;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Collects all nodes that are due. */
export async function collectAbsent(options: CollectOptions): Promise<void> {
  const { members, catalog, clock, log, pace, book, signal } = options;
  const before = clock.wallMillis() - COLLECT_MILLIS;
  const isAway = (member: Member): boolean => !member.isUp && member.connection === undefined;
  for (const member of members.all.filter((known) => isAway(known) && known.sinceMillis <= before)) {
    const strikes = new Changes(pace);
    for await (const { hash } of catalog.heldBy(member.nodeId, (units) => pace.take(units))) {
      if (signal.aborted || !isAway(member)) break;
      await strikes.add(() => catalog.removeReplica(hash, member.nodeId));
    }
    const struck = await strikes.end();
    if (signal.aborted || !isAway(member)) continue;
    log.warn('a node that has been away for long is forgotten', { name: member.name, struck });
    book.strike(member);
  }
}
