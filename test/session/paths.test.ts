/** Datagram sizes, losses and keys over a whole transfer. */

import { describe, expect, it } from 'vitest';
import { millis, seconds } from '../../src/base/units.ts';
import { CloseCode, type Frame, FrameType, PACKET_BYTES_MAX, PacketType } from '../../src/wire/index.ts';
import {
  FlowReader,
  FlowWriter,
  PARAMETERS,
  Puppet,
  pattern,
  SessionPair,
  same,
  segmentsOf,
} from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);
/** Largest record plaintext whose sealed form fits one segment of the least datagram. */
const SINGLE_SEGMENT_BYTES = 1_118;
const LARGE = { ...PARAMETERS, datagramBytesMax: 62_000 };
const sides = { initiator: { local: LARGE, peer: LARGE }, responder: { local: LARGE, peer: LARGE } };

function upload(pair: SessionPair, bytes: Uint8Array, recordBytes = 65_536) {
  const id = pair.left.session.query(1, NOTHING)!;
  pair.left.session.openSend(id, 0);
  pair.right.session.openReceive(id, false);
  const writer = new FlowWriter(pair.left, id, bytes, recordBytes);
  const reader = new FlowReader(pair.right, id);
  const state = { delivered: false };
  pair.left.onEvent = (event) => {
    if (event.kind === 'writable') writer.pump();
    if (event.kind === 'delivered') state.delivered = true;
  };
  pair.right.onEvent = () => reader.pump();
  writer.pump();
  return { reader, state };
}

/** Opens a flow at both ends that stays open: sizes are probed only while there is bulk to send. */
function keepSending(pair: SessionPair): void {
  for (const { session } of [pair.left, pair.right]) session.openSend(session.query(1, NOTHING)!, 0);
}

