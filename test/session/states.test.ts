import { describe, expect, it } from 'vitest';
import { micros, type PacketNumber, seconds } from '../../src/base/units.ts';
import {
  CloseCode,
  encodePacket,
  type Frame,
  FrameType,
  type Packet,
  PacketType,
  packetSize,
  ResultCode,
} from '../../src/wire/index.ts';
import { meaning, Puppet, pattern } from '../support/session-pair.ts';

const NOTHING = new Uint8Array(0);

/** Every kind of frame, each such that an open session takes no offence. */
const FRAMES: Record<string, Frame> = {
  PADDING: { type: FrameType.PADDING, bytes: 3 },
  PING: { type: FrameType.PING },
  ACK: {
    type: FrameType.ACK,
    space: 0,
    delayUnits: 0,
    ranges: [{ first: 0 as PacketNumber, last: 0 as PacketNumber }],
  },
  CLOSE: { type: FrameType.CLOSE, code: CloseCode.SHUTDOWN, text: 'bye' },
  QUERY: { type: FrameType.QUERY, id: 1, kind: 7, body: Uint8Array.of(1) },
  REPLY: { type: FrameType.REPLY, id: 0, code: ResultCode.OK, body: Uint8Array.of(2) },
  NOTICE: { type: FrameType.NOTICE, kind: 1, body: Uint8Array.of(3) },
  CREDIT: { type: FrameType.CREDIT, flowId: 0, limitBytes: 10_000, openedBytes: 0, complete: false },
  RESEND: { type: FrameType.RESEND, flowId: 0, record: 0 },
  STOP: { type: FrameType.STOP, flowId: 0, code: ResultCode.ABORTED },
  RESET: { type: FrameType.RESET, flowId: 0, code: ResultCode.ABORTED },
};

const tag = { high: 0, low: 0 };
const mac = new Uint8Array(16);
const FRONT_PACKETS: Record<string, Packet> = {
  HELLO: {
    type: PacketType.HELLO,
    version: 1,
    secretId: new Uint8Array(8),
    tag,
    cookie: undefined,
    noise: NOTHING,
    mac,
  },
  COOKIE: { type: PacketType.COOKIE, tag, cookie: new Uint8Array(24), clusterId: new Uint8Array(16), mac },
  WELCOME: { type: PacketType.WELCOME, tag, noise: new Uint8Array(48), mac },
  REFUSED: { type: PacketType.REFUSED, tag, code: 7, retryMillis: 5, mac },
};

function encode(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  return bytes;
}

/** An initiator with an outstanding query 0 and a flow of that id in both directions. */
function open(): Puppet {
  const puppet = new Puppet('initiator');
  const id = puppet.session.query(9, NOTHING)!;
  puppet.session.openSend(id, 2_000);
  puppet.session.openReceive(id, true);
  puppet.session.writeRecord(id, {
    encoding: 0,
    plainBytes: 1_000,
    dataLeft: 5_000,
    payload: pattern(1_000),
  });
  puppet.session.writeRecord(id, {
    encoding: 0,
    plainBytes: 3_000,
    dataLeft: 2_000,
    payload: pattern(3_000),
  });
  puppet.said();
  puppet.events();
  return puppet;
}

function closing(): Puppet {
  const puppet = open();
  puppet.session.close(micros(puppet.now), CloseCode.NORMAL, 'enough');
  expect(puppet.frames()).toEqual([{ type: FrameType.CLOSE, code: CloseCode.NORMAL, text: 'enough' }]);
  return puppet;
}

function closed(): Puppet {
  const puppet = open();
  puppet.send(FRAMES.CLOSE!);
  puppet.said();
  puppet.events();
  return puppet;
}

/** A responder that has heard nothing yet. */
function halfOpen(): Puppet {
  return new Puppet('responder', {}, true);
}

const SILENT = { events: [] as object[], frames: [] as object[], state: '' };
type Outcome = typeof SILENT;

