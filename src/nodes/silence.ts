/** Whether a peer still says anything: asked before it is given up, since it may be we who were busy [LEAD-10]. */

import { type Micros, micros, millis } from '../base/units.ts';
import type { Clock, Connection } from './ports.ts';
import { sleep } from './roles.ts';

/** Connections are looked at this often. */
export const LOOK_MICROS: Micros = millis(250);
/** A silent peer that was asked has this long to answer. */
export const ANSWER_MICROS: Micros = millis(500);

/** Watches one connection. Pure: time is an argument. */
export class SilenceWatch {
  readonly #connection: Connection;
  readonly #silenceMicros: Micros;
  #askedAt: Micros | undefined;

  /** @param silenceMicros After so much silence the peer is asked. */
  constructor(connection: Connection, silenceMicros: Micros) {
    this.#connection = connection;
    this.#silenceMicros = silenceMicros;
  }

  /** Looks, and asks where nothing has been heard for long; true when that was in vain. */
  isSilent(now: Micros): boolean {
    const { heardAt } = this.#connection;
    if (now < micros(heardAt + this.#silenceMicros) || (this.#askedAt ?? heardAt) < heardAt) {
      this.#askedAt = undefined;
      return false;
    }
    if (this.#askedAt === undefined) {
      this.#askedAt = now;
      this.#connection.ping();
      return false;
    }
    return now >= micros(this.#askedAt + ANSWER_MICROS);
  }
}

/** Resolves when the connection has ended, its peer has gone silent, or `signal` aborts. */
export async function untilSilent(
  clock: Clock,
  connection: Connection,
  silenceMicros: Micros,
  signal: AbortSignal,
): Promise<void> {
  const watch = new SilenceWatch(connection, silenceMicros);
  const ended = new AbortController();
  const end = (): void => ended.abort();
  signal.addEventListener('abort', end, { once: true });
  void connection.closed.then(end);
  while (!ended.signal.aborted && !signal.aborted) {
    await sleep(clock, LOOK_MICROS, ended.signal);
    if (!ended.signal.aborted && watch.isSilent(clock.now())) break;
  }
  signal.removeEventListener('abort', end);
}
