/** A session's timers as one table: name to instant; the earliest is found by looking at all. */

import type { Micros } from '../base/units.ts';

export class TimerTable<Name extends string> {
  readonly #at = new Map<Name, Micros>();

  /** Sets, moves or (undefined) stops a timer. */
  set(name: Name, at: Micros | undefined): void {
    if (at === undefined) this.#at.delete(name);
    else this.#at.set(name, at);
  }

  get(name: Name): Micros | undefined {
    return this.#at.get(name);
  }

  /** The earliest instant of all timers. */
  next(): Micros | undefined {
    let earliest: Micros | undefined;
    for (const at of this.#at.values()) if (earliest === undefined || at < earliest) earliest = at;
    return earliest;
  }

  /** Stops and returns a timer that is due, or undefined. */
  takeDue(now: Micros): Name | undefined {
    for (const [name, at] of this.#at) {
      if (at <= now) {
        this.#at.delete(name);
        return name;
      }
    }
    return undefined;
  }

  clear(): void {
    this.#at.clear();
  }
}
