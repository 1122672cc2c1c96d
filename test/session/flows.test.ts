import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { recordingSuite } from '../../sim/recording-suite.ts';
import { millis, type PacketNumber, seconds } from '../../src/base/units.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import {
  ASSEMBLY_SLACK_BYTES,
  EARLY_ENDS_MAX,
  FLOW_WINDOW_BYTES,
  FLOW_WINDOW_BYTES_MIN,
  FLOWS_MAX,
  RECORDS_HELD_MAX,
  SEND_FLOW_BYTES_MAX,
} from '../../src/session/index.ts';
import { type Frame, FrameType, ResultCode, type SegmentPacket, Space } from '../../src/wire/index.ts';
import { marksOf } from '../support/marks.ts';
import { FlowReader, FlowWriter, Puppet, pattern, SessionPair, same } from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);
const RECORD_OVERHEAD_BYTES = 35;

function credit(flowId: number, limitBytes: number, openedBytes = 0, complete = false): Frame {
  return { type: FrameType.CREDIT, flowId, limitBytes, openedBytes, complete };
}

/** Acknowledges all segments that were sent so far. */
function ackSegments(puppet: Puppet, last: number): void {
  const ranges = [{ first: 0 as PacketNumber, last: last as PacketNumber }];
  puppet.send({ type: FrameType.ACK, space: Space.SEGMENT, delayUnits: 0, ranges });
}

function record(bytes: number, dataLeft: number) {
  return { encoding: 0 as const, plainBytes: bytes, dataLeft, payload: pattern(bytes) };
}

/** A pair with one flow from left to right, read and written by hand. */
function transfer(pair: SessionPair, bytes: Uint8Array, recordBytes: number, knowsEnd = true) {
  const id = pair.left.session.query(1, NOTHING)!;
  pair.left.session.openSend(id, 0);
  const windowBytes = pair.right.session.openReceive(id, false);
  const writer = new FlowWriter(pair.left, id, bytes, recordBytes, knowsEnd);
  const reader = new FlowReader(pair.right, id);
  const state = { delivered: false };
  pair.left.onEvent = (event) => {
    if (event.kind === 'writable') writer.pump();
    if (event.kind === 'delivered') state.delivered = true;
  };
  writer.pump();
  return { id, windowBytes, writer, reader, state };
}

describe('a flow', () => {
  it.each([
    ['whose end is known', true],
    ['whose end is not known before it comes: dataLeft -1, then an empty last record', false],
  ])('%s arrives exactly', (_what, knowsEnd) => {
    const pair = SessionPair.live();
    const bytes = pattern(3_000_000);
    const { reader, state } = transfer(pair, bytes, 65_536, knowsEnd);
    pair.right.onEvent = () => reader.pump();
    pair.runUntil(() => state.delivered, seconds(10));
    expect(same(reader.bytes, bytes)).toBe(true);
    expect(reader.done).toBe(true);
    const left = reader.records.map(({ dataLeft }) => dataLeft);
    expect(left.at(-1)).toBe(0);
    expect(left[0]).toBe(knowsEnd ? 3_000_000 - 65_536 : -1);
  });

  it('may be empty: one record of no bytes [REC-19]', () => {
    const pair = SessionPair.live();
    const { reader, state } = transfer(pair, NOTHING, 1_000);
    pair.right.onEvent = () => reader.pump();
    pair.runUntil(() => state.delivered, seconds(1));
    expect(reader.records).toMatchObject([{ plainBytes: 0, dataLeft: 0 }]);
    expect(reader.done).toBe(true);
  });

  it('is delivered when all of it was opened, though its reader has taken nothing [FLOW-14] [FLOW-15]', () => {
    const pair = SessionPair.live();
    const { reader, state } = transfer(pair, pattern(10_000), 10_000);
    pair.runUntil(() => state.delivered, seconds(1));
    expect(reader.done).toBe(false);
    expect(reader.pump()).toBe(1);
    expect(reader.done).toBe(true);
  });

  it('tells its reader once, and again only after the reader has come to the end', () => {
    const puppet = new Puppet('initiator');
    puppet.session.openReceive(0, true);
    puppet.record(0, 0, 0, -1, pattern(100));
    puppet.record(0, 1, 100, -1, pattern(100));
    expect(puppet.events()).toEqual([{ kind: 'readable', flowId: 0 }]);
    puppet.session.readRecord(0);
    puppet.session.readRecord(0);
    puppet.record(0, 3, 300, 0, pattern(100));
    expect(puppet.events()).toEqual([]);
    puppet.record(0, 2, 200, 100, pattern(100));
    expect(puppet.events()).toEqual([{ kind: 'readable', flowId: 0 }]);
  });

  it('that is not open, or has ended, takes no record', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(1, NOTHING)!;
    expect(puppet.session.writeRecord(id, record(100, -1))).toBe(false);
    puppet.session.openSend(id, 10_000);
    expect(puppet.session.writeRecord(id, record(100, -1))).toBe(true);
    puppet.session.reset(id, ResultCode.IO);
    expect(puppet.session.writeRecord(id, record(100, 0))).toBe(false);
  });
});

