/**
 * Receive memory of one endpoint, shared by the flows of all its sessions [FLOW-8].
 *
 * Every open flow has an account: what it has been granted and its reader has not taken. Whoever
 * reads is granted anew, by how much is left and by how much each flow has still to bring: the
 * window of a flow that is alone grows, that of many shrinks to the least, and when memory is short
 * the flow that is nearest to its end comes first. The least window is each flow's own for as long
 * as it is open, so that none ever waits for another.
 */

import { assert } from '../base/assert.ts';
import {
  CREDIT_FLOWS_FEW,
  CREDIT_RESERVE_DIVISOR,
  FLOW_WINDOW_BYTES,
  FLOW_WINDOW_BYTES_MAX,
  FLOW_WINDOW_BYTES_MIN,
} from './limits.ts';

export class CreditPool {
  readonly #totalBytes: number;
  readonly #accounts = new Set<CreditAccount>();
  #takenBytes = 0;
  /** The account whose flow has the least to bring, as far as that is known. */
  #shortest: CreditAccount | undefined;

  constructor(totalBytes: number) {
    this.#totalBytes = totalBytes;
  }

  /** What all flows together may still bring or have waiting, each at least the least window. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Flows that are open. */
  get flows(): number {
    return this.#accounts.size;
  }

  /** The window with which a flow would be opened now: less the more are open; 0 when there is no room. */
  get firstWindowBytes(): number {
    if (this.#leftBytes < FLOW_WINDOW_BYTES_MIN) return 0;
    const wanted = (FLOW_WINDOW_BYTES * CREDIT_FLOWS_FEW) / (CREDIT_FLOWS_FEW + this.flows);
    return Math.max(FLOW_WINDOW_BYTES_MIN, Math.min(Math.floor(wanted), Math.floor(this.#spareBytes / 2)));
  }

  /** Opens a flow with exactly `windowBytes`; undefined when there is no room for that. */
  open(windowBytes: number = this.firstWindowBytes): CreditAccount | undefined {
    const bytes = Math.max(windowBytes, FLOW_WINDOW_BYTES_MIN);
    if (windowBytes === 0 || bytes > this.#leftBytes) return undefined;
    const account = new CreditAccount(this, windowBytes);
    this.#accounts.add(account);
    this.#takenBytes += bytes;
    return account;
  }

  /** @internal What an account is charged with has changed. */
  charge(bytes: number): void {
    this.#takenBytes += bytes;
    assert(this.#takenBytes >= 0 && this.#takenBytes <= this.#totalBytes, 'credit does not add up');
  }

  /** @internal The window that a flow may have now, if that is more than it has. */
  windowBytesFor(account: CreditAccount): number {
    if (this.#shortest === undefined || account.remainingBytes < this.#shortest.remainingBytes) {
      this.#shortest = account;
    }
    const held = Math.max(account.outstandingBytes, FLOW_WINDOW_BYTES_MIN);
    const most = this.flows <= CREDIT_FLOWS_FEW ? FLOW_WINDOW_BYTES_MAX : FLOW_WINDOW_BYTES;
    // [FLOW-16] The reserve is for flows that open, and for the one that will be over first.
    const isFirst = account === this.#shortest && account.remainingBytes < Number.POSITIVE_INFINITY;
    const freeBytes = isFirst ? this.#leftBytes : this.#spareBytes;
    return Math.min(most, held + Math.floor(freeBytes / 2));
  }

  /** @internal */
  close(account: CreditAccount): void {
    assert(this.#accounts.delete(account), 'a flow was closed twice');
    if (account !== this.#shortest) return;
    this.#shortest = undefined;
    for (const other of this.#accounts) {
      if (this.#shortest === undefined || other.remainingBytes < this.#shortest.remainingBytes) {
        this.#shortest = other;
      }
    }
  }

  get #leftBytes(): number {
    return this.#totalBytes - this.#takenBytes;
  }

  /** What is left beyond the reserve. */
  get #spareBytes(): number {
    return Math.max(0, this.#leftBytes - this.#totalBytes / CREDIT_RESERVE_DIVISOR);
  }
}

/** The credit of one flow. */
export class CreditAccount {
  readonly #pool: CreditPool;
  #outstandingBytes: number;
  #windowBytes: number;
  /** Taken by the reader since the window grew. */
  #progressBytes = 0;
  #remainingBytes = Number.POSITIVE_INFINITY;
  #isOpen = true;

  /** @internal `CreditPool.open` makes them. */
  constructor(pool: CreditPool, windowBytes: number) {
    this.#pool = pool;
    this.#outstandingBytes = windowBytes;
    this.#windowBytes = windowBytes;
  }

  /** Granted and not yet taken by the reader. */
  get outstandingBytes(): number {
    return this.#outstandingBytes;
  }

  /** What is granted beyond what the reader has taken, if memory allows. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** What the flow has still to bring and its reader to take; infinite where its end is not known. */
  get remainingBytes(): number {
    return this.#remainingBytes;
  }

  /** The reader took `bytes`, and `remainingBytes` are to come. Returns by how much the limit rises. */
  take(bytes: number, remainingBytes: number): number {
    assert(this.#isOpen && bytes <= this.#outstandingBytes, 'more taken than was granted');
    const before = this.#chargedBytes;
    this.#outstandingBytes -= bytes;
    this.#remainingBytes = remainingBytes;
    this.#pool.charge(this.#chargedBytes - before);
    this.#resize(bytes);
    const granted = Math.max(0, Math.min(this.#windowBytes, remainingBytes) - this.#outstandingBytes);
    const charged = this.#chargedBytes;
    this.#outstandingBytes += granted;
    this.#pool.charge(this.#chargedBytes - charged);
    return granted;
  }

  /** The flow is over: all that it had is free for others. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#pool.charge(-this.#chargedBytes);
    this.#pool.close(this);
  }

  get #chargedBytes(): number {
    return Math.max(this.#outstandingBytes, FLOW_WINDOW_BYTES_MIN);
  }

  /** The window doubles with every window that was taken, and falls at once to what memory allows. */
  #resize(bytes: number): void {
    this.#progressBytes += bytes;
    if (this.#progressBytes >= this.#windowBytes) {
      this.#progressBytes = 0;
      this.#windowBytes *= 2;
    }
    const allowed = this.#pool.windowBytesFor(this);
    this.#windowBytes = Math.max(FLOW_WINDOW_BYTES_MIN, Math.min(this.#windowBytes, allowed));
  }
}
