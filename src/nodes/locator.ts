/**
 * Where objects are, at the coordinator: WHERE_IS and WHERE_IS_MANY, answered in the turn in which
 * they arrive, from memory, without a promise or an object for each hash.
 */

import {
  HASH_BYTES,
  type Location,
  REPLICAS_MAX,
  ResultCode,
  WhereIsManyWriter,
  Writer,
  whereIsManyCount,
} from '../wire/index.ts';
import type { Catalog } from './catalog.ts';
import type { Member, Membership } from './membership.ts';
import type { Entropy, IncomingQuery } from './ports.ts';
import { BUSY_RETRY_MILLIS, replyBusy } from './roles.ts';

type LocatedCode =
  | typeof ResultCode.OK
  | typeof ResultCode.NOT_FOUND
  | typeof ResultCode.BUSY
  | typeof ResultCode.CORRUPT;

const WORD_BYTES = 4;

export interface LocatorOptions {
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly entropy: Entropy;
  /** Whether what the catalog does not know is surely not there: this coordinator leads [LEAD-11]. */
  readonly isSure: () => boolean;
  /** Sends an asker to the coordinator that is. */
  readonly refuse: (query: IncomingQuery) => void;
}

export class Locator {
  readonly #options: LocatorOptions;
  readonly #catalog: Catalog;
  readonly #members: Membership;
  readonly #writer = new WhereIsManyWriter();
  /** Replies so far: members remember in which they were named last. */
  #replies = 0;
  /** State of the generator that ranks: never 0. */
  #chance: number;
  // What was located last.
  #bytes = 0;
  #count = 0;
  readonly #ranked = new Array<Member | undefined>(REPLICAS_MAX).fill(undefined);

  constructor(options: LocatorOptions) {
    this.#options = options;
    this.#catalog = options.catalog;
    this.#members = options.members;
    const seed = options.entropy.bytes(WORD_BYTES);
    this.#chance = new DataView(seed.buffer, seed.byteOffset).getInt32(0) | 1;
  }

