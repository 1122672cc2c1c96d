import { describe, expect, it } from 'vitest';
import { giveRecordBuffer, RECORD_BUFFERS_KEPT_MAX, takeRecordBuffer } from '../../src/reliability/index.ts';
import { SEALED_RECORD_BYTES_MAX } from '../../src/wire/index.ts';

describe('a record buffer', () => {
  it('has the length asked for, and comes back for another record', () => {
    const first = takeRecordBuffer(60_000);
    expect(first).toHaveLength(60_000);
    giveRecordBuffer(first);
    const second = takeRecordBuffer(SEALED_RECORD_BYTES_MAX);
    expect(second).toHaveLength(SEALED_RECORD_BYTES_MAX);
    expect(second.buffer).toBe(first.buffer);
  });

  it('is never handed out twice at once', () => {
    const taken = Array.from({ length: 20 }, () => takeRecordBuffer(65_000));
    expect(new Set(taken.map(({ buffer }) => buffer)).size).toBe(20);
    for (const buffer of taken) giveRecordBuffer(buffer);
  });

  it('of a small record is not pooled, nor is a foreign one taken in', () => {
    const small = takeRecordBuffer(1_000);
    giveRecordBuffer(small);
    giveRecordBuffer(new Uint8Array(70_000));
    expect(takeRecordBuffer(65_000).buffer.byteLength).toBe(SEALED_RECORD_BYTES_MAX);
  });

  it('is kept up to the maximum, and left to the collector above', () => {
    const taken = Array.from({ length: RECORD_BUFFERS_KEPT_MAX + 1 }, () => takeRecordBuffer(65_000));
    for (const buffer of taken) giveRecordBuffer(buffer);
    const again = Array.from({ length: RECORD_BUFFERS_KEPT_MAX + 1 }, () => takeRecordBuffer(65_000));
    const known = new Set(taken.map(({ buffer }) => buffer));
    expect(again.filter(({ buffer }) => known.has(buffer))).toHaveLength(RECORD_BUFFERS_KEPT_MAX);
    for (const buffer of again) giveRecordBuffer(buffer);
  });
});
