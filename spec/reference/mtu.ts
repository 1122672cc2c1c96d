/** The slow twin of the search for the datagram size (section 4.4). Times in us. */

const PROBES_MAX = 3;
const AGAIN_MICROS = 100_000;
const RAISE_MICROS = 600_000_000;
const BLACK_HOLE_INSTANTS = 6;

export class DatagramSize {
  readonly #sizes: readonly number[];
  /** The size that is in use, and the one that is looked at; both as an index. */
  #proven = 0;
  #tried: number;
  #lost = 0;
  #isWaiting = false;
  #probeAt: number | undefined;
  #badInstants: number[] = [];

  /** Sizes ascend, the first is that of [MTU-1]. */
  constructor(sizes: readonly number[], now: number) {
    this.#sizes = sizes;
    this.#tried = sizes.length - 1;
    this.#probeAt = sizes.length > 1 ? now : undefined;
  }

  get bytes(): number {
    return this.#sizes[this.#proven]!;
  }

  /** When a probe should leave; undefined while one is in flight or the search is over. */
  get probeAt(): number | undefined {
    return this.#isWaiting ? undefined : this.#probeAt;
  }

  /** The size of the probe that leaves now, or undefined. */
  probe(now: number): number | undefined {
    if (this.probeAt === undefined || this.probeAt > now) return undefined;
    // A search that has ended begins again at the largest size.
    if (this.#tried <= this.#proven) this.#tried = this.#sizes.length - 1;
    this.#isWaiting = true;
    this.#probeAt = undefined;
    return this.#sizes[this.#tried];
  }

  onProbeAcked(now: number): void {
    this.#isWaiting = false;
    this.#lost = 0;
    this.#badInstants = [];
    this.#proven = Math.max(this.#proven, this.#tried);
    this.#rest(now);
  }

  onProbeLost(now: number): void {
    this.#isWaiting = false;
    this.#lost += 1;
    this.#probeAt = now + AGAIN_MICROS;
    if (this.#lost < PROBES_MAX) return;
    this.#lost = 0;
    this.#tried -= 1;
    if (this.#tried <= this.#proven) this.#rest(now);
  }

  onLargeAcked(): void {
    this.#badInstants = [];
  }

  /** [MTU-5] */
  onLargeLost(now: number): void {
    if (this.#proven === 0 || this.#badInstants.includes(now)) return;
    this.#badInstants.push(now);
    if (this.#badInstants.length < BLACK_HOLE_INSTANTS) return;
    this.#badInstants = [];
    this.#proven = 0;
    this.#tried = this.#sizes.length - 1;
    this.#probeAt = now + AGAIN_MICROS;
  }

  #rest(now: number): void {
    this.#probeAt = this.#proven < this.#sizes.length - 1 ? now + RAISE_MICROS : undefined;
  }
}
