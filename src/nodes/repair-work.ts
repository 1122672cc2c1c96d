/**
 * How repair sees to one object: one replica more, by COPY, or one fewer, by a check and DELETE. Which objects,
 * and when, is `repair.ts`.
 *
 *   one more:  space promised -- COPY --> receipt -- not removed or deleted since --> committed
 *   one fewer: one that stays checked -- still too many, order decided on --> struck, durably --> DELETE
 *
 * An order is decided on before the replica is struck, and sent when that is durable, so that a commit which
 * meets it knows [DEFS-24].
 */

import { equalBytes } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark, marked } from '../base/marks.ts';
import { type Micros, seconds } from '../base/units.ts';
import {
  type CopyQuery,
  copyQuery,
  encodeMessage,
  QueryKind,
  REPLICAS_MAX,
  storeReply,
  TOKEN_BYTES,
} from '../wire/index.ts';
import type { Admission } from './admission.ts';
import type { Attendance, Plan } from './attendance.ts';
import type { Catalog } from './catalog.ts';
import { type CatalogEntry, hasReplica, WANTED_UNKNOWN } from './catalog-entry.ts';
import type { DeletionOrder } from './deletions.ts';
import { accountedBytes, type Member, type Membership } from './membership.ts';
import { choosePlaces } from './placement.ts';
import type { Clock, Entropy } from './ports.ts';
import type { Receipts } from './receipts.ts';
import { readReply } from './roles.ts';

/** A copy takes as long as its bytes; a node that is gone is noticed by its session. */
const COPY_TIMEOUT_MICROS: Micros = seconds(24 * 3_600);

export interface RepairWorkOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly admission: Admission;
  readonly receipts: Receipts;
  readonly attendance: Attendance;
  /** Ends all. */
  readonly signal: AbortSignal;
}

/** What came of seeing to an object: look at it again at once, or only after a while. */
export type Outcome = 'copied' | 'again' | 'later';

export class RepairWork {
  readonly #options: RepairWorkOptions;

  constructor(options: RepairWorkOptions) {
    this.#options = options;
  }

  /** Where one more replica of an object may go; undefined where no node takes it. */
  placeFor(hash: Uint8Array, entry: CatalogEntry): Member | undefined {
    const { members, admission, entropy } = this.#options;
    const takers = members.all.filter((member) => {
      if (!member.takes || !admission.hasTold(member) || hasReplica(entry, member.nodeId)) return false;
      return !admission.deletions.isRunning(member.nodeId, hash);
    });
    return choosePlaces(takers, accountedBytes(entry.bytes), 1, () => entropy.fraction())[0];
  }

  /** One more replica of an object, at `target`, whose space is promised meanwhile. */
  async copy(hash: Uint8Array, entry: CatalogEntry, plan: Plan, target: Member): Promise<Outcome> {
    const { clock, entropy, admission, catalog, signal } = this.#options;
    const now = clock.now();
    if (entry.replicas.length >= REPLICAS_MAX) return this.#makeRoom(hash, plan);
    const { bytes } = entry;
    const accounted = accountedBytes(bytes);
    const sources = inAnyOrder(plan.sources, () => entropy.fraction()).map(({ location }) => location);
    const token = entropy.bytes(TOKEN_BYTES);
    target.reservedBytes += accounted;
    let isStored: boolean;
    try {
      isStored = await this.#ask(target, { token, hash, bytes, sources });
    } finally {
      // A term that is over has no reservations.
      if (!signal.aborted) target.reservedBytes -= accounted;
    }
    if (!isStored || signal.aborted) return 'later';
    target.freeBytes = Math.max(0, target.freeBytes - accounted);
    const { nodeId } = target;
    const isVoid = (): boolean => {
      // [DEFS-24] What was removed, or ordered to be deleted since, is not brought back.
      const isGone = catalog.lookup(hash) === undefined;
      return isGone || signal.aborted || admission.deletions.touched(nodeId, hash, now);
    };
    const change = {
      hash,
      bytes,
      replicas: [nodeId],
      wanted: WANTED_UNKNOWN,
      nowMillis: clock.wallMillis(),
      token,
    };
    const outcome = await catalog.commit(change, isVoid);
    if (outcome === 'void') return 'again';
    return marked('repair-copied', 'copied');
  }

