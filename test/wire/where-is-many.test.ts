/** The hot codec of WHERE_IS_MANY against the plain one: same bytes out, same answers in, same refusals. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BODY_BYTES_MAX,
  decodeMessage,
  encodeMessage,
  isFailure,
  type Location,
  ResultCode,
  type WhereIsManyReply,
  WhereIsManyView,
  WhereIsManyWriter,
  Writer,
  whereIsManyCount,
  whereIsManyQuery,
  whereIsManyReply,
} from '../../src/wire/index.ts';
import { anyBytes, damage, damaged, messages } from './arbitraries.ts';

const replies = messages.whereIsManyReply as fc.Arbitrary<WhereIsManyReply>;

function encodedLocation({ nodeId, address }: Location): Uint8Array {
  const writer = new Writer(new Uint8Array(200));
  writer.bytes(nodeId);
  writer.text8(address);
  return writer.buffer.slice(0, writer.at);
}

/** What a view says, as the message of the plain codec. */
function messageOf(view: WhereIsManyView): WhereIsManyReply {
  const up = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
  return {
    revision: view.revision,
    stale: view.stale,
    locations: up(view.locations).map((index) => ({
      nodeId: view.nodeId(index).slice(),
      address: view.address(index),
    })),
    answers: up(view.count).map((index) => {
      const code = view.code(index);
      if (code === ResultCode.OK) {
        const replicas = up(view.replicas(index)).map((rank) => view.replica(index, rank));
        return { code, bytes: view.bytes(index), replicas };
      }
      if (code === ResultCode.BUSY) return { code, retryMillis: view.retryMillis(index) };
      return { code: code as typeof ResultCode.CORRUPT };
    }),
  };
}

function expectSameReading(bytes: Uint8Array): void {
  const view = new WhereIsManyView(bytes);
  const plain = decodeMessage(whereIsManyReply, bytes);
  expect(view.failure !== undefined).toBe(isFailure(plain));
  if (!isFailure(plain)) expect(messageOf(view)).toStrictEqual(plain);
}

describe('the hot codec of WHERE_IS_MANY', () => {
  const writer = new WhereIsManyWriter();

  it('writes the bytes of the plain codec', () => {
    fc.assert(
      fc.property(replies, (reply) => {
        writer.begin();
        for (const location of reply.locations) writer.location(encodedLocation(location));
        for (const found of reply.answers) {
          if (found.code !== ResultCode.OK) {
            const retryMillis = found.code === ResultCode.BUSY ? found.retryMillis : 0;
            expect(writer.failed(found.code, retryMillis)).toBe(true);
            continue;
          }
          expect(writer.fits(0, 0, found.replicas.length)).toBe(true);
          writer.found(found.bytes, found.replicas.length);
          for (const replica of found.replicas) writer.replica(replica);
        }
        expect(writer.finish(reply.revision, reply.stale)).toEqual(encodeMessage(whereIsManyReply, reply));
      }),
      { numRuns: 300 },
    );
  });

  it('reads what the plain codec wrote, and refuses what that refuses', () => {
    fc.assert(
      fc.property(replies, damage, (reply, changes) => {
        const bytes = encodeMessage(whereIsManyReply, reply);
        expectSameReading(bytes);
        expectSameReading(damaged(bytes, changes));
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(anyBytes, expectSameReading), { numRuns: 500 });
  });

  it('refuses a reply that is cut off anywhere', () => {
    fc.assert(
      fc.property(replies, (reply) => {
        const bytes = encodeMessage(whereIsManyReply, reply);
        for (let length = 0; length < bytes.length; length++) {
          expect(new WhereIsManyView(bytes.subarray(0, length)).failure).toBeDefined();
        }
      }),
      { numRuns: 20 },
    );
  });

  it('counts the hashes of a query as the plain codec does', () => {
    const queries = fc.oneof(
      anyBytes,
      fc
        .tuple(messages.whereIsManyQuery, damage)
        .map(([query, changes]) => damaged(encodeMessage(whereIsManyQuery, query as never), changes)),
      messages.whereIsManyQuery.map((query) => encodeMessage(whereIsManyQuery, query as never)),
    );
    fc.assert(
      fc.property(queries, (bytes) => {
        const plain = decodeMessage(whereIsManyQuery, bytes);
        expect(whereIsManyCount(bytes)).toBe(isFailure(plain) ? undefined : plain.hashes.length);
      }),
      { numRuns: 500 },
    );
  });

  it('takes answers until the body is full, and one more leaves no trace', () => {
    const location = encodedLocation({ nodeId: new Uint8Array(16).fill(1), address: 'a'.repeat(80) });
    writer.begin();
    let taken = 0;
    while (writer.fits(location.length, 1, 8)) {
      writer.location(location);
      writer.found(taken, 8);
      for (let rank = 0; rank < 8; rank++) writer.replica(taken);
      taken += 1;
    }
    const body = writer.finish(1, false);
    expect(body.length).toBeLessThanOrEqual(BODY_BYTES_MAX);
    expect(body.length + location.length + 16).toBeGreaterThan(BODY_BYTES_MAX);
    expect(new WhereIsManyView(body)).toMatchObject({ failure: undefined, count: taken, locations: taken });
    while (writer.failed(ResultCode.BUSY, 500)) taken += 1;
    const full = writer.finish(1, true);
    expect(full.length).toBeLessThanOrEqual(BODY_BYTES_MAX);
    expect(full.length + 5).toBeGreaterThan(BODY_BYTES_MAX);
    expect(new WhereIsManyView(full)).toMatchObject({ failure: undefined, stale: true, count: taken });
  });
});
