/**
 * The coordinator: answers placement queries, owns the catalog, admits nodes.
 *
 * What it promises: WHERE_TO reserves space before it answers; COMMIT is durable before it is
 * answered, and believes only receipts of nodes; WHERE_IS is answered from memory. Messages and
 * failure cases: `spec/06-messages.md`. Joining and inventories: `admission.ts`.
 */

import { equalBytes } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { mark, marked } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import {
  type CommitQuery,
  commitQuery,
  emptyMessage,
  encodeMessage,
  hashQuery,
  type Location,
  type NodeStatus,
  noSpaceReply,
  QueryKind,
  ResultCode,
  Role,
  revisionReply,
  Settlement,
  settleQuery,
  settleReply,
  statusQuery,
  statusReply,
  tokenQuery,
  type WhereToQuery,
  whereToQuery,
  whereToReply,
} from '../wire/index.ts';
import { Admission } from './admission.ts';
import { Catalog } from './catalog.ts';
import { hasReplica } from './catalog-entry.ts';
import type { DeletionOrder } from './deletions.ts';
import { Locator } from './locator.ts';
import { accountedBytes, Membership } from './membership.ts';
import { choosePlaces } from './placement.ts';
import type {
  Clock,
  Compression,
  Connection,
  Entropy,
  IncomingQuery,
  Listener,
  Log,
  StateStore,
  Transport,
} from './ports.ts';
import { Receipts } from './receipts.ts';
import { RESERVATION_LEASE_MICROS, Reservations } from './reservations.ts';
import { answer, answerNow, every, readQuery, replyBusy, sleep } from './roles.ts';
import { statusPage } from './status-page.ts';

/** Leases are looked at this often; asking about one looks at once. */
const EXPIRY_SWEEP_MICROS: Micros = seconds(1);
const TOMBSTONE_SWEEP_MICROS: Micros = seconds(3_600);
const INDEX_SEED_BYTES = 8;

export interface CoordinatorOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly suite: Suite;
  readonly state: StateStore;
  readonly clusterId: Uint8Array;
  /** Opens compressed inventories; without it they are refused. */
  readonly compression?: Compression;
  /** What nodes must prove to know. */
  readonly admissionSecret: Uint8Array;
  /** `host:port` of the front port; port 0 takes a free one. */
  readonly listen: string;
  readonly log: Log;
}

