/**
 * CUBIC for a LAN: a window that shrinks when packets are lost and there is a sign that the path is
 * full, and not for every lost packet.
 *
 * At 100 us a round trip and 5 % of random loss, plain CUBIC keeps some five packets in flight, for
 * whatever reason they are lost. Here loss means congestion when the round trip has grown, so that
 * something queues; or when more is lost than was lost with a window so far below the last overflow
 * that it cannot have been by that window. Models: TCP Veno (is there a backlog?), BBRv2 (a share of
 * loss is tolerated, up to a ceiling; the round trip of an empty path is looked for now and then).
 * Growth, reduction and persistent congestion are CUBIC's.
 */

import { type Micros, micros } from '../base/units.ts';
import { Cubic, initialWindowBytes } from './congestion.ts';
import {
  BASE_RTT_MICROS_MAX_AGE,
  LOSS_CEILING,
  LOSS_DEVIATIONS,
  LOSS_SAMPLE_PACKETS,
  LOW_WINDOW_SHARE,
  QUEUE_MICROS_TOLERATED,
  QUEUE_RTT_DIVISOR,
} from './limits.ts';

/** How many packets arrived and were lost, where new ones count for more than old ones [CC-12]. */
class LossRate {
  lost = 0;
  packets = 0;

  add(packets: number, lost: number): void {
    this.packets += packets;
    this.lost += lost;
    if (this.packets < LOSS_SAMPLE_PACKETS) return;
    this.packets /= 2;
    this.lost /= 2;
  }

  get share(): number {
    return this.packets === 0 ? 0 : this.lost / this.packets;
  }

  clear(): void {
    this.lost = 0;
    this.packets = 0;
  }
}

export class LanCubic extends Cubic {
  /** The least round trip of late: that of a path with no queue [CC-7]. */
  #baseMicros = Number.POSITIVE_INFINITY;
  #baseSeenAt: Micros = micros(0);
  /** Since when few packets are in flight, so that the queue drains and the base is seen again [CC-9]. */
  #probingSince: Micros | undefined;
  /** A round ends with the acknowledgement of a packet that was sent after this instant. */
  #roundStartedAt: Micros = micros(-1);
  #roundLeastMicros = Number.POSITIVE_INFINITY;
  /** Whether a packet of this round was lost. */
  #roundLost = false;
  /** Whether all round trips of the round before were longer than those of an empty path. */
  #wasQueued = false;
  /** The window at the last reduction: there the path was full. Until then every window counts as low. */
  #fullBytes = Number.POSITIVE_INFINITY;
  /** Since the last reduction. */
  readonly #recent = new LossRate();
  /** With a window far below the full one: what is lost there is lost by chance, or by others. */
  readonly #low = new LossRate();
  readonly #overall = new LossRate();

  override get windowBytes(): number {
    return this.#probingSince === undefined ? this.bytes : Math.min(this.bytes, this.#probeBytes);
  }

  override onAcked(now: Micros, sentAt: Micros, bytes: number, rttMicros: Micros, limited: boolean): void {
    this.#onSample(now, sentAt, micros(now - sentAt), limited);
    if (sentAt > this.recoveryStartedAt) {
      this.#count(bytes / this.datagramBytes, 0);
      this.#roundLeastMicros = Math.min(this.#roundLeastMicros, now - sentAt);
      if (sentAt > this.#roundStartedAt) this.#endRound(now);
    }
    // A window that is small on purpose is no reason to grow.
    super.onAcked(now, sentAt, bytes, rttMicros, limited && this.#probingSince === undefined);
  }

  override onLost(now: Micros, sentAt: Micros): void {
    if (sentAt <= this.recoveryStartedAt) return;
    this.#count(1, 1);
    this.#roundLost = true;
    if (this.#isTooMuch()) this.#onOverflow(now);
  }

  override onPersistentCongestion(): void {
    super.onPersistentCongestion();
    // Perhaps the path is another one now.
    this.#baseMicros = Number.POSITIVE_INFINITY;
    this.#fullBytes = Number.POSITIVE_INFINITY;
    this.#recent.clear();
    this.#low.clear();
  }

  get #probeBytes(): number {
    return initialWindowBytes(this.datagramBytes);
  }

  get #isLow(): boolean {
    return this.bytes < LOW_WINDOW_SHARE * this.#fullBytes;
  }

  #count(packets: number, lost: number): void {
    this.#recent.add(packets, lost);
    this.#overall.add(packets, lost);
    if (this.#isLow) this.#low.add(packets, lost);
  }

  #onSample(now: Micros, sentAt: Micros, sampleMicros: Micros, limited: boolean): void {
    if (this.#probingSince !== undefined) {
      // This one was sent when little was left in flight: it met no queue of our making.
      if (sentAt > this.#probingSince) this.#setBase(now, sampleMicros);
    } else if (sampleMicros <= this.#baseMicros) {
      this.#setBase(now, sampleMicros);
    } else if (now - this.#baseSeenAt > BASE_RTT_MICROS_MAX_AGE) {
      if (limited) this.#probingSince = now;
      else this.#setBase(now, sampleMicros);
    }
  }

  #setBase(now: Micros, sampleMicros: Micros): void {
    this.#baseMicros = sampleMicros;
    this.#baseSeenAt = now;
    this.#probingSince = undefined;
  }

  /** [CC-13] */
  #endRound(now: Micros): void {
    const queued = this.#roundLeastMicros > this.#baseMicros + queueMicrosTolerated(this.#baseMicros);
    // [CC-7] A queue stands. A process that was not scheduled delays a round, and not two; and a window
    // as small as at the start fills no queue.
    const standing = queued && this.#wasQueued && this.bytes > this.#probeBytes;
    this.#wasQueued = queued;
    if (this.#roundLost && standing) this.#reduceNow(now);
    else this.#startRound(now);
  }

  /** [CC-8] Whether more was lost since the last reduction than is tolerated, and not by chance. */
  #isTooMuch(): boolean {
    const ceiling = this.#overall.share > LOSS_CEILING ? 0 : LOSS_CEILING;
    const tolerated = this.#isLow ? ceiling : Math.min(ceiling, this.#low.share);
    const { lost, packets } = this.#recent;
    // As if all else of a window arrived: so much loss need not wait for the end of the round.
    const expected = tolerated * Math.max(packets, this.bytes / this.datagramBytes);
    return lost > expected + LOSS_DEVIATIONS * Math.sqrt(expected * (1 - tolerated));
  }

  #onOverflow(now: Micros): void {
    // A low window that was too much all the same: what it lost says nothing about chance.
    if (this.#isLow) this.#low.clear();
    this.#reduceNow(now);
  }

  #reduceNow(now: Micros): void {
    this.recoveryStartedAt = now;
    this.#fullBytes = this.bytes;
    this.reduce();
    this.#recent.clear();
    this.#startRound(now);
  }

  #startRound(now: Micros): void {
    this.#roundStartedAt = now;
    this.#roundLeastMicros = Number.POSITIVE_INFINITY;
    this.#roundLost = false;
  }
}

/** [CC-7] Growth of the round trip that may be the jitter of processes, and counts as no queue. */
function queueMicrosTolerated(baseMicros: number): number {
  return Math.max(QUEUE_MICROS_TOLERATED, baseMicros / QUEUE_RTT_DIVISOR);
}
