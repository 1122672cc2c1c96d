/** What leaves together, in which order, and how much of it: what a session lays out in its datagrams. */

import { describe, expect, it } from 'vitest';
import { micros, millis, type PacketNumber, seconds } from '../../src/base/units.ts';
import { SEGMENT_NUMBER_JUMP_MAX } from '../../src/reliability/index.ts';
import { type Frame, FrameType, packetLength, type SegmentPacket, Space } from '../../src/wire/index.ts';
import { meaning, PARAMETERS, Puppet, pattern } from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);
const LARGE = { ...PARAMETERS, datagramBytesMax: 62_000, windowBytes: 4_000_000 };

const acksOf = (frames: readonly Frame[]) => frames.filter((frame) => frame.type === FrameType.ACK);
const spacesOf = (frames: readonly Frame[]) =>
  acksOf(frames).map((frame) => (frame.type === FrameType.ACK ? frame.space : -1));

function record(bytes: number, dataLeft: number) {
  return { encoding: 0 as const, plainBytes: bytes, dataLeft, payload: pattern(bytes) };
}

/** Acknowledges all packets of a space up to `last`. */
function acknowledge(puppet: Puppet, space: Space, last: number): void {
  const ranges = [{ first: 0 as PacketNumber, last: last as PacketNumber }];
  puppet.send({ type: FrameType.ACK, space, delayUnits: 0, ranges });
}

/** An initiator that receives flow 0, with all said that there was to say. */
function receiving(options = {}): Puppet {
  const puppet = new Puppet('initiator', options);
  puppet.session.query(1, NOTHING);
  puppet.session.openReceive(0, true);
  puppet.wait(millis(5));
  return puppet;
}

describe('acknowledgements', () => {
  it('stand in no packet when nothing new has arrived', () => {
    const puppet = receiving();
    puppet.session.query(1, NOTHING);
    const { frames } = puppet.said();
    expect(meaning(frames)).toHaveLength(1);
    expect(acksOf(frames)).toEqual([]);
  });

  it('leave early with frames, and with each other [ACK-5]', () => {
    const puppet = receiving();
    puppet.send({ type: FrameType.PING });
    expect(puppet.said().frames, 'one packet may wait 2 ms').toEqual([]);
    puppet.session.query(1, NOTHING);
    expect(spacesOf(puppet.said().frames)).toEqual([Space.CONTROL]);
    puppet.send({ type: FrameType.PING });
    puppet.record(0, 0, 0, -1, pattern(100));
    puppet.record(0, 1, 100, -1, pattern(100));
    expect(spacesOf(puppet.said().frames), 'two segments do not wait, and take the other along').toEqual([
      Space.CONTROL,
      Space.SEGMENT,
    ]);
    expect(puppet.wait(millis(5)).frames, 'nothing is said twice').toEqual([]);
  });
});

describe('a lost CREDIT', () => {
  it('is replaced by one with the values of then [FRM-9]', () => {
    const puppet = receiving();
    // Its PING and its QUERY: the oldest packet that is not acknowledged is the one with CREDIT.
    puppet.send({
      type: FrameType.ACK,
      space: Space.CONTROL,
      delayUnits: 0,
      ranges: [{ first: 0 as PacketNumber, last: 1 as PacketNumber }],
    });
    const read = (): void => {
      while (puppet.session.readRecord(0) !== undefined);
    };
    let at = 0;
    const bring = (count: number): void => {
      for (let index = 0; index < count; index++, at++) {
        const payload = pattern(60_000);
        const header = {
          encoding: 0 as const,
          offset: at * 60_000,
          dataLeft: -1,
          plainBytes: payload.length,
        };
        const sealed = puppet.seal(0, at, header, payload);
        puppet.segment({ flowId: 0, record: at, payload: sealed });
        read();
      }
    };
    const credits = (frames: readonly Frame[]) =>
      frames.flatMap((frame) => (frame.type === FrameType.CREDIT ? [frame.openedBytes] : []));
    bring(5);
    const lost = credits(puppet.said().frames);
    expect(lost).toEqual([300_000]);
    bring(1);
    puppet.said();
    // Nothing is acknowledged: the probe timeout repeats what the packet held.
    const again = credits(puppet.wait(seconds(1)).frames);
    expect(again.length).toBeGreaterThan(0);
    expect(again.every((openedBytes) => openedBytes === 360_000)).toBe(true);
  });
});

