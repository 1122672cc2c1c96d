/**
 * The client: asks coordinators where objects are and fit, moves them to and from nodes. How an
 * object is sent is `put.ts`, how it is fetched `get.ts`.
 */

import { fromHex, toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { type Micros, millis } from '../base/units.ts';
import {
  type Codec,
  decodeMessage,
  emptyMessage,
  encodeMessage,
  isFailure,
  noSpaceReply,
  QueryKind,
  REPLICAS_MAX,
  ResultCode,
  removeQuery,
  statusQuery,
  TOKEN_BYTES,
  tokenQuery,
  whereToQuery,
  whereToReply,
} from '../wire/index.ts';
import { ClientLocks, type HeldLock, type LockOptions } from './client-lock.ts';
import { openSession, type SessionOptions, type UserSession, type WatchedSession } from './client-session.ts';
import { askStatus, type ClusterStatus } from './client-status.ts';
import { ConnectionCache, closedError } from './connection-cache.ts';
import { CoordinatorAsker } from './coordinator-asker.ts';
import { getObject, getObjectInto, type ObjectSink } from './get.ts';
import { type ClusterMember, MemberFollower } from './member-follower.ts';
import { type ObjectPlaces, type Replica, replicaOf } from './places.ts';
import type {
  CallOptions,
  Clock,
  Compression,
  Entropy,
  Hashing,
  Log,
  Reply,
  TransferCounts,
  Transport,
} from './ports.ts';
import { putObject } from './put.ts';
import { readReply, sleep } from './roles.ts';
import { parseHash, readOne, WhereIsBatcher, type WhereIsOutcome } from './where-is.ts';

export type { HeldLock, LockOptions } from './client-lock.ts';
export type { SessionData, SessionOptions, UserSession } from './client-session.ts';
export type { ClusterRepair, ClusterStatus } from './client-status.ts';
export type { ObjectSink } from './get.ts';
export type { ClusterMember } from './member-follower.ts';
export type { ObjectPlaces, Replica } from './places.ts';
export type { WhereIsOutcome } from './where-is.ts';

/** How long `close` waits for puts to give their space back: a lost RELEASE leaves it to the lease. */
const CLOSE_RELEASE_MICROS: Micros = millis(200);
/** Replicas of a put that does not say how many. */
export const REPLICAS_DEFAULT = 2;
/** Most bytes of one object: sizes have 48 bits on the wire. */
const OBJECT_BYTES_MAX = 2 ** 48 - 1;

export interface ClientOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly hashing: Hashing;
  readonly compression: Compression;
  /** `host:port` of coordinators, tried in turn. */
  readonly coordinators: readonly string[];
  readonly log: Log;
}

/** Space that is reserved for a put. */
export interface ReservedPlaces {
  /** 8 bytes in hex: what `release` takes. */
  readonly token: string;
  readonly leaseMillis: number;
  /** Revision of the catalog when this was answered. */
  readonly revision: number;
  readonly replicas: readonly Replica[];
}

/** Bytes moved so far, of how many; `totalBytes` is that of the object. */
export interface Progress {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** What a put takes: bytes, a stream of them, or a function that opens the stream anew for each try. */
export type ObjectSource = Uint8Array | AsyncIterable<Uint8Array> | (() => AsyncIterable<Uint8Array>);

export interface PutOptions {
  /** Size of the object; needed for streams above 64 MiB, but for byte arrays and whole files from `createReadStream`. */
  readonly bytes?: number | undefined;
  /** Wanted replicas, 1 to 8. Default 2, or fewer when fewer nodes are up; when given, fewer is an error. */
  readonly replicas?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface PutResult {
  /** SHA-256 in hex: the object's name. */
  readonly hash: string;
  readonly bytes: number;
  /** Replicas that hold the object now. */
  readonly replicas: number;
  /** Whether the object was there before. */
  readonly existed: boolean;
}

export interface GetOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export class Client {
  readonly #options: ClientOptions;
  readonly #coordinators: CoordinatorAsker;
  readonly #nodes: ConnectionCache;
  readonly #whereIs = new WhereIsBatcher((kind, body) => this.#coordinators.ask(kind, body, {}));
  /** Puts under way, and what ends each. */
  readonly #puts = new Map<Promise<PutResult>, AbortController>();
  readonly #releases = new Set<Promise<unknown>>();
  readonly #locks: ClientLocks;
  readonly #watchedSessions = new Set<WatchedSession>();
  #closing: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#coordinators = new CoordinatorAsker(options);
    this.#nodes = new ConnectionCache(options.transport, options);
    this.#locks = new ClientLocks(this.#asking);
  }

