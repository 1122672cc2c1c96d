/**
 * Durable keys and values that several coordinators share, in etcd 3.4 or newer.
 *
 * Writes go to etcd; reads are answered from a mirror on this machine, which follows one watch. A
 * commit is answered when the mirror has it. Leases are etcd's.
 */

import { randomBytes } from 'node:crypto';
import { equalBytes } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { type Micros, seconds } from '../base/units.ts';
import type {
  ChangeListener,
  CommitResult,
  Comparison,
  Log,
  StateLease,
  StateOperation,
  StateStore,
} from '../nodes/ports.ts';
import { CLUSTER_ID_BYTES } from '../wire/constants.ts';
import { BackOff, pause } from './back-off.ts';
import { type EtcdAccess, EtcdClient } from './etcd-client.ts';
import { EtcdCommits } from './etcd-commits.ts';
import { etcdError, reasonOf } from './etcd-errors.ts';
import { EtcdFollower } from './etcd-follower.ts';
import {
  decodeFounding,
  ETCD_PREFIX,
  EtcdKeys,
  encodeCommit,
  encodeFounding,
  PIECE_PARTS_MAX,
} from './etcd-messages.ts';
import { newerFormat, olderFormat, otherCluster, STATE_FORMAT } from './state-format.ts';
import { checkCommit, checkRange, STATE_KEY_BYTES_MAX, stateClosed } from './state-limits.ts';
import { openLmdbMirror, type StateMirror } from './state-mirror.ts';

/** Comparisons of one commit; of operations it takes as many as any store. */
export const ETCD_COMPARISONS_MAX = PIECE_PARTS_MAX;
/** What was asked for before `close` is answered by then, or fails. */
const CLOSE_MILLIS_MAX = 5_000;
/** etcd says by then which cluster this is. */
const FOUNDING_MILLIS_MAX = 4_000;
/** Somebody answers for a lease by then. */
const LEASE_MILLIS_MAX = 1_000;
/** A member that takes longer for it may be dead: the next one is asked as well. */
const LEASE_NEXT_MILLIS = 300;
const LEASE_LIMITS = { millis: LEASE_MILLIS_MAX, nextMillis: LEASE_NEXT_MILLIS };
const SECOND_MICROS = seconds(1);

export interface EtcdStateStoreOptions extends EtcdAccess {
  /** URLs of members, as `http://HOST:2379`; tried in this order. */
  readonly endpoints: readonly string[];
  /** Which cluster this is: 16 bytes. Without it, whoever comes first makes one up and others know. */
  readonly clusterId?: Uint8Array | undefined;
  /** `count` unpredictable bytes, for the cluster id; the default is `node:crypto`. */
  readonly entropy?: ((count: number) => Uint8Array) | undefined;
  /** Milliseconds to wait for an etcd that does not answer at the start; default 0. */
  readonly waitMillis?: number | undefined;
  /** Told in a sentence, once, that etcd does not answer and is waited for. */
  readonly onWaiting?: ((sentence: string) => void) | undefined;
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined;
  readonly log?: Log | undefined;
  /** Where the keys stand in etcd; default `gramline/`. */
  readonly prefix?: string | undefined;
  /** @internal What holds the mirror; default lmdb in a temporary directory. */
  readonly openMirror?: () => Promise<StateMirror>;
}

/**
 * Opens the state in etcd, and reads all of it.
 *
 * @throws GramlineError `GRAMLINE_INVALID` when a newer Gramline wrote it, it belongs to another
 *   cluster, or an option makes no sense, `GRAMLINE_DENIED` when etcd does not let us in,
 *   `GRAMLINE_TIMEOUT` when it does not answer within `waitMillis`, `GRAMLINE_IO` when the disk for the
 *   mirror fails
 */
export async function openEtcdStateStore(options: EtcdStateStoreOptions): Promise<StateStore> {
  const { clusterId, waitMillis = 0, signal = new AbortController().signal } = options;
  if (clusterId !== undefined && clusterId.length !== CLUSTER_ID_BYTES)
    throw new GramlineError('GRAMLINE_INVALID', `A cluster id has ${CLUSTER_ID_BYTES} bytes.`);
  const deadline = performance.now() + waitMillis;
  const backOff = new BackOff();
  let isTold = false;
  for (;;) {
    const client = new EtcdClient(options.endpoints, options);
    try {
      return await openOnce(options, client);
    } catch (error) {
      await client.close();
      const failure = etcdError(error, 'open the state', client.where, false);
      if (!(failure instanceof GramlineError) || !failure.retryable) throw failure;
      const seconds = waitMillis / 1_000;
      if (performance.now() >= deadline || signal.aborted) {
        const silence =
          waitMillis === 0
            ? `does not answer at ${client.where}`
            : `has not answered at ${client.where} for ${seconds} s`;
        throw new GramlineError(
          'GRAMLINE_TIMEOUT',
          `etcd ${silence}: ${reasonOf(error)}. Start it, or check the URLs.`,
          { cause: failure, retryable: true },
        );
      }
      if (!isTold) {
        isTold = true;
        options.onWaiting?.(
          `etcd does not answer at ${client.where}: trying again for ${seconds} s (${reasonOf(error)})`,
        );
      }
    }
    await pause(Math.min(backOff.next(), deadline - performance.now()), signal);
  }
}

