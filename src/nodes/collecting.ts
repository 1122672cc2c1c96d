/** Nodes that have been away for long are no members any more, and their replicas are struck [MEM-5]. */

import { type Micros, micros, millis } from '../base/units.ts';
import type { Catalog } from './catalog.ts';
import { Changes } from './inventory.ts';
import { LeaseTable } from './leases.ts';
import type { MemberBook } from './member-book.ts';
import { type Member, type Membership, NODES_MAX } from './membership.ts';
import type { Pace } from './pace.ts';
import type { Clock, Log } from './ports.ts';

/** A node that is away for longer is no member any more [MEM-5]. */
export const COLLECT_MILLIS = 24 * 3_600_000;
/** At least so long after a leader first sees that it is away. */
export const COLLECT_MILLIS_MIN = 10 * 60_000;

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

export class Collecting {
  readonly #options: CollectOptions;
  /** Nodes that are away: each is a member until its lease is over. */
  readonly #absences = new LeaseTable<Member>(NODES_MAX, ({ value }) => this.#due.push(value));
  readonly #due: Member[] = [];

  constructor(options: CollectOptions) {
    this.#options = options;
  }

  /** Looks who is away, and collects those that are due. */
  async sweep(): Promise<void> {
    const { members, clock, signal } = this.#options;
    for (const member of members.all) {
      if (!isAway(member)) this.#absences.finish(member.nodeId);
      else if (this.#absences.get(member.nodeId) === undefined)
        this.#absences.hold(member.nodeId, '', this.#dueAt(member), member);
    }
    this.#absences.expire(clock.now());
    for (let next = this.#due.shift(); next !== undefined && !signal.aborted; next = this.#due.shift()) {
      if (isAway(next)) await this.#collect(next);
    }
  }

  /**
   * What remains is told by the wall clock once, when this term first sees the node away: setting that clock later
   * changes nothing, and before that it leaves some minutes in which a node may come back.
   */
  #dueAt({ sinceMillis }: Member): Micros {
    const { clock } = this.#options;
    const left = COLLECT_MILLIS - (clock.wallMillis() - sinceMillis);
    return micros(clock.now() + millis(Math.min(COLLECT_MILLIS, Math.max(COLLECT_MILLIS_MIN, left))));
  }

  async #collect(member: Member): Promise<void> {
    const { catalog, log, pace, book, signal } = this.#options;
    const strikes = new Changes(pace);
    for await (const { hash } of catalog.heldBy(member.nodeId, (units) => pace.take(units))) {
      if (signal.aborted || !isAway(member)) break;
      await strikes.add(() => catalog.removeReplica(hash, member.nodeId));
    }
    const struck = await strikes.end();
    if (signal.aborted || !isAway(member)) return;
    log.warn('a node that has been away for long is forgotten', { name: member.name, struck });
    book.strike(member);
  }
}

function isAway(member: Member): boolean {
  return !member.isUp && member.connection === undefined;
}
