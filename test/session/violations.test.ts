import { describe, expect, it } from 'vitest';
import { type PacketNumber, seconds } from '../../src/base/units.ts';
import { FLOW_WINDOW_BYTES, QUERY_IDS_AHEAD_MAX } from '../../src/session/index.ts';
import {
  CloseCode,
  encodeRecordHeader,
  type Frame,
  FrameType,
  RECORD_HEADER_BYTES,
  Space,
} from '../../src/wire/index.ts';
import { clauseOf, Puppet, pattern } from '../support/session-pair.ts';

const QUERY_KIND = 1;
const NOTHING = new Uint8Array(0);

function ack(space: Space, first: number, last: number): Frame {
  return {
    type: FrameType.ACK,
    space,
    delayUnits: 0,
    ranges: [{ first: first as PacketNumber, last: last as PacketNumber }],
  };
}

/** An initiator whose flow 0 has sent one record of 1,000 bytes, and holds another that lacks credit. */
function sending(): Puppet {
  const puppet = new Puppet('initiator');
  const id = puppet.session.query(QUERY_KIND, NOTHING)!;
  puppet.session.openSend(id, 1_500);
  puppet.session.writeRecord(id, {
    encoding: 0,
    plainBytes: 1_000,
    dataLeft: 1_000,
    payload: pattern(1_000),
  });
  puppet.session.writeRecord(id, { encoding: 0, plainBytes: 1_000, dataLeft: 0, payload: pattern(1_000) });
  puppet.said();
  return puppet;
}

/** An initiator whose flow 0 has sealed 60,000 and 20,000 bytes, of which its window lets out some 10,000. */
function limited(): Puppet {
  const puppet = new Puppet('initiator');
  const id = puppet.session.query(QUERY_KIND, NOTHING)!;
  puppet.session.openSend(id, 100_000);
  puppet.session.writeRecord(id, {
    encoding: 0,
    plainBytes: 60_000,
    dataLeft: 20_000,
    payload: pattern(60_000),
  });
  puppet.session.writeRecord(id, { encoding: 0, plainBytes: 20_000, dataLeft: 0, payload: pattern(20_000) });
  puppet.said();
  return puppet;
}

/** An initiator that receives flow 0. */
function receiving(): Puppet {
  const puppet = new Puppet('initiator');
  const id = puppet.session.query(QUERY_KIND, NOTHING)!;
  puppet.session.openReceive(id, true);
  puppet.said();
  return puppet;
}

function credit(limitBytes: number, openedBytes: number, complete = false): Frame {
  return { type: FrameType.CREDIT, flowId: 0, limitBytes, openedBytes, complete };
}

