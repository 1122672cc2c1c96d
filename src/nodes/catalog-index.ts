/**
 * Where each object is, in memory: what answers WHERE_IS without a look at the state store.
 *
 * A hash table in typed arrays. The table is cut into segments, by the first bits of a mix of the
 * hash; a directory of 2^depth entries names the segment of each. A segment that is full grows by a
 * quarter, and at its largest is cut in two by the next bit, so that one insertion moves at most
 * SEGMENT_SLOTS_MAX entries, however many objects there are. Inside a segment: linear probing, at
 * most 7/8 full; a removal moves back what it had pushed on, and leaves no mark.
 *
 * One slot is 7 words of 32 bits:
 *
 *   0-3  the first half of the hash: 128 bits, which no two objects share by accident
 *   4    the low 32 bits of the size
 *   5    the high 16 bits of the size, then the state: 0 empty, 1 to 9 = replicas + 1, 15 not kept here
 *   6    up to two replicas, as numbers of 16 bits; of more, the block that holds them
 *
 * That nobody can aim objects at one segment, the mix begins with a seed of this process.
 */

import { REPLICAS_MAX } from '../wire/index.ts';

const WORDS = 7;
/** Bytes of a hash that stand in a slot. */
const TAG_BYTES = 16;
const STATE_MASK = 15;
const STATE_ELSEWHERE = 15;
/** Replicas that stand in the slot itself. */
const INLINE_REPLICAS = 2;
const SEGMENT_SLOTS_MIN = 64;
/** Most slots of one segment: growing it moves that many entries, and takes a fraction of a millisecond. */
export const SEGMENT_SLOTS_MAX = 4_096;
/** Most directory entries: 2^16 segments hold some 200 million objects. */
const DEPTH_MAX = 16;
/** Blocks of one chunk of the pool for long lists of replicas. */
const CHUNK_BLOCKS = 1_024;
const TWO_TO_32 = 0x1_0000_0000;

interface Segment {
  /** How many of the first bits all its entries share. */
  depth: number;
  slots: number;
  used: number;
  words: Uint32Array;
}

export class CatalogIndex {
  readonly #seed0: number;
  readonly #seed1: number;
  #depth = 0;
  #directory: Segment[] = [newSegment(0, SEGMENT_SLOTS_MIN)];
  #size = 0;
  #objectBytes = 0;
  readonly #blocks = new Blocks();
  // The hash that was looked for last, and what was found.
  #tag0 = 0;
  #tag1 = 0;
  #tag2 = 0;
  #tag3 = 0;
  #mix = 0;
  #segment: Segment = this.#directory[0]!;
  /** Size of the object that `find` found. */
  bytes = 0;
  /** How many replicas it has. */
  count = 0;
  /** Numbers of the nodes that hold it: the first `count`. Overwritten by the next `find`. */
  readonly replicas = new Uint16Array(REPLICAS_MAX);

  /** @param seed 8 bytes of chance. */
  constructor(seed: Uint8Array = new Uint8Array(8)) {
    const view = new DataView(seed.buffer, seed.byteOffset, seed.length);
    this.#seed0 = view.getInt32(0);
    this.#seed1 = view.getInt32(4);
  }

  /** Entries, also of those that are not kept here. */
  get size(): number {
    return this.#size;
  }

  /** Bytes of all entries together. */
  get objectBytes(): number {
    return this.#objectBytes;
  }

