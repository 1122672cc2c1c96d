/** What clients hold at a leader for a time, for one epoch: locks and user sessions. */

import { type Micros, seconds } from '../base/units.ts';
import { QueryKind, ResultCode } from '../wire/index.ts';
import { Locks, type LocksOptions } from './locks.ts';
import type { Connection, IncomingQuery } from './ports.ts';
import { every, withFewWarnings } from './roles.ts';
import { UserSessions } from './user-sessions.ts';

/** What has ended is looked for this often; asking about it looks at once. */
const SWEEP_MICROS: Micros = seconds(1);

export class Tenures {
  readonly #locks: Locks;
  readonly #userSessions: UserSessions;
  readonly #stop = new AbortController();

  /** Begins an epoch with what the state says. */
  constructor(options: LocksOptions) {
    const { clock, log } = options;
    const cautious = { ...options, log: withFewWarnings(clock, log) };
    this.#locks = new Locks(cautious);
    this.#userSessions = new UserSessions(cautious);
    const { signal } = this.#stop;
    const onFailure = (error: unknown): void => {
      if (!signal.aborted) log.warn('what has ended is not removed yet', { reason: String(error) });
    };
    void every(clock, SWEEP_MICROS, signal, () => this.#locks.sweep(), onFailure);
    void every(clock, SWEEP_MICROS, signal, () => this.#userSessions.sweep(), onFailure);
  }

  /** The epoch is over: whoever waits is sent elsewhere. */
  close(): void {
    this.#stop.abort();
    this.#locks.close();
    this.#userSessions.close();
  }

  async handle({ peerHost }: Connection, query: IncomingQuery): Promise<void> {
    switch (query.kind) {
      case QueryKind.LOCK:
        return this.#locks.lock(query);
      case QueryKind.UNLOCK:
        return this.#locks.unlock(peerHost, query);
      case QueryKind.SESSION_WRITE:
        return this.#userSessions.write(peerHost, query);
      case QueryKind.SESSION_END:
        return this.#userSessions.end(peerHost, query);
      default:
        query.reply(ResultCode.UNSUPPORTED);
    }
  }
}