  /** Ends puts under way, which give their space back, then all sessions. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Datagrams and segments of all sessions so far. */
  get counts(): TransferCounts {
    const [left, right] = [this.#coordinators.counts, this.#nodes.counts];
    return {
      datagramsSent: left.datagramsSent + right.datagramsSent,
      datagramsReceived: left.datagramsReceived + right.datagramsReceived,
      segmentsSent: left.segmentsSent + right.segmentsSent,
      segmentsResent: left.segmentsResent + right.segmentsResent,
      bytesSent: left.bytesSent + right.bytesSent,
      bytesReceived: left.bytesReceived + right.bytesReceived,
    };
  }

  /**
   * Stores an object on several nodes and commits it. When this resolves, the object is durable on
   * every counted replica and in the catalog.
   *
   * @throws GRAMLINE_NO_SPACE, GRAMLINE_NO_COORDINATOR, GRAMLINE_ABORTED, GRAMLINE_INVALID, the signal's reason
   */
  put(source: ObjectSource, options: PutOptions = {}): Promise<PutResult> {
    if (this.#closing !== undefined) return Promise.reject(closedError());
    const stop = new AbortController();
    const { signal } = options;
    const onAbort = (): void => stop.abort(signal!.reason);
    if (signal?.aborted === true) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const ended = { ...options, signal: stop.signal };
    const put = putObject({ ...this.#context, source, options: ended }).finally(() => {
      signal?.removeEventListener('abort', onAbort);
      this.#puts.delete(put);
    });
    this.#puts.set(put, stop);
    return put;
  }

  /**
   * The bytes of an object, in order, checked: the stream fails at its end when their SHA-256 is
   * not `hash`. Goes on at another replica when a node fails.
   *
   * @param hash SHA-256 in hex, or its 32 bytes.
   * @throws GRAMLINE_NOT_FOUND, GRAMLINE_CORRUPT, GRAMLINE_ABORTED, GRAMLINE_INVALID, the signal's reason
   */
  get(hash: string | Uint8Array, options: GetOptions = {}): AsyncIterable<Uint8Array> {
    return getObject({ ...this.#context, hash: parseHash(hash), options });
  }

  /**
   * As {@link get}, for those who write the bytes on: `sink` takes one piece after the other, perhaps
   * before it resolved for earlier ones. Resolves when all is taken and checked.
   * @throws what {@link get} throws, and what `sink` rejects with: throw away what was taken then
   */
  getInto(hash: string | Uint8Array, sink: ObjectSink, options: GetOptions = {}): Promise<void> {
    return getObjectInto({ ...this.#context, hash: parseHash(hash), options }, sink);
  }

  /**
   * Where an object is. Calls of one turn of the loop, where they have no options, share queries.
   *
   * @param hash SHA-256 in hex, or its 32 bytes.
   * @throws GRAMLINE_NOT_FOUND, GRAMLINE_CORRUPT when every replica was lost, GRAMLINE_BUSY,
   *   GRAMLINE_INVALID, GRAMLINE_NO_COORDINATOR, the signal's reason
   */
  whereIs(hash: string | Uint8Array, options: CallOptions = {}): Promise<ObjectPlaces> {
    const isPlain = options.signal === undefined && options.timeoutMicros === undefined;
    return isPlain ? this.#whereIs.one(hash) : this.#whereIsAlone(hash, options);
  }

  /**
   * Where many objects are, in the order of `hashes`: for each its places, or the error that `whereIs`
   * would throw because of that object alone.
   *
   * @param hashes SHA-256 in hex, or their 32 bytes; not to be changed until this has ended.
   * @throws GRAMLINE_INVALID, GRAMLINE_BUSY, GRAMLINE_NO_COORDINATOR, the signal's reason
   */
  whereIsMany(
    hashes: readonly (string | Uint8Array)[],
    options: Pick<CallOptions, 'signal'> = {},
  ): Promise<WhereIsOutcome[]> {
    return this.#whereIs.many(hashes, options.signal);
  }

  /**
   * Reserves space for an object. The reservation lapses by itself; `release` ends it sooner.
   *
   * @throws GRAMLINE_NO_SPACE, GRAMLINE_CONFLICT when `hash` is given and exists, GRAMLINE_BUSY, GRAMLINE_INVALID
   */
  async whereTo(
    bytes: number,
    options: CallOptions & {
      readonly hash?: string | Uint8Array | undefined;
      readonly replicas?: number | undefined;
    } = {},
  ): Promise<ReservedPlaces> {
    checkBytes(bytes);
    checkReplicas(options.replicas);
    const token = this.#options.entropy.bytes(TOKEN_BYTES);
    const hash = options.hash === undefined ? undefined : parseHash(options.hash);
    const message = { token, bytes, replicas: options.replicas ?? 1, hash };
    const reply = await this.ask(QueryKind.WHERE_TO, whereToQuery, message, options).catch(
      (error: unknown) => {
        // The coordinator may hold the space all the same, and nobody else knows the token.
        this.release(toHex(token)).catch(() => undefined);
        throw error;
      },
    );
    if (reply.code === ResultCode.NO_SPACE) throw noSpaceError(reply, bytes);
    const { leaseMillis, revision, locations } = readReply(reply, whereToReply, 'placing an object');
    if (locations.length === 0) {
      throw new GramlineError(
        'GRAMLINE_PROTOCOL',
        'placing an object: the coordinator names no node: check that versions match',
      );
    }
    return { token: toHex(token), leaseMillis, revision, replicas: locations.map(replicaOf) };
  }

  /** Ends a reservation that `whereTo` made. */
  async release(token: string): Promise<void> {
    const bytes = fromHex(token);
    if (bytes?.length !== TOKEN_BYTES)
      throw new GramlineError('GRAMLINE_INVALID', 'a token has 16 hex digits');
    const release = this.ask(QueryKind.RELEASE, tokenQuery, { token: bytes });
    this.#releases.add(release);
    try {
      await release;
    } finally {
      this.#releases.delete(release);
    }
  }

  /** Removes an object everywhere. Throws GRAMLINE_NOT_FOUND. */
  async rm(hash: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    const bytes = parseHash(hash);
    // Whoever answers in the end knows by the token whether an earlier try did it.
    const message = { token: this.#options.entropy.bytes(TOKEN_BYTES), hash: bytes };
    const reply = await this.ask(QueryKind.REMOVE, removeQuery, message, options);
    readReply(reply, emptyMessage, `removing ${toHex(bytes).slice(0, 12)}`);
  }

  /**
   * Waits for a lock, and holds it until it is released, renewing it three times a lease. It outlasts the loss of a
   * coordinator; when it cannot be renewed in time, its `signal` aborts.
   *
   * @param name 1 to 80 bytes
   * @throws GRAMLINE_TIMEOUT when it is not obtained within `timeoutMillis`, GRAMLINE_INVALID, GRAMLINE_BUSY,
   *   GRAMLINE_DENIED, GRAMLINE_NO_COORDINATOR, GRAMLINE_CLOSED, the signal's reason
   * @example
   * await using lock = await client.lock('nightly build', { timeoutMillis: 60_000 });
   * await build({ fencing: lock.fencing, signal: lock.signal });
   */
  lock(name: string, options: LockOptions = {}): Promise<HeldLock> {
    return this.#locks.lock(name, options);
  }

  /**
   * Makes a user session, or takes one up again by its `token`: a little data that outlasts this client, for
   * `lifetimeSeconds` after each write.
   *
   * @throws GRAMLINE_NOT_FOUND when the session to resume has ended, GRAMLINE_DENIED when its token is another,
   *   GRAMLINE_INVALID, GRAMLINE_BUSY, GRAMLINE_NO_COORDINATOR, the signal's reason
   */
  session(options: SessionOptions = {}): Promise<UserSession> {
    return openSession({ ...this.#asking, watched: this.#watchedSessions }, options);
  }

  /** The cluster as a coordinator sees it. */
  status(options: CallOptions = {}): Promise<ClusterStatus> {
    return askStatus((message) => this.ask(QueryKind.STATUS, statusQuery, message, options));
  }

  /**
   * Who comes, goes and changes among the nodes, from now on: first all that are there, then each change. Goes on
   * at another coordinator when one is lost. Ends when `signal` aborts.
   *
   * @throws GRAMLINE_NO_COORDINATOR, the signal's reason
   */
  async *members(options: Pick<CallOptions, 'signal'> = {}): AsyncGenerator<ClusterMember, void, undefined> {
    const follower = new MemberFollower((body, timeoutMicros) => {
      return this.#coordinators.ask(QueryKind.MEMBERS, body, { ...options, timeoutMicros });
    });
    for (;;) yield* await follower.next();
  }

  /** Asks a coordinator, another one when the session breaks. Every query here is safe to repeat. */
  async ask<Query>(
    kind: number,
    codec: Codec<Query>,
    message: Query,
    options: CallOptions = {},
  ): Promise<Reply> {
    return this.#coordinators.ask(kind, encodeMessage(codec, message), options);
  }

  async #whereIsAlone(hash: string | Uint8Array, options: CallOptions): Promise<ObjectPlaces> {
    const bytes = parseHash(hash);
    const reply = await this.#coordinators.ask(QueryKind.WHERE_IS, bytes, options);
    const outcome = readOne(reply, bytes, 0);
    if (outcome instanceof GramlineError) throw outcome;
    return outcome;
  }

  async #close(): Promise<void> {
    for (const stop of this.#puts.values()) stop.abort(closedError());
    for (const session of [...this.#watchedSessions]) session.stop();
    const released = new AbortController();
    void Promise.all([this.#released(), this.#locks.close()]).then(() => released.abort());
    await sleep(this.#options.clock, CLOSE_RELEASE_MICROS, released.signal);
    await Promise.all([this.#coordinators.close(), this.#nodes.close()]);
  }

  /** Resolves when no put and no RELEASE is under way. */
  async #released(): Promise<void> {
    await Promise.allSettled(this.#puts.keys());
    while (this.#releases.size > 0) await Promise.allSettled(this.#releases);
  }

  get #asking() {
    const { clock, entropy } = this.#options;
    const ask: CoordinatorAsker['ask'] = (...question) => this.#coordinators.ask(...question);
    return { clock, entropy, ask };
  }

  get #context() {
    return { ...this.#options, client: this as Client, nodes: this.#nodes };
  }
}

/** Throws GRAMLINE_INVALID unless an object can have that many bytes. */
export function checkBytes(bytes: number): void {
  if (Number.isInteger(bytes) && bytes >= 0 && bytes <= OBJECT_BYTES_MAX) return;
  throw new GramlineError(
    'GRAMLINE_INVALID',
    `${bytes} is no size of an object: give a whole number of bytes, 0 to ${OBJECT_BYTES_MAX}`,
  );
}

/** Throws GRAMLINE_INVALID unless an object can have that many replicas, or none are named. */
export function checkReplicas(replicas: number | undefined): void {
  if (replicas === undefined) return;
  if (Number.isInteger(replicas) && replicas >= 1 && replicas <= REPLICAS_MAX) return;
  throw new GramlineError(
    'GRAMLINE_INVALID',
    `an object cannot have ${replicas} replicas: ask for a whole number, 1 to ${REPLICAS_MAX}`,
  );
}

/** The error of a NO_SPACE reply, which says how much there is. */
export function noSpaceError(reply: Reply, bytes: number): GramlineError {
  const body = decodeMessage(noSpaceReply, reply.body);
  const what = `${bytes} bytes do not fit`;
  const options = { wireCode: ResultCode.NO_SPACE };
  if (isFailure(body))
    return new GramlineError('GRAMLINE_NO_SPACE', `${what}: add a node or remove objects`, options);
  if (body.nodesUp === 0) {
    return new GramlineError('GRAMLINE_NO_SPACE', `${what}: no node is up: start one`, options);
  }
  if (body.freeBytes >= bytes) {
    return new GramlineError(
      'GRAMLINE_NO_SPACE',
      `too few of the ${body.nodesUp} nodes that are up have ${bytes} bytes free: ask for fewer replicas, add a node or remove objects`,
      options,
    );
  }
  return new GramlineError(
    'GRAMLINE_NO_SPACE',
    `${what}: the emptiest of ${body.nodesUp} ${body.nodesUp === 1 ? 'node' : 'nodes'} has ${body.freeBytes} bytes free: add a node or remove objects`,
    options,
  );
}
