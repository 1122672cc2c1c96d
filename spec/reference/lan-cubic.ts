/** The slow twin of the congestion controller: section 4.6 of the specification, rule by rule. Times in us. */

const CUBIC_C = 0.4;
const BETA = 0.7;
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
const LOSS_CEILING = 0.07;
const SAMPLE_PACKETS = 1_024;
const LOW_SHARE = 0.85;
const BASE_AGE_MICROS = 2_000_000;
const QUEUE_MICROS = 1_000;
const NEVER = -1;

/** RFC 9002 section 7.2. */
export function startWindow(datagramBytes: number): number {
  return Math.min(10 * datagramBytes, Math.max(14_720, 2 * datagramBytes));
}

/** Packets that were sent and those of them that were lost, halved whenever there are many. */
class Share {
  sent = 0;
  lost = 0;

  count(packets: number, lost: number): void {
    this.sent += packets;
    this.lost += lost;
    if (this.sent >= SAMPLE_PACKETS) {
      this.sent /= 2;
      this.lost /= 2;
    }
  }

  get value(): number {
    return this.sent === 0 ? 0 : this.lost / this.sent;
  }
}

export class LanCubicTwin {
  #datagramBytes: number;
  #window: number;
  #threshold = Number.POSITIVE_INFINITY;
  #shrunkAt = NEVER;
  // The curve of RFC 9438.
  #windowMax = 0;
  #windowBefore = Number.POSITIVE_INFINITY;
  #epochAt: number | undefined;
  #idleSince: number | undefined;
  #originSeconds = 0;
  #reno = 0;
  // The base [CC-9].
  #base = Number.POSITIVE_INFINITY;
  #baseAt = 0;
  #lookingSince: number | undefined;
  // The round [CC-7].
  #roundAt = NEVER;
  #roundLeast = Number.POSITIVE_INFINITY;
  #roundHasLoss = false;
  #wasQueued = false;
  // Shares of lost packets [CC-8].
  #fullWindow = Number.POSITIVE_INFINITY;
  #recent = new Share();
  #low = new Share();
  readonly #all = new Share();

  constructor(datagramBytes: number) {
    this.#datagramBytes = datagramBytes;
    this.#window = startWindow(datagramBytes);
  }

