/** The leases of a state store that one process has for itself: who holds them, and when they end. */

import { GramlineError } from '../base/errors.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import type { StateLease } from '../nodes/ports.ts';

/** Leases of one store at once. */
export const STATE_LEASES_MAX = 4_096;
/** A lease lasts whole seconds, and at least this long. */
const SECOND_MICROS: Micros = seconds(1);

interface Held {
  readonly ttlMicros: Micros;
  deadline: Micros;
}

/** Pure: time is an argument. */
export class StateLeases {
  readonly #held = new Map<string, Held>();
  #next = 1;

  get size(): number {
    return this.#held.size;
  }

  /** When the first of them ends unless it is kept alive; undefined when there is none. */
  get nextDeadline(): Micros | undefined {
    let first: Micros | undefined;
    for (const { deadline } of this.#held.values())
      if (first === undefined || deadline < first) first = deadline;
    return first;
  }

  /** @throws GRAMLINE_BUSY at the most leases */
  grant(now: Micros, wantedMicros: Micros): StateLease {
    if (this.#held.size >= STATE_LEASES_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `${STATE_LEASES_MAX} leases of the state are held: retry when some have ended`,
        { retryable: true },
      );
    }
    const wholeSeconds = Math.max(1, Math.ceil(wantedMicros / SECOND_MICROS));
    const ttlMicros = micros(wholeSeconds * SECOND_MICROS);
    const id = String(this.#next++);
    this.#held.set(id, { ttlMicros, deadline: micros(now + ttlMicros) });
    return { id };
  }

  /** False when it has ended. */
  keepAlive(now: Micros, { id }: StateLease): boolean {
    const held = this.#held.get(id);
    if (held === undefined || held.deadline <= now) return false;
    held.deadline = micros(now + held.ttlMicros);
    return true;
  }

  /** Lets all that are held begin anew. */
  renewAll(now: Micros): void {
    for (const held of this.#held.values()) held.deadline = micros(now + held.ttlMicros);
  }

  /** @throws GRAMLINE_EXPIRED when it has ended */
  require({ id }: StateLease): void {
    if (!this.#held.has(id)) throw leaseEnded();
  }

  /** Ends those whose time is over, and says which. */
  expire(now: Micros): string[] {
    const ended: string[] = [];
    for (const [id, { deadline }] of this.#held) if (deadline <= now) ended.push(id);
    for (const id of ended) this.#held.delete(id);
    return ended;
  }
}

export function leaseEnded(): GramlineError {
  return new GramlineError('GRAMLINE_EXPIRED', 'the lease has ended: take a new one', { retryable: true });
}
