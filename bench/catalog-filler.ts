/**
 * Where a catalog of millions of objects comes from. Storing them through a client would take hours:
 * the filler writes what a coordinator's state directory would hold, before a coordinator opens it.
 */

import type { Bench, Cluster } from './bench.ts';

export interface FilledCluster extends Cluster {
  /** A file with the hashes of some of the objects, one a line, spread evenly over all of them. */
  readonly samplePath: string;
}

/**
 * Starts a cluster whose catalog holds `objects` objects. Its WhereIs must find each of them on a node
 * that is up, and keep doing so: a node whose inventory lacks them would have them struck.
 * `bench.cluster({ prepare })` runs a function on the coordinator's state directory before it is opened.
 */
export type CatalogFiller = (bench: Bench, objects: number) => Promise<FilledCluster>;

/** Undefined: there is none yet, and the case `query-scale` says so. */
export const openFilledCluster: CatalogFiller | undefined = undefined as CatalogFiller | undefined;
