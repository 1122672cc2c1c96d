/**
 * What a coordinator knows and does while it leads: it promises space, commits, admits nodes, removes. Made
 * at the beginning of an epoch and thrown away at its end: the next leader begins with what the shared
 * state says, and with no reservation [LEAD-7].
 *
 * Messages and failure cases: `spec/06-messages.md`, `spec/11-coordinators.md`. Joining: `admission.ts`.
 */

import { mark, marked } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import {
  commitQuery,
  emptyMessage,
  encodeMessage,
  type Location,
  noSpaceReply,
  QueryKind,
  ResultCode,
  removeQuery,
  revisionReply,
  settleQuery,
  settleReply,
  tokenQuery,
  type WhereToQuery,
  whereToQuery,
  whereToReply,
} from '../wire/index.ts';
import { Admission } from './admission.ts';
import type { Catalog } from './catalog.ts';
import { hasReplica } from './catalog-entry.ts';
import { Collecting } from './collecting.ts';
import type { DeletionOrder } from './deletions.ts';
import { LIVENESS_MICROS, lookAfter } from './liveness.ts';
import { LOAD_RECORD_MICROS, MemberBook } from './member-book.ts';
import { Standing } from './member-record.ts';
import { accountedBytes, type Member, type Membership } from './membership.ts';
import { Pace } from './pace.ts';
import { choosePlaces } from './placement.ts';
import type {
  Clock,
  CloseReason,
  Compression,
  Connection,
  Entropy,
  IncomingQuery,
  Log,
  StateStore,
} from './ports.ts';
import { Receipts } from './receipts.ts';
import { Repair, type RepairStatus } from './repair.ts';
import { RepairBook } from './repair-record.ts';
import { RESERVATION_LEASE_MICROS, Reservations } from './reservations.ts';
import { every, readQuery, replyBusy, SOON_RETRY_MILLIS, sleep, toldSeldom } from './roles.ts';
import { settle } from './settling.ts';
import type { StateWriter } from './state-writer.ts';
import { Tenures } from './tenures.ts';

/** Leases are looked at this often; asking about one looks at once. */
const EXPIRY_SWEEP_MICROS: Micros = seconds(1);
const TOMBSTONE_SWEEP_MICROS: Micros = seconds(3_600);
/** Entries of the catalog looked at in one turn, by all that goes through it: a millisecond or two. */
const ENTRIES_PER_TURN_MAX = 2_048;
/** So long nodes that were up have to join a new leader [LEAD-8]. */
export const REJOIN_MICROS: Micros = seconds(5);
const COLLECT_SWEEP_MICROS: Micros = seconds(60);

export interface LeaderTermOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly suite: Suite;
  readonly log: Log;
  readonly clusterId: Uint8Array;
  readonly compression: Compression | undefined;
  readonly admissionSecret: Uint8Array;
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly state: StateStore;
  readonly epoch: number;
  /** Commits under that epoch. */
  readonly writer: StateWriter;
  readonly repairDelayMicros?: Micros | undefined;
  readonly repairBytesPerSecond?: number | undefined;
  /** `host:port` of the coordinator's own front port. */
  readonly frontAddress: () => string;
}

/** The answer to a placement query, for gateways. */
export type Placement =
  | { readonly code: typeof ResultCode.OK; readonly locations: readonly Location[] }
  | { readonly code: typeof ResultCode.NO_SPACE; readonly freeBytes: number; readonly nodesUp: number }
  | { readonly code: typeof ResultCode.CONFLICT }
  | { readonly code: typeof ResultCode.BUSY; readonly retryMillis?: number };

export class LeaderTerm {
  readonly #options: LeaderTermOptions;
  readonly #startedAt: Micros;
  readonly #reservations: Reservations;
  readonly #receipts: Receipts;
  readonly #admission: Admission;
  readonly #book: MemberBook;
  readonly #pace: Pace;
  readonly #repair: Repair;
  readonly #tenures: Tenures;
  readonly #stop = new AbortController();
  readonly #tellFailure: (error: unknown) => void;

