/**
 * How much room an object store has: its quota less what is stored and being stored, or what the
 * disk has left if that is less.
 *
 * The disk is asked after writes and removals, not at every question; in between, what writers
 * hand to it is subtracted here.
 */

import type { Log } from '../nodes/ports.ts';
import type { FileSystem } from './durable-files.ts';
import { quotaBytesOf, trailerBytesOf } from './object-file.ts';
import { isDiskTrouble } from './store-errors.ts';
import { noSpace } from './store-limits.ts';

/** The room of one object that is being stored. */
export interface Reservation {
  /** Notes that `totalBytes` of payload have reached the disk so far. */
  noteWritten(totalBytes: number): void;
  /** Gives the room back: the object is counted as stored, or gone. Harmless twice. */
  release(): void;
}

export class SpaceAccount {
  readonly quotaBytes: number;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #log: Log | undefined;
  #storedBytes = 0;
  #reservedBytes = 0;
  /** What open writers will still take of the disk. */
  #unwrittenBytes = 0;
  #diskFreeBytes = 0;
  #full = false;

  constructor(fs: FileSystem, directory: string, quotaBytes: number, log: Log | undefined) {
    this.#fs = fs;
    this.#directory = directory;
    this.quotaBytes = quotaBytes;
    this.#log = log;
  }

  get freeBytes(): number {
    const ofQuota = this.quotaBytes - this.#storedBytes - this.#reservedBytes;
    return Math.max(0, Math.min(ofQuota, this.#diskFreeBytes - this.#unwrittenBytes));
  }

  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** Whether the last write met a full or failing disk. */
  get full(): boolean {
    return this.#full;
  }

  addStored(objectBytes: number): void {
    this.#storedBytes += quotaBytesOf(objectBytes);
  }

  removeStored(objectBytes: number): void {
    this.#storedBytes -= quotaBytesOf(objectBytes);
  }

  /** Whether an object of `objectBytes` finds room. */
  hasRoomFor(objectBytes: number): boolean {
    return quotaBytesOf(objectBytes) <= this.freeBytes;
  }

  /**
   * Takes room for an object of `objectBytes`.
   *
   * @throws GramlineError `GRAMLINE_NO_SPACE` when there is none.
   */
  reserve(objectBytes: number): Reservation {
    if (!this.hasRoomFor(objectBytes)) throw noSpace(quotaBytesOf(objectBytes), this.freeBytes);
    const diskBytes = objectBytes + trailerBytesOf(objectBytes);
    let writtenBytes = 0;
    let isReleased = false;
    this.#reservedBytes += quotaBytesOf(objectBytes);
    this.#unwrittenBytes += diskBytes;
    return {
      noteWritten: (totalBytes) => {
        this.#unwrittenBytes -= totalBytes - writtenBytes;
        this.#diskFreeBytes -= totalBytes - writtenBytes;
        writtenBytes = totalBytes;
      },
      release: () => {
        if (isReleased) return;
        isReleased = true;
        this.#reservedBytes -= quotaBytesOf(objectBytes);
        this.#unwrittenBytes -= diskBytes - writtenBytes;
      },
    };
  }

  /** Asks the disk for its free bytes. */
  async refresh(): Promise<void> {
    try {
      const { bavail, bsize } = await this.#fs.statfs(this.#directory);
      this.#diskFreeBytes = bavail * bsize;
    } catch (error) {
      this.noteTrouble(error);
    }
  }

  /** Notes `error` when it says that the disk is full or failing. */
  noteTrouble(error: unknown): void {
    if (!isDiskTrouble(error)) return;
    if (!this.#full) this.#log?.error('the disk is full or failing', { directory: this.#directory });
    this.#full = true;
  }

  /** Notes that the disk took a write. */
  noteSuccess(): void {
    if (this.#full) this.#log?.info('the disk takes writes again', { directory: this.#directory });
    this.#full = false;
  }
}
