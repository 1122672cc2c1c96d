/**
 * How long the disk of a simulated machine takes, and what a power failure undoes.
 *
 * A change that was made and not yet flushed is known to the {@link WriteCache}: when the power fails it
 * is undone, as on a disk without a battery; when only the process dies the kernel still has it.
 */

import type { Random } from './random.ts';

export type DiskStep = 'read' | 'write' | 'sync';

/** What a machine must have for its disk to take time. */
export interface DiskClock {
  /** Resolves that much later, as seen by the machine: never while it is paused, nor after it died. */
  wait(spanMicros: number): Promise<void>;
}

/** A disk flushes within this, and now and then it takes much longer. */
const SYNC_MICROS_MAX = 4_000;
const LATE_SYNC_MICROS_MAX = 400_000;
const LATE_SYNC_CHANCE = 0.05;
/** What one step of a slow disk takes at most, by kind; many steps of it take nothing. */
const SLOW_MICROS_MAX: Readonly<Record<DiskStep, number>> = {
  read: 400_000,
  write: 400_000,
  sync: 3_000_000,
};
const SLOW_CHANCE = 0.3;

/** The disk of one machine. */
export class SimDisk {
  readonly #clock: DiskClock;
  readonly #random: Random;
  readonly #flushes: boolean;
  /** Whether reads, writes and flushes take random times, up to seconds. */
  isSlow = false;
  readonly cache = new WriteCache();

  /** @param flushes Whether a flush takes time at all while the disk is well. */
  constructor(clock: DiskClock, random: Random, flushes: boolean) {
    this.#clock = clock;
    this.#random = random;
    this.#flushes = flushes;
  }

  /** Resolves when the step is through; undefined when it takes no time. */
  step(kind: DiskStep): Promise<void> | undefined {
    const micros = this.#draw(kind);
    return micros === 0 ? undefined : this.#clock.wait(micros);
  }

  #draw(kind: DiskStep): number {
    const random = this.#random;
    if (this.isSlow && random.chance(SLOW_CHANCE)) return 1 + random.integer(SLOW_MICROS_MAX[kind]);
    if (!this.#flushes || kind !== 'sync') return 0;
    return 1 + random.integer(random.chance(LATE_SYNC_CHANCE) ? LATE_SYNC_MICROS_MAX : SYNC_MICROS_MAX);
  }
}

/** Changes that the disk does not hold yet, oldest first. */
export class WriteCache {
  readonly #undos = new Set<() => void>();

  /** Changes that a power failure would undo. */
  get size(): number {
    return this.#undos.size;
  }

  /** A change was made that `undo` takes back; call what is returned when it has been flushed. */
  add(undo: () => void): () => void {
    // Of its own, so that one function that is added twice is undone twice.
    const entry = (): void => undo();
    this.#undos.add(entry);
    return () => this.#undos.delete(entry);
  }

  /** The process died: the kernel flushes what it has. */
  keep(): void {
    this.#undos.clear();
  }

  /** The power failed: newest first, everything that was not flushed is undone. */
  lose(): number {
    const lost = [...this.#undos].reverse();
    this.#undos.clear();
    for (const undo of lost) undo();
    return lost.length;
  }
}