/** What an input does to a state: events handed up, frames sent at once (but ACK, PING), next state. */
const TABLE: Record<string, Record<string, Outcome>> = {
  open: {
    PADDING: { ...SILENT, state: 'open' },
    PING: { ...SILENT, state: 'open' },
    ACK: { ...SILENT, state: 'open' },
    CLOSE: {
      events: [{ kind: 'closed', reason: 'peer', code: CloseCode.SHUTDOWN, text: 'bye' }],
      frames: [{ type: FrameType.CLOSE, code: CloseCode.NORMAL, text: '' }],
      state: 'closed',
    },
    QUERY: { ...SILENT, events: [{ kind: 'query', id: 1, query: 7, body: Uint8Array.of(1) }], state: 'open' },
    REPLY: { ...SILENT, events: [{ kind: 'reply', id: 0, code: 0, body: Uint8Array.of(2) }], state: 'open' },
    NOTICE: { ...SILENT, events: [{ kind: 'notice', notice: 1, body: Uint8Array.of(3) }], state: 'open' },
    CREDIT: { ...SILENT, events: [{ kind: 'writable', flowId: 0 }], state: 'open' },
    RESEND: { ...SILENT, state: 'open' },
    STOP: {
      ...SILENT,
      events: [{ kind: 'flow-ended', flowId: 0, sending: true, code: ResultCode.ABORTED }],
      state: 'open',
    },
    RESET: {
      ...SILENT,
      events: [{ kind: 'flow-ended', flowId: 0, sending: false, code: ResultCode.ABORTED }],
      state: 'open',
    },
  },
  // While closing, everything is answered by our CLOSE again; only a CLOSE ends it.
  closing: Object.fromEntries(
    Object.keys(FRAMES).map((kind) => [
      kind,
      kind === 'CLOSE'
        ? {
            events: [{ kind: 'closed', reason: 'local', code: 0, text: 'enough' }],
            frames: [],
            state: 'closed',
          }
        : { events: [], frames: [{ type: FrameType.CLOSE, code: 0, text: 'enough' }], state: 'closing' },
    ]),
  ),
  closed: Object.fromEntries(Object.keys(FRAMES).map((kind) => [kind, { ...SILENT, state: 'closed' }])),
};

function stateOf(puppet: Puppet): string {
  if (puppet.session.isOpen) return puppet.session.isLive ? 'open' : 'half-open';
  return puppet.session.nextTimeout() === undefined ? 'closed' : 'closing';
}

const START: Record<string, () => Puppet> = { open, closing, closed };

for (const [state, inputs] of Object.entries(TABLE)) {
  describe(`a session that is ${state}`, () => {
    it.each(Object.entries(inputs))('takes %s as the table says', (kind, outcome) => {
      const puppet = START[state]!();
      expect(stateOf(puppet)).toBe(state);
      puppet.send(FRAMES[kind]!);
      expect(puppet.events()).toEqual(outcome.events);
      expect(meaning(puppet.said().frames)).toEqual(outcome.frames);
      expect(stateOf(puppet)).toBe(outcome.state);
    });

    it.each(Object.entries(FRONT_PACKETS))('drops a %s, which belongs to the front port', (_kind, packet) => {
      const puppet = START[state]!();
      puppet.deliver(encode(packet));
      expect(puppet.events()).toEqual([]);
      expect(puppet.said()).toEqual({ frames: [], segments: [] });
      expect(stateOf(puppet)).toBe(state);
      if (state !== 'closed') expect(puppet.dropped('front packet')).toBe(1);
    });

    it('takes a SEGMENT only while it is open', () => {
      const puppet = START[state]!();
      puppet.record(0, 0, 0, 10, pattern(100));
      expect(puppet.events()).toEqual(state === 'open' ? [{ kind: 'readable', flowId: 0 }] : []);
      expect(stateOf(puppet)).toBe(state);
    });

    it('takes nothing from the driver unless it is open', () => {
      const puppet = START[state]!();
      const isOpen = state === 'open';
      expect(puppet.session.query(1, NOTHING) !== undefined).toBe(isOpen);
      expect(puppet.session.openSend(8, 0)).toBe(isOpen);
      expect(puppet.session.openReceive(8, false) > 0).toBe(isOpen);
      puppet.session.notify(1, NOTHING);
      puppet.session.reply(1, 0, NOTHING);
      puppet.session.close(micros(puppet.now));
      expect(meaning(puppet.said().frames).every(({ type }) => type === FrameType.CLOSE)).toBe(true);
    });
  });
}

describe('a session that is half-open', () => {
  it.each(Object.entries(FRAMES))('becomes live with the first sealed packet: %s', (kind, frame) => {
    if (kind === 'ACK' || kind === 'REPLY') return;
    const puppet = halfOpen();
    expect(stateOf(puppet)).toBe('half-open');
    // Here the peer is the initiator: its queries are even.
    puppet.send(frame.type === FrameType.QUERY ? { ...frame, id: 0 } : frame);
    expect(puppet.events()[0]).toEqual({ kind: 'live' });
    expect(stateOf(puppet)).toBe(kind === 'CLOSE' ? 'closed' : 'open');
  });

  it('does not become live by anything that is not authenticated [SES-9]', () => {
    const puppet = halfOpen();
    for (const packet of Object.values(FRONT_PACKETS)) puppet.deliver(encode(packet));
    puppet.segment({ flowId: 0, record: 0, payload: pattern(100) });
    const forged = new Puppet('responder').send({ type: FrameType.PING });
    forged[30]! ^= 1;
    puppet.deliver(forged);
    expect(stateOf(puppet)).toBe('half-open');
    expect(puppet.events()).toEqual([]);
  });

  it('is given up after three seconds [SES-4]', () => {
    const puppet = halfOpen();
    puppet.wait(seconds(3) - 1);
    expect(puppet.events()).toEqual([]);
    puppet.wait(1);
    expect(puppet.events()).toMatchObject([{ kind: 'closed', reason: 'idle' }]);
    expect(stateOf(puppet)).toBe('closed');
  });
});
