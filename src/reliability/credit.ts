/**
 * Receive memory of one endpoint, shared by the flows of all its sessions [FLOW-8]: a flow is
 * opened with a window taken from here, and gives it back when it ends.
 */

import { assert } from '../base/assert.ts';

export class CreditPool {
  readonly #totalBytes: number;
  #takenBytes = 0;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Takes up to `wantedBytes`, at least `leastBytes`; 0 when not even that is left. */
  take(wantedBytes: number, leastBytes: number): number {
    const left = this.#totalBytes - this.#takenBytes;
    if (left < leastBytes) return 0;
    // One flow never takes more than half of what is left: later ones find something.
    const bytes = Math.max(leastBytes, Math.min(wantedBytes, Math.floor(left / 2)));
    this.#takenBytes += bytes;
    return bytes;
  }

  give(bytes: number): void {
    this.#takenBytes -= bytes;
    assert(this.#takenBytes >= 0, 'more credit given back than taken');
  }
}
