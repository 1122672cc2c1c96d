/** Long work in small pieces: what all of it together does in one turn of the loop has a bound. */

import type { Clock } from './ports.ts';

export class Pace {
  readonly #clock: Clock;
  readonly #unitsMax: number;
  #spent = 0;
  #nextTurn: Promise<void> | undefined;

  /** @param unitsMax Work of one turn, but for the piece that goes beyond it. */
  constructor(clock: Clock, unitsMax: number) {
    this.#clock = clock;
    this.#unitsMax = unitsMax;
  }

  /** Resolves when a piece of work of so many units may begin: at once, or in a later turn. */
  async take(units: number): Promise<void> {
    while (this.#spent >= this.#unitsMax) await this.#turn();
    this.#spent += units;
    void this.#turn();
  }

  #turn(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      this.#clock.setTimer(this.#clock.now(), () => {
        this.#spent = 0;
        this.#nextTurn = undefined;
        resolve();
      });
    });
    return this.#nextTurn;
  }
}
