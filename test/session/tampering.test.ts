import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { millis, seconds } from '../../src/base/units.ts';
import { SEGMENT_NUMBER_JUMP_MAX } from '../../src/reliability/index.ts';
import { ASSEMBLY_SLACK_BYTES, FLOW_WINDOW_BYTES, RECORD_FAILURES_MAX } from '../../src/session/index.ts';
import {
  encodePacket,
  FrameType,
  PacketType,
  packetSize,
  ResultCode,
  SEALED_HEADER_BYTES,
  SEALED_RECORD_BYTES_MAX,
  type SegmentPacket,
} from '../../src/wire/index.ts';
import {
  FlowReader,
  FlowWriter,
  Puppet,
  pattern,
  SessionPair,
  same,
  segmentsOf,
} from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);

/** An initiator that receives flow 0, with nothing left to say. */
function receiving(): Puppet {
  const puppet = new Puppet('initiator');
  puppet.session.openReceive(puppet.session.query(1, NOTHING)!, true);
  puppet.wait(millis(5));
  return puppet;
}

/** A sealed record of flow 0 with all of its plaintext, cut into `count` segments. */
function cut(puppet: Puppet, record: number, bytes: number, count: number, offset = 0, dataLeft = 0) {
  const header = { encoding: 0 as const, offset, dataLeft, plainBytes: bytes };
  const sealed = puppet.seal(0, record, header, pattern(bytes));
  const share = Math.ceil(sealed.length / count);
  return Array.from({ length: count }, (_, index) => ({
    flowId: 0,
    record,
    offset: index * share,
    sealedBytes: sealed.length,
    payload: sealed.slice(index * share, (index + 1) * share),
  }));
}

function spoil(payload: Uint8Array): Uint8Array {
  return payload.map((byte) => byte ^ 1);
}

describe('a replayed or forged packet', () => {
  it('is dropped, counted and answered by nothing when it is a copy of a control packet [REPLAY-3]', () => {
    const puppet = new Puppet('initiator');
    const notice = puppet.send({ type: FrameType.NOTICE, kind: 1, body: NOTHING });
    puppet.events();
    puppet.wait(millis(5));
    for (let copy = 1; copy <= 3; copy++) {
      puppet.deliver(notice);
      expect(puppet.dropped('replay')).toBe(copy);
    }
    expect(puppet.events()).toEqual([]);
    expect(puppet.wait(millis(10)).frames).toEqual([]);
  });

  it('is dropped as too old when it is 8,192 behind [REPLAY-2]', () => {
    const puppet = new Puppet('initiator');
    puppet.sendNumbered(10_000, { type: FrameType.NOTICE, kind: 1, body: NOTHING });
    puppet.sendNumbered(10_000 - 8_192, { type: FrameType.NOTICE, kind: 2, body: NOTHING });
    puppet.sendNumbered(10_000 - 8_193, { type: FrameType.NOTICE, kind: 3, body: NOTHING });
    expect(puppet.events()).toMatchObject([{ notice: 1 }, { notice: 2 }]);
    expect(puppet.dropped('replay')).toBe(1);
  });

  it('is dropped when any one bit of a control packet was turned, and moves no window [SEAL-3] [SEAL-1] [REPLAY-1]', () => {
    const puppet = new Puppet('initiator');
    const other = new Puppet('initiator');
    const packet = other.send({ type: FrameType.NOTICE, kind: 1, body: pattern(5) });
    puppet.wait(millis(5));
    for (let bit = 0; bit < packet.length * 8; bit++) {
      const forged = packet.slice();
      forged[bit >>> 3]! ^= 1 << (bit & 7);
      puppet.deliver(forged);
    }
    expect(puppet.events()).toEqual([]);
    expect(puppet.wait(millis(10)).frames).toEqual([]);
    const counted = [...puppet.session.counts.dropped.values()].reduce((sum, count) => sum + count, 0);
    expect(counted).toBeGreaterThanOrEqual(packet.length * 8);
    puppet.deliver(packet);
    expect(puppet.events()).toMatchObject([{ kind: 'notice' }]);
  });

  it('is dropped at every truncation and for any random bytes', () => {
    const puppet = new Puppet('initiator');
    const packet = new Puppet('initiator').send({ type: FrameType.NOTICE, kind: 1, body: pattern(5) });
    puppet.wait(millis(5));
    for (let length = 0; length < packet.length; length++) puppet.deliver(packet.slice(0, length));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(0, 5, 6), (bytes, type) => {
        if (bytes.length > 0) bytes[0] = type;
        puppet.deliver(bytes);
        expect(puppet.events()).toEqual([]);
        expect(puppet.said().frames).toEqual([]);
      }),
    );
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is dropped when its tag is another session’s [PKT-8]', () => {
    const puppet = new Puppet('initiator');
    puppet.deliver(new Puppet('responder').send({ type: FrameType.PING }));
    expect(puppet.dropped('tag')).toBe(1);
    const packet = puppet.send({ type: FrameType.PING });
    for (let bit = 0; bit < 64; bit++) {
      const other = packet.slice();
      other[4 + (bit >>> 3)]! ^= 1 << (bit & 7);
      puppet.deliver(other);
    }
    expect(puppet.dropped('tag')).toBe(1 + 64);
  });

  it('is dropped when it is a segment with a number far ahead, and taken at the limit [SEG-5]', () => {
    const puppet = receiving();
    puppet.segment({ number: SEGMENT_NUMBER_JUMP_MAX, flowId: 0, record: 0, payload: pattern(50) });
    expect(puppet.dropped('segment number')).toBe(1);
    puppet.segment({ number: SEGMENT_NUMBER_JUMP_MAX - 1, flowId: 4, record: 0, payload: pattern(50) });
    expect(puppet.dropped('segment number')).toBe(1);
  });

  it('is dropped and answered by nothing when it is a copy of a segment [SEG-7]', () => {
    const puppet = receiving();
    const [first] = cut(puppet, 0, 2_000, 2);
    const bytes = puppet.segment(first!);
    puppet.wait(millis(5));
    puppet.deliver(bytes);
    expect(puppet.dropped('segment replay')).toBe(1);
    expect(puppet.wait(millis(10)).frames).toEqual([]);
  });

  it('goes by itself: packets behind it in the same datagram are taken [PKT-13]', () => {
    const puppet = new Puppet('initiator');
    const other = new Puppet('initiator');
    const forged = other.send({ type: FrameType.NOTICE, kind: 1, body: NOTHING });
    forged[SEALED_HEADER_BYTES]! ^= 1;
    const good = other.send({ type: FrameType.NOTICE, kind: 2, body: NOTHING });
    puppet.deliver(Uint8Array.from([...forged, ...good]));
    expect(puppet.events()).toMatchObject([{ notice: 2 }]);
  });
});

