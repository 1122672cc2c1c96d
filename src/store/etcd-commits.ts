/**
 * Commits on their way to etcd. Those that wait share a request, as transactions inside one
 * transaction, and a few requests are under way at a time.
 *
 * etcd compares for all transactions of a request before it changes anything, and takes each key once a
 * request; requests under way at a time may overtake each other. `CommitOrder` sees to it that
 * neither can be noticed.
 */

import { MIB } from '../base/units.ts';
import type { CommitResult } from '../nodes/ports.ts';
import { CommitOrder, type Turn } from './commit-order.ts';
import type { EtcdClient } from './etcd-client.ts';
import { etcdError, isNoSpace } from './etcd-errors.ts';
import { type BatchAnswer, decodeBatch, type EtcdCommit, encodeBatch } from './etcd-messages.ts';
import { COMMITS_QUEUED_MAX, stateBusy } from './state-limits.ts';
import { isOwnBug } from './store-errors.ts';

/** Commits that share a request; with 64 parts each they fill etcd's 128 operations. */
export const BATCH_COMMITS_MAX = 64;
/** Characters of the commits of one request, if it is not one commit: etcd takes 1.5 MiB of bytes. */
const BATCH_CHARS_MAX = MIB;
/**
 * Requests under way at a time: one is flushed to etcd's disks, one is on its way there, one is read here. A fourth brought
 * nothing, where etcd has a processor or two.
 */
export const REQUESTS_MAX = 3;
/** Requests that etcd has answered and the mirror has not caught up with. */
const REQUESTS_UNSEEN_MAX = 64;
/** etcd answers a transaction by then, or nobody knows its outcome. */
export const COMMIT_MILLIS_MAX = 2_000;
/** And a millisecond later for so many characters: the largest takes half a second of an idle machine. */
const COMMIT_CHARS_PER_MILLI = 128;
/** The watch tells of a transaction by then. */
const SEEN_MILLIS_MAX = 5_000;
const ATTEMPT = 'commit to the state';

interface Waiting {
  readonly commit: EtcdCommit;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

/** Resolves when the mirror here has got to a revision, of which the watch is sure to tell or not. */
type Reach = (revision: number, isTold: boolean, millisMax: number) => Promise<void>;

export class EtcdCommits {
  readonly #client: EtcdClient;
  readonly #reach: Reach;
  readonly #order = new CommitOrder<Waiting>();
  /** Commits that are not sent yet; at most COMMITS_QUEUED_MAX. */
  #queued = 0;
  #requests = 0;
  /** Requests that are not over, unseen ones included. */
  readonly #open = new Set<Promise<void>>();
  #isPumping = false;
  /** etcd refused for lack of space: it looks for that at operations, not at those inside of inner transactions. */
  #isFull = false;

  constructor(client: EtcdClient, reach: Reach) {
    this.#client = client;
    this.#reach = reach;
  }

  /** @throws GRAMLINE_BUSY when too many wait already */
  commit(commit: EtcdCommit): Promise<CommitResult> {
    if (this.#queued >= COMMITS_QUEUED_MAX) throw stateBusy();
    this.#queued += 1;
    const result = new Promise<CommitResult>((resolve, reject) => {
      this.#order.add({ commit, resolve, reject }, commit.reads, commit.writes);
    });
    this.#pumpSoon();
    return result;
  }

  /** Resolves when all have been answered. */
  async drain(): Promise<void> {
    while (this.#open.size > 0 || this.#isPumping) {
      await Promise.all(this.#open);
      await Promise.resolve();
    }
  }

  /** Whatever else is asked for in this turn joins the request. */
  #pumpSoon(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    queueMicrotask(() => {
      this.#isPumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#requests < REQUESTS_MAX && this.#open.size < REQUESTS_UNSEEN_MAX && this.#order.ready > 0) {
      const batch = this.#nextBatch();
      this.#queued -= batch.length;
      this.#requests += 1;
      const open = this.#send(batch).finally(() => {
        this.#open.delete(open);
        this.#pumpSoon();
      });
      this.#open.add(open);
    }
  }

  #nextBatch(): Turn<Waiting>[] {
    const batch: Turn<Waiting>[] = [];
    let chars = 0;
    for (let next = this.#order.peek(); next !== undefined; next = this.#order.peek()) {
      const { text, isAlone } = next.commit;
      chars += text.length;
      if (batch.length > 0 && (isAlone || this.#isFull || chars > BATCH_CHARS_MAX)) break;
      batch.push(this.#order.take()!);
      if (isAlone || batch.length === BATCH_COMMITS_MAX) break;
    }
    return batch;
  }

  /** Never rejects. */
  async #send(turns: readonly Turn<Waiting>[]): Promise<void> {
    const batch = turns.map(({ commit }) => commit);
    let answer: BatchAnswer;
    try {
      const body = encodeBatch(batch.map(({ commit }) => commit));
      const millis = COMMIT_MILLIS_MAX + Math.ceil(body.length / COMMIT_CHARS_PER_MILLI);
      answer = decodeBatch(await this.#client.send('/v3/kv/txn', body, millis), batch.length);
      this.#isFull = false;
    } catch (error) {
      if (isNoSpace(error)) this.#isFull = true;
      const failure = etcdError(error, ATTEMPT, this.#client.where, true);
      for (const { reject } of batch) reject(failure);
      return;
    } finally {
      // The outcome is known, or never will be: those that waited for it may go, before the mirror knows.
      for (const turn of turns) this.#order.done(turn);
      this.#requests -= 1;
      this.#pumpSoon();
    }
    const { revision, held, wrote } = answer;
    try {
      await this.#reach(revision, wrote, SEEN_MILLIS_MAX);
    } catch (error) {
      const failure = isOwnBug(error)
        ? error
        : etcdError(error, `see here what was committed to the state`, this.#client.where, true);
      for (const { reject } of batch) reject(failure);
      return;
    }
    for (const [index, { resolve }] of batch.entries()) resolve({ ok: held[index]!, revision });
  }
}