const CASES: readonly [string, string, () => Puppet, (puppet: Puppet) => void][] = [
  [
    'FRM-2',
    'bytes that are no frames',
    () => new Puppet('initiator'),
    (p) => p.sendPlain(Uint8Array.of(0xee)),
  ],
  ['FRM-2', 'an empty packet', () => new Puppet('initiator'), (p) => p.sendPlain(NOTHING)],
  [
    'FRM-2',
    'a frame that is cut short',
    () => new Puppet('initiator'),
    (p) => p.sendPlain(Uint8Array.of(FrameType.QUERY, 0)),
  ],
  [
    'ACK-7',
    'an acknowledgement of a control packet that was never sent',
    () => new Puppet('initiator'),
    (p) => p.send(ack(Space.CONTROL, 0, 1_000)),
  ],
  [
    'QRY-2',
    'a query id of the wrong parity',
    () => new Puppet('initiator'),
    (p) => p.send({ type: FrameType.QUERY, id: 4, kind: 1, body: NOTHING }),
  ],
  [
    'QRY-2',
    'a query id of the wrong parity at the other side',
    () => new Puppet('responder'),
    (p) => p.send({ type: FrameType.QUERY, id: 5, kind: 1, body: NOTHING }),
  ],
  [
    'QRY-5',
    'a reply to a query that was never asked',
    () => new Puppet('initiator'),
    (p) => p.send({ type: FrameType.REPLY, id: 0, code: 0, body: NOTHING }),
  ],
  [
    'QRY-5',
    'a reply to a query of its own',
    () => new Puppet('initiator'),
    (p) => p.send({ type: FrameType.REPLY, id: 1, code: 0, body: NOTHING }),
  ],
  [
    'QRY-7',
    'a query id too far ahead',
    () => new Puppet('initiator'),
    (p) => p.send({ type: FrameType.QUERY, id: 1 + 2 * (QUERY_IDS_AHEAD_MAX + 1), kind: 1, body: NOTHING }),
  ],
  ['FLOW-6', 'credit that opens more than was sealed', sending, (p) => p.send(credit(5_000, 1_001))],
  [
    'FLOW-6',
    'credit that opens what was sealed but not sent',
    limited,
    (p) => p.send(credit(100_000, 60_000)),
  ],
  [
    'FLOW-6',
    'a flow that is complete before its last record was sent',
    limited,
    (p) => p.send(credit(100_000, 80_000, true)),
  ],
  [
    'FLOW-6',
    'a flow that is complete before its last record',
    sending,
    (p) => p.send(credit(5_000, 1_000, true)),
  ],
  [
    'FLOW-6',
    'a flow that is complete before its empty last record was sent',
    () => {
      const puppet = new Puppet('initiator');
      const id = puppet.session.query(QUERY_KIND, NOTHING)!;
      puppet.session.openSend(id, 5_000);
      puppet.session.writeRecord(id, { encoding: 0, plainBytes: 900, dataLeft: -1, payload: pattern(900) });
      puppet.said();
      puppet.session.writeRecord(id, { encoding: 0, plainBytes: 0, dataLeft: 0, payload: NOTHING });
      return puppet;
    },
    (p) => p.send(credit(5_000, 900, true)),
  ],
  [
    'FLOW-3',
    'a record past the credit',
    receiving,
    (p) => p.record(0, 0, FLOW_WINDOW_BYTES - 999, -1, pattern(1_000)),
  ],
  [
    'REC-14',
    'a record without a whole header',
    receiving,
    (p) => p.segment({ flowId: 0, record: 0, payload: p.sealPlain(0, 0, pattern(5)) }),
  ],
  [
    'REC-14',
    'dataLeft below -1',
    receiving,
    (p) => {
      const plaintext = new Uint8Array(RECORD_HEADER_BYTES + 10);
      encodeRecordHeader({ encoding: 0, offset: 0, dataLeft: -1, plainBytes: 10 }, plaintext, 0);
      // The last byte of the 64-bit number, behind encoding and offset: -1 becomes -2.
      plaintext[14] = 0xfe;
      p.segment({ flowId: 0, record: 0, payload: p.sealPlain(0, 0, plaintext) });
    },
  ],
  [
    'REC-16',
    'a dataLeft that contradicts an earlier one',
    receiving,
    (p) => {
      p.record(0, 0, 0, 500, pattern(100));
      p.record(0, 1, 100, 401, pattern(100));
    },
  ],
  [
    'REC-16',
    'a record behind the end that was told',
    receiving,
    (p) => {
      p.record(0, 0, 0, 50, pattern(100));
      p.record(0, 1, 100, -1, pattern(51));
    },
  ],
  [
    'REC-16',
    'an end before a record that came early',
    receiving,
    (p) => {
      p.record(0, 1, 100, -1, pattern(100));
      p.record(0, 0, 0, 0, pattern(100));
    },
  ],
  [
    'REC-16',
    'a dataLeft that leaves no room for a record that came early',
    receiving,
    (p) => {
      p.record(0, 1, 100, -1, pattern(100));
      p.record(0, 0, 0, 50, pattern(100));
    },
  ],
  [
    'REC-16',
    'an empty record behind the last one',
    receiving,
    (p) => {
      p.record(0, 1, 100, 0, NOTHING);
      p.record(0, 0, 0, 0, pattern(100));
    },
  ],
  [
    'REC-19',
    'records that overlap',
    receiving,
    (p) => {
      p.record(0, 0, 0, -1, pattern(100));
      p.record(0, 1, 99, -1, pattern(100));
    },
  ],
  [
    'REC-19',
    'an early record that overlaps, as soon as it is in order',
    receiving,
    (p) => {
      p.record(0, 1, 99, -1, pattern(100));
      p.record(0, 0, 0, -1, pattern(100));
    },
  ],
  ['REC-19', 'records that leave a gap', receiving, (p) => p.record(0, 0, 1, -1, pattern(100))],
  ['REC-19', 'an empty record in the middle', receiving, (p) => p.record(0, 0, 0, -1, NOTHING)],
];

