/**
 * Congestion control: the port, NewReno as the plain twin (RFC 9002 section 7), and CUBIC (RFC
 * 9438), of which `lan-cubic.ts` makes the default. Windows are in bytes; there is no pacing,
 * senders cap their bursts.
 */

import { type Micros, micros } from '../base/units.ts';
import { INITIAL_WINDOW_DATAGRAMS, MINIMUM_WINDOW_DATAGRAMS } from './limits.ts';

export interface CongestionController {
  /** Bytes that may be in flight. */
  readonly windowBytes: number;
  /** `bytes` of packets sent at `sentAt` were acknowledged. `limited` says that the window was in use. */
  onAcked(now: Micros, sentAt: Micros, bytes: number, rttMicros: Micros, limited: boolean): void;
  /** A packet sent at `sentAt` was lost. */
  onLost(now: Micros, sentAt: Micros): void;
  /** All packets over a long span were lost: back to the least window. */
  onPersistentCongestion(): void;
  /** The datagram size changed. */
  setDatagramBytes(bytes: number): void;
}

const LOSS_REDUCTION = 0.5;
const CUBIC_BETA = 0.7;
/** RFC 9438 4.1, in datagrams per second cubed. */
const CUBIC_C = 0.4;
const MICROS_PER_SECOND = 1_000_000;
/** RFC 9438 4.3: with this increase and CUBIC's reduction, Reno has the same mean window as with its own. */
const RENO_ALPHA = (3 * (1 - CUBIC_BETA)) / (1 + CUBIC_BETA);

export abstract class WindowController implements CongestionController {
  protected datagramBytes: number;
  protected slowStartThresholdBytes = Number.POSITIVE_INFINITY;
  /** Packets sent before this instant belong to the episode that already shrank the window. */
  protected recoveryStartedAt: Micros = micros(-1);
  protected bytes: number;

  constructor(datagramBytes: number) {
    this.datagramBytes = datagramBytes;
    this.bytes = initialWindowBytes(datagramBytes);
  }

  get windowBytes(): number {
    return this.bytes;
  }

  onAcked(now: Micros, sentAt: Micros, bytes: number, rttMicros: Micros, limited: boolean): void {
    if (sentAt <= this.recoveryStartedAt) return;
    if (!limited) return this.pause(now);
    // Of many bytes at once only those up to the threshold are slow start's.
    const slow = Math.min(bytes, Math.max(0, this.slowStartThresholdBytes - this.bytes));
    this.bytes += slow;
    if (slow < bytes) this.avoidCongestion(now, bytes - slow, rttMicros);
  }

  onLost(now: Micros, sentAt: Micros): void {
    if (sentAt <= this.recoveryStartedAt) return;
    this.recoveryStartedAt = now;
    this.reduce(now);
  }

  onPersistentCongestion(): void {
    this.bytes = this.minimumBytes;
    this.recoveryStartedAt = micros(-1);
  }

  setDatagramBytes(bytes: number): void {
    this.datagramBytes = bytes;
    this.bytes = Math.max(this.bytes, initialWindowBytes(bytes));
  }

  protected get minimumBytes(): number {
    return MINIMUM_WINDOW_DATAGRAMS * this.datagramBytes;
  }

  /** The window was not in use: it does not grow (RFC 9002 7.8). */
  protected pause(_now: Micros): void {}
  protected abstract avoidCongestion(now: Micros, bytes: number, rttMicros: Micros): void;
  protected abstract reduce(now: Micros): void;
}

/** NewReno as RFC 9002 appendix B has it. */
export class NewReno extends WindowController {
  protected avoidCongestion(_now: Micros, bytes: number): void {
    this.bytes += (this.datagramBytes * bytes) / this.bytes;
  }

  protected reduce(): void {
    this.bytes = Math.max(this.bytes * LOSS_REDUCTION, this.minimumBytes);
    this.slowStartThresholdBytes = this.bytes;
  }
}

/** CUBIC, RFC 9438: the window grows by a cubic of the time since the last loss [CC-11]. */
export class Cubic extends WindowController {
  #windowMaxBytes = 0;
  #epochStartedAt: Micros | undefined;
  #originSeconds = 0;
  #renoEstimateBytes = 0;
  /** The window before the last reduction. */
  #priorBytes = Number.POSITIVE_INFINITY;
  /** Since when the window is not in use. */
  #pausedAt: Micros | undefined;

  protected avoidCongestion(now: Micros, bytes: number, rttMicros: Micros): void {
    if (this.#epochStartedAt === undefined) {
      this.#epochStartedAt = now;
      this.#windowMaxBytes = Math.max(this.#windowMaxBytes, this.bytes);
      const missing = (this.#windowMaxBytes - this.bytes) / this.datagramBytes;
      this.#originSeconds = Math.cbrt(missing / CUBIC_C);
      this.#renoEstimateBytes = this.bytes;
    } else if (this.#pausedAt !== undefined) {
      // Time in which the window was not in use must not count as growth.
      this.#epochStartedAt = micros(this.#epochStartedAt + now - this.#pausedAt);
    }
    this.#pausedAt = undefined;
    const elapsed = now - this.#epochStartedAt;
    // RFC 9438 4.3: never slower than Reno would be with the same reduction.
    const alpha = this.#renoEstimateBytes < this.#priorBytes ? RENO_ALPHA : 1;
    this.#renoEstimateBytes += (alpha * this.datagramBytes * bytes) / this.bytes;
    if (this.#cubicBytes(elapsed) < this.#renoEstimateBytes) {
      this.bytes = Math.max(this.bytes, this.#renoEstimateBytes);
      return;
    }
    // RFC 9438 4.4 and 4.5: towards where the curve will be one RTT from now.
    const target = Math.min(this.#cubicBytes(elapsed + rttMicros), 1.5 * this.bytes);
    if (target > this.bytes) {
      this.bytes += ((target - this.bytes) * bytes) / this.bytes;
    }
  }

  protected override pause(now: Micros): void {
    this.#pausedAt ??= now;
  }

  /** RFC 9438 4.2, figure 1. */
  #cubicBytes(elapsedMicros: number): number {
    const fromOrigin = elapsedMicros / MICROS_PER_SECOND - this.#originSeconds;
    return CUBIC_C * fromOrigin ** 3 * this.datagramBytes + this.#windowMaxBytes;
  }

  protected reduce(): void {
    // RFC 9438 4.7, fast convergence: a flow whose maximum sank leaves room for others.
    this.#priorBytes = this.bytes;
    this.#windowMaxBytes =
      this.bytes < this.#windowMaxBytes ? (this.bytes * (1 + CUBIC_BETA)) / 2 : this.bytes;
    this.bytes = Math.max(this.bytes * CUBIC_BETA, this.minimumBytes);
    this.slowStartThresholdBytes = this.bytes;
    this.#epochStartedAt = undefined;
    this.#pausedAt = undefined;
  }

  override onPersistentCongestion(): void {
    super.onPersistentCongestion();
    this.#epochStartedAt = undefined;
  }
}

/** RFC 9002 7.2. */
export function initialWindowBytes(datagramBytes: number): number {
  return Math.min(
    INITIAL_WINDOW_DATAGRAMS * datagramBytes,
    Math.max(14_720, MINIMUM_WINDOW_DATAGRAMS * datagramBytes),
  );
}
