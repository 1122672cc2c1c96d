/**
 * Which coordinator is asked next: each in its turn, but not the one that was lost a moment ago. The state
 * names a leader that died until its lease ends, so that whoever lost it is sent there again and again: it
 * is not believed so long [LEAD-5]. Pure: time is an argument.
 */

import { type Micros, micros, millis } from '../base/units.ts';

/** A coordinator that was lost is not asked for this long, where there are others: about a leader's lease. */
export const LOST_MICROS: Micros = millis(2_500);

export class CoordinatorTurns {
  readonly #addresses: readonly string[];
  #turn = 0;
  #lost: { readonly address: string; readonly until: Micros } | undefined;

  /** @param addresses `host:port` of coordinators; one at least. */
  constructor(addresses: readonly string[]) {
    this.#addresses = addresses;
  }

  /** Whether there are others to turn to. */
  get areSeveral(): boolean {
    return this.#addresses.length > 1;
  }

  /** Whose turn it is. */
  current(now: Micros): string {
    const address = this.#at(0);
    return this.areSeveral && this.isLost(address, now) ? this.#at(1) : address;
  }

  /** Another one's turn. */
  pass(now: Micros): void {
    this.#turn += this.areSeveral && this.isLost(this.#at(0), now) ? 2 : 1;
  }

  /** Nothing comes from this one any more: it is not asked next. */
  lose(address: string, now: Micros): void {
    if (this.current(now) === address) this.pass(now);
    this.#lost = { address, until: micros(now + LOST_MICROS) };
  }

  /** It answers. */
  find(address: string): void {
    if (this.#lost?.address === address) this.#lost = undefined;
  }

  isLost(address: string, now: Micros): boolean {
    return this.#lost !== undefined && this.#lost.address === address && now < this.#lost.until;
  }

  #at(offset: number): string {
    return this.#addresses[(this.#turn + offset) % this.#addresses.length]!;
  }
}
