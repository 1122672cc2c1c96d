/**
 * Where a catalog of millions of objects comes from. Storing them through a client would take hours:
 * a filler writes what a coordinator's state directory would hold, before a coordinator opens it.
 */

export interface Filling {
  /** Of the coordinator; it does not exist yet, and nobody has it open. */
  readonly stateDirectory: string;
  readonly objects: number;
  /** The node on which all objects are said to lie, 16 bytes. */
  readonly nodeId: Uint8Array;
  /** Where the hashes of 10,000 of the objects (all, if fewer) are to be written: hex, one a line. */
  readonly samplePath: string;
}

/**
 * The entries must be newer than the session of the node, as if committed after it joined: its
 * inventory is empty, and older entries would be struck [DEFS-12].
 */
export type CatalogFiller = (filling: Filling) => Promise<void>;

/** Undefined: there is none yet, and the case `query-scale` says so. */
export const fillCatalog: CatalogFiller | undefined = undefined as CatalogFiller | undefined;