  /** Where an object is, ranked; undefined when it is not known. */
  whereIs(hash: Uint8Array): { readonly bytes: number; readonly locations: readonly Location[] } | undefined {
    if (this.#locate(hash, 0) === ResultCode.NOT_FOUND) return undefined;
    const members = this.#ranked.slice(0, this.#count);
    return { bytes: this.#bytes, locations: members.map((member) => member!.location) };
  }

  /** Answers WHERE_IS. */
  answerOne(query: IncomingQuery): void {
    const { body } = query;
    if (body.length !== HASH_BYTES) return query.reply(ResultCode.MALFORMED);
    const code = this.#locate(body, 0);
    if (code === ResultCode.BUSY) return replyBusy(query);
    if (this.#mayExist(code)) return this.#options.refuse(query);
    if (code !== ResultCode.OK) return query.reply(code);
    let size = 6 + 6 + 1 + 1;
    for (let rank = 0; rank < this.#count; rank++) size += this.#ranked[rank]!.locationBytes.length;
    const writer = new Writer(new Uint8Array(size));
    writer.u48(this.#bytes);
    writer.u48(this.#catalog.revision);
    writer.u8(this.#catalog.isStale ? 1 : 0);
    writer.u8(this.#count);
    for (let rank = 0; rank < this.#count; rank++) writer.bytes(this.#ranked[rank]!.locationBytes);
    query.reply(ResultCode.OK, writer.buffer);
  }

  /** Answers WHERE_IS_MANY: each hash as WHERE_IS would be [DEFS-27]. */
  answerMany(query: IncomingQuery): void {
    const { body } = query;
    const hashes = whereIsManyCount(body);
    if (hashes === undefined) return query.reply(ResultCode.MALFORMED);
    this.#replies += 1;
    this.#writer.begin();
    for (let index = 0; index < hashes; index++) {
      const code = this.#locate(body, 1 + index * HASH_BYTES);
      // [LEAD-11] The asker comes back with what is not known here, and is sent on then.
      if (this.#mayExist(code)) {
        if (index === 0) return this.#options.refuse(query);
        break;
      }
      const fits = code === ResultCode.OK ? this.#write() : this.#writer.failed(code, BUSY_RETRY_MILLIS);
      // [DEFS-28] As many as fit; the asker comes back for the rest.
      if (!fits) break;
    }
    query.reply(ResultCode.OK, this.#writer.finish(this.#catalog.revision, this.#catalog.isStale));
  }

  /** Whether an object is not known here, and may be elsewhere. */
  #mayExist(code: LocatedCode): boolean {
    return code === ResultCode.NOT_FOUND && !this.#options.isSure();
  }

  /** Writes what was located last; false when it does not fit. */
  #write(): boolean {
    const writer = this.#writer;
    const count = this.#count;
    let fresh = 0;
    let freshBytes = 0;
    for (let rank = 0; rank < count; rank++) {
      const member = this.#ranked[rank]!;
      if (member.namedIn === this.#replies) continue;
      fresh += 1;
      freshBytes += member.locationBytes.length;
    }
    if (!writer.fits(freshBytes, fresh, count)) return false;
    writer.found(this.#bytes, count);
    for (let rank = 0; rank < count; rank++) {
      const member = this.#ranked[rank]!;
      if (member.namedIn !== this.#replies) {
        member.namedIn = this.#replies;
        member.namedAs = writer.locations;
        writer.location(member.locationBytes);
      }
      writer.replica(member.namedAs);
    }
    return true;
  }

  /** Looks for the object whose hash stands in `bytes` at `at`; sets its size and its ranked members. */
  #locate(bytes: Uint8Array, at: number): LocatedCode {
    this.#bytes = 0;
    this.#count = 0;
    let replicas: number;
    switch (this.#catalog.find(bytes, at)) {
      case 'unknown':
        return ResultCode.NOT_FOUND;
      case 'here': {
        const { found } = this.#catalog;
        this.#bytes = found.bytes;
        replicas = found.count;
        for (let index = 0; index < replicas; index++)
          this.#meet(this.#members.byNumber(found.replicas[index]!));
        break;
      }
      case 'elsewhere': {
        const entry = this.#catalog.lookup(bytes.subarray(at, at + HASH_BYTES));
        if (entry === undefined) return ResultCode.NOT_FOUND;
        this.#bytes = entry.bytes;
        replicas = entry.replicas.length;
        for (const nodeId of entry.replicas) this.#meet(this.#members.get(nodeId));
        break;
      }
    }
    // [DEFS-11] Every replica was lost: the object is known, and gone. Nodes that have not joined
    // since this coordinator started, in contrast, will have a moment later.
    if (this.#count === 0) return replicas === 0 ? ResultCode.CORRUPT : ResultCode.BUSY;
    this.#rank();
    return ResultCode.OK;
  }

  /** [DEFS-9] Nodes that the coordinator has not met are left out. */
  #meet(member: Member | undefined): void {
    if (member !== undefined) this.#ranked[this.#count++] = member;
  }

  /** [DEFS-9] Nodes that are up first, in a random order so that readers spread, then the rest. */
  #rank(): void {
    const ranked = this.#ranked;
    let up = 0;
    for (let index = 0; index < this.#count; index++) {
      const member = ranked[index]!;
      if (!member.isUp) continue;
      ranked[index] = ranked[up];
      // Behind a random one of those before it (Fisher and Yates, from the inside out).
      const place = this.#below(up + 1);
      ranked[up] = ranked[place];
      ranked[place] = member;
      up += 1;
    }
  }

  /** A whole number below `bound`: xorshift32 (Marsaglia), good enough to spread readers. */
  #below(bound: number): number {
    if (bound === 1) return 0;
    let state = this.#chance;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#chance = state;
    return (state >>> 1) % bound;
  }
}
