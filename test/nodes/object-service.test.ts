import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { micros } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { ObjectService, STORE_STALL_MICROS } from '../../src/nodes/object-service.ts';
import type { Connection, IncomingQuery, ObjectStore, ObjectWriter } from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { encodeMessage, QueryKind, ResultCode, readQuery, storeQuery } from '../../src/wire/index.ts';
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
  const ask = (kind: number, body: Uint8Array): void =>
    service.handle(
      { rights: ALL_RIGHTS } as Connection,
      {
        kind,
        body,
        reply: (code) => replies.push(code),
        send: () => {
          throw new Error('nothing to send');
        },
        receive: () => {
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
  return { clock, service, replies, stops, corrupt, log, ask };
}

describe('a node', () => {
  it('ends a store that brings no bytes, and frees its space', async () => {
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
