/**
 * Asking coordinators: any of them where an answer from memory serves, the one that leads for the rest.
 *
 *   ask -- answered --> done
 *   ask -- NOT_LEADER, another is named --> ask that one                       [LEAD-5] [LEAD-11]
 *   ask -- NOT_LEADER, nobody is known but who was lost just now, or BUSY --> wait a moment, ask around
 *   ... for 10 s --> refused; where its shared state is out of reach, with that for a reason   [LEAD-9]
 *   ask -- session lost, or silent --> ask the next one, the same once more    [LEAD-6] [LEAD-10]
 */

import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import {
  decodeMessage,
  encodeMessage,
  isFailure,
  QueryKind,
  ResultCode,
  Role,
  statusQuery,
  statusReply,
} from '../wire/index.ts';
import { ConnectionCache, type Lease } from './connection-cache.ts';
import { CoordinatorTurns } from './coordinator-turns.ts';
import type { CallOptions, Clock, Entropy, Reply, TransferCounts, Transport } from './ports.ts';
import { resultError } from './results.ts';
import { leaderNamedBy, retryMillisOf, sleep } from './roles.ts';

/** Tries of one query over sessions that break. */
const ASK_TRIES_MAX = 3;
/** The same where others can take over. */
const ASK_TRIES_AROUND_MAX = 8;
/** How long one coordinator may take to answer a HELLO; less where another can be asked. */
const CONNECT_MICROS: Micros = seconds(4);
const CONNECT_AROUND_MICROS: Micros = seconds(1);
/** So long a leader is looked for, or is asked again when it is busy [LEAD-5]. */
const LEADER_MICROS: Micros = seconds(10);
/** Wait before asking around again, with jitter. */
const AROUND_MICROS: Micros = millis(100);
/** Coordinators that name another one after the other: after so many, nobody knows. */
export const HOPS_MAX = 4;
/** A coordinator that is asked and says nothing for this long is asked for a sign of life. */
const SILENCE_MICROS: Micros = millis(1_000);

/** What only a leader answers [LEAD-3]. */
const LEADER_KINDS: ReadonlySet<number> = new Set([
  QueryKind.WHERE_TO,
  QueryKind.COMMIT,
  QueryKind.RELEASE,
  QueryKind.RENEW,
  QueryKind.REMOVE,
  QueryKind.LOCK,
  QueryKind.UNLOCK,
  QueryKind.SESSION_WRITE,
  QueryKind.SESSION_END,
]);

export interface CoordinatorAskerOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** `host:port` of coordinators, tried in turn. */
  readonly coordinators: readonly string[];
}

export class CoordinatorAsker {
  readonly #options: CoordinatorAskerOptions;
  readonly #connections: ConnectionCache;
  readonly #turns: CoordinatorTurns;
  /** Who leads, as a coordinator has said. */
  #leader: string | undefined;

  constructor(options: CoordinatorAskerOptions) {
    this.#options = options;
    const { transport, clock, coordinators } = options;
    this.#turns = new CoordinatorTurns(coordinators);
    const silenceMicros = this.#turns.areSeveral ? SILENCE_MICROS : undefined;
    this.#connections = new ConnectionCache(transport, { clock, silenceMicros });
  }

  get counts(): TransferCounts {
    return this.#connections.counts;
  }

  close(): Promise<void> {
    return this.#connections.close();
  }

