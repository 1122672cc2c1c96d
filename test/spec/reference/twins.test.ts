/**
 * The reference and our code beside each other on requests that no vector holds, drawn by chance: traces of
 * acknowledgement, recovery, sending, replay and keys, and whole handshakes.
 */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { answer } from '../../../conformance/subject.ts';
import { answer as reference } from '../../../spec/reference/answer.ts';
import { hexOf } from '../../../spec/reference/json.ts';

const TIMEOUT = 120_000;

function expectSame(request: object, outcome: 'ok' | 'any' = 'ok'): void {
  const right = JSON.parse(JSON.stringify(reference({ id: 1, ...request }))) as object;
  if (outcome === 'ok') expect(right).toHaveProperty('ok');
  expect(JSON.parse(JSON.stringify(answer({ id: 1, ...request })))).toStrictEqual(right);
}

const hex = (length: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => hexOf(bytes));

/** Steps of a trace with times that never fall. */
function timed<Step extends object>(step: fc.Arbitrary<Step>, stepsMax: number): fc.Arbitrary<object[]> {
  const pause = fc.oneof(fc.constant(0), fc.nat(300), fc.nat(5_000), fc.nat(3_000_000));
  return fc.array(fc.tuple(pause, step), { maxLength: stepsMax, size: 'max' }).map((steps) => {
    let at = 0;
    return steps.map(([micros, one]) => {
      at += micros;
      return { at, ...one };
    });
  });
}

/** Ranges of an ACK, from the largest down, about the first few hundred numbers. */
const ranges = fc.array(fc.tuple(fc.nat(6), fc.nat(12)), { minLength: 1, maxLength: 8 }).chain((gaps) =>
  fc.nat(250).map((lowest) => {
    let first = lowest;
    return gaps
      .map(([gap, length]) => {
        const range = { first, last: first + length };
        first += length + gap + 2;
        return range;
      })
      .reverse();
  }),
);
const space = fc.constantFrom(0, 1, 1, 1);
const ack = fc.record({
  event: fc.constant('ack'),
  space,
  ranges,
  delay: fc.oneof(fc.constant(0), fc.nat(4_000)),
});

describe('the reference and our code', () => {
  it('recover and control congestion alike', { timeout: TIMEOUT }, () => {
    const sent = fc.record({
      event: fc.constant('sent'),
      space,
      bytes: fc.constantFrom(1_200, 1_472, 8_972, 60),
      packets: fc.integer({ min: 1, max: 30 }),
      probe: fc.constantFrom(false, false, false, true),
    });
    const bare = fc.constantFrom({ event: 'timer' }, { event: 'held' });
    const size = fc.constantFrom(1_200, 1_472, 62_000).map((bytes) => ({ event: 'datagramBytes', bytes }));
    const step = fc.oneof(
      { weight: 5, arbitrary: sent },
      { weight: 5, arbitrary: ack },
      { weight: 4, arbitrary: bare },
      { weight: 1, arbitrary: size },
    );
    fc.assert(
      fc.property(timed(step, 120), fc.constantFrom(2_400, 20_000, 4_194_304), (events, windowBytes) =>
        expectSame({ op: 'recovery.trace', datagramBytes: 1_472, windowBytes, events }),
      ),
      { numRuns: 150 },
    );
  });

  it('send alike', { timeout: TIMEOUT }, () => {
    const offer = fc.record({
      event: fc.constant('offer'),
      space,
      packets: fc.integer({ min: 1, max: 60 }),
      bytes: fc.constantFrom(1_200, 300),
    });
    const step = fc.oneof(offer, ack, ack, fc.constant({ event: 'wait' }));
    fc.assert(
      fc.property(timed(step, 40), (events) =>
        expectSame({ op: 'sender.trace', datagramBytes: 1_200, windowBytes: 400_000, events }),
      ),
      { numRuns: 100 },
    );
  });

  it('acknowledge alike', { timeout: TIMEOUT }, () => {
    const received = fc.record({
      event: fc.constant('received'),
      number: fc.nat(150),
      ackEliciting: fc.boolean(),
    });
    const step = fc.oneof(received, received, received, fc.constant({ event: 'send' }));
    fc.assert(
      fc.property(timed(step, 150), (events) => expectSame({ op: 'ack.trace', events })),
      { numRuns: 150 },
    );
  });

  it('judge packet numbers alike', { timeout: TIMEOUT }, () => {
    const number = fc.oneof(
      fc.nat(20),
      fc.integer({ min: 8_150, max: 8_250 }),
      fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    );
    const event = fc.record({ packetNumber: number, opens: fc.boolean() });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 200, size: 'max' }), (events) =>
        expectSame({ op: 'replay.trace', events }),
      ),
      { numRuns: 200 },
    );
  });

  it('derive the same keys, seal the same bytes, and expand the same blocks', { timeout: TIMEOUT }, () => {
    const bytes = fc.uint8Array({ maxLength: 300 }).map((some) => hexOf(some));
    fc.assert(
      fc.property(hex(32), hex(8), fc.nat(9), fc.nat(2 ** 31), bytes, (secret, tag, epoch, number, some) => {
        expectSame({ op: 'key.cluster', clusterSecret: secret });
        expectSame({ op: 'key.epoch', trafficSecret: secret, epoch });
        const sealed = {
          trafficSecret: secret,
          receiverTag: tag,
          epoch,
          packetNumber: number,
          plaintext: some,
        };
        expectSame({ op: 'sealed.seal', ...sealed });
        expectSame({ op: 'record.expand', payload: some, plainLength: 301 + (number % 65_000) }, 'any');
      }),
      { numRuns: 60 },
    );
  });

  it('shake hands alike', { timeout: TIMEOUT }, () => {
    fc.assert(
      fc.property(
        hex(32),
        hex(8),
        hex(32),
        hex(32),
        hex(16),
        hex(24),
        (secret, tag, own, other, clusterId, cookie) => {
          const known = { clusterSecret: secret, initiatorTag: tag };
          const initiator = {
            ...known,
            ephemeralPrivateKey: own,
            parameters: { role: 2, datagramBytesMax: 1_472, windowBytes: 65_536, idleTimeMs: 5_000 },
          };
          const made = (request: object): string => {
            expectSame(request);
            return (answer({ id: 1, ...request }) as unknown as { ok: { packet: string } }).ok.packet;
          };
          const cookiePacket = made({ op: 'handshake.cookie', ...known, cookie, clusterId });
          const hello = made({ op: 'handshake.prove', ...initiator, cookiePacket });
          const welcome = made({
            op: 'handshake.accept',
            clusterSecret: secret,
            clusterId,
            ephemeralPrivateKey: other,
            parameters: {
              sessionPort: 1,
              responderTag: tag,
              datagramBytesMax: 1_200,
              windowBytes: 2_400,
              idleTimeMs: 1_000,
            },
            packet: hello,
          });
          expectSame({ op: 'handshake.finish', ...initiator, cookiePacket, packet: welcome });
        },
      ),
      { numRuns: 15 },
    );
  });
});
