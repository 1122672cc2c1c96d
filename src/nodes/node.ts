/**
 * The node: stores objects, serves reads. Stays joined to a coordinator: tries all it knows in
 * turn, proves its admission, sends its inventory, then reports its load.
 */

import { equalBytes, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, seconds } from '../base/units.ts';
import { admissionProof, checkAdmissionProof, type Suite } from '../crypto/index.ts';
import {
  admitQuery,
  admitReply,
  emptyMessage,
  encodeMessage,
  hashQuery,
  joinQuery,
  joinReply,
  loadNotice,
  NoticeKind,
  QueryKind,
  ResultCode,
  Role,
  SETTLE_ENTRIES_MAX,
  Settlement,
  settleQuery,
  settleReply,
} from '../wire/index.ts';
import { Copier } from './copying.ts';
import { stayJoined } from './joining.ts';
import { type ClusterMember, MemberFollower } from './member-follower.ts';
import { sendInventory } from './node-inventory.ts';
import { ObjectService } from './object-service.ts';
import type {
  Clock,
  Compression,
  Connection,
  Entropy,
  IncomingQuery,
  Listener,
  Log,
  ObjectStore,
  Transport,
} from './ports.ts';
import { Receipts } from './receipts.ts';
import { RESERVATION_LEASE_MICROS } from './reservations.ts';
import { ADMISSION_ROLE, ADMITTING_ROLE, answer, ask, every, readQuery, readReply, sleep } from './roles.ts';

/** Load is reported this often, and after every store. */
const LOAD_MICROS: Micros = seconds(1);
/** The disk is looked at, and pending objects are settled, this often. */
const UPKEEP_MICROS: Micros = seconds(5);
/** A pending object is asked about when its commit should long have come. */
const SETTLE_AFTER_MILLIS = (2 * RESERVATION_LEASE_MICROS) / 1000;
/** Damaged objects that are reported one by one; of more, the next inventory tells by lacking them. */
export const UNREPORTED_MAX = 256;

export interface NodeOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly suite: Suite;
  readonly store: ObjectStore;
  readonly compression: Compression;
  /** `host:port` of coordinators, tried in turn. */
  readonly coordinators: readonly string[];
  readonly admissionSecret: Uint8Array;
  /** `host:port` of the node's own front port. */
  readonly listen: string;
  readonly name: string;
  /** The node wants to leave for good: its objects are to be copied elsewhere [REP-6]. */
  readonly draining?: boolean;
  readonly log: Log;
}

export class StorageNode {
  readonly #options: NodeOptions;
  readonly #service: ObjectService;
  readonly #copier: Copier;
  /** Orders to delete that are being carried out. */
  readonly #deleting = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #listener: Listener | undefined;
  #coordinator: Connection | undefined;
  #staysJoined: Promise<void> | undefined;
  #joined: Promise<void>;
  #resolveJoined!: () => void;
  #lastError: unknown;
  /** Who else is there, by what coordinators tell: goes on at the next one. */
  readonly #follower = new MemberFollower((body, timeoutMicros) => {
    const connection = this.#coordinator;
    if (connection === undefined) throw new GramlineError('GRAMLINE_CLOSED', 'this node is not joined');
    return connection.query(QueryKind.MEMBERS, body, { timeoutMicros, signal: this.#stop.signal });
  });
  /** Objects that were found damaged, and of which the coordinator may not know yet. */
  readonly #unreported = new Map<string, Uint8Array>();
  /** Whether there were too many of them, and no inventory has been sent since. */
  #owesInventory = false;

