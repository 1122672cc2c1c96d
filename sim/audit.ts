/** What must be true when the faults are over: all that was acknowledged is there, all that was removed is gone. */

import { isGramlineError } from '../src/base/errors.ts';
import { checkTotals, Invariant } from './checkers.ts';
import type { SimClient, SimCluster } from './cluster.ts';
import type { PromiseBook } from './promise-book.ts';

export interface AuditOptions {
  readonly cluster: SimCluster;
  readonly promises: PromiseBook;
  /** Objects of which a copy was damaged. */
  readonly damaged: ReadonlySet<string>;
  /** Objects that clients asked to remove. */
  readonly removed: ReadonlySet<string>;
}

/** Tries of what is refused as busy, or whose session ends. */
const AUDIT_TRIES_MAX = 40;
/** Tries of an object without a replica that counts: its node settles what it holds after two leases [DEFS-10]. */
const SETTLED_TRIES_MAX = 160;
const AUDIT_RETRY_MICROS = 500_000;
/** No mirror is older when all is well. */
const MIRROR_MICROS = 1_000_000;

/** Fetches, by a client of its own, what must be there, and looks for what must be gone. */
export async function auditObjects(options: AuditOptions): Promise<void> {
  const auditor = options.cluster.client();
  for (const hash of options.promises.known) {
    // A copy that is damaged and not yet deleted stays what the node holds when it is stored again.
    if (options.damaged.has(hash) && options.removed.has(hash)) continue;
    if (options.promises.mayBeLost(hash)) continue;
    await auditObject(options, auditor, hash);
  }
}

async function auditObject(
  { cluster, promises }: AuditOptions,
  auditor: SimClient,
  hash: string,
): Promise<void> {
  const { violations, trace } = cluster;
  const short = hash.slice(0, 12);
  if (promises.mustBeReadable(hash)) {
    try {
      const bytes = await retried(cluster, () => auditor.fetch(hash));
      if (Buffer.compare(bytes, promises.bytesOf(hash)!) !== 0) {
        violations.report(Invariant.READABLE, `${short} has other bytes at the end`);
      }
    } catch (error) {
      trace.say('audit', `${short}: ${error}`);
      violations.report(Invariant.READABLE, `${short} was put and acknowledged, and now: ${error}`);
    }
  } else if (!promises.mustBeGone(hash)) {
    // Removals and puts met, or some were not answered: there or gone, and nothing between.
    try {
      await retried(cluster, () => auditor.fetch(hash));
    } catch (error) {
      if (isGramlineError(error, 'GRAMLINE_NOT_FOUND')) return;
      violations.report(Invariant.READABLE, `${short} is in the catalog, and cannot be read: ${error}`);
    }
  } else {
    try {
      await retried(cluster, () => auditor.role.whereIs(hash));
      // [LEAD-11] What a follower says may be as old as its mirror.
      await cluster.clock.sleep(MIRROR_MICROS);
      await retried(cluster, () => auditor.role.whereIs(hash));
      violations.report(Invariant.READABLE, `${short} was removed, and is still there`);
    } catch (error) {
      if (!isGramlineError(error, 'GRAMLINE_NOT_FOUND')) throw error;
    }
  }
}

/** Status counts what the catalog holds. To be called when nothing changes any more. */
export async function auditTotals(cluster: SimCluster): Promise<void> {
  const { violations, clients } = cluster;
  const status = await retried(cluster, () => clients.at(-1)!.role.status());
  checkTotals(violations, cluster.truth, status);
}

/** What is refused as busy is asked again, as a caller would. */
async function retried<T>(cluster: SimCluster, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      const again = isGramlineError(error, 'GRAMLINE_BUSY') || isGramlineError(error, 'GRAMLINE_CLOSED');
      const isUnsettled = isGramlineError(error, 'GRAMLINE_CORRUPT') && attempt < SETTLED_TRIES_MAX;
      if (!isUnsettled && (!again || attempt >= AUDIT_TRIES_MAX)) throw error;
      await cluster.clock.sleep(AUDIT_RETRY_MICROS);
    }
  }
}