describe('the path', () => {
  it('is not searched for its size while there is no bulk to send [MTU-2]', () => {
    const pair = SessionPair.live(sides);
    pair.run(seconds(2));
    expect(pair.left.session.datagramBytes).toBe(1_200);
  });

  it.each([
    [1_200, 1_200],
    [1_472, 1_472],
    [9_000, 8_972],
    [65_507, 62_000],
  ])('that carries %i bytes is used with datagrams of %i', (mtuBytes, datagramBytes) => {
    const pair = SessionPair.live({ ...sides, faults: { mtuBytes } });
    keepSending(pair);
    pair.run(seconds(2));
    expect(pair.left.session.datagramBytes).toBe(datagramBytes);
    expect(pair.right.session.datagramBytes).toBe(datagramBytes);
    const { reader, state } = upload(pair, pattern(1_000_000));
    pair.runUntil(() => state.delivered, seconds(10));
    expect(same(reader.bytes, pattern(1_000_000))).toBe(true);
  });

  it.each([1_200, 1_472, 62_000])(
    'carries records of one segment uncut, in datagrams of %i bytes',
    (mtuBytes) => {
      const pair = SessionPair.live({ ...sides, seed: 3, faults: { mtuBytes } });
      keepSending(pair);
      pair.run(seconds(2));
      expect(pair.left.session.datagramBytes).toBe(mtuBytes);
      pair.faults = { ...pair.faults, loss: 0.05 };
      let seen = 0;
      let cut = 0;
      pair.left.filter = (bytes) => {
        for (const { payload, sealedBytes } of segmentsOf(bytes)) {
          seen += 1;
          if (payload.length < sealedBytes) cut += 1;
        }
        return true;
      };
      const { reader, state } = upload(pair, pattern(200_000), SINGLE_SEGMENT_BYTES);
      for (let count = 0; count < 50; count++) pair.left.session.query(1, pattern(300));
      pair.runUntil(() => state.delivered, seconds(20));
      expect(same(reader.bytes, pattern(200_000))).toBe(true);
      expect(seen).toBeGreaterThan(170);
      expect(cut).toBe(0);
    },
  );

  it('that is searched for its size does not look congested [MTU-6]', () => {
    const pair = SessionPair.live({ ...sides, faults: { mtuBytes: 1_472 } });
    const started = pair.now;
    const { state } = upload(pair, pattern(1_000_000));
    pair.runUntil(() => state.delivered, seconds(10));
    // 700 datagrams at 200 us of round trip: slow start alone takes a handful of round trips.
    expect(pair.now - started).toBeLessThan(millis(60));
  });

  it('that shrinks in the middle of a transfer is noticed, and the transfer goes on [MTU-5]', () => {
    const pair = SessionPair.live(sides);
    keepSending(pair);
    pair.run(seconds(1));
    expect(pair.left.session.datagramBytes).toBe(62_000);
    const bytes = pattern(2_000_000);
    const { reader, state } = upload(pair, bytes);
    pair.run(millis(1));
    pair.faults = { ...pair.faults, mtuBytes: 1_472 };
    pair.runUntil(() => state.delivered, seconds(20));
    expect(same(reader.bytes, bytes)).toBe(true);
    expect(pair.left.session.datagramBytes).toBeLessThan(62_000);
    pair.run(seconds(2));
    expect(pair.left.session.datagramBytes).toBe(1_472);
  });

  it('never carries a datagram larger than the peer takes in [MTU-1]', () => {
    const small = { ...LARGE, datagramBytesMax: 1_300 };
    const pair = SessionPair.live({
      initiator: { local: LARGE, peer: small },
      responder: { local: small, peer: LARGE },
    });
    const sizes = new Set<number>();
    for (const end of pair.ends) {
      end.filter = (bytes) => {
        sizes.add(bytes.length);
        return true;
      };
    }
    const { state } = upload(pair, pattern(500_000));
    pair.runUntil(() => state.delivered, seconds(10));
    expect(Math.max(...sizes)).toBe(1_200);
    expect(Math.max(...sizes)).toBeLessThan(PACKET_BYTES_MAX);
  });

  it.each([
    [2 * 8_972, 8_972],
    [2 * 8_972 - 1, 1_472],
  ])(
    'to a socket buffer of %i bytes is used with datagrams of %i: two of them fit [MTU-2]',
    (windowBytes, datagramBytes) => {
      const narrow = { ...LARGE, windowBytes };
      const pair = SessionPair.live({
        initiator: { local: LARGE, peer: narrow },
        responder: { local: narrow, peer: LARGE },
      });
      keepSending(pair);
      pair.run(seconds(2));
      expect(pair.left.session.datagramBytes).toBe(datagramBytes);
    },
  );

  it('carries datagrams of the least size to a peer that states less than any can hold [MTU-1] [FLOW-7]', () => {
    const tiny = { ...PARAMETERS, datagramBytesMax: 100, windowBytes: 1 };
    const pair = SessionPair.live({ initiator: { peer: tiny }, responder: { local: tiny } });
    expect(pair.left.session.datagramBytes).toBe(1_200);
    const { reader, state } = upload(pair, pattern(20_000));
    pair.runUntil(() => state.delivered, seconds(10));
    expect(same(reader.bytes, pattern(20_000))).toBe(true);
  });

  it('is not filled beyond what the peer’s socket buffer holds [CC-1] [FLOW-7]', () => {
    const narrow = { ...PARAMETERS, windowBytes: 20_000 };
    const pair = SessionPair.live({
      initiator: { peer: narrow },
      responder: { local: narrow },
      faults: { delayMicros: 5_000 },
    });
    // What left within one round trip is what may be under way.
    let recent: { at: number; bytes: number }[] = [];
    let burstMax = 0;
    pair.left.filter = (bytes) => {
      recent = recent.filter(({ at }) => at > pair.now - 10_000);
      recent.push({ at: pair.now, bytes: bytes.length });
      burstMax = Math.max(
        burstMax,
        recent.reduce((sum, each) => sum + each.bytes, 0),
      );
      return true;
    };
    const { state } = upload(pair, pattern(500_000));
    pair.runUntil(() => state.delivered, seconds(60));
    expect(burstMax).toBeGreaterThan(15_000);
    expect(burstMax).toBeLessThan(27_000);
  });
});