  private constructor(options: NodeOptions) {
    this.#options = options;
    const serving = {
      clock: options.clock,
      store: options.store,
      compression: options.compression,
      receipts: new Receipts(options.suite, options.admissionSecret),
      log: options.log,
      onChanged: () => this.#reportLoad(),
      onCorrupt: (hash: Uint8Array) => this.#onCorrupt(hash),
      isReported: (hash: Uint8Array) => !this.#unreported.has(toHex(hash)),
    };
    this.#service = new ObjectService(serving);
    const { transport } = options;
    this.#copier = new Copier({ ...serving, transport, putAside: (hash) => this.#service.putAside(hash) });
    this.#joined = new Promise((resolve) => {
      this.#resolveJoined = resolve;
    });
  }

  /** Opens the front port and starts joining. Does not wait for a coordinator: see {@link joined}. */
  static async open(options: NodeOptions): Promise<StorageNode> {
    const node = new StorageNode(options);
    node.#listener = await options.transport.listen({
      address: options.listen,
      role: Role.NODE,
      clusterId: new Uint8Array(16),
      onConnection: (connection) => {
        connection.onQuery = (query) => node.#service.handle(connection, query);
      },
    });
    node.#staysJoined = node.#stayJoined();
    const onFailure = (error: unknown): void => node.#onFailure(error);
    void node.#followMembers();
    void every(options.clock, LOAD_MICROS, node.#stop.signal, () => node.#reportLoad(), onFailure);
    void every(options.clock, UPKEEP_MICROS, node.#stop.signal, () => node.#upkeep(), onFailure);
    return node;
  }

  get address(): string {
    return this.#listener!.address;
  }

  get nodeId(): Uint8Array {
    return this.#options.store.nodeId;
  }

  /** Resolves when the node has been admitted, and its inventory taken, for the first time. */
  get joined(): Promise<void> {
    return this.#joined;
  }

  /** How many objects it holds. */
  get objects(): number {
    return this.#options.store.objects;
  }

  get isJoined(): boolean {
    return this.#coordinator !== undefined;
  }

  /** The nodes of the cluster, as coordinators told last. */
  get members(): readonly ClusterMember[] {
    return this.#follower.members;
  }

  /** Why the last try to join failed, if it did. */
  get lastError(): unknown {
    return this.#lastError;
  }

  /** Leaves; stored objects stay. The object store is the opener's to close. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#coordinator?.close();
    // A session that is just being made ends, too.
    await this.#staysJoined;
    await this.#listener?.close();
    await this.#service.idle();
    await this.#copier.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---------------------------------------------------------------- joining

  #stayJoined(): Promise<void> {
    const { transport, clock, entropy, log, coordinators } = this.#options;
    return stayJoined({
      ...{ transport, clock, entropy, log, coordinators },
      signal: this.#stop.signal,
      admit: (connection) => this.#admit(connection),
      introduce: (connection) => this.#introduce(connection),
      onJoined: (connection, address) => {
        this.#coordinator = connection;
        this.#lastError = undefined;
        log.info('joined', { coordinator: address });
        this.#reportLoad();
        this.#resolveJoined();
      },
      onLeft: () => {
        this.#coordinator = undefined;
      },
      onFailure: async (error) => {
        this.#lastError = error;
        await this.#renewIfStale(error);
      },
    });
  }

  /** [MEM-4] Who was given up comes back as a new one. */
  async #renewIfStale(error: unknown): Promise<void> {
    if (!isGramlineError(error, 'GRAMLINE_STALE_EPOCH')) return;
    try {
      await this.#options.store.renew();
    } catch (failure) {
      this.#onFailure(failure);
    }
  }

  async #admit(connection: Connection): Promise<void> {
    const { transport, store, suite, admissionSecret, name } = this.#options;
    const { signal } = this.#stop;
    const join = {
      nodeId: store.nodeId,
      incarnation: store.incarnation,
      name,
      address: this.address,
      quotaBytes: store.quotaBytes,
      freeBytes: store.freeBytes,
      offload: transport.offload,
      draining: this.#options.draining ?? false,
    };
    const question = { codec: joinQuery, message: join };
    const { nonce } = await ask(connection, QueryKind.JOIN, question, joinReply, 'joining', { signal });
    const proof = admissionProof(suite, admissionSecret, connection.handshakeHash, nonce, ADMISSION_ROLE);
    const reply = await connection.query(QueryKind.ADMIT, encodeMessage(admitQuery, { proof }), { signal });
    if (reply.code === ResultCode.DENIED) {
      throw new GramlineError(
        'GRAMLINE_DENIED',
        'the coordinator refused this node: its admission secret differs',
      );
    }
    if (reply.code === ResultCode.CONFLICT) {
      throw new GramlineError(
        'GRAMLINE_CONFLICT',
        'another node with the same id is up: this directory is a copy of its directory',
        { retryable: true },
      );
    }
    const admitted = readReply(reply, admitReply, 'joining');
    const { clusterId } = admitted;
    const { handshakeHash } = connection;
    // [ADM-8] Only a coordinator that knows the admission secret is obeyed.
    if (!checkAdmissionProof(suite, admissionSecret, handshakeHash, nonce, ADMITTING_ROLE, admitted.proof)) {
      throw new GramlineError('GRAMLINE_DENIED', 'the coordinator does not know the admission secret');
    }
    const session = new AbortController();
    void connection.closed.then(() => session.abort());
    connection.onQuery = (query) => this.#onCoordinatorQuery(query, session.signal);
    this.#listener!.clusterId = clusterId;
  }

  /** Tells the coordinator what this node holds. */
  async #introduce(connection: Connection): Promise<void> {
    // What the last session ordered to be deleted is not told of as held.
    await Promise.allSettled(this.#deleting);
    await sendInventory(connection, this.#options.store, this.#stop.signal);
    this.#owesInventory = false;
  }

  // ---------------------------------------------------------------- upkeep

  /** @param session Aborts when the coordinator's session has ended. */
  #onCoordinatorQuery(query: IncomingQuery, session: AbortSignal): void {
    // [ADM-5] Only the coordinator, on the session that the node opened to it, may order deletions and copies.
    if (query.kind === QueryKind.COPY) return this.#copier.handle(query, session);
    if (query.kind !== QueryKind.DELETE) return query.reply(ResultCode.UNSUPPORTED);
    const work = async (): Promise<void> => {
      const message = readQuery(query, hashQuery);
      if (message === undefined) return;
      const removing = this.#options.store.remove(message.hash);
      const ended: Promise<void> = removing.then(
        () => void this.#deleting.delete(ended),
        () => void this.#deleting.delete(ended),
      );
      this.#deleting.add(ended);
      query.reply((await removing) ? ResultCode.OK : ResultCode.NOT_FOUND);
      this.#reportLoad();
    };
    answer(query, work, (error) => this.#onFailure(error));
  }

  /** Hears who comes and goes, from whichever coordinator this node has joined. */
  async #followMembers(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    await this.#joined;
    while (!signal.aborted) {
      try {
        await this.#follower.next();
      } catch {
        // Asked again where the node joins next.
        await sleep(clock, LOAD_MICROS, signal);
      }
    }
  }

  #reportLoad(): void {
    const { freeBytes, objects, full } = this.#options.store;
    this.#coordinator?.notify(NoticeKind.LOAD, encodeMessage(loadNotice, { freeBytes, objects, full }));
  }

  #onCorrupt(hash: Uint8Array): void {
    if (this.#unreported.has(toHex(hash))) return;
    if (this.#unreported.size >= UNREPORTED_MAX) {
      this.#owesInventory = true;
      return;
    }
    this.#unreported.set(toHex(hash), hash);
    this.#reportCorrupt(hash).catch((error: unknown) => this.#onFailure(error));
  }

  /** Tells the coordinator of a damaged object; what it did not take is told again by the upkeep. */
  async #reportCorrupt(hash: Uint8Array): Promise<void> {
    const connection = this.#coordinator;
    if (connection === undefined) return;
    const reply = await connection.query(QueryKind.CORRUPT, encodeMessage(hashQuery, { hash }));
    readReply(reply, emptyMessage, 'reporting damage');
    this.#unreported.delete(toHex(hash));
  }

  async #upkeep(): Promise<void> {
    const { store, clock } = this.#options;
    await store.probe();
    const connection = this.#coordinator;
    if (connection === undefined) return;
    if (this.#owesInventory) {
      this.#options.log.warn('too many objects are damaged to report each: joining again');
      // The session after this one begins with an inventory.
      await connection.close();
      return;
    }
    for (const hash of [...this.#unreported.values()]) await this.#reportCorrupt(hash);
    const ripeMillis = clock.wallMillis() - SETTLE_AFTER_MILLIS;
    const ripe = store
      .pending()
      .filter((pending) => pending.storedMillis <= ripeMillis)
      .slice(0, SETTLE_ENTRIES_MAX);
    if (ripe.length === 0) return;
    const { settlements } = await ask(
      connection,
      QueryKind.SETTLE,
      { codec: settleQuery, message: { entries: ripe } },
      settleReply,
      'settling',
    );
    for (const [index, settlement] of settlements.entries()) {
      const asked = ripe[index];
      if (settlement === Settlement.WAIT) mark('settle-wait');
      if (asked === undefined || settlement === Settlement.WAIT) continue;
      // Stored once more meanwhile, under another token: this answer is not about that.
      const isSame = store
        .pending()
        .some(({ hash, token }) => equalBytes(hash, asked.hash) && equalBytes(token, asked.token));
      mark(settlement === Settlement.KEEP ? 'settle-keep' : 'settle-drop');
      if (isSame) await store.settle(asked.hash, settlement === Settlement.KEEP);
    }
    this.#reportLoad();
  }

  #onFailure(error: unknown): void {
    this.#options.log.warn('upkeep failed', { reason: String(error) });
  }
}