  /** An entry that names as many replicas as one can, some of them not here, loses one of these. */
  async #makeRoom(hash: Uint8Array, { absent }: Plan): Promise<Outcome> {
    const [nodeId] = absent;
    if (nodeId === undefined) return 'later';
    const isStruck = await this.#strike(hash, nodeId, (again) => {
      return again.missing > 0 && again.absent.some((other) => equalBytes(other, nodeId));
    });
    return isStruck ? 'again' : 'later';
  }

  /** One replica fewer of an object [REP-5]. */
  async thin(hash: Uint8Array, { bytes }: CatalogEntry, plan: Plan): Promise<Outcome> {
    const { entropy, catalog, signal } = this.#options;
    const [victim] = plan.surplus;
    const [witness] = inAnyOrder(
      plan.staying.filter((member) => member !== victim),
      () => entropy.fraction(),
    );
    if (victim === undefined || witness === undefined) return 'later';
    const { revision } = catalog;
    const token = entropy.bytes(TOKEN_BYTES);
    try {
      if (!(await this.#ask(witness, { token, hash, bytes, sources: [] }))) return 'later';
    } catch (error) {
      const isGone =
        isGramlineError(error, 'GRAMLINE_NOT_FOUND') || isGramlineError(error, 'GRAMLINE_CORRUPT');
      if (!isGone || signal.aborted) throw error;
      // It does not hold what it was taken to hold.
      await catalog.removeReplica(hash, witness.nodeId, revision);
      return 'again';
    }
    if (signal.aborted) return 'later';
    const isStruck = await this.#strike(hash, victim.nodeId, (again) => {
      return again.surplus.includes(victim) && again.staying.includes(witness) && victim !== witness;
    });
    if (isStruck) mark(plan.isLeaving ? 'repair-drained' : 'repair-thinned');
    return isStruck ? 'again' : 'later';
  }

  /**
   * Asks a node for a copy, or, without sources, for a check [REP-4]. False when what it answers proves nothing.
   * Rejects with what it refuses it by.
   */
  async #ask({ connection, nodeId }: Member, message: CopyQuery): Promise<boolean> {
    if (connection === undefined) throw new GramlineError('GRAMLINE_CLOSED', 'the node is gone');
    // At the end of the term the session ends, and the question with it.
    const reply = await connection.query(QueryKind.COPY, encodeMessage(copyQuery, message), {
      timeoutMicros: COPY_TIMEOUT_MICROS,
    });
    const what = message.sources.length > 0 ? 'copying an object' : 'checking an object';
    const { hash, receipt } = readReply(reply, storeReply, what);
    const { token, bytes } = message;
    return (
      equalBytes(hash, message.hash) && this.#options.receipts.check({ nodeId, token, hash, bytes }, receipt)
    );
  }

  /** Takes a replica out of the catalog where `may` still holds, and has its node delete it. */
  async #strike(hash: Uint8Array, nodeId: Uint8Array, may: (again: Plan) => boolean): Promise<boolean> {
    const { catalog, admission, attendance } = this.#options;
    let order: DeletionOrder | undefined;
    const takeBack = (): void => {
      order?.takeBack();
      order = undefined;
    };
    try {
      const isStruck = await catalog.removeReplica(hash, nodeId, undefined, (entry) => {
        takeBack();
        if (!may(attendance.plan(entry))) return false;
        // [DEFS-24] Decided on before the replica is struck: a commit that comes meanwhile must know.
        order = admission.deletions.start(nodeId, hash);
        return order !== undefined;
      });
      if (!isStruck) {
        takeBack();
        return false;
      }
    } catch (error) {
      // It may have been struck: whether it was is looked at when the order is given again.
      if (order !== undefined) admission.deletions.keep(nodeId, hash);
      takeBack();
      throw error;
    }
    admission.tellToDelete(nodeId, hash, order);
    return true;
  }
}

function inAnyOrder<Item>(items: readonly Item[], fraction: () => number): Item[] {
  const left = [...items];
  const mixed: Item[] = [];
  while (left.length > 0) mixed.push(...left.splice(Math.floor(fraction() * left.length), 1));
  return mixed;
}
