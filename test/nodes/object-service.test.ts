import { describe, expect, it } from 'vitest';
import { MemoryObjectStore } from '../../sim/memory-object-store.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { micros } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { ObjectService, STORE_STALL_MICROS } from '../../src/nodes/object-service.ts';
import type {
  Connection,
  FlowRecord,
  IncomingQuery,
  ObjectStore,
  ObjectWriter,
} from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import {
  encodeMessage,
  QueryKind,
  RecordEncoding,
  ResultCode,
  readQuery,
  storeQuery,
} from '../../src/wire/index.ts';
import { ALL_RIGHTS } from '../support/transport.ts';

const HASH = new Uint8Array(32).fill(1);

function stage(store: Partial<ObjectStore>) {
  const clock = new VirtualClock();
  const log: string[] = [];
  const corrupt: Uint8Array[] = [];
  const note = (text: string): number => log.push(text);
  const service = new ObjectService({
    clock,
    store: { nodeId: new Uint8Array(16), freeBytes: 0, ...store } as ObjectStore,
    compression: { compress: () => undefined, decompress: () => undefined },
    receipts: new Receipts(nodeSuite, new Uint8Array(32)),
    log: { info: note, warn: note, error: note },
    onChanged: () => undefined,
    onCorrupt: (hash) => corrupt.push(hash),
    isReported: () => true,
  });
  const replies: number[] = [];
  const stops: number[] = [];
  const granted: string[] = [];
  const sent: (number | string)[][] = [];
  const ask = (kind: number, body: Uint8Array, records?: readonly FlowRecord[]): void =>
    service.handle(
      { rights: ALL_RIGHTS } as Connection,
      {
        kind,
        body,
        reply: (code) => replies.push(code),
        send: () => {
          const write = async ({ payload, dataLeft }: FlowRecord): Promise<void> => {
            sent.push([...payload, `left ${dataLeft}`]);
          };
          return {
            recordBytes: 65_536,
            write,
            delivered: async () => undefined,
            reset: (code: number) => note(`reset ${code}`),
          };
        },
        receive: () => {
          granted.push('credit');
          if (records !== undefined) {
            const left = [...records];
            return { next: async () => left.shift(), stop: (code: number) => stops.push(code) };
          }
          let wake = (): void => undefined;
          const next = () => new Promise<undefined>((resolve) => (wake = () => resolve(undefined)));
          const stop = (code: number): void => {
            stops.push(code);
            wake();
          };
          return { next, stop };
        },
      } as IncomingQuery,
    );
  return { clock, service, replies, stops, corrupt, log, granted, sent, ask };
}

describe('a node', () => {
  it('ends a store that brings no bytes, and frees its space [DEFS-26]', async () => {
    let aborted = 0;
    const abort = async (): Promise<void> => {
      aborted += 1;
    };
    const writer = { abort } as unknown as ObjectWriter;
    const { clock, ask, replies, stops } = stage({ create: async () => writer });
    ask(QueryKind.STORE, encodeMessage(storeQuery, { token: new Uint8Array(8), bytes: 1_000 }));
    await clock.run({ untilMicros: micros(STORE_STALL_MICROS - 1), stepsMax: 1_000 });
    expect([aborted, replies]).toEqual([0, []]);
    await clock.run({ untilMicros: micros(STORE_STALL_MICROS + 1), stepsMax: 1_000 });
    expect([aborted, replies, stops[0]]).toEqual([1, [ResultCode.ABORTED], ResultCode.ABORTED]);
  });

  describe('that stores', () => {
    const query = (bytes: number): Uint8Array =>
      encodeMessage(storeQuery, { token: new Uint8Array(8), bytes });
    const record = (bytes: number, dataLeft: number): FlowRecord => {
      const payload = new Uint8Array(bytes);
      return { offset: 0, encoding: RecordEncoding.STORED, plainBytes: bytes, dataLeft, payload };
    };
    const memory = (): MemoryObjectStore =>
      new MemoryObjectStore({
        nodeId: new Uint8Array(16),
        quotaBytes: 100_000,
        wallMillis: () => 0,
      } as never);

    it('grants nothing before it has set the space aside [DEFS-20]', async () => {
      let place = (_writer: ObjectWriter): void => undefined;
      const { service, ask, granted, replies } = stage({
        create: () => new Promise((resolve) => (place = resolve)),
      });
      ask(QueryKind.STORE, query(5), [record(5, 0)]);
      await new Promise(setImmediate);
      expect(granted).toEqual([]);
      place(await memory().create(new Uint8Array(8), 5));
      await service.idle();
      expect([granted, replies]).toEqual([['credit'], [ResultCode.OK]]);
    });

    it.each([
      ['all of it', [record(4, 3), record(3, 0)], ResultCode.OK],
      ['a byte less', [record(6, 0)], ResultCode.MALFORMED],
      ['a byte more', [record(4, 4), record(4, 0)], ResultCode.MALFORMED],
      ['nothing', [], ResultCode.MALFORMED],
    ])('answers OK only when all bytes came and no more: %s [DEFS-20]', async (_what, records, code) => {
      const store = memory();
      const { service, ask, replies } = stage({ create: (...call) => store.create(...call) });
      ask(QueryKind.STORE, query(7), records);
      await service.idle();
      expect(replies).toEqual([code]);
      expect(store.objects).toBe(code === ResultCode.OK ? 1 : 0);
    });
  });

  it.each([
    ['the whole', 0, 0, 65_536, [[1, 2, 3, 4, 5, 'left 0']]],
    ['a range', 1, 2, 65_536, [[2, 3, 'left 0']]],
    ['a range that is cut at the end', 3, 9, 65_536, [[4, 5, 'left 0']]],
    ['the end: one empty record', 5, 0, 65_536, [['left 0']]],
    ['behind the end', 6, 0, 65_536, undefined],
    ['by records of no bytes', 0, 0, 0, undefined],
  ])('reads %s [DEFS-13]', async (_what, offset, length, recordBytes, expected) => {
    const bytes = Uint8Array.of(1, 2, 3, 4, 5);
    const { service, ask, replies, sent } = stage({
      open: async () => ({
        bytes: bytes.length,
        read: async (at: number, count: number) => bytes.slice(at, at + count),
        close: async () => undefined,
      }),
    });
    const message = { hash: HASH, offset, length, creditBytes: 1_000_000, recordBytes: 1 };
    const body = encodeMessage(readQuery, message);
    new DataView(body.buffer, body.byteOffset).setUint32(body.length - 4, recordBytes);
    ask(QueryKind.READ, body);
    await service.idle();
    expect(replies).toEqual([expected === undefined ? ResultCode.MALFORMED : ResultCode.OK]);
    expect(sent).toEqual(expected ?? []);
  });

  it('answers and reports a damaged object even when its disk does not let it be moved away', async () => {
    const { clock, service, ask, replies, corrupt } = stage({
      open: async () => ({
        bytes: 10,
        read: async () => {
          throw new GramlineError('GRAMLINE_CORRUPT', 'damaged');
        },
        close: async () => undefined,
      }),
      quarantine: async () => {
        throw new GramlineError('GRAMLINE_IO', 'read-only file system');
      },
    });
    const message = { hash: HASH, offset: 0, length: 0, creditBytes: 1_000_000, recordBytes: 65_536 };
    ask(QueryKind.READ, encodeMessage(readQuery, message));
    await clock.run({ untilMicros: micros(1_000), stepsMax: 1_000 });
    await service.idle();
    expect(replies).toEqual([ResultCode.CORRUPT]);
    expect(corrupt).toEqual([HASH]);
  });
});