  /** Asks until a coordinator answers. Every query is safe to repeat [LEAD-6]. */
  async ask(kind: number, body: Uint8Array, options: CallOptions): Promise<Reply> {
    let wantsLeader = LEADER_KINDS.has(kind);
    const { clock } = this.#options;
    let giveUpAt: Micros | undefined;
    let hops = 0;
    for (let tries = 1; ; ) {
      // Looked for first, since this is asked a million times a second.
      const lent = this.#lent(wantsLeader);
      const { address, lease } = lent ?? (await this.#connect(wantsLeader, options));
      let reply: Reply;
      try {
        reply = await lease.connection.query(kind, body, options);
      } catch (error) {
        const isAborted = options.signal?.aborted === true;
        if (isAborted || !isBroken(error) || tries >= this.#triesMax) throw error;
        mark('asked-again');
        tries += 1;
        this.#lose(address);
        continue;
      } finally {
        lease[Symbol.dispose]();
      }
      // [LEAD-11] What a follower does not know of it leaves to the leader.
      wantsLeader ||= reply.code === ResultCode.NOT_LEADER;
      if (!wantsLeader || !this.#isPutOff(reply)) return reply;
      const named = leaderNamedBy(reply);
      const isThere = named !== undefined && !this.#turns.isLost(named, clock.now());
      if (isThere && hops < HOPS_MAX) {
        hops += 1;
        this.#leader = named;
        continue;
      }
      giveUpAt ??= micros(clock.now() + Math.min(LEADER_MICROS, options.timeoutMicros ?? LEADER_MICROS));
      if (clock.now() >= giveUpAt) {
        if (await this.#isStateAway(options.signal)) throw stateAwayError(reply);
        return reply;
      }
      await this.#waitFor(reply, options.signal);
      hops = 0;
    }
  }

  /** Whether this query may be carried out, or turn out to have been, in a moment or elsewhere. */
  #isPutOff({ code }: Reply): boolean {
    if (code === ResultCode.NOT_LEADER || code === ResultCode.BUSY) return true;
    // The shared state did not answer its leader: what was asked for may have taken effect [LEAD-6].
    return code === ResultCode.IO && this.#turns.areSeveral;
  }

  get #triesMax(): number {
    return this.#turns.areSeveral ? ASK_TRIES_AROUND_MAX : ASK_TRIES_MAX;
  }

  /** Whether the coordinator that is asked next says that its shared state is out of reach [LEAD-9]. */
  async #isStateAway(signal: AbortSignal | undefined): Promise<boolean> {
    const lent = this.#lent(false);
    if (lent === undefined) return false;
    const { lease } = lent;
    const question = encodeMessage(statusQuery, { cursor: 0 });
    const timeoutMicros = CONNECT_AROUND_MICROS;
    const reply = await lease.connection
      .query(QueryKind.STATUS, question, { timeoutMicros, signal })
      .catch(() => undefined);
    lease[Symbol.dispose]();
    if (reply?.code !== ResultCode.OK) return false;
    const status = decodeMessage(statusReply, reply.body);
    return !isFailure(status) && status.stale;
  }

  /** A moment later there may be a leader, or it may have time. */
  async #waitFor(reply: Reply, signal: AbortSignal | undefined): Promise<void> {
    const { clock, entropy } = this.#options;
    if (reply.code === ResultCode.NOT_LEADER) this.#leaveLeader();
    const named = retryMillisOf(reply);
    const span = named === undefined ? AROUND_MICROS : millis(named);
    await sleep(clock, micros(Math.round(span * (0.5 + entropy.fraction()))), signal);
    signal?.throwIfAborted();
  }

  /** Whoever was asked last is not asked next. */
  #leaveLeader(): void {
    if (this.#leader === undefined) this.#turns.pass(this.#options.clock.now());
    this.#leader = undefined;
  }

  /** Nothing comes from this one any more. */
  #lose(address: string): void {
    if (this.#leader === address) this.#leader = undefined;
    this.#turns.lose(address, this.#options.clock.now());
  }

  #address(wantsLeader: boolean): string {
    const current = (): string => this.#turns.current(this.#options.clock.now());
    return wantsLeader ? (this.#leader ?? current()) : current();
  }

  /** The session with the coordinator whose turn it is, if there is one. */
  #lent(wantsLeader: boolean): Lent | undefined {
    const address = this.#address(wantsLeader);
    const lease = this.#connections.lend(address);
    return lease === undefined ? undefined : { address, lease };
  }

  async #connect(wantsLeader: boolean, options: CallOptions): Promise<Lent> {
    const { coordinators } = this.#options;
    const most = this.#turns.areSeveral ? CONNECT_AROUND_MICROS : CONNECT_MICROS;
    let failure: unknown;
    // One more than there are: the leader that was named may be none of them.
    for (let tried = 0; tried <= coordinators.length; tried++) {
      if (tried === coordinators.length && this.#leader === undefined && failure !== undefined) break;
      const address = this.#address(wantsLeader);
      try {
        const lease = await this.#connections.connect({
          address,
          role: Role.CLIENT,
          signal: options.signal,
          timeoutMicros: micros(Math.min(most, options.timeoutMicros ?? most)),
        });
        this.#turns.find(address);
        return { address, lease };
      } catch (error) {
        options.signal?.throwIfAborted();
        failure = error;
        this.#lose(address);
      }
    }
    if (!isGramlineError(failure, 'GRAMLINE_NO_COORDINATOR')) throw failure;
    throw new GramlineError(
      'GRAMLINE_NO_COORDINATOR',
      `no coordinator answered at ${coordinators.join(', ')}, or the secret differs: check the address and the secret file`,
      { retryable: true, cause: failure },
    );
  }
}

/** A session, and with whom. */
interface Lent {
  readonly address: string;
  readonly lease: Lease;
}

/** Whether asking somebody else may help. */
function isBroken(error: unknown): boolean {
  return isGramlineError(error, 'GRAMLINE_CLOSED') || isGramlineError(error, 'GRAMLINE_TIMEOUT');
}

/** As the refusal, with what is behind it. */
function stateAwayError({ code }: Reply): GramlineError {
  const refusal = resultError(code, 'asking a coordinator');
  return new GramlineError(
    refusal.code,
    'the coordinators cannot reach their shared state, so nothing can be changed: have most members of etcd run, and try again',
    { retryable: true, wireCode: code },
  );
}
