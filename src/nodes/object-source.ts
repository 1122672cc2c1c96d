/** The source of a put: opened, given its size, cut into pieces for records, and left when the put ends. */

import { GramlineError } from '../base/errors.ts';
import { RECORD_BYTES_MAX } from '../wire/index.ts';
import type { ObjectSource } from './client.ts';

/** Streams of unknown size are held in memory up to this many bytes. */
const UNSIZED_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Pieces for records; one empty piece for an empty object. Large chunks are cut into equal pieces of at
 * most `pieceBytes()`, and borrowed from; small ones are gathered in one buffer that serves again. A
 * piece is good until the next is asked for.
 */
export async function* cut(
  source: AsyncIterable<Uint8Array>,
  bytes: number,
  pieceBytes: () => number,
): AsyncIterable<Uint8Array> {
  const gathered = new Uint8Array(Math.min(RECORD_BYTES_MAX, bytes));
  let filled = 0;
  let total = 0;
  const wrongSize = (): GramlineError =>
    new GramlineError(
      'GRAMLINE_INVALID',
      `the source has not the ${bytes} bytes that were announced: it changed meanwhile`,
    );
  for await (const chunk of source) {
    total += chunk.length;
    if (total > bytes) throw wrongSize();
    for (let at = 0; at < chunk.length; ) {
      const most = pieceBytes();
      const left = chunk.length - at;
      if (filled === 0 && left >= most) {
        const count = Math.ceil(left / Math.ceil(left / most));
        yield chunk.subarray(at, at + count);
        at += count;
        continue;
      }
      const count = Math.min(Math.max(0, most - filled), left);
      gathered.set(chunk.subarray(at, at + count), filled);
      filled += count;
      at += count;
      if (filled < most) continue;
      yield gathered.subarray(0, filled);
      filled = 0;
    }
  }
  if (total !== bytes) throw wrongSize();
  if (filled > 0 || bytes === 0) yield gathered.subarray(0, filled);
}

export function open(source: ObjectSource): AsyncIterable<Uint8Array> {
  if (typeof source === 'function') return source();
  return source instanceof Uint8Array ? once(source) : source;
}

/** `source`, left as soon as `signal` aborts, even while it waits for bytes that never come. */
export async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncIterable<Uint8Array> {
  if (signal === undefined) return yield* source;
  const iterator = source[Symbol.asyncIterator]();
  // One promise a piece: a race with one that lives as long as the put would hold every piece until its end.
  let giveUp: (reason: unknown) => void = () => undefined;
  const onAbort = (): void => giveUp(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await new Promise<IteratorResult<Uint8Array, unknown>>((resolve, reject) => {
        giveUp = reject;
        iterator.next().then(resolve, reject);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not awaited: a source that is stuck in `next` would never return.
    iterator.return?.().catch(() => undefined);
  }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** The source with its size: given, known, or found by holding a small stream in memory. */
export async function sized(
  source: ObjectSource,
  bytes: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ readonly source: ObjectSource; readonly bytes: number }> {
  if (source instanceof Uint8Array) return { source, bytes: source.length };
  if (bytes !== undefined) return { source, bytes };
  const parts: Uint8Array[] = [];
  let total = 0;
  for await (const part of abortable(open(source), signal)) {
    parts.push(part.slice());
    total += part.length;
    if (total > UNSIZED_BYTES_MAX) {
      throw new GramlineError(
        'GRAMLINE_INVALID',
        'a stream above 64 MiB needs its size: pass the option bytes',
      );
    }
  }
  const joined = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return { source: joined, bytes: total };
}
