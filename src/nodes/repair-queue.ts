/**
 * Which objects repair is to see to, and in which order: those with the fewest replicas that count first
 * [REP-2], then those that nodes which leave still hold, then those with too many. Bounded: what finds no
 * room is forgotten, and the queue says so. Pure.
 */

import { toHex } from '../base/bytes.ts';
import type { Micros } from '../base/units.ts';
import { REPLICAS_MAX } from '../wire/index.ts';

/** Objects that wait at once; of more, only those that are needed most. */
export const REPAIR_QUEUE_MAX = 65_536;

/** Behind those that lack replicas: 0 to REPLICAS_MAX - 1 that count. */
const LEAVING = REPLICAS_MAX;

interface Surplus {
  readonly hash: Uint8Array;
  readonly dueAt: Micros;
}

export class RepairQueue {
  readonly #max: number;
  readonly #levels: Map<string, Uint8Array>[] = Array.from({ length: LEAVING + 1 }, () => new Map());
  readonly #levelOf = new Map<string, number>();
  /** The one that is due first in front: all wait for the same time. */
  readonly #surplus = new Map<string, Surplus>();
  #hasForgotten = false;

  constructor(max: number = REPAIR_QUEUE_MAX) {
    this.#max = max;
  }

  /** Objects that lack replicas. */
  get missing(): number {
    return this.#levelOf.size - this.#levels[LEAVING]!.size;
  }

  /** Objects with replicas to take away. */
  get surplus(): number {
    return this.#surplus.size + this.#levels[LEAVING]!.size;
  }

  get size(): number {
    return this.#levelOf.size + this.#surplus.size;
  }

  /** Whether something found no room since the last call. */
  takeForgotten(): boolean {
    const had = this.#hasForgotten;
    this.#hasForgotten = false;
    return had;
  }

  /** An object with `counting` replicas lacks some. */
  addMissing(hash: Uint8Array, counting: number): void {
    this.#add(hash, Math.min(counting, LEAVING - 1));
  }

  /** A node that leaves holds an object which has enough other replicas. */
  addLeaving(hash: Uint8Array): void {
    this.#add(hash, LEAVING);
  }

  /** An object has more replicas than it is to have; nothing is done about it before `dueAt`. */
  addSurplus(hash: Uint8Array, dueAt: Micros): void {
    const key = toHex(hash);
    if (this.#surplus.has(key)) return;
    this.#drop(key);
    if (this.size >= this.#max) this.#hasForgotten = true;
    else this.#surplus.set(key, { hash, dueAt });
  }

  /** Nothing is to be done about an object. */
  remove(hash: Uint8Array): void {
    const key = toHex(hash);
    this.#drop(key);
    this.#surplus.delete(key);
  }

  /** Whether something is to be done about an object. */
  has(hash: Uint8Array): boolean {
    const key = toHex(hash);
    return this.#levelOf.has(key) || this.#surplus.has(key);
  }

  /** Takes the object that is needed most; undefined when none is, or none yet. */
  take(now: Micros): Uint8Array | undefined {
    for (const level of this.#levels) {
      for (const [key, hash] of level) {
        level.delete(key);
        this.#levelOf.delete(key);
        return hash;
      }
    }
    for (const [key, { hash, dueAt }] of this.#surplus) {
      if (dueAt > now) return undefined;
      this.#surplus.delete(key);
      return hash;
    }
    return undefined;
  }

  /** When the next surplus is due. */
  get dueAt(): Micros | undefined {
    for (const { dueAt } of this.#surplus.values()) return dueAt;
    return undefined;
  }

  #add(hash: Uint8Array, level: number): void {
    const key = toHex(hash);
    if (this.#levelOf.get(key) === level) return;
    this.#drop(key);
    this.#surplus.delete(key);
    if (this.size >= this.#max) {
      this.#hasForgotten = true;
      if (!this.#makeRoom(level)) return;
    }
    this.#levels[level]!.set(key, hash);
    this.#levelOf.set(key, level);
  }

  #drop(key: string): void {
    const level = this.#levelOf.get(key);
    if (level === undefined) return;
    this.#levels[level]!.delete(key);
    this.#levelOf.delete(key);
  }

  /** Forgets one that is needed less than `level`; false when there is none. */
  #makeRoom(level: number): boolean {
    for (const key of this.#surplus.keys()) return this.#surplus.delete(key);
    for (let worst = LEAVING; worst > level; worst--) {
      for (const key of this.#levels[worst]!.keys()) {
        this.#drop(key);
        return true;
      }
    }
    return false;
  }
}