  /** Bytes of the tables. */
  get memoryBytes(): number {
    let bytes = this.#blocks.memoryBytes + 8 * this.#directory.length;
    for (const segment of new Set(this.#directory)) bytes += segment.words.byteLength;
    return bytes;
  }

  /**
   * Looks for the object whose hash stands in `hash` at `at`. 'here': `bytes`, `count` and `replicas`
   * tell of it. 'elsewhere': it is known, and the state store must be asked.
   */
  find(hash: Uint8Array, at = 0): 'here' | 'elsewhere' | 'unknown' {
    const slot = this.#locate(hash, at);
    const { words } = this.#segment;
    const state = words[slot + 5]! & STATE_MASK;
    if (state === 0) return 'unknown';
    return this.#read(words, slot) ? 'here' : 'elsewhere';
  }

  /** Sets what is known of the entry in a slot; false when there is none, or not here. */
  #read(words: Uint32Array, slot: number): boolean {
    const state = words[slot + 5]! & STATE_MASK;
    if (state === 0 || state === STATE_ELSEWHERE) return false;
    this.bytes = bytesAt(words, slot);
    const count = state - 1;
    this.count = count;
    const last = words[slot + 6]!;
    if (count <= INLINE_REPLICAS) {
      this.replicas[0] = last;
      this.replicas[1] = last >>> 16;
    } else this.#blocks.read(last, count, this.replicas);
    return true;
  }

  /** Whether the node of this number holds what was found last. */
  isReplica(number: number | undefined): boolean {
    for (let index = 0; index < this.count; index++) if (this.replicas[index] === number) return true;
    return false;
  }

  /**
   * Enters an object, or what has become of it. False, and nothing changes, when the index is full.
   *
   * @param replicas Numbers of nodes, the first `count`; undefined: the state store is to be asked.
   */
  put(hash: Uint8Array, bytes: number, replicas: ArrayLike<number> | undefined, count = 0): boolean {
    let slot = this.#locate(hash, 0);
    if ((this.#segment.words[slot + 5]! & STATE_MASK) === 0) {
      if (!this.#makeRoom()) return false;
      slot = this.#locate(hash, 0);
      const { words } = this.#segment;
      words[slot] = this.#tag0;
      words[slot + 1] = this.#tag1;
      words[slot + 2] = this.#tag2;
      words[slot + 3] = this.#tag3;
      this.#segment.used += 1;
      this.#size += 1;
    } else this.#freeBlock(slot);
    const { words } = this.#segment;
    this.#objectBytes += bytes - bytesAt(words, slot);
    const low = bytes >>> 0;
    words[slot + 4] = low;
    const high = ((bytes - low) / TWO_TO_32) << 16;
    words[slot + 5] = high | (replicas === undefined ? STATE_ELSEWHERE : count + 1);
    if (replicas === undefined || count === 0) words[slot + 6] = 0;
    else if (count > INLINE_REPLICAS) words[slot + 6] = this.#blocks.take(replicas, count);
    else words[slot + 6] = replicas[0]! | (count > 1 ? replicas[1]! << 16 : 0);
    return true;
  }

  /** Whether there was one to forget. */
  delete(hash: Uint8Array): boolean {
    const slot = this.#locate(hash, 0);
    const segment = this.#segment;
    const { words } = segment;
    if ((words[slot + 5]! & STATE_MASK) === 0) return false;
    this.#freeBlock(slot);
    this.#objectBytes -= bytesAt(words, slot);
    this.#size -= 1;
    segment.used -= 1;
    const end = segment.slots * WORDS;
    let hole = slot;
    for (let at = next(slot, end); (words[at + 5]! & STATE_MASK) !== 0; at = next(at, end)) {
      const home = this.#home(this.#mixOf(words[at]!, words[at + 1]!), segment);
      // It stays where it is when its home lies behind the hole, seen from where it stands.
      if ((at - home + end) % end < (at - hole + end) % end) continue;
      words.copyWithin(hole, at, at + WORDS);
      hole = at;
    }
    words.fill(0, hole, hole + WORDS);
    return true;
  }

  /**
   * Goes through the part of the table that begins at `from`, in the order of the mix, and returns
   * where the next part begins; undefined behind the last. `onEntry` hears of each entry, as `find`
   * would tell of it, and where the first half of its hash stands; it must change nothing here. Parts
   * that are gone through one after the other tell of every entry that was there all the time once.
   */
  scan(from: number, onEntry: (tag: Uint8Array) => void): number | undefined {
    const segment = this.#directory[this.#depth === 0 ? 0 : from >>> (32 - this.#depth)]!;
    const { words } = segment;
    const tag = new Uint8Array(TAG_BYTES);
    const view = new DataView(tag.buffer);
    for (let slot = 0; slot < words.length; slot += WORDS) {
      if (!this.#read(words, slot)) continue;
      for (let index = 0; index < TAG_BYTES / 4; index++) view.setUint32(4 * index, words[slot + index]!);
      onEntry(tag);
    }
    const span = TWO_TO_32 / 2 ** segment.depth;
    const end = from - (from % span) + span;
    return end === TWO_TO_32 ? undefined : end;
  }

  /** Sets the tag, the mix and the segment of a hash; the offset of its slot, or of an empty one. */
  #locate(hash: Uint8Array, at: number): number {
    const tag0 = word(hash, at);
    const tag1 = word(hash, at + 4);
    const tag2 = word(hash, at + 8);
    const tag3 = word(hash, at + 12);
    const mix = this.#mixOf(tag0, tag1);
    const segment = this.#directory[this.#depth === 0 ? 0 : mix >>> (32 - this.#depth)]!;
    this.#tag0 = tag0;
    this.#tag1 = tag1;
    this.#tag2 = tag2;
    this.#tag3 = tag3;
    this.#mix = mix;
    this.#segment = segment;
    const { words } = segment;
    const end = segment.slots * WORDS;
    for (let slot = this.#home(mix, segment); ; slot = next(slot, end)) {
      if ((words[slot + 5]! & STATE_MASK) === 0) return slot;
      if (words[slot] !== tag0 || words[slot + 1] !== tag1) continue;
      if (words[slot + 2] === tag2 && words[slot + 3] === tag3) return slot;
    }
  }

  #mixOf(tag0: number, tag1: number): number {
    return finish(finish(tag0 ^ this.#seed0) ^ tag1 ^ this.#seed1) >>> 0;
  }

  /** Offset of the slot at which an entry belongs: by the last 16 bits, which no directory uses. */
  #home(mix: number, segment: Segment): number {
    return (((mix & 0xffff) * segment.slots) >>> 16) * WORDS;
  }

  /** Room for one more entry in the segment of the last hash; false when there is none to be had. */
  #makeRoom(): boolean {
    const segment = this.#segment;
    if (segment.used + 1 <= (segment.slots * 7) >>> 3) return true;
    if (segment.slots < SEGMENT_SLOTS_MAX) {
      const slots = Math.min(SEGMENT_SLOTS_MAX, Math.ceil(segment.slots * 1.28));
      const { words } = segment;
      segment.slots = slots;
      segment.words = new Uint32Array(slots * WORDS);
      for (let at = 0; at < words.length; at += WORDS) this.#move(words, at, segment);
      return true;
    }
    return this.#split(segment);
  }

  #split(segment: Segment): boolean {
    if (segment.depth === this.#depth) {
      if (this.#depth === DEPTH_MAX) return false;
      this.#directory = this.#directory.flatMap((entry) => [entry, entry]);
      this.#depth += 1;
    }
    const depth = segment.depth + 1;
    // Half of the entries in five eighths of the slots: with room for chance on either side.
    const slots = (SEGMENT_SLOTS_MAX >>> 3) * 5;
    const halves = [newSegment(depth, slots), newSegment(depth, slots)] as const;
    const { words } = segment;
    const counts = [0, 0];
    for (let at = 0; at < words.length; at += WORDS) {
      if ((words[at + 5]! & STATE_MASK) !== 0) {
        counts[(this.#mixOf(words[at]!, words[at + 1]!) >>> (32 - depth)) & 1]! += 1;
      }
    }
    for (const [index, half] of halves.entries()) {
      if (counts[index]! <= (half.slots * 7) >>> 3) continue;
      // Far from even, which chance alone will not bring about.
      half.slots = SEGMENT_SLOTS_MAX;
      half.words = new Uint32Array(SEGMENT_SLOTS_MAX * WORDS);
    }
    for (let at = 0; at < words.length; at += WORDS) {
      const mix = this.#mixOf(words[at]!, words[at + 1]!);
      const half = halves[(mix >>> (32 - depth)) & 1]!;
      if (this.#move(words, at, half)) half.used += 1;
    }
    const span = 1 << (this.#depth - depth);
    const first = (this.#mix >>> (32 - this.#depth)) & ~(2 * span - 1);
    this.#directory.fill(halves[0], first, first + span);
    this.#directory.fill(halves[1], first + span, first + 2 * span);
    // One half may have taken all: then it is cut again.
    this.#segment = this.#directory[this.#mix >>> (32 - this.#depth)]!;
    return this.#makeRoom();
  }

  /** Copies the entry at `at`, if there is one, into `segment`, which has room. */
  #move(words: Uint32Array, at: number, segment: Segment): boolean {
    if ((words[at + 5]! & STATE_MASK) === 0) return false;
    const to = segment.words;
    const end = segment.slots * WORDS;
    let slot = this.#home(this.#mixOf(words[at]!, words[at + 1]!), segment);
    while ((to[slot + 5]! & STATE_MASK) !== 0) slot = next(slot, end);
    for (let index = 0; index < WORDS; index++) to[slot + index] = words[at + index]!;
    return true;
  }

  #freeBlock(slot: number): void {
    const { words } = this.#segment;
    const state = words[slot + 5]! & STATE_MASK;
    if (state !== STATE_ELSEWHERE && state - 1 > INLINE_REPLICAS) this.#blocks.free(words[slot + 6]!);
  }
}

/** Blocks of REPLICAS_MAX node numbers, for objects with more replicas than a slot holds. */
class Blocks {
  readonly #chunks: Uint16Array[] = [];
  /** Blocks to use again: never more than there are. */
  readonly #free: number[] = [];
  #next = 0;

  get memoryBytes(): number {
    return this.#chunks.length * CHUNK_BLOCKS * REPLICAS_MAX * 2;
  }

  take(replicas: ArrayLike<number>, count: number): number {
    const block = this.#free.pop() ?? this.#next++;
    if (block >= this.#chunks.length * CHUNK_BLOCKS)
      this.#chunks.push(new Uint16Array(CHUNK_BLOCKS * REPLICAS_MAX));
    const chunk = this.#chunks[Math.floor(block / CHUNK_BLOCKS)]!;
    const start = (block % CHUNK_BLOCKS) * REPLICAS_MAX;
    for (let index = 0; index < count; index++) chunk[start + index] = replicas[index]!;
    return block;
  }

  read(block: number, count: number, into: Uint16Array): void {
    const chunk = this.#chunks[Math.floor(block / CHUNK_BLOCKS)]!;
    const start = (block % CHUNK_BLOCKS) * REPLICAS_MAX;
    for (let index = 0; index < count; index++) into[index] = chunk[start + index]!;
  }

  free(block: number): void {
    this.#free.push(block);
  }
}

/** Size of the object in a slot; 0 in an empty one. */
function bytesAt(words: Uint32Array, slot: number): number {
  return (words[slot + 5]! >>> 16) * TWO_TO_32 + words[slot + 4]!;
}

function newSegment(depth: number, slots: number): Segment {
  return { depth, slots, used: 0, words: new Uint32Array(slots * WORDS) };
}

function next(slot: number, end: number): number {
  return slot + WORDS === end ? 0 : slot + WORDS;
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** The last step of MurmurHash3 (Appleby, public domain): every bit of the input stirs every bit. */
function finish(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return mixed ^ (mixed >>> 16);
}