describe('keys', () => {
  it.each([0, 0.2])(
    'are updated by both ends in the middle of transfers, at a loss of %f [KEY-8]',
    (loss) => {
      const pair = SessionPair.live({
        seed: 9,
        faults: { loss, reorder: 0.1, reorderMicros: 500, duplicate: 0.05 },
        initiator: { keySealingsMax: 40 },
        responder: { keySealingsMax: 25 },
      });
      const epochs = new Set<string>();
      for (const end of pair.ends) {
        end.filter = (datagram) => {
          if (datagram[0] === PacketType.SEALED) epochs.add(`${end.side}:${datagram[1]}`);
          return true;
        };
      }
      const bytes = pattern(1_500_000);
      for (let round = 0; round < 3; round++) {
        const { reader, state } = upload(pair, bytes, 9_000);
        pair.runUntil(() => state.delivered, seconds(60));
        expect(same(reader.bytes, bytes)).toBe(true);
        const replies: number[] = [];
        pair.right.onEvent = (event) => {
          if (event.kind === 'query') pair.right.session.reply(event.id, 0, event.body);
        };
        pair.left.onEvent = (event) => {
          if (event.kind === 'reply') replies.push(event.id);
        };
        for (let count = 0; count < 60; count++) {
          pair.left.session.query(1, pattern(1_000));
          pair.run(millis(1));
        }
        pair.runUntil(() => replies.length === 60, seconds(60));
      }
      expect(pair.left.session.isOpen && pair.right.session.isOpen).toBe(true);
      // All four values on the wire: the epoch went round.
      expect(epochs.size).toBe(8);
    },
  );

  it('of the epoch before open control packets for three PTOs and no longer [KEY-11]', () => {
    const puppet = new Puppet('initiator');
    const old = new Puppet('initiator');
    const notice = (kind: number): Frame => ({ type: FrameType.NOTICE, kind, body: NOTHING });
    puppet.sendKeys.update();
    puppet.send(notice(1));
    puppet.deliver(old.sendNumbered(50, notice(2)));
    expect(puppet.events()).toMatchObject([{ notice: 1 }, { notice: 2 }]);
    puppet.wait(3 * 32_000);
    puppet.deliver(old.sendNumbered(51, notice(3)));
    expect(puppet.events()).toEqual([]);
    expect(puppet.dropped('seal')).toBe(1);
  });

  it('are updated after an hour, however little was sealed [KEY-5]', () => {
    const pair = SessionPair.live();
    const epochs: number[] = [];
    pair.left.filter = (datagram) => {
      epochs.push(datagram[1]!);
      return true;
    };
    pair.run(seconds(3_590));
    expect(new Set(epochs)).toEqual(new Set([0]));
    pair.run(seconds(20));
    expect(new Set(epochs)).toEqual(new Set([0, 1]));
    expect(pair.right.session.isOpen).toBe(true);
  });

  it('are not updated before a packet of the epoch was acknowledged [KEY-12]', () => {
    const pair = SessionPair.live({ initiator: { keySealingsMax: 3 } });
    const epochs = new Set<number>();
    pair.left.filter = (datagram) => {
      epochs.add(datagram[1]!);
      return true;
    };
    pair.right.filter = () => false;
    for (let count = 0; count < 30; count++) {
      pair.left.session.notify(1, NOTHING);
      pair.run(millis(1));
    }
    // One update is right: a packet of the first epoch had been acknowledged.
    expect(epochs).toEqual(new Set([0, 1]));
  });

  it('that are worn out and could not be updated end the session [KEY-13]', () => {
    const pair = SessionPair.live({ initiator: { keySealingsMax: 3, keySealingsLimit: 20 } });
    pair.right.filter = () => false;
    for (let count = 0; count < 30; count++) {
      pair.left.session.notify(1, NOTHING);
      pair.run(millis(1));
    }
    expect(pair.left.session.isOpen).toBe(false);
  });

  it('and packet numbers that are used up end the session, too [PKT-17]', () => {
    const puppet = new Puppet('initiator', { packetNumberLimit: 20 });
    const closes: Frame[] = [];
    for (let count = 0; count < 30 && puppet.session.isOpen; count++) {
      puppet.session.notify(1, Uint8Array.of(count));
      closes.push(...puppet.wait(millis(1)).frames.filter(({ type }) => type === FrameType.CLOSE));
    }
    expect(puppet.session.isOpen).toBe(false);
    expect(closes).toMatchObject([{ code: CloseCode.LIMIT }]);
  });

  it('are not updated while a record of the epoch before may be sent again [REC-4]', () => {
    const pair = SessionPair.live({ initiator: { keySealingsMax: 5 } });
    const id = pair.left.session.query(1, NOTHING)!;
    pair.right.session.openReceive(id, true);
    pair.left.session.openSend(id, 100_000);
    const epochs: number[] = [];
    let blocked = true;
    pair.left.filter = (datagram) => {
      if (datagram[0] === PacketType.SEALED) epochs.push(datagram[1]!);
      return !(blocked && segmentsOf(datagram).length > 0);
    };
    pair.left.session.writeRecord(id, { encoding: 0, plainBytes: 3, dataLeft: 0, payload: pattern(3) });
    // The record, alone in its datagrams, does not get through; queries do.
    for (let count = 0; count < 100; count++) {
      pair.run(millis(1));
      pair.left.session.notify(1, NOTHING);
    }
    expect(epochs.length).toBeGreaterThan(50);
    // One update is right: the receiver keeps the record key of the epoch before. A second were not.
    expect(new Set(epochs)).toEqual(new Set([0, 1]));
    blocked = false;
    const reader = new FlowReader(pair.right, id);
    pair.runUntil(() => reader.pump() > 0, seconds(10));
    for (let count = 0; count < 30; count++) {
      pair.run(millis(1));
      pair.left.session.notify(1, NOTHING);
    }
    expect(new Set(epochs).size).toBeGreaterThan(2);
    expect(pair.right.session.isOpen).toBe(true);
  });
});