describe('many frames', () => {
  it('share packets of no more than a datagram: 200 flows are granted credit at once', () => {
    const puppet = new Puppet('responder');
    puppet.said();
    for (let index = 0; index < 200; index++) {
      puppet.send({ type: FrameType.QUERY, id: index * 2, kind: 1, body: NOTHING });
      puppet.session.openReceive(index * 2, false);
    }
    const buffer = new Uint8Array(65_536);
    const sizes: number[] = [];
    for (;;) {
      const sent = puppet.session.pollTransmit(micros(puppet.now), buffer);
      if (sent === undefined) break;
      expect(sent.segmentBytes).toBeLessThanOrEqual(1_200);
      for (let at = 0; at < sent.bytes; at += sent.segmentBytes) {
        sizes.push(Math.min(sent.segmentBytes, sent.bytes - at));
      }
    }
    expect(sizes.length).toBeGreaterThan(2);
    expect(sizes.reduce((sum, bytes) => sum + bytes)).toBeGreaterThan(200 * 18);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_200);
  });
});

describe('an ACK of many ranges', () => {
  it('leaves less room to the frames beside it: the packet is no longer than a datagram', () => {
    const puppet = new Puppet('responder');
    puppet.said();
    for (let hole = 0; hole < 40; hole++) {
      puppet.sendNumbered(100 + 2 * hole, { type: FrameType.QUERY, id: 2 * hole, kind: 1, body: NOTHING });
    }
    for (let index = 0; index < 40; index++) puppet.session.reply(2 * index, 0, pattern(100));
    const sizes: number[] = [];
    const buffer = new Uint8Array(65_536);
    for (;;) {
      const sent = puppet.session.pollTransmit(micros(puppet.now), buffer);
      if (sent === undefined) break;
      // A packet that is too long would reach into the next datagram, and nothing would start there.
      expect(packetLength(buffer, 0)).toBeLessThanOrEqual(1_200);
      sizes.push(sent.bytes);
    }
    expect(sizes[0]).toBeGreaterThan(1_000);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1_200);
  });
});

describe('the probe of a timeout', () => {
  it('is the oldest segment, though the window is full [REL-11]', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 1_000_000);
    puppet.session.writeRecord(id, record(60_000, 10_000));
    expect(puppet.said().segments[0]).toMatchObject({ record: 0, offset: 0 });
    acknowledge(puppet, Space.CONTROL, 1);
    const { segments } = puppet.wait(seconds(1));
    expect(segments.length, 'the window, and a few probes').toBeLessThan(20);
    expect(segments).toContainEqual(expect.objectContaining({ record: 0, offset: 0 }));
    puppet.now += seconds(2);
    puppet.session.handleTimeout(micros(puppet.now));
    expect(puppet.said().segments, 'one a timeout').toMatchObject([{ record: 0, offset: 0 }]);
  });
});

describe('a flow whose lost slice has arrived after all', () => {
  it('does not keep others waiting', () => {
    const puppet = new Puppet('initiator');
    const ids = [0, 1].map(() => puppet.session.query(1, NOTHING)!);
    for (const id of ids) puppet.session.openSend(id, 1_000_000);
    puppet.session.writeRecord(ids[0]!, record(1_000, 0));
    expect(puppet.said().segments).toHaveLength(1);
    acknowledge(puppet, Space.CONTROL, 1);
    // The timeout queues the slice again; its acknowledgement comes before that can leave.
    puppet.now += seconds(1);
    puppet.session.handleTimeout(micros(puppet.now));
    acknowledge(puppet, Space.SEGMENT, 0);
    puppet.session.writeRecord(ids[1]!, record(1_000, 500_000));
    expect(puppet.said().segments).toMatchObject([{ flowId: ids[1] }]);
  });
});

describe('a probe of a larger datagram', () => {
  it('takes no room from the first window: segments leave beside it [MTU-2]', () => {
    const puppet = new Puppet('initiator', { local: LARGE, peer: LARGE });
    const id = puppet.session.query(1, NOTHING)!;
    puppet.session.openSend(id, 1_000_000);
    puppet.session.writeRecord(id, record(60_000, 1_000));
    const { frames, segments } = puppet.said();
    expect(frames.filter(({ type }) => type === FrameType.PADDING)).toHaveLength(1);
    expect(segments.reduce((sum, { payload }) => sum + payload.length, 0)).toBeGreaterThan(8_000);
  });
});

