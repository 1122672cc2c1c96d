/** Where the parts of an input stand: what a mutation may aim at. */

/** A number or a run of bytes. */
export interface Field {
  readonly at: number;
  readonly bytes: number;
  readonly kind: 'number' | 'bytes';
}

/** Something that may stand there twice, or not at all. */
export interface Item {
  readonly at: number;
  readonly bytes: number;
  /** Where a one-byte count of these items stands, if one does. */
  readonly countAt?: number;
}

/** A number of `bytes` bytes at `at` that states how long something from `start` to `end` is. */
export interface Length {
  readonly at: number;
  readonly bytes: number;
  readonly start: number;
  readonly end: number;
}

export interface Layout {
  readonly fields: readonly Field[];
  readonly items: readonly Item[];
  readonly lengths: readonly Length[];
}

/** Parts beyond this many are not noted: inputs may be made of single bytes. */
const PARTS_MAX = 2_048;

/** Collects a layout, part by part, from the front of the input. */
export class LayoutBuilder implements Layout {
  readonly fields: Field[] = [];
  readonly items: Item[] = [];
  readonly lengths: Length[] = [];

  get full(): boolean {
    return this.fields.length + this.items.length + this.lengths.length >= PARTS_MAX;
  }

  number(at: number, bytes: number): void {
    if (!this.full) this.fields.push({ at, bytes, kind: 'number' });
  }

  bytes(at: number, bytes: number): void {
    if (!this.full && bytes > 0) this.fields.push({ at, bytes, kind: 'bytes' });
  }

  item(at: number, bytes: number, countAt?: number): void {
    if (this.full || bytes <= 0) return;
    this.items.push(countAt === undefined ? { at, bytes } : { at, bytes, countAt });
  }

  /** A number that states the length of what stands from `start` to `end`. */
  length(at: number, bytes: number, start: number, end: number): void {
    this.number(at, bytes);
    if (!this.full) this.lengths.push({ at, bytes, start, end });
  }

  /** Takes over the parts of something that stands at `at`. */
  nested(at: number, inner: Layout): void {
    for (const field of inner.fields) {
      if (!this.full) this.fields.push({ ...field, at: field.at + at });
    }
    for (const item of inner.items) this.item(item.at + at, item.bytes, shifted(item.countAt, at));
    for (const { at: place, bytes, start, end } of inner.lengths) {
      if (!this.full) this.lengths.push({ at: place + at, bytes, start: start + at, end: end + at });
    }
  }
}

/** One field: of inputs of which no more is known. */
export function plainLayout(input: Uint8Array): Layout {
  return { fields: [{ at: 0, bytes: input.length, kind: 'bytes' }], items: [], lengths: [] };
}

/** The unsigned number, most significant byte first; bytes behind the end count as 0. */
export function numberAt(input: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let index = 0; index < bytes; index++) value = value * 256 + (input[at + index] ?? 0);
  return value;
}

/** Writes `value` modulo its width; bytes behind the end are left out. */
export function putNumber(input: Uint8Array, at: number, bytes: number, value: number): void {
  let rest = value < 0 ? value + 256 ** bytes : value;
  for (let index = bytes - 1; index >= 0; index--) {
    if (at + index < input.length) input[at + index] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

function shifted(at: number | undefined, by: number): number | undefined {
  return at === undefined ? undefined : at + by;
}
