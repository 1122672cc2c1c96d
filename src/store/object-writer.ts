/**
 * The life of one writer of an object store, whatever holds the bytes: counts what comes against
 * what was announced, keeps calls in order, and gives its room back exactly once.
 */

import type { ObjectWriter } from '../nodes/ports.ts';
import { sizeMismatch, writerEnded } from './store-limits.ts';

/** What a writer writes to. All rejections are errors for callers. */
export interface ObjectSink {
  append(bytes: Uint8Array): Promise<void>;
  /** Makes the object visible; returns its hash. */
  publish(): Promise<Uint8Array>;
  /** Removes what there is, and gives the room back. Called once, unless `publish` succeeded. */
  discard(): Promise<void>;
}

export class AnnouncedWriter implements ObjectWriter {
  readonly #sink: ObjectSink;
  readonly #announcedBytes: number;
  #receivedBytes = 0;
  #tail: Promise<unknown> = Promise.resolve();
  #ended: 'no' | 'finished' | 'aborted' = 'no';
  /** Why the writer ended by itself. */
  #failure: unknown;

  constructor(sink: ObjectSink, announcedBytes: number) {
    this.#sink = sink;
    this.#announcedBytes = announcedBytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#inOrder(async () => {
      if (bytes.length > this.#announcedBytes - this.#receivedBytes)
        throw sizeMismatch(this.#announcedBytes, `${this.#receivedBytes + bytes.length} bytes or more`);
      this.#receivedBytes += bytes.length;
      await this.#sink.append(bytes);
    });
  }

  finish(): Promise<{ readonly hash: Uint8Array; readonly bytes: number }> {
    return this.#inOrder(async () => {
      if (this.#receivedBytes !== this.#announcedBytes)
        throw sizeMismatch(this.#announcedBytes, `only ${this.#receivedBytes} bytes`);
      const hash = await this.#sink.publish();
      this.#ended = 'finished';
      return { hash, bytes: this.#receivedBytes };
    });
  }

  abort(): Promise<void> {
    const aborted = this.#tail.then(() => this.#discard());
    this.#tail = aborted.catch(() => {});
    return aborted;
  }

  /** Runs `task` behind all earlier calls; its failure ends the writer. */
  #inOrder<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(async () => {
      if (this.#ended !== 'no') throw this.#failure ?? writerEnded();
      try {
        return await task();
      } catch (error) {
        this.#failure = error;
        await this.#discard().catch(() => {});
        throw error;
      }
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  async #discard(): Promise<void> {
    if (this.#ended !== 'no') return;
    this.#ended = 'aborted';
    await this.#sink.discard();
  }
}
