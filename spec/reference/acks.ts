/** The slow twin of the receiving side of acknowledgement (section 4.1): a set of numbers, and when an ACK is due. */

const RANGES_MAX = 32;
const ACK_EVERY = 2;
const DELAY_MICROS_MAX = 2_000;
const DELAY_UNIT_MICROS = 8;
const DELAY_UNITS_MAX = 65_535;
const U32_MAX = 2 ** 32 - 1;

export interface AckRange {
  readonly first: number;
  readonly last: number;
}

export class Acknowledger {
  readonly #numbers = new Set<number>();
  #largest = -1;
  #largestAt = 0;
  #waiting = 0;
  #due: number | undefined;

  /** When an ACK is due by now, or undefined when no packet waits for one [ACK-5]. */
  get due(): number | undefined {
    return this.#due;
  }

  onReceived(at: number, number: number, isEliciting: boolean): void {
    const isNext = number === this.#largest + 1;
    this.#numbers.add(number);
    this.#forget();
    if (number > this.#largest) {
      this.#largest = number;
      this.#largestAt = at;
    }
    if (!isEliciting) return;
    this.#waiting += 1;
    if (!isNext || this.#waiting >= ACK_EVERY) this.#due = at;
    else this.#due ??= at + DELAY_MICROS_MAX;
  }

  /** The ranges of an ACK frame, from the largest number down: what 4 bytes can say [ACK-3] [ACK-4]. */
  get ranges(): AckRange[] {
    const ranges = this.#kept;
    const far = ranges.findIndex(
      ({ last }, index) => index > 0 && ranges[index - 1]!.first - last - 2 > U32_MAX,
    );
    return far < 0 ? ranges : ranges.slice(0, far);
  }

  get #kept(): AckRange[] {
    const ranges: { first: number; last: number }[] = [];
    for (const number of [...this.#numbers].sort((left, right) => right - left)) {
      const lowest = ranges.at(-1);
      if (lowest !== undefined && lowest.first === number + 1) lowest.first = number;
      else ranges.push({ first: number, last: number });
    }
    return ranges;
  }

  /** Only the newest ranges are kept, for good [ACK-4]. */
  #forget(): void {
    const oldest = this.#kept[RANGES_MAX - 1];
    if (oldest === undefined) return;
    for (const number of this.#numbers) if (number < oldest.first) this.#numbers.delete(number);
  }

  /** The ACK frame that leaves now; nothing waits for one behind it [ACK-2]. */
  send(at: number): { readonly delay: number; readonly ranges: readonly AckRange[] } {
    this.#waiting = 0;
    this.#due = undefined;
    const delay = Math.floor((at - this.#largestAt) / DELAY_UNIT_MICROS);
    return { delay: Math.min(delay, DELAY_UNITS_MAX), ranges: this.ranges };
  }
}
