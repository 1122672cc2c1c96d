/**
 * The life of one writer of an object store, whatever holds the bytes: counts what comes against
 * what was announced, keeps calls in order, and gives its room back exactly once.
 */

import type { ObjectWriter } from '../nodes/ports.ts';
import { sizeMismatch, writerEnded } from './store-limits.ts';

/** What a writer writes to. All rejections are errors for callers. */
export interface ObjectSink {
  /** Takes bytes, borrowed until the promise resolves. Called in order, perhaps before earlier ones resolved. */
  append(bytes: Uint8Array): Promise<void>;
  /** Makes the object visible, unless its hash is not the `expected` one; returns it. Called when all bytes have been appended. */
  publish(expected?: Uint8Array): Promise<Uint8Array>;
  /** Removes what there is, and gives the room back. Called once, unless `publish` succeeded. */
  discard(): Promise<void>;
}

export class AnnouncedWriter implements ObjectWriter {
  readonly #sink: ObjectSink;
  readonly #announcedBytes: number;
  #receivedBytes = 0;
  /** Resolves when all appends so far are through, however they ended. */
  #appended: Promise<unknown> = Promise.resolve();
  #finishing: Promise<unknown> | undefined;
  #ended: 'no' | 'finished' | 'aborted' = 'no';
  #discarding: Promise<void> | undefined;
  /** Why the writer ended by itself. */
  #failure: unknown;

  constructor(sink: ObjectSink, announcedBytes: number) {
    this.#sink = sink;
    this.#announcedBytes = announcedBytes;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#ended !== 'no' || this.#failure !== undefined || this.#finishing !== undefined) {
      return Promise.reject(this.#failure ?? writerEnded());
    }
    if (bytes.length > this.#announcedBytes - this.#receivedBytes) {
      return this.#fail(
        sizeMismatch(this.#announcedBytes, `${this.#receivedBytes + bytes.length} bytes or more`),
      );
    }
    this.#receivedBytes += bytes.length;
    const appended = this.#sink.append(bytes).catch((error: unknown) => this.#fail(error));
    this.#appended = appended.catch(() => {});
    return appended;
  }

  finish(expected?: Uint8Array): Promise<{ readonly hash: Uint8Array; readonly bytes: number }> {
    const finishing = this.#finish(expected);
    this.#finishing = finishing.catch(() => {});
    return finishing;
  }

  async abort(): Promise<void> {
    await this.#appended;
    await this.#finishing;
    await this.#discard();
  }

  async #finish(
    expected: Uint8Array | undefined,
  ): Promise<{ readonly hash: Uint8Array; readonly bytes: number }> {
    await this.#appended;
    if (this.#ended !== 'no' || this.#failure !== undefined) throw this.#failure ?? writerEnded();
    try {
      if (this.#receivedBytes !== this.#announcedBytes)
        throw sizeMismatch(this.#announcedBytes, `only ${this.#receivedBytes} bytes`);
      const hash = await this.#sink.publish(expected);
      this.#ended = 'finished';
      return { hash, bytes: this.#receivedBytes };
    } catch (error) {
      return this.#fail(error);
    }
  }

  /** A failure ends the writer; the first one is what all later calls tell. */
  async #fail(error: unknown): Promise<never> {
    this.#failure ??= error;
    await this.#discard().catch(() => {});
    throw this.#failure;
  }

  async #discard(): Promise<void> {
    // Whoever began it hears how it failed; all others wait for its end.
    if (this.#discarding !== undefined) return this.#discarding.catch(() => {});
    if (this.#ended !== 'no') return;
    this.#ended = 'aborted';
    this.#discarding = this.#sink.discard();
    await this.#discarding;
  }
}
