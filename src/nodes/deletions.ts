/**
 * Which objects nodes are being told to delete, when each order was over, and which were not carried
 * out: a receipt that a node gave before it carried out such an order says nothing about what it
 * holds now [DEFS-24].
 */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import type { Micros } from '../base/units.ts';
import type { Clock } from './ports.ts';

/** Orders under way at once; at the maximum a removal is refused as busy. */
export const ORDERS_MAX = 16_384;
/** Orders of which it is remembered when they were over; of older ones only that there were some. */
export const ORDERS_ENDED_MAX = 65_536;
/** Orders that are to be given again; what is beyond is left to the node's next inventory. */
export const ORDERS_UNCONFIRMED_MAX = 65_536;

/** An order to one node, from its decision on. Ends once. */
export interface DeletionOrder {
  readonly nodeId: Uint8Array;
  /** It was carried out, or may have been. */
  end(): void;
  /** It was never sent. */
  takeBack(): void;
}

/** An order that a node is to be given again. */
export interface UnconfirmedOrder {
  readonly nodeId: Uint8Array;
  readonly hash: Uint8Array;
}

export class Deletions {
  readonly #clock: Clock;
  /** Orders under way, by node and object. */
  readonly #running = new Map<string, number>();
  #runningOrders = 0;
  /** When the last order was over, oldest first. */
  readonly #endedAt = new Map<string, Micros>();
  /** When the last of those orders was over that were forgotten for want of room. */
  #forgottenAt: Micros | undefined;
  /** Those that wait longest for another try first. */
  readonly #unconfirmed = new Map<string, UnconfirmedOrder>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Orders that nodes have not carried out, as far as is known, and are to be given again. */
  get unconfirmed(): readonly UnconfirmedOrder[] {
    return [...this.#unconfirmed.values()];
  }

  /** An order is decided on; undefined at the maximum. */
  start(nodeId: Uint8Array, hash: Uint8Array): DeletionOrder | undefined {
    if (this.#runningOrders >= ORDERS_MAX) return undefined;
    const key = keyOf(nodeId, hash);
    this.#runningOrders += 1;
    this.#running.set(key, (this.#running.get(key) ?? 0) + 1);
    const stop = (): void => {
      this.#runningOrders -= 1;
      const left = this.#running.get(key)! - 1;
      if (left > 0) this.#running.set(key, left);
      else this.#running.delete(key);
    };
    return {
      nodeId,
      end: () => {
        stop();
        this.#noteEnd(key);
      },
      takeBack: stop,
    };
  }

  /**
   * Orders to all of `nodeIds` are decided on, or none.
   *
   * @throws GramlineError `GRAMLINE_BUSY` at the maximum.
   */
  startAll(nodeIds: readonly Uint8Array[], hash: Uint8Array): DeletionOrder[] {
    if (this.#runningOrders + nodeIds.length > ORDERS_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `${ORDERS_MAX} objects are being deleted: retry when some are through`,
        { retryable: true },
      );
    }
    return nodeIds.map((nodeId) => this.start(nodeId, hash)!);
  }

  /** Whether an order to `nodeId` to delete the object is under way. */
  isRunning(nodeId: Uint8Array, hash: Uint8Array): boolean {
    return this.#running.has(keyOf(nodeId, hash));
  }

  /** Whether `nodeId` may have deleted the object at or after `since`; undefined = at any time. */
  touched(nodeId: Uint8Array, hash: Uint8Array, since: Micros | undefined): boolean {
    const key = keyOf(nodeId, hash);
    if (this.#running.has(key)) return true;
    // What was forgotten may have been about this one.
    const endedAt = this.#endedAt.get(key) ?? this.#forgottenAt;
    return endedAt !== undefined && (since === undefined || endedAt >= since);
  }

  /** Forgets what was over before `since`: nobody asks about that any more. */
  forgetBefore(since: Micros): void {
    if (this.#forgottenAt !== undefined && this.#forgottenAt < since) this.#forgottenAt = undefined;
    for (const [key, endedAt] of this.#endedAt) {
      if (endedAt >= since) return;
      this.#endedAt.delete(key);
    }
  }

  /** The node did not carry it out: it is to be told again. False at the maximum. */
  keep(nodeId: Uint8Array, hash: Uint8Array): boolean {
    const key = keyOf(nodeId, hash);
    // Behind the others, so that each gets its turn.
    const isKnown = this.#unconfirmed.delete(key);
    if (!isKnown && this.#unconfirmed.size >= ORDERS_UNCONFIRMED_MAX) return false;
    this.#unconfirmed.set(key, { nodeId, hash });
    return true;
  }

  /** It was carried out, or is not wanted any more, or the node's next inventory sees to it. */
  drop(nodeId: Uint8Array, hash: Uint8Array): void {
    this.#unconfirmed.delete(keyOf(nodeId, hash));
  }

  #noteEnd(key: string): void {
    this.#endedAt.delete(key);
    this.#endedAt.set(key, this.#clock.now());
    if (this.#endedAt.size <= ORDERS_ENDED_MAX) return;
    const [oldest, endedAt] = this.#endedAt.entries().next().value!;
    this.#endedAt.delete(oldest);
    this.#forgottenAt = endedAt;
  }
}

function keyOf(nodeId: Uint8Array, hash: Uint8Array): string {
  return toHex(nodeId) + toHex(hash);
}
