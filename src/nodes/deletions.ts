/**
 * Which objects nodes are being told to delete, and when each order was over: a receipt that a node
 * gave before it carried out such an order says nothing about what it holds now [DEFS-24].
 */

import { toHex } from '../base/bytes.ts';
import type { Micros } from '../base/units.ts';
import type { Clock } from './ports.ts';

export class Deletions {
  readonly #clock: Clock;
  /** Orders under way, by node and object. */
  readonly #running = new Map<string, number>();
  /** When the last order was over, oldest first. */
  readonly #endedAt = new Map<string, Micros>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An order leaves. Call what is returned when it was carried out, or never will be. */
  start(nodeId: Uint8Array, hash: Uint8Array): () => void {
    const key = keyOf(nodeId, hash);
    this.#running.set(key, (this.#running.get(key) ?? 0) + 1);
    return () => {
      const left = this.#running.get(key)! - 1;
      if (left > 0) this.#running.set(key, left);
      else this.#running.delete(key);
      this.#endedAt.delete(key);
      this.#endedAt.set(key, this.#clock.now());
    };
  }

  /** Whether `nodeId` may have deleted the object at or after `since`; undefined = at any time. */
  touched(nodeId: Uint8Array, hash: Uint8Array, since: Micros | undefined): boolean {
    const key = keyOf(nodeId, hash);
    if (this.#running.has(key)) return true;
    const endedAt = this.#endedAt.get(key);
    return endedAt !== undefined && (since === undefined || endedAt >= since);
  }

  /** Forgets what was over before `since`: nobody asks about that any more. */
  forgetBefore(since: Micros): void {
    for (const [key, endedAt] of this.#endedAt) {
      if (endedAt >= since) return;
      this.#endedAt.delete(key);
    }
  }
}

function keyOf(nodeId: Uint8Array, hash: Uint8Array): string {
  return toHex(nodeId) + toHex(hash);
}
