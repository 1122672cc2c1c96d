import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seconds } from '../../src/base/units.ts';
import { FLOW_WINDOW_BYTES } from '../../src/session/index.ts';
import { type End, FlowReader, FlowWriter, pattern, SessionPair, same } from '../support/session-pair.ts';

/** Seeds a run; more for a long search. */
const RUNS = Number(process.env.GRAMLINE_RUNS ?? 300);

interface Load {
  readonly seed: number;
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly queries: number;
  readonly uploads: readonly number[];
  readonly downloads: readonly number[];
  readonly recordBytes: number;
  readonly knowsEnd: boolean;
  readonly datagramBytesMax: number;
}

const load: fc.Arbitrary<Load> = fc.record({
  seed: fc.nat(2 ** 31),
  loss: fc.constantFrom(0, 0.02, 0.1, 0.3),
  duplicate: fc.constantFrom(0, 0.1, 0.3),
  reorder: fc.constantFrom(0, 0.1, 0.5),
  queries: fc.integer({ min: 1, max: 30 }),
  uploads: fc.array(fc.constantFrom(0, 1, 900, 1_300, 70_000), { maxLength: 3 }),
  downloads: fc.array(fc.constantFrom(0, 1, 900, 1_300, 70_000), { maxLength: 3 }),
  recordBytes: fc.constantFrom(500, 1_100, 5_000, 65_536),
  knowsEnd: fc.boolean(),
  datagramBytesMax: fc.constantFrom(1_200, 1_472, 62_000),
});

/** Plays a load and returns the pair; throws when it does not end, or ends wrong. */
function play(given: Load): SessionPair {
  const parameters = {
    datagramBytesMax: given.datagramBytesMax,
    windowBytes: 200_000,
    idleMicros: seconds(60),
  };
  const sides = { local: parameters, peer: parameters };
  const pair = new SessionPair({
    seed: given.seed,
    faults: {
      loss: given.loss,
      duplicate: given.duplicate,
      reorder: given.reorder,
      reorderMicros: 1_000,
    },
    initiator: sides,
    responder: sides,
  });
  const { left, right } = pair;
  const executed = new Map<number, number>();
  const writers = new Map<string, FlowWriter>();
  const readers = new Map<string, FlowReader>();
  const key = (end: End, id: number): string => `${end.side}:${id}`;
  const replies = new Map<number, number>();
  const delivered = new Set<string>();
  const wrong: string[] = [];
  const write = (end: End, id: number, bytes: number): void => {
    const writer = new FlowWriter(end, id, pattern(bytes, id), given.recordBytes, given.knowsEnd);
    writers.set(key(end, id), writer);
    writer.pump();
  };
  for (const end of pair.ends) {
    end.onEvent = (event) => {
      switch (event.kind) {
        case 'query': {
          executed.set(event.id, (executed.get(event.id) ?? 0) + 1);
          if (event.query === 2) {
            end.session.openReceive(event.id, false);
            readers.set(key(end, event.id), new FlowReader(end, event.id));
          } else if (event.query === 3) {
            end.session.openSend(event.id, FLOW_WINDOW_BYTES);
            write(end, event.id, new DataView(event.body.buffer).getUint32(0));
          }
          end.session.reply(event.id, 0, event.body);
          break;
        }
        case 'reply':
          replies.set(event.id, (replies.get(event.id) ?? 0) + 1);
          break;
        case 'readable':
          readers.get(key(end, event.flowId))?.pump();
          break;
        case 'writable':
          writers.get(key(end, event.flowId))?.pump();
          break;
        case 'delivered':
          delivered.add(key(end, event.flowId));
          break;
        case 'closed':
        case 'flow-ended':
          wrong.push(JSON.stringify(event));
          break;
        default:
          break;
      }
    };
  }
  const size = (bytes: number): Uint8Array => {
    const body = new Uint8Array(4);
    new DataView(body.buffer).setUint32(0, bytes);
    return body;
  };
  const asked: number[] = [];
  for (let count = 0; count < given.queries; count++) asked.push(left.session.query(1, pattern(count))!);
  const uploads = given.uploads.map((bytes) => {
    const id = left.session.query(2, size(bytes))!;
    left.session.openSend(id, 0);
    write(left, id, bytes);
    return { id, bytes };
  });
  const downloads = given.downloads.map((bytes) => {
    const id = left.session.query(3, size(bytes))!;
    left.session.openReceive(id, true);
    readers.set(key(left, id), new FlowReader(left, id));
    return { id, bytes };
  });
  asked.push(...uploads.map(({ id }) => id), ...downloads.map(({ id }) => id));
  const done = (): boolean =>
    replies.size === asked.length &&
    uploads.every(({ id }) => readers.get(key(right, id))?.done && delivered.has(key(left, id))) &&
    downloads.every(({ id }) => readers.get(key(left, id))?.done && delivered.has(key(right, id)));
  pair.runUntil(done, seconds(300), 100_000);
  const right0 = uploads.map(({ id, bytes }) => same(readers.get(key(right, id))!.bytes, pattern(bytes, id)));
  const left0 = downloads.map(({ id, bytes }) => same(readers.get(key(left, id))!.bytes, pattern(bytes, id)));
  expect([...right0, ...left0], 'content and order').toEqual(asked.slice(given.queries).map(() => true));
  expect(wrong).toEqual([]);
  expect([...executed.values()], 'no query is carried out twice').toEqual(asked.map(() => 1));
  expect([...replies.values()], 'no reply is handed up twice').toEqual(asked.map(() => 1));
  return pair;
}

describe('two sessions over a bad link', () => {
  it('carry out every query once and deliver every flow exactly, whatever is lost, repeated or reordered', () => {
    fc.assert(
      fc.property(load, (given) => {
        play(given);
      }),
      { numRuns: RUNS },
    );
  });

  it('come to rest: after the work both ends only keep one another alive', () => {
    fc.assert(
      fc.property(load, (given) => {
        const pair = play(given);
        // What was lost last is still to be settled.
        pair.faults = { ...pair.faults, loss: 0, duplicate: 0, reorder: 0 };
        for (const end of pair.ends) end.onEvent = undefined;
        pair.run(seconds(12));
        for (const { session } of pair.ends) {
          expect(session.memory).toMatchObject({ heldBytes: 0, keptBytes: 0, framesQueued: 0 });
        }
        const before = pair.steps;
        pair.run(seconds(150));
        // A keepalive every quarter of the idle time of 60 s, and its acknowledgement.
        expect(pair.steps - before).toBeLessThan(600);
        expect(pair.left.session.isOpen && pair.right.session.isOpen).toBe(true);
      }),
      { numRuns: RUNS / 5 },
    );
  });
});