async function openOnce(options: EtcdStateStoreOptions, client: EtcdClient): Promise<StateStore> {
  const keys = new EtcdKeys(options.prefix ?? ETCD_PREFIX);
  const clusterId = await foundCluster(options, client, keys);
  const mirror = await (options.openMirror ?? openLmdbMirror)();
  const follower = new EtcdFollower(client, keys, mirror, options.log);
  try {
    await follower.start();
  } catch (error) {
    await follower.close();
    await mirror.close();
    throw error;
  }
  return new EtcdStateStore(clusterId, client, keys, mirror, follower);
}

/** The id of the cluster; made here where there is none yet. */
async function foundCluster(
  { clusterId: wanted, entropy = randomBytes }: EtcdStateStoreOptions,
  client: EtcdClient,
  keys: EtcdKeys,
): Promise<Uint8Array> {
  const offered = wanted ?? new Uint8Array(entropy(CLUSTER_ID_BYTES));
  const body = encodeFounding(keys, STATE_FORMAT, offered);
  const found = decodeFounding(await client.send('/v3/kv/txn', body, FOUNDING_MILLIS_MAX));
  if (found === undefined) return offered.slice();
  const where = `etcd at ${client.where}`;
  const { format, clusterId } = found;
  if (format > STATE_FORMAT) throw newerFormat(where, format);
  if (format >= 1 && format < STATE_FORMAT) throw olderFormat(where, format);
  if (format !== STATE_FORMAT || clusterId.length !== CLUSTER_ID_BYTES) {
    throw new GramlineError(
      'GRAMLINE_CORRUPT',
      `The state in ${where} is unreadable. Restore it from a backup.`,
    );
  }
  if (wanted !== undefined && !equalBytes(wanted, clusterId)) throw otherCluster(where, clusterId, wanted);
  return clusterId;
}

class EtcdStateStore implements StateStore {
  readonly isShared = true;
  readonly #clusterId: Uint8Array;
  readonly #client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #mirror: StateMirror;
  readonly #follower: EtcdFollower;
  readonly #commits: EtcdCommits;
  #closed: Promise<void> | undefined;

  constructor(
    clusterId: Uint8Array,
    client: EtcdClient,
    keys: EtcdKeys,
    mirror: StateMirror,
    follower: EtcdFollower,
  ) {
    this.#clusterId = clusterId;
    this.#client = client;
    this.#keys = keys;
    this.#mirror = mirror;
    this.#follower = follower;
    this.#commits = new EtcdCommits(client, (...parameters) => follower.reach(...parameters));
  }

  get clusterId(): Uint8Array {
    return this.#clusterId.slice();
  }

  get revision(): number {
    return this.#follower.revision;
  }

  get isCurrent(): boolean {
    return this.#closed === undefined && this.#follower.isCurrent;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#requireOpen();
    if (key.length === 0 || key.length > STATE_KEY_BYTES_MAX) return undefined;
    return this.#mirror.get(key);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#requireOpen();
    checkRange(start, end);
    if (end.length === 0 || limit <= 0 || Buffer.compare(start, end) >= 0) return [];
    return this.#mirror.range(start, end, limit);
  }

  commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    // Without `async`: a second promise for each of many commits costs more than it is worth.
    try {
      this.#requireOpen();
      checkCommit(compare, operations);
      if (compare.length > ETCD_COMPARISONS_MAX) throw tooManyComparisons();
      return this.#commits.commit(encodeCommit(this.#keys, compare, operations));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async lease(ttlMicros: Micros): Promise<StateLease> {
    this.#requireOpen();
    const ttl = Math.max(1, Math.ceil(ttlMicros / SECOND_MICROS));
    const { ID } = (await this.#ask('/v3/lease/grant', { TTL: String(ttl) }, 'take a lease')) as {
      ID: string;
    };
    return { id: ID };
  }

  async keepAlive({ id }: StateLease): Promise<boolean> {
    this.#requireOpen();
    const answer = await this.#ask('/v3/lease/keepalive', { ID: id }, 'keep a lease alive');
    const { result } = answer as { readonly result?: { readonly TTL?: string } };
    return Number(result?.TTL ?? 0) > 0;
  }

  watch(from: number, listener: ChangeListener): () => void {
    this.#requireOpen();
    return this.#follower.watch(from, listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #ask(path: string, question: Readonly<Record<string, string>>, attempt: string): Promise<unknown> {
    try {
      return await this.#client.ask(path, JSON.stringify(question), LEASE_LIMITS);
    } catch (error) {
      if (this.#closed !== undefined) throw stateClosed();
      throw etcdError(error, attempt, this.#client.where, true);
    }
  }

  async #close(): Promise<void> {
    const drained = this.#commits.drain();
    const limit = new AbortController();
    await Promise.race([drained, pause(CLOSE_MILLIS_MAX, limit.signal)]);
    limit.abort();
    await this.#follower.close();
    await this.#client.close();
    await drained;
    await this.#mirror.close();
  }

  #requireOpen(): void {
    if (this.#closed !== undefined) throw stateClosed();
  }
}

function tooManyComparisons(): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `A commit to etcd has at most ${ETCD_COMPARISONS_MAX} comparisons: cut it in parts.`,
  );
}
