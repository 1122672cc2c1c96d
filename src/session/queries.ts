/**
 * Queries of one session: ids, duplicates, replies [QRY-1].
 *
 * The initiator's ids are even, the responder's odd; each counts up by two. A query is carried
 * out once, however often it arrives [QRY-3]. Sending again is the control packets' matter, not this
 * file's; how long a caller waits is the driver's.
 */

import { marked } from '../base/marks.ts';
import { RangeSet } from '../reliability/index.ts';
import { type Violation, violation } from './events.ts';
import { QUERIES_OUTSTANDING_MAX, QUERY_IDS_AHEAD_MAX } from './limits.ts';

/** Ids end here; the session must be replaced before [QRY-8]. */
const QUERY_ID_MAX = 0xffff_fffd;

export type Arrival = 'fresh' | 'duplicate' | 'busy' | Violation;

export class QueryBook {
  readonly #parity: number;
  readonly #idMax: number;
  #nextId: number;
  /** Queries of ours that have no reply yet. */
  readonly #outstanding = new Set<number>();
  /** Sequence numbers (id / 2) of the peer's queries that have arrived, and how many they are. */
  readonly #arrived = new RangeSet();
  #arrivedCount = 0;
  /** Queries of the peer that were handed up and not yet answered. */
  readonly #unanswered = new Set<number>();

  /** The last id may be lower where a test wants it. */
  constructor(side: 'initiator' | 'responder', idMax: number = QUERY_ID_MAX) {
    this.#idMax = idMax;
    this.#parity = side === 'initiator' ? 0 : 1;
    this.#nextId = this.#parity;
  }

  get outstanding(): number {
    return this.#outstanding.size;
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  /** Whether all ids have been used [QRY-8]. */
  get exhausted(): boolean {
    return this.#nextId > this.#idMax;
  }

  /** A new query's id, or undefined at the maximum [QRY-6]. */
  open(): number | undefined {
    if (this.#outstanding.size >= QUERIES_OUTSTANDING_MAX || this.exhausted) return undefined;
    const id = this.#nextId;
    this.#nextId += 2;
    this.#outstanding.add(id);
    return id;
  }

  /** Whether one of our queries still waits for its reply. */
  isOutstanding(id: number): boolean {
    return this.#outstanding.has(id);
  }

  /** A reply arrived: whether it is the first to one of our queries. */
  onReply(id: number): boolean | Violation {
    if (this.#outstanding.delete(id)) return true;
    // [QRY-5] A reply to a query that was never asked is a violation; a second one is a duplicate.
    if (id % 2 !== this.#parity || id >= this.#nextId) return violation('QRY-5', 'reply to no query');
    return false;
  }

  /** A query arrived: whether it is to be carried out. */
  onQuery(id: number): Arrival {
    // [QRY-2] The peer's ids have the other parity.
    if (id % 2 === this.#parity) return violation('QRY-2', 'query id of the wrong parity');
    const sequence = Math.floor(id / 2);
    if (this.#arrived.has(sequence)) return marked('query-duplicate', 'duplicate');
    // [QRY-7] What was not seen is outstanding at the peer, so it is bounded: so are the gaps kept here.
    if (sequence - this.#arrivedCount > QUERY_IDS_AHEAD_MAX) {
      return violation('QRY-7', 'query id too far ahead');
    }
    this.#arrived.add(sequence, sequence + 1);
    this.#arrivedCount += 1;
    if (this.#unanswered.size >= QUERIES_OUTSTANDING_MAX) return 'busy';
    this.#unanswered.add(id);
    return 'fresh';
  }

  /** We answer a query: whether it still waits for an answer. */
  answer(id: number): boolean {
    return this.#unanswered.delete(id);
  }
}
