/** The life of a writer over a sink that the test has in its hands. */

import { describe, expect, it } from 'vitest';
import { AnnouncedWriter, type ObjectSink } from '../../src/store/object-writer.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function open(announcedBytes: number) {
  const appends: { resolve(): void; reject(error: unknown): void }[] = [];
  const discards: (() => void)[] = [];
  const sink: ObjectSink = {
    append: () => new Promise((resolve, reject) => appends.push({ resolve, reject })),
    publish: async () => new Uint8Array(32),
    discard: () => new Promise((resolve) => discards.push(resolve)),
  };
  return { writer: new AnnouncedWriter(sink, announcedBytes), appends, discards };
}

describe('a writer that failed with several writes under way', () => {
  it.each([
    ['at a write', 4],
    ['at one byte too many', 3],
  ])('%s is aborted when what it wrote is gone, once', async (where, announcedBytes) => {
    const { writer, appends, discards } = open(announcedBytes);
    const writes = [1, 2].map(() => writer.write(new Uint8Array(announcedBytes === 4 ? 2 : 1)));
    if (announcedBytes === 3) writes.push(writer.write(new Uint8Array(2)));
    const outcomes = Promise.allSettled(writes);
    if (where === 'at a write') for (const { reject } of appends) reject(new Error('disk'));
    else for (const { resolve } of appends) resolve();
    await turn();
    let isAborted = false;
    const aborted = writer.abort().then(() => {
      isAborted = true;
    });
    await turn();
    expect([isAborted, discards.length]).toEqual([false, 1]);
    discards[0]!();
    await aborted;
    expect((await outcomes).at(-1)!.status).toBe('rejected');
    expect(discards.length).toBe(1);
    await expect(writer.finish()).rejects.toThrow();
  });
});