  get window(): number {
    return this.#lookingSince === undefined
      ? this.#window
      : Math.min(this.#window, startWindow(this.#datagramBytes));
  }

  set datagramBytes(bytes: number) {
    this.#datagramBytes = bytes;
    this.#window = Math.max(this.#window, startWindow(bytes));
  }

  /** Step A of section 4.6. */
  onAcked(now: number, sentAt: number, bytes: number, smoothedRtt: number, inUse: boolean): void {
    const sample = now - sentAt;
    this.#meet(now, sentAt, sample, inUse);
    if (sentAt <= this.#shrunkAt) return;
    this.#count(bytes / this.#datagramBytes, 0);
    this.#roundLeast = Math.min(this.#roundLeast, sample);
    if (sentAt > this.#roundAt) this.#endRound(now);
    if (sentAt <= this.#shrunkAt) return;
    if (!inUse || this.#lookingSince !== undefined) {
      this.#idleSince ??= now;
      return;
    }
    const slow = Math.min(bytes, Math.max(0, this.#threshold - this.#window));
    this.#window += slow;
    if (slow < bytes) this.#grow(now, bytes - slow, smoothedRtt);
  }

  /** Step L. */
  onLost(now: number, sentAt: number): void {
    if (sentAt <= this.#shrunkAt) return;
    this.#count(1, 1);
    this.#roundHasLoss = true;
    if (!this.#isTooMuch()) return;
    if (this.#isLow) this.#low = new Share();
    this.#shrink(now);
  }

  /** Step P. */
  onPersistentCongestion(): void {
    this.#window = 2 * this.#datagramBytes;
    this.#shrunkAt = NEVER;
    this.#epochAt = undefined;
    this.#base = Number.POSITIVE_INFINITY;
    this.#fullWindow = Number.POSITIVE_INFINITY;
    this.#recent = new Share();
    this.#low = new Share();
  }

  get #isLow(): boolean {
    return this.#window < LOW_SHARE * this.#fullWindow;
  }

  #count(packets: number, lost: number): void {
    this.#recent.count(packets, lost);
    this.#all.count(packets, lost);
    if (this.#isLow) this.#low.count(packets, lost);
  }

  /** [CC-9] */
  #meet(now: number, sentAt: number, sample: number, inUse: boolean): void {
    const isLooking = this.#lookingSince !== undefined;
    const isOld = now - this.#baseAt > BASE_AGE_MICROS;
    if (!isLooking && sample > this.#base && isOld && inUse) {
      this.#lookingSince = now;
      return;
    }
    const isBase = isLooking ? sentAt > this.#lookingSince! : sample <= this.#base || isOld;
    if (!isBase) return;
    this.#base = sample;
    this.#baseAt = now;
    this.#lookingSince = undefined;
  }

  /** [CC-7] */
  #endRound(now: number): void {
    const isQueued = this.#roundLeast > this.#base + Math.max(QUEUE_MICROS, this.#base / 4);
    const stands = isQueued && this.#wasQueued && this.#window > startWindow(this.#datagramBytes);
    this.#wasQueued = isQueued;
    if (stands && this.#roundHasLoss) this.#shrink(now);
    else this.#startRound(now);
  }

  #startRound(now: number): void {
    this.#roundAt = now;
    this.#roundLeast = Number.POSITIVE_INFINITY;
    this.#roundHasLoss = false;
  }

  /** [CC-8] */
  #isTooMuch(): boolean {
    const ceiling = this.#all.value > LOSS_CEILING ? 0 : LOSS_CEILING;
    const share = this.#isLow ? ceiling : Math.min(ceiling, this.#low.value);
    const expected = share * Math.max(this.#recent.sent, this.#window / this.#datagramBytes);
    return this.#recent.lost > expected + 3 * Math.sqrt(expected * (1 - share));
  }

  /** RFC 9438 sections 4.6 and 4.7. */
  #shrink(now: number): void {
    this.#shrunkAt = now;
    this.#fullWindow = this.#window;
    this.#windowBefore = this.#window;
    this.#windowMax = this.#window < this.#windowMax ? (this.#window * (1 + BETA)) / 2 : this.#window;
    this.#window = Math.max(this.#window * BETA, 2 * this.#datagramBytes);
    this.#threshold = this.#window;
    this.#epochAt = undefined;
    this.#idleSince = undefined;
    this.#recent = new Share();
    this.#startRound(now);
  }

  /** RFC 9438 sections 4.2 to 4.5. */
  #grow(now: number, bytes: number, smoothedRtt: number): void {
    if (this.#epochAt === undefined) {
      this.#epochAt = now;
      this.#windowMax = Math.max(this.#windowMax, this.#window);
      this.#originSeconds = Math.cbrt((this.#windowMax - this.#window) / this.#datagramBytes / CUBIC_C);
      this.#reno = this.#window;
    } else if (this.#idleSince !== undefined) this.#epochAt += now - this.#idleSince;
    this.#idleSince = undefined;
    const elapsed = now - this.#epochAt;
    const alpha = this.#reno < this.#windowBefore ? ALPHA : 1;
    this.#reno += (alpha * this.#datagramBytes * bytes) / this.#window;
    if (this.#curve(elapsed) < this.#reno) {
      this.#window = Math.max(this.#window, this.#reno);
      return;
    }
    const target = Math.min(this.#curve(elapsed + smoothedRtt), 1.5 * this.#window);
    if (target > this.#window) this.#window += ((target - this.#window) * bytes) / this.#window;
  }

  #curve(elapsedMicros: number): number {
    const seconds = elapsedMicros / 1_000_000 - this.#originSeconds;
    return CUBIC_C * seconds ** 3 * this.#datagramBytes + this.#windowMax;
  }
}