describe('a forged segment', () => {
  it('costs a RESEND of its record, after which the record opens [REC-18]', () => {
    const puppet = receiving();
    const [first, second] = cut(puppet, 0, 2_000, 2);
    puppet.segment(first!);
    puppet.segment({ ...second!, payload: spoil(second!.payload) });
    expect(puppet.frames()).toEqual([{ type: FrameType.RESEND, flowId: 0, record: 0 }]);
    puppet.segment(first!);
    puppet.segment(second!);
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
    expect(puppet.session.readRecord(0)?.payload).toEqual(pattern(2_000));
  });

  it('ends the flow as TAMPERED at the third failure [REC-18]', () => {
    const puppet = receiving();
    const [first, second] = cut(puppet, 0, 2_000, 2);
    for (let failure = 1; failure <= RECORD_FAILURES_MAX; failure++) {
      expect(puppet.events()).toEqual([]);
      puppet.segment(first!);
      puppet.segment({ ...second!, payload: spoil(second!.payload) });
    }
    expect(puppet.events()).toEqual([
      { kind: 'flow-ended', flowId: 0, sending: false, code: ResultCode.TAMPERED },
    ]);
    expect(puppet.frames().at(-1)).toEqual({ type: FrameType.STOP, flowId: 0, code: ResultCode.TAMPERED });
    expect(puppet.session.memory.heldBytes).toBe(0);
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is dropped and not acknowledged when it claims to be a whole record [REC-17] [ACK-1]', () => {
    const puppet = receiving();
    const [whole] = cut(puppet, 0, 500, 1);
    for (let copy = 0; copy < 10; copy++) puppet.segment({ ...whole!, payload: spoil(whole!.payload) });
    expect(puppet.dropped('segment')).toBe(10);
    expect(puppet.wait(millis(10)).frames).toEqual([]);
    puppet.segment(whole!);
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
  });

  it('that states another length cannot lock the record: the record is asked for anew [SEG-8]', () => {
    const puppet = receiving();
    const [first, second] = cut(puppet, 0, 2_000, 2);
    puppet.segment({ ...first!, sealedBytes: 60_000 });
    puppet.segment(first!);
    expect(puppet.frames()).toEqual([{ type: FrameType.RESEND, flowId: 0, record: 0 }]);
    puppet.segment(first!);
    puppet.segment(second!);
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
  });

  it('that claims to be whole does not hurt a record under way', () => {
    const puppet = receiving();
    const [first, second] = cut(puppet, 0, 2_000, 2);
    puppet.segment(first!);
    puppet.segment({ flowId: 0, record: 0, payload: pattern(80) });
    puppet.segment(second!);
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
  });

  it('that used a number first does not make the true segment of that number lost [SEG-7]', () => {
    const puppet = receiving();
    const [first, second] = cut(puppet, 0, 2_000, 2);
    puppet.segment({ number: 0, flowId: 77, record: 0, payload: pattern(80) });
    puppet.segment({ number: 1, flowId: 77, record: 0, payload: pattern(80) });
    puppet.segment({ ...first!, number: 0 });
    puppet.segment({ ...second!, number: 1 });
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
  });

  it('of later records cannot lock the next record out, and what is held stays bounded [FLOW-9]', () => {
    const puppet = receiving();
    for (let record = 1; record < 3_000; record++) {
      puppet.segment({
        flowId: 0,
        record,
        offset: 5,
        sealedBytes: record % 2 === 0 ? SEALED_RECORD_BYTES_MAX : 40,
        payload: pattern(30),
      });
      expect(puppet.session.memory.heldBytes).toBeLessThanOrEqual(FLOW_WINDOW_BYTES + ASSEMBLY_SLACK_BYTES);
    }
    for (const segment of cut(puppet, 0, 65_536, 60)) puppet.segment(segment);
    expect(puppet.events()).toMatchObject([{ kind: 'readable' }]);
  });
});