describe('an authenticated peer that breaks a rule loses the session with the clause', () => {
  it.each(CASES)('[%s] %s [SES-14]', (clause, _what, start, breakRule) => {
    const puppet = start();
    puppet.events();
    breakRule(puppet);
    expect(puppet.session.isOpen).toBe(false);
    const frames = puppet.frames();
    expect(clauseOf(frames)).toBe(clause);
    expect(frames).toHaveLength(1);
    // Behind the clause stands what was wrong, for people.
    expect(frames[0]).toMatchObject({ text: expect.stringMatching(/^\[[A-Z]+-\d+\] \S/) });
    expect(frames[0]).toMatchObject({ code: CloseCode.PROTOCOL });
    puppet.wait(seconds(1));
    expect(puppet.events().at(-1)).toMatchObject({ kind: 'closed', reason: 'protocol' });
  });
});

describe('what looks like a violation and is none', () => {
  it('is an acknowledgement of a segment that was never sent: segment numbers can be forged [ACK-7]', () => {
    const puppet = new Puppet('initiator');
    puppet.send(ack(Space.SEGMENT, 0, 1_000));
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is a query id as far ahead as allowed [QRY-7]', () => {
    const puppet = new Puppet('initiator');
    puppet.send({ type: FrameType.QUERY, id: 1 + 2 * QUERY_IDS_AHEAD_MAX, kind: 1, body: NOTHING });
    expect(puppet.events()).toMatchObject([{ kind: 'query' }]);
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is one missing query, however many others follow it', () => {
    const puppet = new Puppet('initiator');
    for (let sequence = 1; sequence < 2 * QUERY_IDS_AHEAD_MAX; sequence++) {
      puppet.send({ type: FrameType.QUERY, id: 1 + 2 * sequence, kind: 1, body: NOTHING });
      for (const event of puppet.events())
        if (event.kind === 'query') puppet.session.reply(event.id, 0, NOTHING);
      if (sequence % 100 === 0) puppet.wait(1_000);
    }
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is a second reply, and credit for a flow that has ended [QRY-5] [FLOW-12]', () => {
    const puppet = sending();
    puppet.send({ type: FrameType.REPLY, id: 0, code: 0, body: NOTHING });
    puppet.send({ type: FrameType.REPLY, id: 0, code: 0, body: NOTHING });
    puppet.session.reset(0, 10);
    puppet.send(credit(5_000, 4_000));
    expect(puppet.session.isOpen).toBe(true);
    expect(puppet.events().filter((event) => event.kind === 'reply')).toHaveLength(1);
  });

  it('is credit that was overtaken by newer credit: the limit never goes back', () => {
    const puppet = new Puppet('initiator');
    const id = puppet.session.query(QUERY_KIND, NOTHING)!;
    puppet.session.openSend(id, 0);
    puppet.said();
    puppet.send(credit(3_000, 0));
    puppet.send(credit(1_500, 0));
    puppet.session.writeRecord(id, { encoding: 0, plainBytes: 3_000, dataLeft: 0, payload: pattern(3_000) });
    expect(puppet.said().segments.length).toBeGreaterThan(0);
    expect(puppet.session.isOpen).toBe(true);
  });

  it('is a record that fills the credit to the last byte [FLOW-3]', () => {
    const puppet = receiving();
    puppet.record(0, 1, FLOW_WINDOW_BYTES - 1_000, 0, pattern(1_000));
    expect(puppet.session.isOpen).toBe(true);
  });
});
