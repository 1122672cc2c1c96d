/**
 * The coordinator: answers where objects are, and, while it leads, places, commits and admits.
 *
 * Several may run on one shared state [LEAD-1]. Each mirrors it, and answers from memory what asks only
 * (`locator.ts`, `member-news.ts`); what only a leader answers is `leader-term.ts`, which there is while
 * `leadership.ts` says so. Who asks a follower for more is told who leads [LEAD-3].
 */

import { equalBytes } from '../base/bytes.ts';
import { isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis } from '../base/units.ts';
import type { Suite } from '../crypto/index.ts';
import {
  BODY_BYTES_MAX,
  COORDINATORS_MAX,
  type CoordinatorStatus,
  coordinatorStatusSize,
  encodeMessage,
  type Location,
  type NodeStatus,
  notLeaderReply,
  QueryKind,
  ResultCode,
  Role,
  STATUS_FIXED_BYTES,
  statusQuery,
  statusReply,
  type WhereToQuery,
} from '../wire/index.ts';
import { Catalog } from './catalog.ts';
import { LeaderTerm, type Placement } from './leader-term.ts';
import { type LeaderRecord, Leadership } from './leadership.ts';
import { Locator } from './locator.ts';
import { MemberNews } from './member-news.ts';
import { Membership } from './membership.ts';
import type {
  Clock,
  Compression,
  Connection,
  Entropy,
  IncomingQuery,
  Listener,
  Log,
  Rights,
  StateStore,
  Transport,
} from './ports.ts';
import { NO_REPAIR, type RepairStatus } from './repair.ts';
import { type RepairReport, readRepair, reportOf } from './repair-record.ts';
import {
  answer,
  answerNow,
  readQuery,
  replyBusy,
  SOON_RETRY_MILLIS,
  sleep,
  withFewWarnings,
} from './roles.ts';
import { inOrder, statusPage } from './status-page.ts';
import { readUserSession } from './user-session-record.ts';

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
  /** `host:port` under which other machines reach the front port, as told from what was bound; default the same. */
  readonly advertise?: (bound: string) => string;
  /** Told when this coordinator begins to lead, and in which epoch. */
  readonly onLeads?: (epoch: number) => void;
  /** Ids of the secrets that are accepted here, by which coordinators on one state know each other [LEAD-12]. */
  readonly secretIds?: readonly Uint8Array[] | undefined;
  /** How long replicas count whose node went [REP-2]; default 60,000. */
  readonly repairDelayMillis?: number | undefined;
  /** What repair may copy and check in a second; default 50,000,000. */
  readonly repairBytesPerSecond?: number | undefined;
  readonly log: Log;
}

/** Which right each kind of query asks for; the others are admitted by other means [MSG-6]. */
const RIGHTS: Readonly<Partial<Record<number, keyof Rights>>> = {
  [QueryKind.STATUS]: 'read',
  [QueryKind.WHERE_TO]: 'write',
  [QueryKind.COMMIT]: 'write',
  [QueryKind.RELEASE]: 'write',
  [QueryKind.RENEW]: 'write',
  [QueryKind.REMOVE]: 'write',
  [QueryKind.JOIN]: 'node',
  [QueryKind.MEMBERS]: 'read',
  [QueryKind.LOCK]: 'write',
  [QueryKind.UNLOCK]: 'write',
  [QueryKind.SESSION_WRITE]: 'write',
  [QueryKind.SESSION_READ]: 'read',
  [QueryKind.SESSION_END]: 'write',
};

/** What only a leader answers [LEAD-3]. */
const LEADER_KINDS: ReadonlySet<number> = new Set([
  QueryKind.WHERE_TO,
  QueryKind.COMMIT,
  QueryKind.RELEASE,
  QueryKind.RENEW,
  QueryKind.REMOVE,
  QueryKind.JOIN,
  QueryKind.ADMIT,
  QueryKind.DIGEST,
  QueryKind.INVENTORY,
  QueryKind.SETTLE,
  QueryKind.CORRUPT,
  QueryKind.LOCK,
  QueryKind.UNLOCK,
  QueryKind.SESSION_WRITE,
  QueryKind.SESSION_END,
]);