  constructor(options: LeaderTermOptions) {
    this.#options = options;
    const { clock, log, members } = options;
    this.#startedAt = clock.now();
    this.#tellFailure = toldSeldom(clock, (reason) => log.error('upkeep failed', { reason }));
    this.#receipts = new Receipts(options.suite, options.admissionSecret);
    this.#reservations = new Reservations((reservation) => {
      log.info('a reservation expired', { bytes: reservation.bytes });
    });
    this.#book = new MemberBook(options, (error) => this.#onFailure(error));
    this.#pace = new Pace(clock, ENTRIES_PER_TURN_MAX);
    this.#admission = new Admission({ ...options, book: this.#book, pace: this.#pace });
    members.lead(true);
    this.#tenures = new Tenures(options);
    for (const member of members.all) member.reservedBytes = 0;
    this.#repair = new Repair({
      ...{ ...options, admission: this.#admission, receipts: this.#receipts, pace: this.#pace },
      ...{ signal: this.#stop.signal, startMicros: REJOIN_MICROS },
      ...{ delayMicros: options.repairDelayMicros, bytesPerSecond: options.repairBytesPerSecond },
    });
    this.#startSweeps();
  }

  get repair(): RepairStatus {
    return this.#repair.status;
  }

  /** Reservations that are held. */
  get reservations(): number {
    return this.#reservations.size;
  }

  /** The epoch is over: nodes are sent elsewhere. */
  close(): void {
    this.#stop.abort();
    this.#tenures.close();
    for (const member of this.#options.members.all) {
      const { connection } = member;
      member.connection = undefined;
      member.reservedBytes = 0;
      void connection?.close();
    }
    this.#options.members.lead(false);
  }

  onNotice(connection: Connection, kind: number, body: Uint8Array): void {
    this.#admission.onNotice(connection, kind, body);
  }

  onClosed(connection: Connection, reason: CloseReason): void {
    if (!this.#stop.signal.aborted) this.#admission.onClosed(connection, reason);
  }

  /** Answers a query that only a leader answers. */
  async handle(connection: Connection, query: IncomingQuery): Promise<void> {
    switch (query.kind) {
      case QueryKind.WHERE_TO:
        return this.#whereTo(connection, query);
      case QueryKind.COMMIT:
        return this.#commit(query);
      case QueryKind.RELEASE:
      case QueryKind.RENEW:
        return this.#onToken(query);
      case QueryKind.REMOVE:
        return this.#remove(query);
      case QueryKind.JOIN:
        return this.#admission.join(connection, query);
      case QueryKind.ADMIT:
        return this.#admission.admit(connection, query);
      case QueryKind.DIGEST:
        return this.#admission.digest(connection, query);
      case QueryKind.INVENTORY:
        return this.#admission.inventory(connection, query);
      case QueryKind.SETTLE:
        return this.#settle(connection, query);
      case QueryKind.CORRUPT:
        return this.#admission.corrupt(connection, query);
      case QueryKind.LOCK:
      case QueryKind.UNLOCK:
      case QueryKind.SESSION_WRITE:
      case QueryKind.SESSION_END:
        return this.#tenures.handle(connection, query);
      default:
        query.reply(ResultCode.UNSUPPORTED);
    }
  }

  // ---------------------------------------------------------------- placement, also for gateways

  /** Reserves space [DEFS-2]. The same token again gets the same places. */
  whereTo(query: WhereToQuery, owner: string): Placement {
    const { clock, entropy, catalog, members } = this.#options;
    const now = clock.now();
    // [DEFS-3] With a hash, an object that exists is a conflict.
    if (query.hash !== undefined && catalog.lookup(query.hash) !== undefined) {
      return { code: marked('placement-conflict', ResultCode.CONFLICT) };
    }
    const held = this.#reservations.get(now, query.token);
    if (held !== undefined) {
      // [DEFS-15] Asked again: the lease starts anew, for the same space.
      this.#reservations.renew(now, query.token);
      return { code: ResultCode.OK, locations: held.members.map((member) => member.location) };
    }
    if (this.#reservations.full) return { code: ResultCode.BUSY };
    const takers = members.all.filter((member) => member.takes);
    const awaited = this.#awaited(now);
    const wanted = Math.min(query.replicas, takers.length + awaited.length);
    const chosen = choosePlaces(takers, accountedBytes(query.bytes), wanted, () => entropy.fraction());
    // [DEFS-5] Fewer places than wanted and possible: nothing is reserved.
    if (wanted === 0 || chosen.length < wanted) {
      // [LEAD-8] Nodes that were up join in a moment.
      if (awaited.length > 0)
        return { code: marked('leader-awaits', ResultCode.BUSY), retryMillis: SOON_RETRY_MILLIS };
      mark('placement-no-space');
      const freeBytes = takers.reduce((most, member) => Math.max(most, member.availableBytes), 0);
      return { code: ResultCode.NO_SPACE, freeBytes, nodesUp: takers.length };
    }
    this.#reservations.hold(now, query.token, owner, chosen, query.bytes);
    return { code: ResultCode.OK, locations: chosen.map((member) => member.location) };
  }

  /** Nodes that were up when this term began, and have not joined yet. */
  #awaited(now: Micros): Member[] {
    if (now >= micros(this.#startedAt + REJOIN_MICROS)) return [];
    return this.#options.members.all.filter(({ isUp, connection }) => isUp && connection === undefined);
  }

  #whereTo(connection: Connection, query: IncomingQuery): void {
    const message = readQuery(query, whereToQuery);
    if (message === undefined) return;
    const placement = this.whereTo(message, `${connection.peerHost}:${connection.peerPort}`);
    switch (placement.code) {
      case ResultCode.OK: {
        const leaseMillis = RESERVATION_LEASE_MICROS / 1000;
        const { revision } = this.#options.catalog;
        const { locations } = placement;
        return query.reply(ResultCode.OK, encodeMessage(whereToReply, { leaseMillis, revision, locations }));
      }
      case ResultCode.NO_SPACE:
        return query.reply(placement.code, encodeMessage(noSpaceReply, placement));
      case ResultCode.BUSY:
        return replyBusy(query, placement.retryMillis);
      default:
        return query.reply(placement.code);
    }
  }

  async #commit(query: IncomingQuery): Promise<void> {
    const message = readQuery(query, commitQuery);
    if (message === undefined) return;
    const { clock, catalog, members } = this.#options;
    const now = clock.now();
    const { token, hash, bytes } = message;
    const replicas = this.#receipts.provenBy(message);
    if (replicas === undefined || replicas.length === 0) return query.reply(ResultCode.DENIED);
    const reservation = this.#reservations.get(now, token);
    // [DEFS-8] A reservation that an earlier term or process made is honoured for one lease.
    if (reservation === undefined && !this.#isYoung(now)) {
      // [DEFS-17] One that has ended was committed, where this query is a repeated one, or it lapsed.
      const entry = catalog.lookup(hash);
      const hasMade = catalog.hasMade(hash, token);
      const isDone = entry !== undefined && replicas.every((nodeId) => hasReplica(entry, nodeId));
      if (!hasMade && !isDone) return query.reply(marked('commit-lapsed', ResultCode.EXPIRED));
      mark('commit-repeated');
      const { revision } = catalog;
      const code = hasMade ? ResultCode.OK : ResultCode.CONFLICT;
      return query.reply(code, encodeMessage(revisionReply, { revision }));
    }
    if (reservation === undefined) mark('commit-young');
    // [DEFS-24] What was removed since the space was reserved may be gone from the nodes, too: store it
    // again. Asked when removals that came before are through.
    const { deletions } = this.#admission;
    const isVoid = (): boolean =>
      (reservation === undefined && !this.#isFree(hash, replicas)) ||
      replicas.some((nodeId) => deletions.touched(nodeId, hash, reservation?.heldAt));
    const nowMillis = clock.wallMillis();
    const change = { hash, bytes, replicas, wanted: message.replicas, nowMillis, token };
    const outcome = await catalog.commit(change, isVoid);
    // [DEFS-29] Its nodes have been told to drop what they stored.
    if (outcome === 'void' && catalog.isDropped(token)) {
      return query.reply(ResultCode.EXPIRED);
    }
    if (outcome === 'void') return query.reply(marked('commit-void', ResultCode.ABORTED));
    this.#reservations.finish(token);
    if (outcome === 'repeated') mark('commit-repeated');
    for (const nodeId of outcome === 'repeated' ? [] : replicas) {
      const member = members.get(nodeId);
      // Until the node reports its space anew, this is what we know.
      if (member !== undefined) member.freeBytes = Math.max(0, member.freeBytes - accountedBytes(bytes));
    }
    const { revision } = catalog;
    const code = outcome === 'added' ? ResultCode.CONFLICT : ResultCode.OK;
    query.reply(code, encodeMessage(revisionReply, { revision }));
  }

  /**
   * Whether a commit without a reservation may be true: an earlier term may have had the object removed, or
   * replicas of it taken away as surplus [REP-5], and what it ordered is not known here.
   */
  #isFree(hash: Uint8Array, replicas: readonly Uint8Array[]): boolean {
    const { catalog } = this.#options;
    const entry = catalog.lookup(hash);
    if (entry === undefined) return !catalog.isRemoved(hash);
    return replicas.every((nodeId) => hasReplica(entry, nodeId));
  }

  #onToken(query: IncomingQuery): void {
    const message = readQuery(query, tokenQuery);
    if (message === undefined) return;
    if (query.kind === QueryKind.RENEW) {
      const now = this.#options.clock.now();
      const held = this.#reservations.renew(now, message.token) || this.#isYoung(now);
      return query.reply(held ? ResultCode.OK : ResultCode.EXPIRED);
    }
    this.#reservations.finish(message.token);
    query.reply(ResultCode.OK);
  }

  async #remove(query: IncomingQuery): Promise<void> {
    const message = readQuery(query, removeQuery);
    if (message === undefined) return;
    const { hash, token } = message;
    const { catalog, clock } = this.#options;
    // [DEFS-24] Decided on before the removal is durable: a commit that comes meanwhile must know.
    let orders: readonly DeletionOrder[] = [];
    const takeBack = (): void => {
      for (const order of orders) order.takeBack();
    };
    try {
      const removal = { token, nowMillis: clock.wallMillis() };
      const outcome = await catalog.remove(hash, removal, ({ replicas }) => {
        takeBack();
        orders = [];
        orders = this.#admission.deletions.startAll(replicas, hash);
      });
      if (outcome === 'unknown') {
        takeBack();
        return query.reply(ResultCode.NOT_FOUND);
      }
      if (outcome === 'repeated') mark('remove-repeated');
    } catch (error) {
      takeBack();
      // It may have taken effect: whether it has is looked at when they are given again.
      for (const { nodeId } of orders) this.#admission.deletions.keep(nodeId, hash);
      throw error;
    }
    query.reply(ResultCode.OK, encodeMessage(emptyMessage, {}));
    // Nodes that are away find out by their next inventory.
    for (const order of orders) this.#admission.tellToDelete(order.nodeId, hash, order);
  }

  /** What becomes of objects that were stored and perhaps never committed [DEFS-10]. */
  async #settle(connection: Connection, query: IncomingQuery): Promise<void> {
    const message = readQuery(query, settleQuery);
    if (message === undefined) return;
    const member = this.#admission.memberOf(connection);
    if (member === undefined) return query.reply(ResultCode.DENIED);
    const { clock, catalog } = this.#options;
    const now = clock.now();
    const { nodeId } = member;
    const settlements = await settle({
      entries: message.entries,
      nodeId,
      catalog,
      wallMillis: clock.wallMillis(),
      mayCommit: (token) => this.#reservations.get(now, token) !== undefined || this.#isYoung(now, 2),
      isDeleting: (hash) => this.#admission.deletions.isRunning(nodeId, hash),
    });
    query.reply(ResultCode.OK, encodeMessage(settleReply, { settlements }));
  }

  /** Whether this term began less than `leases` leases ago. */
  #isYoung(now: Micros, leases = 1): boolean {
    return now < micros(this.#startedAt + leases * RESERVATION_LEASE_MICROS);
  }

  // ---------------------------------------------------------------- upkeep

  #startSweeps(): void {
    const { clock, catalog, members } = this.#options;
    const { signal } = this.#stop;
    const onFailure = (error: unknown): void => this.#onFailure(error);
    const sweep = async (): Promise<void> => {
      const now = clock.now();
      this.#reservations.expire(now);
      this.#admission.freePlaces(now);
      // Commits without a reservation ask about any time.
      const since = Math.min(this.#reservations.oldestHeldAt ?? now, this.#repair.oldestAt ?? now);
      if (!this.#isYoung(now)) this.#admission.deletions.forgetBefore(micros(since));
      if (this.#book.size > 0) await this.#book.flush();
      await this.#admission.retryDeletions();
    };
    const collecting = new Collecting({ ...this.#options, book: this.#book, pace: this.#pace, signal });
    const pause = async (): Promise<boolean> => {
      await sleep(clock, micros(0), signal);
      return signal.aborted;
    };
    void every(clock, EXPIRY_SWEEP_MICROS, signal, sweep, onFailure);
    void every(clock, LIVENESS_MICROS, signal, () => this.#lookAfterNodes(), onFailure);
    void every(clock, LOAD_RECORD_MICROS, signal, () => this.#book.noteLoads(members.all), onFailure);
    const repairs = new RepairBook(this.#options.writer, this.#options.epoch);
    void every(clock, LOAD_RECORD_MICROS, signal, () => repairs.note(this.repair), onFailure);
    void every(clock, COLLECT_SWEEP_MICROS, signal, () => collecting.sweep(), onFailure);
    void every(
      clock,
      TOMBSTONE_SWEEP_MICROS,
      signal,
      () => catalog.sweepTombstones(clock.wallMillis(), pause),
      onFailure,
    );
    void sleep(clock, REJOIN_MICROS, signal).then(() => {
      if (!signal.aborted) this.#giveUpAbsent();
    });
  }

  #lookAfterNodes(): void {
    const { clock, members } = this.#options;
    for (const member of lookAfter(clock.now(), members.all)) this.#admission.fail(member);
  }

  /** Nodes that were up when this term began, and have not joined in time, have failed. */
  #giveUpAbsent(): void {
    const { members, clock, log } = this.#options;
    for (const member of members.all) {
      if (!member.isUp || member.connection !== undefined) continue;
      member.stand(Standing.FAILED, clock.wallMillis());
      this.#book.note(member);
      log.warn('a node has failed', { name: member.name, reason: 'it did not join the new leader' });
    }
  }

  #onFailure(error: unknown): void {
    if (!this.#stop.signal.aborted) this.#tellFailure(error);
  }
}