describe('a forger on the path of a transfer', () => {
  it('costs resends, and the content is right', () => {
    const arbitrary = fc.record({
      seed: fc.nat(2 ** 31),
      every: fc.integer({ min: 5, max: 40 }),
      recordBytes: fc.constantFrom(900, 3_000, 30_000),
    });
    fc.assert(
      fc.property(arbitrary, ({ seed, every, recordBytes }) => {
        const pair = SessionPair.live({ seed, faults: { loss: 0.05 } });
        const id = pair.left.session.query(1, NOTHING)!;
        pair.left.session.openSend(id, 0);
        pair.right.session.openReceive(id, false);
        const bytes = pattern(120_000, seed);
        const writer = new FlowWriter(pair.left, id, bytes, recordBytes);
        const reader = new FlowReader(pair.right, id);
        let count = 0;
        let forged = 0;
        // Two segments are copied with garbage in them: fewer than end the flow as tampered.
        pair.left.filter = (datagram) => {
          for (const packet of segmentsOf(datagram)) {
            count += 1;
            if (count % every !== 0 || forged >= RECORD_FAILURES_MAX - 1) continue;
            forged += 1;
            const copy = { ...packet, payload: spoil(packet.payload) };
            const wrong = new Uint8Array(packetSize(copy));
            encodePacket(copy, wrong);
            pair.inject(pair.right, wrong);
          }
          return true;
        };
        let delivered = false;
        const ended: object[] = [];
        pair.left.onEvent = (event) => {
          if (event.kind === 'writable') writer.pump();
          if (event.kind === 'delivered') delivered = true;
          if (event.kind === 'flow-ended' || event.kind === 'closed') ended.push(event);
        };
        pair.right.onEvent = (event) => {
          if (event.kind === 'readable') reader.pump();
        };
        writer.pump();
        pair.runUntil(() => delivered || ended.length > 0, seconds(60));
        expect(ended).toEqual([]);
        expect(same(reader.bytes, bytes)).toBe(true);
        expect(forged).toBeGreaterThan(0);
      }),
      { numRuns: 100 },
    );
  });

  it('cannot stall a flow by making its segments look acknowledged: an unopened record is sent again [REC-20]', () => {
    const pair = SessionPair.live();
    const id = pair.left.session.query(1, NOTHING)!;
    pair.left.session.openSend(id, 0);
    pair.right.session.openReceive(id, false);
    pair.run(millis(5));
    // The numbers of the whole record are used by garbage for another flow, and so acknowledged.
    for (let number = 0; number < 20; number++) {
      const packet = {
        type: PacketType.SEGMENT,
        tag: pair.right.session.localTag,
        epochBits: 0,
        number: number as SegmentPacket['number'],
        flowId: 1_234,
        record: 0,
        offset: 0,
        sealedBytes: 50,
        payload: pattern(50),
      };
      const bytes = new Uint8Array(packetSize(packet));
      encodePacket(packet, bytes);
      pair.inject(pair.right, bytes);
    }
    pair.run(millis(5));
    // The true ones are lost but for the last, whose acknowledgement covers all.
    let seen = 0;
    pair.left.filter = (datagram) => {
      const [segment] = segmentsOf(datagram);
      if (segment === undefined) return true;
      seen += 1;
      return seen >= 5;
    };
    new FlowWriter(pair.left, id, pattern(5_000), 5_000).pump();
    const reader = new FlowReader(pair.right, id);
    pair.run(millis(900));
    expect(reader.pump()).toBe(0);
    expect(pair.left.session.memory.packetsInFlight).toBe(0);
    pair.runUntil(() => reader.pump() > 0, seconds(3));
    expect(same(reader.bytes, pattern(5_000))).toBe(true);
  });
});
