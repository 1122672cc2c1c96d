/**
 * Keeps a mirror of a state in etcd: reads it once, then follows one watch, and knows how far it has got.
 *
 *   reading -- all pages of one revision --> watching -- stream ends, member lags --> waiting --> watching
 *                                            watching -- compacted away --> reading
 *
 * Beside the watch a probe asks etcd for its revision, so that a watch that tells nothing is not taken for one
 * that has nothing to tell. Revisions count what others keep in the same etcd, too, of which the
 * watch does not tell: where one is not reached, a mark is written, which it must tell of.
 */

import { GramlineError } from '../base/errors.ts';
import type { ChangeListener, Log, StateChange } from '../nodes/ports.ts';
import { BackOff, pause } from './back-off.ts';
import { ChangeFeed } from './change-feed.ts';
import type { EtcdClient } from './etcd-client.ts';
import { EtcdRefusal, EtcdSilence, isCompacted, reasonOf } from './etcd-errors.ts';
import { decodeWatch, type EtcdKeys, encodeWatch, revisionOf } from './etcd-messages.ts';
import { readPages } from './etcd-reading.ts';
import { differences, type StateMirror } from './state-mirror.ts';
import { isOwnBug } from './store-errors.ts';

/** How often etcd is asked for its revision. */
export const PROBE_MILLIS = 500;
/** Somebody answers the probe by then, or the mirror does not count as current. */
export const PROBE_ANSWER_MILLIS_MAX = 1_000;
/** A member that takes longer for it may be dead: the next one is asked as well. */
export const PROBE_NEXT_MILLIS = 300;
/** What a probe said counts so long. */
const PROBE_COUNTS_MILLIS = PROBE_MILLIS + PROBE_ANSWER_MILLIS_MAX;
/** A mirror may lag behind a probe for so long and count as current: what it lacks is on its way. */
const LAG_MILLIS_MAX = 250;
/** A revision that is not reached by then may be one of which the watch does not tell. */
const MARK_AFTER_MILLIS = 100;
/** A watch that has not told of a mark by then is dead. */
const WATCH_LAG_MILLIS_MAX = 1_000;
/** A watch stands by then. */
const WATCH_OPEN_MILLIS_MAX = 2_000;
/** At the start the mirror is current by then. */
const START_MILLIS_MAX = 10_000;
/** What still goes wrong is told again after this. */
const TOLD_AGAIN_MILLIS = 30_000;
/** Changes that are read anew and take effect together; more of them do so in pieces. */
export const READ_CHANGES_MAX = 16_384;

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class EtcdFollower {
  readonly #client: EtcdClient;
  readonly #keys: EtcdKeys;
  readonly #mirror: StateMirror;
  readonly #log: Log | undefined;
  readonly #closing = new AbortController();
  readonly #feed = new ChangeFeed(0);
  #revision = 0;
  /** Few: one for each request that waits, and the probe's. */
  #waiters: Waiter[] = [];
  /** Ends the watch that there is. */
  #watch = new AbortController();
  #isWatching = false;
  /** Whether the watch has told of all that a probe knew which was asked when the watch stood. */
  #isCaughtUp = false;
  /** Of a change of which only a part has come. */
  #pieces: StateChange[] = [];
  #marking: Promise<void> | undefined;
  /** When the last probe was asked that was answered, and whether the latest one was. */
  #probedAt = Number.NEGATIVE_INFINITY;
  #isAnswered = false;
  /** It answered before, and does not now. */
  #isAway = false;
  /** What went wrong, and when that was told last: there are few such things. */
  readonly #toldAt = new Map<string, number>();
  /** What a probe said that the mirror has not got to, and since when. */
  #behind: { readonly revision: number; readonly since: number } | undefined;
  #isComparing = false;
  #running: Promise<unknown> = Promise.resolve();
  /** Told when the mirror is current for the first time. */
  #onCaughtUp: () => void = () => undefined;
  #isProbeDue = false;
  #endPause: () => void = () => undefined;

  constructor(client: EtcdClient, keys: EtcdKeys, mirror: StateMirror, log: Log | undefined) {
    this.#client = client;
    this.#keys = keys;
    this.#mirror = mirror;
    this.#log = log;
  }

  get revision(): number {
    return this.#revision;
  }

  get isCurrent(): boolean {
    const now = performance.now();
    return (
      this.#isCaughtUp &&
      this.#isAnswered &&
      now - this.#probedAt < PROBE_COUNTS_MILLIS &&
      (this.#behind === undefined || now - this.#behind.since < LAG_MILLIS_MAX)
    );
  }

  /** Reads everything; resolves when the watch stands and the mirror is current, rejects when that takes too long. */
  async start(): Promise<void> {
    await this.#read();
    this.#client.onMove = () => this.#watch.abort();
    let limit: NodeJS.Timeout | undefined;
    const caughtUp = new Promise<void>((resolve, reject) => {
      this.#onCaughtUp = resolve;
      limit = setTimeout(
        () => reject(new EtcdSilence(`no watch of the state within ${START_MILLIS_MAX / 1_000} s`)),
        START_MILLIS_MAX,
      );
    });
    this.#running = Promise.all([this.#follow(), this.#probe()]).catch(throwLater);
    await caughtUp.finally(() => clearTimeout(limit));
  }

  /** As the port's `watch`. */
  watch(from: number, listener: ChangeListener): () => void {
    return this.#feed.watch(from, listener);
  }

  /**
   * Resolves when the mirror has got to `revision`.
   *
   * @param isTold whether the watch is sure to tell of it
   * @throws EtcdSilence when that takes longer than `millisMax`
   */
  async reach(revision: number, isTold: boolean, millisMax: number): Promise<void> {
    if (this.#revision >= revision) return;
    let limit: NodeJS.Timeout | undefined;
    let mark: NodeJS.Timeout | undefined;
    let waiter: Waiter | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        waiter = { revision, resolve, reject };
        this.#waiters.push(waiter);
        limit = setTimeout(
          () => reject(new EtcdSilence(`the watch has not told of it within ${millisMax / 1_000} s`)),
          millisMax,
        );
        if (!isTold) mark = setTimeout(() => this.#mark(), MARK_AFTER_MILLIS);
      });
    } finally {
      clearTimeout(limit);
      clearTimeout(mark);
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
    }
  }

  async close(): Promise<void> {
    this.#client.onMove = () => undefined;
    this.#closing.abort();
    this.#watch.abort();
    this.#probeNow();
    for (const { reject } of this.#waiters) reject(new EtcdSilence('the store was closed'));
    await this.#running;
  }

  /** Has the watch tell of a revision that is as new as any before. One at a time. */
  #mark(): void {
    const body = JSON.stringify({ key: this.#keys.mark });
    // Whoever waits for it has a time limit, and says what is wrong.
    this.#marking ??= this.#client
      .send('/v3/kv/put', body, PROBE_ANSWER_MILLIS_MAX)
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => {
        this.#marking = undefined;
      });
  }

  /** Asks for the revision again and again, until the store closes. */
  async #probe(): Promise<void> {
    const { signal } = this.#closing;
    const body = JSON.stringify({ key: this.#keys.format, count_only: true });
    const limits = { millis: PROBE_ANSWER_MILLIS_MAX, nextMillis: PROBE_NEXT_MILLIS };
    while (!signal.aborted) {
      const askedAt = performance.now();
      const known = this.#revision;
      const watch = this.#isWatching ? this.#watch : undefined;
      this.#isProbeDue = false;
      try {
        const revision = revisionOf(await this.#client.ask('/v3/kv/range', body, limits));
        if (revision < known) throw olderState();
        this.#probedAt = askedAt;
        if (this.#isAway) this.#log?.info('etcd answers again', { etcd: this.#client.where });
        this.#isAway = false;
        this.#isAnswered = true;
        void this.#compare(revision, watch);
      } catch (error) {
        if (isOwnBug(error)) throw error;
        if (this.#isAnswered) this.#tell('etcd does not answer', error);
        this.#isAway ||= this.#isAnswered;
        this.#isAnswered = false;
      }
      if (this.#isProbeDue) continue;
      const wait = new AbortController();
      this.#endPause = () => wait.abort();
      await pause(Math.max(0, PROBE_MILLIS - (performance.now() - askedAt)), wait.signal);
    }
  }

  /** etcd was at `revision` when `watch` stood, or none: the mirror must get there soon. */
  async #compare(revision: number, watch: AbortController | undefined): Promise<void> {
    if (this.#revision < revision) {
      this.#behind ??= { revision, since: performance.now() };
      if (this.#isComparing) return;
      this.#isComparing = true;
      try {
        await this.reach(revision, false, WATCH_LAG_MILLIS_MAX);
      } catch (error) {
        // One that was begun meanwhile may have more to tell than fits that time.
        if (watch !== undefined && this.#isWatching && watch === this.#watch) {
          this.#tell('the watch lags', error);
          watch.abort(error);
        }
        return;
      } finally {
        this.#isComparing = false;
      }
    }
    if (watch === undefined || !this.#isWatching || watch !== this.#watch) return;
    this.#isCaughtUp = true;
    this.#onCaughtUp();
  }

  #probeNow(): void {
    this.#isProbeDue = true;
    this.#endPause();
  }

  /** Watches from the mirror's revision on, again and again, until the store closes. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    const backOff = new BackOff();
    while (!signal.aborted) {
      try {
        if ((await this.#watchOnce(backOff)) === 'compacted') {
          this.#log?.warn('changes of the state were compacted away unseen: reading it anew');
          await this.#read();
          continue;
        }
      } catch (error) {
        if (isOwnBug(error)) throw error;
        if (!signal.aborted) this.#tell('the watch of the state broke', error);
      }
      if (!signal.aborted) await pause(backOff.next(), signal);
    }
  }

  /** One watch, to its end. */
  async #watchOnce(backOff: BackOff): Promise<'compacted' | 'canceled' | 'over'> {
    const watch = new AbortController();
    this.#watch = watch;
    this.#pieces = [];
    if (this.#closing.signal.aborted) return 'over';
    const late = setTimeout(
      () => watch.abort(new EtcdSilence('no watch within the time limit')),
      WATCH_OPEN_MILLIS_MAX,
    );
    let endpoint: number | undefined;
    try {
      const body = encodeWatch(this.#keys, this.#revision + 1);
      const stream = await this.#client.stream('/v3/watch', body, watch.signal);
      endpoint = stream.endpoint;
      for await (const line of stream.lines) {
        const news = decodeWatch(this.#keys, line);
        if (news.ended !== undefined) {
          if (news.ended === 'compacted') {
            // That is no fault of the member.
            endpoint = undefined;
            return 'compacted';
          }
          // It may be the token that has ended, which a watch cannot be told apart.
          this.#client.forgetToken();
          throw new EtcdRefusal(news.reason === '' ? 'the watch was canceled' : news.reason, 0);
        }
        if (news.isCreated) {
          clearTimeout(late);
          backOff.reset();
          this.#isWatching = true;
          this.#probeNow();
        }
        this.#take(news.changes, news.revision, news.isFragment);
      }
      return 'over';
    } finally {
      clearTimeout(late);
      this.#isWatching = false;
      this.#isCaughtUp = false;
      watch.abort();
      if (endpoint !== undefined) this.#client.leave(endpoint);
    }
  }

  /** What a watch told; of its last revision a part may be missing yet. */
  #take(changes: readonly StateChange[], revision: number, isFragment: boolean): void {
    if (revision === 0) return;
    const all = [...this.#pieces, ...changes];
    this.#pieces = isFragment ? all.filter((change) => change.revision === revision) : [];
    const whole = isFragment ? all.filter((change) => change.revision !== revision) : all;
    // All before the last revision has come, even where nothing of it is an entry.
    this.#advance(whole, isFragment ? revision - 1 : revision);
  }

  #advance(changes: readonly StateChange[], revision: number): void {
    if (revision <= this.#revision) return;
    if (changes.length > 0) this.#mirror.apply(changes);
    this.#revision = revision;
    this.#feed.publish(changes);
    this.#reached();
  }

  #reached(): void {
    if (this.#behind !== undefined && this.#behind.revision <= this.#revision) this.#behind = undefined;
    for (const waiter of this.#waiters) if (waiter.revision <= this.#revision) waiter.resolve();
  }

  /** Brings the mirror to what etcd holds now. Watchers are told of the difference, as of one revision. */
  async #read(): Promise<void> {
    const backOff = new BackOff();
    for (;;) {
      try {
        return await this.#readOnce();
      } catch (error) {
        if (!isCompacted(error)) throw error;
        await pause(backOff.next(), this.#closing.signal);
      }
    }
  }

  async #readOnce(): Promise<void> {
    let changes: StateChange[] = [];
    let revision = 0;
    for await (const page of readPages(this.#client, this.#keys)) {
      revision = page.revision;
      if (revision < this.#revision) throw olderState();
      for (const { key, value } of differences(this.#mirror, page.entries, page.start, page.end))
        changes.push({ key, value, revision });
      if (changes.length < READ_CHANGES_MAX || page.end === undefined) continue;
      this.#mirror.apply(changes);
      // Reads must not be older than what watchers are told.
      this.#revision = Math.max(this.#revision, revision);
      this.#feed.publish(changes);
      changes = [];
    }
    if (changes.length > 0) this.#mirror.apply(changes);
    this.#revision = revision;
    this.#feed.publish(changes);
    // What happened between is not known one by one: who comes later and asks for it reads anew.
    this.#feed.reset(revision);
    this.#reached();
  }

  #tell(what: string, error: unknown): void {
    const now = performance.now();
    // While etcd is away the watch breaks again and again.
    if (now < (this.#toldAt.get(what) ?? Number.NEGATIVE_INFINITY) + TOLD_AGAIN_MILLIS) return;
    this.#toldAt.set(what, now);
    const reason = error instanceof GramlineError ? error.message : reasonOf(error);
    this.#log?.warn(`${what}: ${reason}`, { etcd: this.#client.where });
  }
}

/** Revisions only grow, unless somebody restores a backup: what was read from here since is not true any more. */
function olderState(): EtcdRefusal {
  return new EtcdRefusal('etcd has gone back to an older revision: restart Gramline', 0);
}

/** A bug must not pass for a store that lags: it ends the process. */
function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
