/**
 * A bounds-checked cursor over received bytes.
 *
 * Failure is sticky: a read that does not fit returns zero or empty and sets `failure`; the
 * decoder looks at it once, at the end. Nothing here throws, and no read allocates more than the
 * bytes that are really there [PKT-16]. Neighbour: `writer.ts`, its exact inverse.
 */

/** Why bytes were refused. Counted, never sent to a stranger. */
export type DecodeFailure =
  | 'truncated'
  | 'trailing'
  | 'non-minimal'
  | 'range'
  | 'unknown'
  | 'length'
  | 'reserved'
  | 'text';

/** Whether a decoder refused its input. */
export function isFailure<T extends object>(result: T | DecodeFailure): result is DecodeFailure {
  return typeof result === 'string';
}

const EMPTY = new Uint8Array(0);
const TWO_TO_32 = 0x1_0000_0000;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Reader {
  #bytes: Uint8Array;
  #end: number;
  at: number;
  failure: DecodeFailure | undefined;

  /** Reads `bytes` from `at` up to `end`. The bytes are borrowed. */
  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#end = end;
    this.at = at;
    this.failure = undefined;
  }

  get remaining(): number {
    return this.#end - this.at;
  }

  /** Marks the input as refused; the first reason stays. */
  refuse(reason: DecodeFailure): void {
    this.failure ??= reason;
    this.at = this.#end;
  }

  u8(): number {
    if (!this.#has(1)) return 0;
    return this.#bytes[this.at++]!;
  }

  u16(): number {
    if (!this.#has(2)) return 0;
    const value = (this.#bytes[this.at]! << 8) | this.#bytes[this.at + 1]!;
    this.at += 2;
    return value;
  }

  u32(): number {
    if (!this.#has(4)) return 0;
    const bytes = this.#bytes;
    const at = this.at;
    const value =
      ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
    this.at = at + 4;
    return value;
  }

  u48(): number {
    if (!this.#has(6)) return 0;
    const high = this.u16();
    return high * TWO_TO_32 + this.u32();
  }

  /** A signed 64-bit number of the safe range; others are refused as `range` [PKT-9]. */
  i64(): number {
    if (!this.#has(8)) return 0;
    const high = this.u32() | 0;
    const value = high * TWO_TO_32 + this.u32();
    if (!Number.isSafeInteger(value)) {
      this.refuse('range');
      return 0;
    }
    return value;
  }

  /** A QUIC variable-length integer (RFC 9000 section 16) of the safe range, minimal form only [PKT-5]. */
  varint(): number {
    const first = this.u8();
    switch (first >>> 6) {
      case 0:
        return first;
      case 1: {
        const value = ((first & 0x3f) << 8) | this.u8();
        return this.#minimal(value, 0x40);
      }
      case 2: {
        const value = ((first & 0x3f) << 24) | (this.u8() << 16) | this.u16();
        return this.#minimal(value, 0x4000);
      }
      default: {
        const high = ((first & 0x3f) << 24) | (this.u8() << 16) | this.u16();
        const value = high * TWO_TO_32 + this.u32();
        if (!Number.isSafeInteger(value)) {
          this.refuse('range');
          return 0;
        }
        return this.#minimal(value, 0x4000_0000);
      }
    }
  }

  /** `count` bytes, copied. */
  bytes(count: number): Uint8Array {
    if (!this.#has(count)) return EMPTY;
    // Not `slice`: on a Buffer that would be a view, and keep the datagram alive.
    const copy = new Uint8Array(count);
    copy.set(this.#bytes.subarray(this.at, this.at + count));
    this.at += count;
    return copy;
  }

  /** `count` bytes, borrowed from the input. */
  view(count: number): Uint8Array {
    if (!this.#has(count)) return EMPTY;
    const view = this.#bytes.subarray(this.at, this.at + count);
    this.at += count;
    return view;
  }

  /** A text behind a one-byte length, valid UTF-8 only [PKT-14]. */
  text8(): string {
    const view = this.view(this.u8());
    if (this.failure !== undefined) return '';
    try {
      return decoder.decode(view);
    } catch {
      this.refuse('text');
      return '';
    }
  }

  /** Refuses the input when bytes are left over [PKT-4]. */
  end(): void {
    if (this.failure === undefined && this.at !== this.#end) this.refuse('trailing');
  }

  #has(count: number): boolean {
    if (this.failure === undefined && count <= this.#end - this.at) return true;
    this.refuse('truncated');
    return false;
  }

  #minimal(value: number, floor: number): number {
    if (this.failure === undefined && value < floor) this.refuse('non-minimal');
    return this.failure === undefined ? value : 0;
  }
}
