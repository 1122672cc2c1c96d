/**
 * A node's inventory at the coordinator: what it has against what the catalog says [DEFS-12].
 *
 * Ten nodes with a hundred thousand objects each may join at once. What the catalog holds already
 * costs a look into memory; the rest is taken a few at a time, and all of it in pieces, so that
 * queries are answered in between.
 */

import { GramlineError } from '../base/errors.ts';
import { HASH_BYTES, INVENTORY_ENTRY_BYTES, Reader, ResultCode } from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import { CatalogIndex } from './catalog-index.ts';
import { isInBuckets } from './holdings.ts';
import { plainOf } from './object-service.ts';
import type { Pace } from './pace.ts';
import type { Compression, IncomingQuery } from './ports.ts';

/** Adoptions, or strikes, of one inventory under way at once. */
const CHANGES_MAX = 256;
/** What a change counts for, beside entries that are looked at. */
const CHANGE_UNITS = 8;
/** Entries that are looked at in one go. */
const PIECE_BYTES = 512 * INVENTORY_ENTRY_BYTES;
const PENDING_AT = HASH_BYTES + 6;

export interface InventoryOptions {
  readonly query: IncomingQuery;
  /** How many different objects the node says that it has in these buckets. */
  readonly entries: number;
  /** The parts of the inventory that are sent [DIG-3]. */
  readonly buckets: Uint8Array;
  readonly nodeId: Uint8Array;
  readonly catalog: Catalog;
  readonly pace: Pace;
  /** Opens compressed records; without it they fail the inventory. */
  readonly compression: Compression | undefined;
  /** Revision of the catalog when the node joined: what was written later, its inventory may lack. */
  readonly joinedRevision: number;
  /** Whether the node's session is still its newest. */
  readonly isCurrent: () => boolean;
  /** Takes an object that the catalog may lack, or has it deleted; whether a replica was added. */
  readonly adopt: (hash: Uint8Array, bytes: number) => Promise<boolean>;
}

export interface InventoryOutcome {
  readonly objects: number;
  readonly added: number;
  readonly struck: number;
}

/**
 * Takes an inventory; undefined when a newer session of the node brings its own.
 *
 * @throws GramlineError `GRAMLINE_PROTOCOL` when it has another length than the node said [MSG-8].
 */
export async function takeInventory(options: InventoryOptions): Promise<InventoryOutcome | undefined> {
  const { catalog, nodeId, pace, joinedRevision } = options;
  const present = new CatalogIndex();
  let added = 0;
  for await (const record of records(options.query, options.compression)) {
    for (let at = 0; at < record.length; at += PIECE_BYTES) {
      const piece = record.subarray(at, at + PIECE_BYTES);
      await pace.take(piece.length / INVENTORY_ENTRY_BYTES);
      added += await adoptMissing(options, piece, present);
    }
  }
  if (present.size !== options.entries)
    throw new GramlineError('GRAMLINE_PROTOCOL', 'inventory of another length');
  const strikes = new Changes(pace);
  // [DIG-3] The rest of what it holds is not asked about: the store need not be read for it.
  const isMissed = (hash: Uint8Array): boolean =>
    isInBuckets(options.buckets, hash) && present.find(hash) === 'unknown';
  for await (const { hash, entry } of catalog.heldBy(nodeId, (units) => pace.take(units), isMissed)) {
    // A newer session brings its own.
    if (!options.isCurrent()) return undefined;
    if (entry.revision > joinedRevision) continue;
    await strikes.add(() => catalog.removeReplica(hash, nodeId, joinedRevision));
  }
  const struck = await strikes.end();
  return { objects: present.size, added, struck };
}

/** Notes the entries of one piece in `present`; adopts those that the catalog lacks, and says how many. */
async function adoptMissing(
  { catalog, nodeId, pace, adopt }: InventoryOptions,
  record: Uint8Array,
  present: CatalogIndex,
): Promise<number> {
  const adoptions = new Changes(pace);
  for (let at = 0; at < record.length; at += INVENTORY_ENTRY_BYTES) {
    const hash = record.subarray(at, at + HASH_BYTES);
    present.put(hash, 0, [], 0);
    // [DEFS-12] What may never have been committed is neither adopted nor deleted here: the node asks by SETTLE.
    if (record[at + PENDING_AT] === 1 || catalog.holds(hash, nodeId)) continue;
    const bytes = new Reader(record, at + HASH_BYTES).u48();
    await adoptions.add(() => adopt(new Uint8Array(hash), bytes));
  }
  return adoptions.end();
}

/** Changes of the catalog, a few at a time. */
export class Changes {
  readonly #pace: Pace;
  #underWay: Promise<boolean>[] = [];
  #done = 0;

  constructor(pace: Pace) {
    this.#pace = pace;
  }

  /** Begins a change, when there is room for it; `begin` resolves to whether it changed anything. */
  async add(begin: () => Promise<boolean>): Promise<void> {
    await this.#pace.take(CHANGE_UNITS);
    const change = begin();
    // It may fail while the next one waits for its turn: `end` tells of it.
    change.catch(() => undefined);
    this.#underWay.push(change);
    if (this.#underWay.length >= CHANGES_MAX) await this.end();
  }

  /** Resolves when all that were begun are through: how many changed anything. Rejects as the first. */
  async end(): Promise<number> {
    const changes = this.#underWay;
    this.#underWay = [];
    for (const isChange of await Promise.all(changes)) if (isChange) this.#done += 1;
    return this.#done;
  }
}

/** The records of an inventory flow, which cuts entries anywhere, as whole entries each. */
async function* records(
  query: IncomingQuery,
  compression: Compression | undefined,
): AsyncIterable<Uint8Array> {
  const flow = query.receive();
  let rest = new Uint8Array(0);
  try {
    for (let record = await flow.next(); record !== undefined; record = await flow.next()) {
      // [REC-14] Any record may be compressed.
      const plain = plainOf(record, compression);
      const bytes = new Uint8Array(rest.length + plain.length);
      bytes.set(rest);
      bytes.set(plain, rest.length);
      const whole = bytes.length - (bytes.length % INVENTORY_ENTRY_BYTES);
      yield bytes.subarray(0, whole);
      rest = bytes.slice(whole);
    }
  } finally {
    // Who stops reading in the middle gives the flow's credit back.
    flow.stop(ResultCode.ABORTED);
  }
}