export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #catalog: Catalog;
  readonly #members: Membership;
  readonly #locator: Locator;
  readonly #news: MemberNews;
  /** For what strangers can cause. */
  readonly #strangers: Log;
  readonly #stop = new AbortController();
  readonly #stopFollowing: () => void;
  #leadership!: Leadership;
  /** What there is while this coordinator leads, or is suspended. */
  #term: LeaderTerm | undefined;
  #listener: Listener | undefined;

  private constructor(options: CoordinatorOptions) {
    this.#options = options;
    const { state, clock, entropy } = options;
    const writer = {
      commit: (...change: Parameters<StateStore['commit']>) => this.#leadership.commit(...change),
    };
    this.#catalog = new Catalog(state, entropy.bytes(INDEX_SEED_BYTES), writer);
    this.#members = new Membership(this.#catalog.numbers, state);
    this.#stopFollowing = this.#members.follow();
    this.#locator = new Locator({
      catalog: this.#catalog,
      members: this.#members,
      entropy,
      isSure: () => this.isLeading,
      refuse: (query) => this.#refuse(query),
    });
    this.#news = new MemberNews(clock, this.#members);
    this.#strangers = withFewWarnings(clock, options.log);
  }

  /** Opens the front port, and leads where nobody does. Rejects with GRAMLINE_IN_USE when the port is taken. */
  static async open(options: CoordinatorOptions): Promise<Coordinator> {
    const coordinator = new Coordinator(options);
    const { clock, entropy, log, state, transport, advertise } = options;
    try {
      coordinator.#listener = await transport.listen({
        address: options.listen,
        role: Role.COORDINATOR,
        clusterId: options.clusterId,
        onConnection: (connection) => coordinator.#serve(connection),
      });
    } catch (error) {
      coordinator.#stopMirror();
      throw error;
    }
    const { address } = coordinator;
    coordinator.#leadership = new Leadership({
      ...{ state, clock, entropy, log },
      address: advertise?.(address) ?? address,
      offload: transport.offload,
      secretIds: options.secretIds,
      onGained: (epoch) => {
        coordinator.#begin(epoch);
        options.onLeads?.(epoch);
      },
      onLost: () => coordinator.#end(),
    });
    try {
      await coordinator.#leadership.start();
    } catch (error) {
      await coordinator.close();
      throw error;
    }
    void coordinator.#fillIndex();
    return coordinator;
  }

  /** `host:port` of the front port. */
  get address(): string {
    return this.#listener!.address;
  }

  /** Whether this coordinator leads just now. */
  get isLeading(): boolean {
    return this.#leadership.isLeading;
  }

  /** Who leads, as far as is known here. */
  get leader(): LeaderRecord | undefined {
    return this.#leadership.leader;
  }

  get reservations(): number {
    return this.#term?.reservations ?? 0;
  }

  /** What repair has to do, where this coordinator leads. */
  get repair(): RepairStatus {
    return this.#term?.repair ?? NO_REPAIR;
  }

  get nodes(): readonly NodeStatus[] {
    return this.#members.all.map((member) => member.status);
  }

  /** Stops answering, and lets another lead; what is committed stays. The state store is the opener's to close. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#news.close();
    this.#end();
    await this.#leadership.close();
    this.#stopMirror();
    await this.#listener?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---------------------------------------------------------------- placement, also for gateways

  /** Reserves space [DEFS-2]; BUSY while another coordinator leads. The same token again gets the same places. */
  whereTo(query: WhereToQuery, owner: string): Placement {
    if (this.#term === undefined || !this.isLeading) return { code: ResultCode.BUSY };
    return this.#term.whereTo(query, owner);
  }

  /** Where an object is: nodes that are up first, then the rest; undefined when it is not known. */
  whereIs(hash: Uint8Array): { readonly bytes: number; readonly locations: readonly Location[] } | undefined {
    return this.#locator.whereIs(hash);
  }

  // ---------------------------------------------------------------- leading

  #begin(epoch: number): void {
    const { clock, entropy, suite, log, state, clusterId, compression, admissionSecret } = this.#options;
    const { repairDelayMillis, repairBytesPerSecond } = this.#options;
    const repairDelayMicros = repairDelayMillis === undefined ? undefined : millis(repairDelayMillis);
    this.#term?.close();
    this.#term = new LeaderTerm({
      ...{ clock, entropy, suite, log, state, clusterId, compression, admissionSecret },
      ...{ repairDelayMicros, repairBytesPerSecond, epoch },
      catalog: this.#catalog,
      members: this.#members,
      writer: this.#leadership.writerOf(epoch),
      frontAddress: () => this.address,
    });
  }

  #end(): void {
    this.#term?.close();
    this.#term = undefined;
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
    connection.onNotice = (kind, body) => this.#term?.onNotice(connection, kind, body);
    void connection.closed.then((reason) => this.#term?.onClosed(connection, reason));
  }

  #whereIs(connection: Connection, query: IncomingQuery): void {
    if (!connection.rights.read) return query.reply(ResultCode.DENIED);
    if (query.kind === QueryKind.WHERE_IS) this.#locator.answerOne(query);
    else this.#locator.answerMany(query);
  }

  async #dispatch(connection: Connection, query: IncomingQuery): Promise<void> {
    // [MSG-6] What the peer's secret does not allow is not carried out.
    const right = RIGHTS[query.kind];
    if (right !== undefined && !connection.rights[right]) return query.reply(ResultCode.DENIED);
    if (LEADER_KINDS.has(query.kind)) return this.#lead(connection, query);
    switch (query.kind) {
      case QueryKind.STATUS:
        return this.#status(query);
      case QueryKind.MEMBERS:
        return this.#news.answer(query);
      case QueryKind.SESSION_READ:
        return this.#readUserSession(connection, query);
      default:
        query.reply(ResultCode.UNSUPPORTED);
    }
  }

  /** What only a leader answers; somebody else is sent to the one that does [LEAD-3]. */
  async #lead(connection: Connection, query: IncomingQuery): Promise<void> {
    const term = this.#term;
    if (term === undefined || !this.isLeading) return this.#refuse(query);
    try {
      await term.handle(connection, query);
    } catch (error) {
      // [LEAD-2] Another leads by now, and nothing has changed here.
      if (isGramlineError(error, 'GRAMLINE_NOT_LEADER')) return this.#refuse(query);
      throw error;
    }
  }

  /** [LEAD-11] What is not known here may be known to the leader. */
  #readUserSession(connection: Connection, query: IncomingQuery): void {
    const isRead = readUserSession(query, connection.peerHost, { ...this.#options, log: this.#strangers });
    if (isRead) return;
    if (this.isLeading) query.reply(ResultCode.NOT_FOUND);
    else this.#refuse(query);
  }

  #refuse(query: IncomingQuery): void {
    // [LEAD-4] It may be the leader again in a moment.
    if (this.#leadership.isSuspended) {
      mark('leader-suspended');
      return replyBusy(query, SOON_RETRY_MILLIS);
    }
    mark('not-leader');
    const { epoch = 0, address = '' } = this.leader ?? {};
    query.reply(ResultCode.NOT_LEADER, encodeMessage(notLeaderReply, { epoch, address }));
  }

  #status(query: IncomingQuery): void {
    const message = readQuery(query, statusQuery);
    if (message === undefined) return;
    const { all } = this.#members;
    // [MSG-13] The first page says who the coordinators are.
    const coordinators = message.cursor === 0 ? this.#coordinators() : [];
    const taken = coordinators.reduce((sum, one) => sum + coordinatorStatusSize(one), STATUS_FIXED_BYTES);
    const nodes = statusPage(inOrder(all), message.cursor, BODY_BYTES_MAX - taken);
    const { revision, isStale: stale, totals } = this.#catalog;
    const counts = { revision, stale, ...totals, nodesTotal: all.length };
    const reply = { ...counts, ...this.#repairReport(), coordinators, nodes };
    query.reply(ResultCode.OK, encodeMessage(statusReply, reply));
  }

  /** [REP-7] The leader knows; who follows knows what the leader noted. */
  #repairReport(): RepairReport {
    if (this.#term !== undefined && this.isLeading) return reportOf(this.#term.repair);
    return readRepair(this.#options.state, this.leader?.epoch);
  }

  /** This one first, then the leader, then the others. */
  #coordinators(): CoordinatorStatus[] {
    const leaderId = this.leader?.id;
    const leads = (id: Uint8Array): boolean => leaderId !== undefined && equalBytes(leaderId, id);
    const rank = ({ id, isSelf }: { readonly id: Uint8Array; readonly isSelf: boolean }): number =>
      isSelf ? 2 : Number(leads(id));
    const found = this.#leadership.coordinators
      .sort((left, right) => rank(right) - rank(left))
      .slice(0, COORDINATORS_MAX);
    return found.map(({ id, address, offload, isSelf }) => ({
      address,
      leads: leads(id),
      answers: isSelf,
      offload,
    }));
  }

  /** Reads the catalog into memory; until then the state store answers what has not been read. */
  async #fillIndex(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stop;
    const startedAt: Micros = clock.now();
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

  #stopMirror(): void {
    this.#stopFollowing();
    this.#catalog.close();
  }

  #onFailure(error: unknown): void {
    const code = isGramlineError(error) ? error.code : 'unknown';
    this.#options.log.error('a query failed', { code, reason: String(error) });
  }
}