describe('what a session says of its flows', () => {
  it('is what waits to be sent: sealed, within the credit, and not sent once', () => {
    const puppet = new Puppet('initiator');
    const ids = [0, 1].map(() => puppet.session.query(1, NOTHING)!);
    expect(puppet.session.unsentBytes).toBe(0);
    for (const id of ids) {
      puppet.session.openSend(id, 10_000);
      puppet.session.writeRecord(id, record(500, 700));
      puppet.session.writeRecord(id, record(700, 0));
    }
    expect(puppet.session.unsentBytes).toBe(2 * (1_200 + 2 * RECORD_OVERHEAD_BYTES));
    expect(puppet.said().segments).toHaveLength(4);
    expect(puppet.session.unsentBytes).toBe(0);
  });

  it('is what it holds: records that came early, and those that nobody has read', () => {
    const puppet = new Puppet('initiator');
    puppet.session.openReceive(0, true);
    puppet.record(0, 1, 100, -1, pattern(40));
    puppet.record(0, 2, 140, -1, pattern(60));
    expect(puppet.session.memory.heldBytes).toBe(100);
    puppet.record(0, 0, 0, -1, pattern(100));
    expect(puppet.session.memory.heldBytes).toBe(200);
    puppet.session.readRecord(0);
    expect(puppet.session.memory.heldBytes).toBe(100);
  });
});