/** The answer to a placement query, for gateways. */
export type Placement =
  | { readonly code: typeof ResultCode.OK; readonly locations: readonly Location[] }
  | { readonly code: typeof ResultCode.CONFLICT | typeof ResultCode.BUSY }
  | { readonly code: typeof ResultCode.NO_SPACE; readonly freeBytes: number; readonly nodesUp: number };

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #catalog: Catalog;
  readonly #members: Membership;
  readonly #locator: Locator;
  readonly #reservations: Reservations;
  readonly #receipts: Receipts;
  readonly #admission: Admission;
  readonly #stop = new AbortController();
  readonly #startedAt: Micros;
  #listener: Listener | undefined;

  private constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#catalog = new Catalog(options.state, options.entropy.bytes(INDEX_SEED_BYTES));
    this.#members = new Membership(this.#catalog.numbers);
    this.#locator = new Locator(this.#catalog, this.#members, options.entropy);
    this.#receipts = new Receipts(options.suite, options.admissionSecret);
    this.#startedAt = options.clock.now();
    this.#reservations = new Reservations((reservation) => {
      options.log.info('a reservation expired', { bytes: reservation.bytes });
    });
    this.#admission = new Admission({
      suite: options.suite,
      clock: options.clock,
      entropy: options.entropy,
      log: options.log,
      clusterId: options.clusterId,
      admissionSecret: options.admissionSecret,
      catalog: this.#catalog,
      members: this.#members,
      compression: options.compression,
      frontAddress: () => this.address,
    });
  }

  /** Opens the front port. Rejects with GRAMLINE_IN_USE when it is taken. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const coordinator = new Coordinator(options);
    coordinator.#listener = await options.transport.listen({
      address: options.listen,
      role: Role.COORDINATOR,
      clusterId: options.clusterId,
      onConnection: (connection) => coordinator.#serve(connection),
    });
    coordinator.#startSweeps();
    void coordinator.#fillIndex();
    return coordinator;
  }

  /** `host:port` of the front port. */
  get address(): string {
    return this.#listener!.address;
  }

  get reservations(): number {
    return this.#reservations.size;
  }

  get nodes(): readonly NodeStatus[] {
    return this.#members.all.map((member) => member.status);
  }

  /** Stops answering; what is committed stays. The state store is the opener's to close. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#listener?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---------------------------------------------------------------- placement, also for gateways

  /** Reserves space [DEFS-2]. The same token again gets the same places. */
  whereTo(query: WhereToQuery, owner: string): Placement {
    const { clock, entropy } = this.#options;
    const now = clock.now();
    // [DEFS-3] With a hash, an object that exists is a conflict.
    if (query.hash !== undefined && this.#catalog.lookup(query.hash) !== undefined) {
      return { code: marked('placement-conflict', ResultCode.CONFLICT) };
    }
    const held = this.#reservations.get(now, query.token);
    if (held !== undefined) {
      // [DEFS-15] Asked again: the lease starts anew, for the same space.
      this.#reservations.renew(now, query.token);
      return { code: ResultCode.OK, locations: held.members.map((member) => member.location) };
    }
    if (this.#reservations.full) return { code: ResultCode.BUSY };
    const { up } = this.#members;
    const wanted = Math.min(query.replicas, up.length);
    const chosen = choosePlaces(up, accountedBytes(query.bytes), wanted, () => entropy.fraction());
    // [DEFS-5] Fewer places than wanted and possible: nothing is reserved.
    if (wanted === 0 || chosen.length < wanted) {
      mark('placement-no-space');
      const freeBytes = up.reduce((most, member) => Math.max(most, member.availableBytes), 0);
      return { code: ResultCode.NO_SPACE, freeBytes, nodesUp: up.length };
    }
    this.#reservations.hold(now, query.token, owner, chosen, query.bytes);
    return { code: ResultCode.OK, locations: chosen.map((member) => member.location) };
  }

  /** Where an object is: nodes that are up first, then the rest; undefined when it is not known. */
  whereIs(hash: Uint8Array): { readonly bytes: number; readonly locations: readonly Location[] } | undefined {
    return this.#locator.whereIs(hash);
  }

  // ---------------------------------------------------------------- queries

  #serve(connection: Connection): void {
    const onFailure = (error: unknown): void => this.#onFailure(error);
    connection.onQuery = (query) => {
      const { kind } = query;
      if (kind === QueryKind.WHERE_IS || kind === QueryKind.WHERE_IS_MANY) {
        answerNow(query, () => this.#whereIs(connection, query), onFailure);
      } else answer(query, () => this.#dispatch(connection, query), onFailure);
    };
    connection.onNotice = (kind, body) => this.#admission.onNotice(connection, kind, body);
    void connection.closed.then((reason) => this.#admission.onClosed(connection, reason));
  }

  #whereIs(connection: Connection, query: IncomingQuery): void {
    if (!allowed(query, connection.rights.read)) return;
    if (query.kind === QueryKind.WHERE_IS) this.#locator.answerOne(query);
    else this.#locator.answerMany(query);
  }

  async #dispatch(connection: Connection, query: IncomingQuery): Promise<void> {
    const { rights } = connection;
    switch (query.kind) {
      case QueryKind.STATUS:
        return allowed(query, rights.read) ? this.#status(query) : undefined;
      case QueryKind.WHERE_TO:
        return allowed(query, rights.write) ? this.#whereTo(connection, query) : undefined;
      case QueryKind.COMMIT:
        return allowed(query, rights.write) ? this.#commit(query) : undefined;
      case QueryKind.RELEASE:
      case QueryKind.RENEW:
        return allowed(query, rights.write) ? this.#onToken(query) : undefined;
      case QueryKind.REMOVE:
        return allowed(query, rights.write) ? this.#remove(query) : undefined;
      case QueryKind.JOIN:
        return allowed(query, rights.node) ? this.#admission.join(connection, query) : undefined;
      case QueryKind.ADMIT:
        return this.#admission.admit(connection, query);
      case QueryKind.INVENTORY:
        return this.#admission.inventory(connection, query);
      case QueryKind.SETTLE:
        return this.#settle(connection, query);
      case QueryKind.CORRUPT:
        return this.#admission.corrupt(connection, query);
      default:
        query.reply(ResultCode.UNSUPPORTED);
    }
  }

  #status(query: IncomingQuery): void {
    const message = readQuery(query, statusQuery);
    if (message === undefined) return;
    const { all } = this.#members;
    const nodes = statusPage(all, message.cursor);
    const { objects, bytes } = this.#catalog.totals;
    const { revision } = this.#catalog;
    const { offload } = this.#options.transport;
    query.reply(
      ResultCode.OK,
      encodeMessage(statusReply, { revision, objects, bytes, nodesTotal: all.length, offload, nodes }),
    );
  }

  #whereTo(connection: Connection, query: IncomingQuery): void {
    const message = readQuery(query, whereToQuery);
    if (message === undefined) return;
    const placement = this.whereTo(message, `${connection.peerHost}:${connection.peerPort}`);
    switch (placement.code) {
      case ResultCode.OK: {
        const leaseMillis = RESERVATION_LEASE_MICROS / 1000;
        const { locations } = placement;
        return query.reply(
          ResultCode.OK,
          encodeMessage(whereToReply, { leaseMillis, revision: this.#catalog.revision, locations }),
        );
      }
      case ResultCode.NO_SPACE:
        return query.reply(placement.code, encodeMessage(noSpaceReply, placement));
      case ResultCode.BUSY:
        return replyBusy(query);
      default:
        return query.reply(placement.code);
    }
  }

  async #commit(query: IncomingQuery): Promise<void> {
    const message = readQuery(query, commitQuery);
    if (message === undefined) return;
    const now = this.#options.clock.now();
    const { token, hash, bytes } = message;
    const replicas = this.#provenReplicas(message);
    if (replicas === undefined || replicas.length === 0) return query.reply(ResultCode.DENIED);
    const reservation = this.#reservations.get(now, token);
    // [DEFS-8] A reservation that this coordinator forgot by restarting is honoured for one lease.
    if (reservation === undefined && !this.#isYoung(now)) {
      // [DEFS-17] One that has ended was committed, where this query is a repeated one, or it lapsed.
      const entry = this.#catalog.lookup(hash);
      const isDone = entry !== undefined && replicas.every((nodeId) => hasReplica(entry, nodeId));
      if (!isDone) return query.reply(marked('commit-lapsed', ResultCode.EXPIRED));
      mark('commit-repeated');
      const { revision } = this.#catalog;
      return query.reply(ResultCode.CONFLICT, encodeMessage(revisionReply, { revision }));
    }
    if (reservation === undefined) mark('commit-young');
    // [DEFS-24] What was removed since the space was reserved may be gone from the nodes, too: store it
    // again. Asked when removals that came before are through.
    const { deletions } = this.#admission;
    const isVoid = (): boolean =>
      (reservation === undefined && this.#catalog.isRemoved(hash)) ||
      replicas.some((nodeId) => deletions.touched(nodeId, hash, reservation?.heldAt));
    const wallMillis = this.#options.clock.wallMillis();
    const outcome = await this.#catalog.commit(hash, bytes, replicas, wallMillis, isVoid);
    if (outcome === 'void') return query.reply(marked('commit-void', ResultCode.ABORTED));
    this.#reservations.finish(token);
    for (const nodeId of replicas) {
      const member = this.#members.get(nodeId);
      // Until the node reports its space anew, this is what we know.
      if (member !== undefined) member.freeBytes = Math.max(0, member.freeBytes - accountedBytes(bytes));
    }
    const { revision } = this.#catalog;
    const code = outcome === 'created' ? ResultCode.OK : ResultCode.CONFLICT;
    query.reply(code, encodeMessage(revisionReply, { revision }));
  }

  /** The nodes whose receipts hold, joined or not; undefined when any receipt is false. */
  #provenReplicas(message: CommitQuery): Uint8Array[] | undefined {
    const proven: Uint8Array[] = [];
    for (const { nodeId, receipt } of message.receipts) {
      const { token, hash, bytes } = message;
      if (!this.#receipts.check({ nodeId, token, hash, bytes }, receipt)) return undefined;
      if (!proven.some((other) => equalBytes(other, nodeId))) proven.push(nodeId);
    }
    return proven;
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
    const message = readQuery(query, hashQuery);
    if (message === undefined) return;
    const { hash } = message;
    // [DEFS-24] Decided on before the removal is durable: a commit that comes meanwhile must know.
    let orders: readonly DeletionOrder[] = [];
    const takeBack = (): void => {
      for (const order of orders) order.takeBack();
      orders = [];
    };
    try {
      const entry = await this.#catalog.remove(hash, this.#options.clock.wallMillis(), ({ replicas }) => {
        takeBack();
        orders = this.#admission.deletions.startAll(replicas, hash);
      });
      if (entry === undefined) {
        takeBack();
        return query.reply(ResultCode.NOT_FOUND);
      }
    } catch (error) {
      takeBack();
      throw error;
    }
    query.reply(ResultCode.OK, encodeMessage(emptyMessage, {}));
    // Nodes that are away find out by their next inventory.
    for (const order of orders) this.#admission.tellToDelete(order.nodeId, hash, order);
  }

  /** What becomes of objects that were stored and perhaps never committed [DEFS-10]. */
  #settle(connection: Connection, query: IncomingQuery): void {
    const message = readQuery(query, settleQuery);
    if (message === undefined) return;
    const member = this.#admission.memberOf(connection);
    if (member === undefined) return query.reply(ResultCode.DENIED);
    const now = this.#options.clock.now();
    const settlements = message.entries.map(({ token, hash }) => {
      const entry = this.#catalog.lookup(hash);
      if (entry !== undefined && hasReplica(entry, member.nodeId)) return Settlement.KEEP;
      // A commit may still come: for a live reservation, or for one forgotten by a restart.
      if (this.#reservations.get(now, token) !== undefined || this.#isYoung(now, 2)) return Settlement.WAIT;
      return Settlement.DROP;
    });
    query.reply(ResultCode.OK, encodeMessage(settleReply, { settlements }));
  }

  /** Whether this coordinator started less than `leases` leases ago. */
  #isYoung(now: Micros, leases = 1): boolean {
    return now < micros(this.#startedAt + leases * RESERVATION_LEASE_MICROS);
  }

  /** Reads the catalog into memory; until then the state store answers what has not been read. */
  async #fillIndex(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stop;
    const startedAt = clock.now();
    try {
      await this.#catalog.load(async () => {
        await sleep(clock, micros(0), signal);
        return signal.aborted;
      });
    } catch (error) {
      // It stays as it is: slower, and as right as before.
      if (!signal.aborted) this.#onFailure(error);
    }
    const { totals, indexBytes } = this.#catalog;
    if (totals.objects === 0 || !this.#catalog.isIndexed) return;
    const tookMillis = Math.round((clock.now() - startedAt) / 1_000);
    log.info('the catalog is in memory', { objects: totals.objects, bytes: indexBytes, tookMillis });
  }

  #startSweeps(): void {
    const { clock } = this.#options;
    const onFailure = (error: unknown): void => this.#onFailure(error);
    const { signal } = this.#stop;
    const sweep = async (): Promise<void> => {
      const now = clock.now();
      this.#reservations.expire(now);
      // Commits without a reservation ask about any time.
      if (!this.#isYoung(now)) this.#admission.deletions.forgetBefore(this.#reservations.oldestHeldAt ?? now);
      await this.#admission.retryDeletions();
      await this.#catalog.mendTotals();
    };
    void every(clock, EXPIRY_SWEEP_MICROS, signal, sweep, onFailure);
    void every(
      clock,
      TOMBSTONE_SWEEP_MICROS,
      signal,
      () => this.#catalog.sweepTombstones(clock.wallMillis()),
      onFailure,
    );
  }

  #onFailure(error: unknown): void {
    const code = error instanceof GramlineError ? error.code : 'unknown';
    this.#options.log.error('a query failed', { code, reason: String(error) });
  }
}

/** Whether the peer's secret allows this; otherwise it has been answered DENIED [MSG-6]. */
function allowed(query: IncomingQuery, right: boolean): boolean {
  if (!right) query.reply(ResultCode.DENIED);
  return right;
}
