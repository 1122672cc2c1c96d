/**
 * Writes pieces to a file, one disk write at a time: what comes while one is under way goes with the
 * next. Nothing is copied, so a piece is the writer's until its promise resolves.
 */

import type { FileHandle } from 'node:fs/promises';
import { assert } from '../base/assert.ts';
import { MIB } from '../base/units.ts';

/** Pieces and bytes of one disk write: `IOV_MAX` has 1,024, and a write should end soon. */
const PIECES_MAX = 512;
const WRITE_BYTES_MAX = 2 * MIB;

interface Batch {
  readonly pieces: Uint8Array[];
  bytes: number;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GatheringWriter {
  readonly #handle: FileHandle;
  /** Waiting, the oldest first. As many as the callers have pieces outstanding. */
  readonly #batches: Batch[] = [];
  #running = false;
  #position = 0;
  #failure: unknown;
  #last: Promise<void> = Promise.resolve();
  readonly #places: 'from 0' | 'as they come';

  /** Pieces go to the file from its byte 0 on, or, into what has no positions, as they come. */
  constructor(handle: FileHandle, places: 'from 0' | 'as they come' = 'from 0') {
    this.#handle = handle;
    this.#places = places;
  }

  /** Bytes that were handed to the disk. */
  get handedBytes(): number {
    return this.#position;
  }

  /** Appends `piece`; resolves when it is in the file. After a failure every call rejects with it. */
  append(piece: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    let batch = this.#batches.at(-1);
    const isFull =
      batch !== undefined &&
      (batch.pieces.length >= PIECES_MAX || batch.bytes + piece.length > WRITE_BYTES_MAX);
    if (batch === undefined || isFull) {
      batch = makeBatch();
      this.#batches.push(batch);
      this.#last = batch.done;
    }
    batch.pieces.push(piece);
    batch.bytes += piece.length;
    if (!this.#running) void this.#run();
    return batch.done;
  }

  /** Resolves when all that was appended is in the file. */
  drained(): Promise<void> {
    return this.#failure === undefined ? this.#last : Promise.reject(this.#failure);
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) {
      try {
        if (this.#failure !== undefined) throw this.#failure;
        const position = this.#position;
        this.#position += batch.bytes;
        const at = this.#places === 'from 0' ? position : null;
        await writeAll(this.#handle, batch.pieces, batch.bytes, at);
        batch.resolve();
      } catch (error) {
        this.#failure = error;
        batch.reject(error);
      }
    }
    this.#running = false;
  }
}

function makeBatch(): Batch {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const done = new Promise<void>((onDone, onFailed) => {
    resolve = onDone;
    reject = onFailed;
  });
  // Whoever appended sees the failure; a batch that nobody waits for must not end the process.
  done.catch(() => undefined);
  return { pieces: [], bytes: 0, done, resolve, reject };
}

async function writeAll(
  handle: FileHandle,
  pieces: readonly Uint8Array[],
  bytes: number,
  position: number | null,
): Promise<void> {
  const { bytesWritten } =
    pieces.length === 1
      ? await handle.write(pieces[0]!, 0, bytes, position)
      : await handle.writev([...pieces], position ?? undefined);
  if (bytesWritten === bytes) return;
  const left = Buffer.concat(pieces).subarray(bytesWritten);
  for (let at = 0; at < left.length; ) {
    const from = position === null ? null : position + bytesWritten + at;
    const part = await handle.write(left, at, left.length - at, from);
    assert(part.bytesWritten > 0, 'a write to a file took no bytes');
    at += part.bytesWritten;
  }
}