describe('credit', () => {
  it('is never passed by the sender, however it is granted [FLOW-2] [FLOW-3] [FLOW-13]', () => {
    const grants = fc.array(fc.record({ more: fc.nat(200_000), wait: fc.nat(5) }), { maxLength: 20 });
    fc.assert(
      fc.property(grants, fc.constantFrom(300, 1_000, 40_000, 65_536), (steps, recordBytes) => {
        const puppet = new Puppet('initiator');
        const id = puppet.session.query(1, NOTHING)!;
        puppet.session.openSend(id, 0);
        const end = { side: 'initiator', session: puppet.session } as never;
        const writer = new FlowWriter(end, id, pattern(2_000_000), recordBytes);
        let limit = 0;
        let opened = 0;
        /** Records that were seen, and their bytes. */
        const seen = new Set<number>();
        let sent = 0;
        const take = (segments: readonly SegmentPacket[]): void => {
          for (const { record, sealedBytes } of segments) {
            if (!seen.has(record)) sent += sealedBytes - RECORD_OVERHEAD_BYTES;
            seen.add(record);
          }
          expect(sent).toBeLessThanOrEqual(limit);
          expect(puppet.session.memory.keptBytes).toBeLessThan(SEND_FLOW_BYTES_MAX * 1.2);
        };
        writer.pump();
        take(puppet.wait(0).segments);
        let sentSegments = 0;
        for (const { more, wait } of steps) {
          limit += more;
          puppet.send(credit(id, limit, opened));
          for (let round = 0; round <= wait; round++) {
            const { segments } = puppet.wait(millis(5));
            take(segments);
            sentSegments = puppet.session.counts.segmentsSent;
            if (sentSegments > 0) ackSegments(puppet, sentSegments - 1);
          }
          if (puppet.events().some(({ kind }) => kind === 'writable')) writer.pump();
          expect(puppet.session.isOpen).toBe(true);
          opened = Math.min(opened, limit);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('beyond what this end keeps for one flow is not used up: a flow keeps 2 MiB at most', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 2 ** 40);
    let written = 0;
    for (; written < 100; written++) if (!puppet.session.writeRecord(id, record(65_536, -1))) break;
    expect(written).toBe(SEND_FLOW_BYTES_MAX / 65_536);
  });

  it('reaches a sender whose next record is larger than what it knows to be left [FLOW-4]', () => {
    // The smallest window, of exactly one full record, and records that do not divide it.
    const pool = new CreditPool(FLOW_WINDOW_BYTES_MIN);
    const pair = SessionPair.live({ responder: { pool } });
    const bytes = pattern(400_000);
    const sizes = [10_000, 65_536, 1, 65_536, 30_000, 60_000, 65_536];
    const { id, windowBytes, reader } = transfer(pair, bytes.subarray(0, 1), 1, false);
    expect(windowBytes).toBe(FLOW_WINDOW_BYTES_MIN);
    let at = 1;
    pair.right.onEvent = () => reader.pump();
    for (const size of sizes) {
      const payload = bytes.subarray(at, at + size);
      at += size;
      let room = pair.left.session.writeRecord(id, { encoding: 0, plainBytes: size, dataLeft: -1, payload });
      pair.left.onEvent = (event) => {
        if (event.kind === 'writable') room = true;
      };
      pair.runUntil(() => room, seconds(2));
    }
    pair.run(millis(100));
    expect(same(reader.bytes, bytes.subarray(0, at))).toBe(true);
  });

  it('stops the sender when the reader stops, and what is held stays within the window', () => {
    const pair = SessionPair.live();
    const { reader, writer } = transfer(pair, pattern(5_000_000), 65_536);
    for (let round = 0; round < 100; round++) {
      pair.run(millis(20));
      expect(pair.right.session.memory.heldBytes).toBeLessThanOrEqual(
        2 * FLOW_WINDOW_BYTES + ASSEMBLY_SLACK_BYTES,
      );
    }
    expect(writer.finished).toBe(false);
    expect(pair.right.session.memory.heldBytes).toBeGreaterThan(FLOW_WINDOW_BYTES / 2);
    pair.right.onEvent = () => reader.pump();
    reader.pump();
    pair.runUntil(() => reader.done, seconds(10));
    expect(same(reader.bytes, pattern(5_000_000))).toBe(true);
  });

  it('that a query announced is exactly the window, or the flow is refused', () => {
    const pool = new CreditPool(FLOW_WINDOW_BYTES * 2 + 100_000);
    const puppet = new Puppet('initiator', { pool });
    expect(puppet.session.openReceive(0, true)).toBe(FLOW_WINDOW_BYTES);
    expect(puppet.session.openReceive(2, true)).toBe(FLOW_WINDOW_BYTES);
    expect(puppet.session.openReceive(4, true)).toBe(0);
    expect(puppet.session.openReceive(6, false)).toBe(FLOW_WINDOW_BYTES_MIN);
    expect(puppet.session.openReceive(8, false)).toBe(0);
    puppet.session.stop(0, ResultCode.ABORTED);
    expect(puppet.session.openReceive(10, true)).toBe(FLOW_WINDOW_BYTES);
  });

  it('is reported at least every 256 KiB and each quarter of the window [FLOW-4]', () => {
    const puppet = new Puppet('initiator');
    puppet.session.openReceive(0, true);
    for (let number = 0; number < 4; number++) {
      expect(puppet.frames(), `before record ${number}`).toEqual([]);
      const header = { encoding: 0 as const, offset: number * 65_536, dataLeft: -1, plainBytes: 65_536 };
      const sealed = puppet.seal(0, number, header, pattern(65_536));
      puppet.segment({
        flowId: 0,
        record: number,
        sealedBytes: sealed.length,
        payload: sealed.subarray(0, 40_000),
      });
      puppet.segment({
        flowId: 0,
        record: number,
        offset: 40_000,
        sealedBytes: sealed.length,
        payload: sealed.subarray(40_000),
      });
    }
    expect(puppet.frames()).toEqual([credit(0, FLOW_WINDOW_BYTES, 262_144)]);
  });
});

describe('the records of a sender', () => {
  const resend = (flowId: number, record: number): Frame => ({ type: FrameType.RESEND, flowId, record });
  const bytesOf = (segments: readonly SegmentPacket[]): Uint8Array => {
    const sealed = new Uint8Array(segments[0]!.sealedBytes);
    for (const { offset, payload } of segments) sealed.set(payload, offset);
    return sealed;
  };

  function sendingFlow(options: ConstructorParameters<typeof Puppet>[1] = {}) {
    const puppet = new Puppet('initiator', options);
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 1_000_000);
    return { puppet, id };
  }

  it('that fit one segment on every path are never cut, however full the datagram is [REC-22]', () => {
    const { puppet, id } = sendingFlow();
    const segments: SegmentPacket[] = [];
    const lengths = [1_131, 1_131, 100, 1_131, 700, 600, 1_000, 5, 1_131];
    let left = lengths.reduce((sum, length) => sum + length, 0);
    for (const length of lengths) {
      left -= length;
      puppet.session.writeRecord(id, record(length, left));
      segments.push(...puppet.said().segments);
    }
    // The first of them all together, too, so that they meet in one datagram.
    puppet.send(...lengths.map((_, index) => resend(id, index)));
    segments.push(...puppet.wait(millis(20)).segments);
    expect(segments.length).toBeGreaterThan(lengths.length);
    for (const { payload, sealedBytes, offset } of segments)
      expect([offset, payload.length]).toEqual([0, sealedBytes]);
  });

  it('are sent again as the same ciphertext, under no nonce that was used before [REC-13] [REC-2] [SEG-4]', () => {
    const nonces = new Set<string>();
    let repeated = 0;
    const suite = recordingSuite(nodeSuite, (keyId, nonce) => {
      const name = `${keyId} ${nonce}`;
      if (nonces.has(name)) repeated += 1;
      nonces.add(name);
    });
    const { puppet, id } = sendingFlow({ suite });
    puppet.session.writeRecord(id, record(5_000, 600));
    const first = puppet.said().segments;
    const numbers = new Set(first.map(({ number }) => number));
    expect(first.length).toBeGreaterThan(3);
    puppet.send(resend(id, 0));
    const second = puppet.wait(millis(5)).segments;
    expect(second.length).toBeGreaterThanOrEqual(first.length);
    expect(second.some(({ number }) => numbers.has(number))).toBe(false);
    expect(same(bytesOf(second), bytesOf(first))).toBe(true);
    // Nothing acknowledges them: timeouts send slices of the same, too.
    for (const { offset, payload } of puppet.wait(seconds(3)).segments)
      expect(same(payload, bytesOf(first).subarray(offset, offset + payload.length))).toBe(true);
    // Further records, also of another flow, have nonces of their own.
    puppet.session.writeRecord(id, record(600, 0));
    const other = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(other, 1_000);
    puppet.session.writeRecord(other, record(700, 0));
    puppet.wait(millis(20));
    expect([nonces.size > 5, repeated]).toEqual([true, 0]);
  });

  it('do not leave towards the answerer before there is credit [FLOW-2]', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 0);
    puppet.session.writeRecord(id, record(500, 0));
    expect(puppet.wait(seconds(1)).segments).toEqual([]);
    puppet.send(credit(id, 500));
    expect(puppet.said().segments).toHaveLength(1);
  });
});

describe('a record that its sender still keeps, though it has been opened', () => {
  it('is answered with CREDIT when it comes again, once [REC-20]', () => {
    const puppet = new Puppet('initiator');
    puppet.session.openReceive(0, true);
    puppet.record(0, 0, 0, -1, pattern(100));
    expect(puppet.frames()).toEqual([]);
    puppet.record(0, 0, 0, -1, pattern(100));
    expect(puppet.frames()).toEqual([credit(0, FLOW_WINDOW_BYTES, 100)]);
    puppet.record(0, 0, 0, -1, pattern(100));
    expect(puppet.frames()).toEqual([]);
  });

  it('is forgotten by a sender that pauses, within three seconds, so that its keys can be updated', () => {
    const pair = SessionPair.live();
    transfer(pair, pattern(100_000), 5_000);
    pair.left.onEvent = undefined;
    pair.run(millis(500));
    expect(pair.left.session.memory.keptBytes).toBeGreaterThan(5_000);
    pair.run(seconds(3));
    expect(pair.left.session.memory.keptBytes).toBe(0);
  });
});

describe('the maximum of flows', () => {
  it('is 256 of each direction: one more is refused, and taken when one ends [FLOW-8] [LIM-1]', () => {
    const pool = new CreditPool(1e9);
    const puppet = new Puppet('initiator', { pool });
    for (let flow = 0; flow < FLOWS_MAX; flow++) {
      expect(puppet.session.openSend(flow * 2, 0)).toBe(true);
      expect(puppet.session.openReceive(flow * 2, false)).toBeGreaterThan(0);
    }
    expect(puppet.session.openSend(FLOWS_MAX * 2, 0)).toBe(false);
    expect(puppet.session.openReceive(FLOWS_MAX * 2, false)).toBe(0);
    puppet.session.reset(0, 10);
    puppet.session.stop(0, 10);
    expect(puppet.session.openSend(FLOWS_MAX * 2, 0)).toBe(true);
    expect(puppet.session.openReceive(FLOWS_MAX * 2, false)).toBeGreaterThan(0);
  });

  it('leaves room for 1,024 flows of one endpoint, of four sessions, at one instant', () => {
    const pool = new CreditPool(80 * 2 ** 20);
    for (let session = 0; session < 4; session++) {
      const puppet = new Puppet('responder', { pool });
      for (let flow = 0; flow < FLOWS_MAX; flow++) {
        expect(puppet.session.openReceive(flow * 2, false)).toBeGreaterThanOrEqual(FLOW_WINDOW_BYTES_MIN);
      }
    }
    expect(pool.flows).toBe(1_024);
  });

  it('opens no id twice', () => {
    const puppet = new Puppet('initiator');
    expect(puppet.session.openSend(0, 0)).toBe(true);
    expect(puppet.session.openSend(0, 0)).toBe(false);
    expect(puppet.session.openReceive(0, false)).toBeGreaterThan(0);
    expect(puppet.session.openReceive(0, false)).toBe(0);
  });
});

describe('records of a few bytes', () => {
  it('are held up to 4,096, and the next in order always finds room', () => {
    const puppet = new Puppet('initiator');
    puppet.session.openReceive(0, true);
    for (let number = 1; number <= RECORDS_HELD_MAX; number++)
      puppet.record(0, number, number, -1, pattern(1));
    expect(puppet.dropped('segment')).toBe(0);
    puppet.record(0, RECORDS_HELD_MAX + 1, RECORDS_HELD_MAX + 1, -1, pattern(1));
    expect(puppet.dropped('segment')).toBe(1);
    puppet.record(0, 0, 0, -1, pattern(1));
    expect(puppet.events()).toEqual([{ kind: 'readable', flowId: 0 }]);
    // All are in order now, and the reader is behind: nothing more is taken until it reads.
    puppet.record(0, RECORDS_HELD_MAX + 1, RECORDS_HELD_MAX + 1, -1, pattern(1));
    expect(puppet.dropped('segment')).toBe(2);
    for (let number = 0; number <= RECORDS_HELD_MAX; number++) puppet.session.readRecord(0);
    puppet.record(0, RECORDS_HELD_MAX + 1, RECORDS_HELD_MAX + 1, 0, pattern(1));
    expect(puppet.session.readRecord(0)).toMatchObject({ dataLeft: 0 });
    expect(puppet.session.isReceiveDone(0)).toBe(true);
  });
});

describe('the early end of a flow', () => {
  it('by the receiver reaches the sender with its code, whatever is lost [FLOW-10]', () => {
    const pair = SessionPair.live({ faults: { loss: 0.3 }, seed: 5 });
    const { id } = transfer(pair, pattern(2_000_000), 65_536);
    pair.run(millis(5));
    pair.right.session.stop(id, ResultCode.IO);
    pair.runUntil(() => pair.left.kinds().includes('flow-ended'), seconds(5));
    expect(pair.left.events.at(-1)).toEqual({
      kind: 'flow-ended',
      flowId: id,
      sending: true,
      code: ResultCode.IO,
    });
    expect(pair.left.session.memory.keptBytes).toBe(0);
    expect(pair.right.session.memory.heldBytes).toBe(0);
  });

  it('by the sender reaches the receiver with its code, whatever is lost [FLOW-11]', () => {
    const pair = SessionPair.live({ faults: { loss: 0.3 }, seed: 6 });
    const { id } = transfer(pair, pattern(2_000_000), 65_536);
    pair.run(millis(5));
    pair.left.session.reset(id, ResultCode.CORRUPT);
    pair.runUntil(() => pair.right.kinds().includes('flow-ended'), seconds(5));
    expect(pair.right.events.at(-1)).toEqual({
      kind: 'flow-ended',
      flowId: id,
      sending: false,
      code: ResultCode.CORRUPT,
    });
    expect(pair.right.session.memory.heldBytes).toBe(0);
  });

  it('by both at once is no offence and leaves nothing behind', () => {
    const pair = SessionPair.live();
    const { id } = transfer(pair, pattern(2_000_000), 65_536);
    pair.run(millis(2));
    pair.left.session.reset(id, 1);
    pair.right.session.stop(id, 2);
    pair.run(seconds(3));
    expect(pair.left.session.isOpen && pair.right.session.isOpen).toBe(true);
    for (const { session } of pair.ends) {
      expect(session.memory).toEqual({ heldBytes: 0, keptBytes: 0, framesQueued: 0, packetsInFlight: 0 });
    }
  });

  it('is remembered when it comes before the flow was opened [FLOW-12]', () => {
    const puppet = new Puppet('responder');
    puppet.send({ type: FrameType.QUERY, id: 0, kind: 1, body: NOTHING });
    puppet.send({ type: FrameType.STOP, flowId: 0, code: 10 });
    puppet.send({ type: FrameType.RESET, flowId: 0, code: 11 });
    puppet.events();
    const open = (): void => {
      expect(puppet.session.openSend(0, 5_000)).toBe(true);
      expect(puppet.session.openReceive(0, false)).toBeGreaterThan(0);
    };
    expect(marksOf(open)).toEqual(['early-end', 'early-end']);
    expect(puppet.events()).toEqual([
      { kind: 'flow-ended', flowId: 0, sending: true, code: 10 },
      { kind: 'flow-ended', flowId: 0, sending: false, code: 11 },
    ]);
    expect(puppet.session.hasSend(0)).toBe(false);
    expect(puppet.session.isReceiveDone(0)).toBe(true);
    expect(puppet.frames()).toEqual([]);
  });

  it('is remembered for 256 flows, the newest', () => {
    const puppet = new Puppet('responder');
    for (let flow = 0; flow <= EARLY_ENDS_MAX; flow++) {
      puppet.send({ type: FrameType.STOP, flowId: flow * 2, code: 10 });
    }
    puppet.session.openSend(0, 0);
    puppet.session.openSend(2, 0);
    expect(puppet.events()).toEqual([{ kind: 'flow-ended', flowId: 2, sending: true, code: 10 }]);
  });

  it('lets recovery rest: segments of an ended flow do not keep the timer going [REL-12]', () => {
    const pair = SessionPair.live();
    const { id } = transfer(pair, pattern(200_000), 65_536);
    pair.run(millis(2));
    // Everything of the flow is under way, and nothing arrives any more.
    pair.faults = { ...pair.faults, loss: 1 };
    pair.left.session.reset(id, 1);
    pair.run(seconds(2));
    pair.faults = { ...pair.faults, loss: 0 };
    pair.run(seconds(3));
    expect(pair.left.session.memory.packetsInFlight).toBe(0);
    const before = pair.steps;
    pair.run(seconds(20));
    expect(pair.steps - before).toBeLessThan(200);
  });

  it('with a timer of stale segments only does not spin', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 100_000);
    puppet.session.writeRecord(id, record(20_000, 0));
    puppet.said();
    puppet.send({ type: FrameType.STOP, flowId: id, code: 10 });
    puppet.said();
    const sent = puppet.session.counts.segmentsSent;
    puppet.wait(seconds(2));
    expect(puppet.session.counts.segmentsSent).toBe(sent);
    expect(puppet.session.memory.packetsInFlight).toBeLessThan(10);
  });
});

describe('short flows', () => {
  it('are sent before long ones [CC-4]', () => {
    const pair = SessionPair.live();
    const long = transfer(pair, pattern(3_000_000), 65_536);
    pair.right.onEvent = () => long.reader.pump();
    pair.run(millis(3));
    const short = pair.left.session.query(1, NOTHING)!;
    pair.left.session.openSend(short, FLOW_WINDOW_BYTES);
    pair.right.session.openReceive(short, true);
    pair.left.session.writeRecord(short, record(1_000, 0));
    const reader = new FlowReader(pair.right, short);
    pair.right.onEvent = () => {
      long.reader.pump();
      reader.pump();
    };
    pair.runUntil(() => reader.done, seconds(5));
    expect(long.reader.done).toBe(false);
    pair.runUntil(() => long.reader.done, seconds(5));
  });
});