describe('large datagrams that vanish', () => {
  it.each([
    ['are noticed though small ones arrive', 100, 1_200],
    ['are no sign of a smaller path where other large ones arrive', 3_000, 62_000],
  ])('%s [MTU-5]', (_what, arrivingBytes, datagramBytes) => {
    const puppet = new Puppet('initiator', { local: LARGE, peer: LARGE });
    const [vanishing, arriving] = [0, 1].map(() => puppet.session.query(1, NOTHING)!);
    puppet.said();
    for (const id of [vanishing!, arriving!]) puppet.session.openSend(id, 4_000_000);
    puppet.said();
    // Its PING, its queries and its probe.
    acknowledge(puppet, Space.CONTROL, 2);
    expect(puppet.session.datagramBytes).toBe(62_000);
    const send = (id: number, bytes: number): SegmentPacket[] => {
      puppet.session.writeRecord(id, record(bytes, 1_000_000));
      return puppet.wait(millis(1)).segments;
    };
    for (let round = 0; round < 12 && puppet.session.datagramBytes === 62_000; round++) {
      send(vanishing!, 3_000);
      const ranges = send(arriving!, arrivingBytes)
        .filter(({ flowId }) => flowId === arriving)
        .map(({ number }) => ({ first: number, last: number }));
      puppet.now += millis(50);
      puppet.send({ type: FrameType.ACK, space: Space.SEGMENT, delayUnits: 0, ranges });
      puppet.wait(millis(20));
    }
    expect(puppet.session.datagramBytes).toBe(datagramBytes);
  });
});

describe('the order of flows', () => {
  const firstOf = (flows: readonly [number, number][]): number | undefined => {
    const puppet = new Puppet('initiator');
    for (const [bytes, left] of flows) {
      const id = puppet.session.query(1, NOTHING)!;
      puppet.session.openSend(id, 1_000_000);
      puppet.session.writeRecord(id, record(bytes, left));
    }
    return puppet.said().segments[0]?.flowId;
  };

  it('has the one with the least to send first, wherever it stands [CC-4]', () => {
    const [short, long] = [
      [1_000, 0],
      [1_000, 500_000],
    ] as const;
    expect(firstOf([[...short], [...long]])).toBe(0);
    expect(firstOf([[...long], [...short]])).toBe(2);
  });

  it('has the older one first where they are alike', () => {
    expect(
      firstOf([
        [1_000, 0],
        [1_000, 0],
      ]),
    ).toBe(0);
  });
});

describe('what arrives', () => {
  it('is counted, in datagrams and bytes', () => {
    const puppet = new Puppet('initiator');
    const { datagramsReceived, bytesReceived } = puppet.session.counts;
    const bytes = puppet.send({ type: FrameType.PING }).length;
    puppet.deliver(pattern(77));
    expect(puppet.session.counts.datagramsReceived).toBe(datagramsReceived + 2);
    expect(puppet.session.counts.bytesReceived).toBe(bytesReceived + bytes + 77);
  });

  it('proves life when it is a record that opens, with no other packet for long [SES-9]', () => {
    const puppet = receiving();
    for (let index = 0; index < 5; index++) {
      puppet.record(0, index, index * 100, -1, pattern(100));
      puppet.wait(seconds(4));
    }
    expect(puppet.session.isOpen).toBe(true);
    puppet.wait(seconds(7));
    expect(puppet.session.isOpen, 'ten seconds after the last one').toBe(false);
    expect(puppet.events().at(-1)).toMatchObject({ kind: 'closed', text: 'nothing heard from the peer' });
  });

  it('counts as seen only when it was: a hole below is no copy [SEG-7]', () => {
    const puppet = receiving();
    const payload = pattern(100);
    const seal = (number: number): Uint8Array =>
      puppet.seal(
        0,
        number,
        { encoding: 0, offset: number * 100, dataLeft: -1, plainBytes: payload.length },
        payload,
      );
    puppet.segment({ number: 40, flowId: 0, record: 0, payload: seal(0) });
    puppet.said();
    puppet.segment({ number: 30, flowId: 0, record: 0, payload: seal(0) });
    const [ack] = acksOf(puppet.said().frames);
    expect(ack).toMatchObject({
      ranges: [
        { first: 40 as PacketNumber, last: 40 },
        { first: 30, last: 30 },
      ],
    });
    expect(puppet.dropped('segment replay')).toBe(0);
    puppet.segment({ number: 30, flowId: 0, record: 0, payload: seal(0) });
    expect(puppet.dropped('segment replay')).toBe(1);
    puppet.segment({ number: 41 + SEGMENT_NUMBER_JUMP_MAX, flowId: 0, record: 1, payload: seal(1) });
    expect(puppet.dropped('segment number')).toBe(1);
  });
});
