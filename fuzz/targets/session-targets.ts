/**
 * An established session under three kinds of input: frames with the key, records with the key, and
 * datagrams of somebody on the path without one.
 */

import type { Random } from '../../sim/random.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { millis, seconds } from '../../src/base/units.ts';
import { encodeRecordHeader, RECORD_HEADER_BYTES } from '../../src/wire/index.ts';
import { type Layout, LayoutBuilder, numberAt, putNumber } from '../engine/layout.ts';
import { type Step, type StepText, scriptLayout, scriptOf, stepsOf } from '../engine/script.ts';
import { check, type Target } from '../engine/target.ts';
import { encodedFrames } from './codec-targets.ts';
import { HonestTransfer } from './honest-transfer.ts';
import { SessionPeer, TAGS } from './session-peer.ts';
import { compressedRecord } from './store-targets.ts';
import { bytesUpTo, frames, unsigned } from './values.ts';
import { datagramLayout, framesLayout, recordLayout } from './wire-layouts.ts';

const SCRIPT_BYTES_MAX = 8_192;

// ---------------------------------------------------------------- scripts of a peer with the keys

/** What a step of a peer does; its content, where it has one. */
const PeerStep = {
  /** Frames: the plaintext of a packet. */
  FRAMES: 0,
  /** u16 numbers left out, then frames. */
  FRAMES_AHEAD: 1,
  /** u8 flow, u8 record, u8 segments, then an opened record. */
  RECORD: 2,
  /** u8 flow, u8 record, u32 offset, u32 sealed bytes, payload: a segment of nothing. */
  SEGMENT: 3,
  /** u16: how many times 128 us pass. */
  WAIT: 4,
  /** u8 action, u8 flow, then what the action takes: the driver does something. */
  LOCAL: 5,
  /** A datagram; the tag of its first packet is set right. */
  DATAGRAM: 6,
  UPDATE_KEYS: 7,
} as const;
const PEER_STEPS = 8;
const RECORD_HEAD_BYTES = 3;
const LOCAL_ACTIONS = 9;
const WAIT_MICROS = 128;
/** First byte of a script: which side the session is of, whether honest sessions run beside it. */
const IS_RESPONDER = 1;
const HAS_COMPANY = 2;
const COMPANY_MICROS = 300;

function peerLayout(input: Uint8Array): Layout {
  return scriptLayout(input, 1, ({ operation, content }: Step) => {
    const layout = new LayoutBuilder();
    switch (operation % PEER_STEPS) {
      case PeerStep.FRAMES:
        return framesLayout(content);
      case PeerStep.FRAMES_AHEAD:
        layout.number(0, 2);
        layout.nested(2, framesLayout(content.subarray(2)));
        return layout;
      case PeerStep.RECORD:
        for (let at = 0; at < RECORD_HEAD_BYTES; at++) layout.number(at, 1);
        layout.nested(RECORD_HEAD_BYTES, recordLayout(content.subarray(RECORD_HEAD_BYTES)));
        return layout;
      case PeerStep.SEGMENT:
        layout.number(0, 1);
        layout.number(1, 1);
        layout.number(2, 4);
        layout.number(6, 4);
        return layout;
      case PeerStep.WAIT:
        layout.number(0, 2);
        return layout;
      case PeerStep.LOCAL:
        for (let at = 0; at < 4; at++) layout.number(at, 1);
        return layout;
      case PeerStep.DATAGRAM:
        return datagramLayout(content);
      default:
        return layout;
    }
  });
}

function runPeerScript(input: Uint8Array): string {
  const flags = input[0] ?? 0;
  const peer = new SessionPeer((flags & IS_RESPONDER) !== 0 ? 'responder' : 'initiator');
  const company = (flags & HAS_COMPANY) === 0 ? undefined : beside(peer);
  for (const { operation, content } of stepsOf(input, 1)) {
    carryOut(peer, operation % PEER_STEPS, content);
    company?.run(COMPANY_MICROS);
  }
  const word = peer.finalWord();
  if (company !== undefined) {
    company.finish(seconds(20));
    check(company.done, `an honest transfer beside it did not end (${company.ended ?? 'nothing said'})`);
  }
  return word;
}

/** An honest transfer into the endpoint under test, under way when the fuzzer begins. */
function beside(peer: SessionPeer): HonestTransfer {
  const transfer = new HonestTransfer({ pool: peer.pool, bytes: 60_000, recordBytes: 20_000 });
  transfer.run(millis(1));
  return transfer;
}

function carryOut(peer: SessionPeer, operation: number, content: Uint8Array): void {
  switch (operation) {
    case PeerStep.FRAMES:
      return peer.frames(content);
    case PeerStep.FRAMES_AHEAD:
      return peer.frames(content.subarray(2), numberAt(content, 0, 2));
    case PeerStep.RECORD: {
      const [flow = 0, record = 0, parts = 0] = content;
      return peer.record(flow, record, content.subarray(RECORD_HEAD_BYTES), 1 + (parts % 8));
    }
    case PeerStep.SEGMENT: {
      const [flow = 0, record = 0] = content;
      const payload = content.subarray(10, 10 + 1_400);
      return peer.segment(flow, record, numberAt(content, 2, 4), numberAt(content, 6, 4), payload);
    }
    case PeerStep.WAIT:
      return peer.wait(numberAt(content, 0, 2) * WAIT_MICROS);
    case PeerStep.LOCAL:
      return actLocally(peer, content);
    case PeerStep.DATAGRAM: {
      const bytes = content.slice();
      const tag = TAGS[peer.side];
      putNumber(bytes, 4, 4, tag.high);
      putNumber(bytes, 8, 4, tag.low);
      return peer.datagram(bytes);
    }
    default:
      return peer.updateKeys();
  }
}

/** The driver of the session does something of its own accord, with one of the queries that it knows. */
function actLocally(peer: SessionPeer, content: Uint8Array): void {
  const [action = 0, which = 0, amount = 0] = content;
  const { session, ids } = peer;
  const id = ids[which % Math.max(1, ids.length)];
  switch (action % LOCAL_ACTIONS) {
    case 0:
      peer.query(amount, content.subarray(3));
      break;
    case 1:
      session.notify(amount, content.subarray(3, 1_027));
      break;
    case 2:
      if (id !== undefined) peer.openReceive(id, amount % 2 === 1);
      break;
    case 3:
      if (id !== undefined) peer.openSend(id, amount * 1_024, 1_000 + amount * 40);
      break;
    case 4:
      if (id !== undefined) session.stop(id, amount);
      break;
    case 5:
      if (id !== undefined) session.reset(id, amount);
      break;
    case 6:
      peer.readsFlows = amount % 2 === 0;
      if (peer.readsFlows) peer.readOn();
      break;
    case 7:
      session.handleRefused(peer.now as never);
      break;
    default:
      if (amount === 255) session.close(peer.now as never);
  }
  peer.settle();
}

function localStep(action: number, which: number, amount: number, rest?: Uint8Array): StepText {
  return {
    operation: PeerStep.LOCAL,
    content: concatBytes(Uint8Array.of(action, which, amount), rest ?? new Uint8Array(0)),
  };
}

function waitStep(random: Random): StepText {
  const content = new Uint8Array(2);
  putNumber(content, 0, 2, random.chance(0.1) ? random.integer(65_536) : random.integer(200));
  return { operation: PeerStep.WAIT, content };
}

// ---------------------------------------------------------------- frames

const sessionFrames: Target = {
  name: 'session-frames',
  description: 'an established session: sealed frames of a peer that has the key',
  weight: 3,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const flags = random.integer(2) | (random.chance(0.15) ? HAS_COMPANY : 0);
    // The peer's own queries count up from 0 or 1; replies and flows mostly belong to what was asked.
    const ours = (flags & IS_RESPONDER) !== 0 ? 0 : 1;
    let nextId = ours;
    const id = (): number => {
      if (random.chance(0.05)) return unsigned(random, 32);
      if (random.chance(0.4)) return 1 - ours + 2 * random.integer(2);
      const taken = random.chance(0.5) ? nextId : ours + 2 * random.integer(3);
      nextId = Math.max(nextId, taken + 2);
      return taken;
    };
    const steps = Array.from({ length: 1 + random.integer(8) }, () => {
      const choice = random.integer(10);
      if (choice < 6) return { operation: PeerStep.FRAMES, content: encodedFrames(frames(random, 4, id)) };
      if (choice < 7) {
        const ahead = new Uint8Array(2);
        putNumber(ahead, 0, 2, random.chance(0.5) ? random.integer(4) : unsigned(random, 16));
        const content = concatBytes(ahead, encodedFrames(frames(random, 2, id)));
        return { operation: PeerStep.FRAMES_AHEAD, content };
      }
      if (choice < 8) return waitStep(random);
      const rest = bytesUpTo(random, 40);
      return localStep(random.integer(LOCAL_ACTIONS), random.integer(4), random.integer(256), rest);
    });
    return scriptOf(Uint8Array.of(flags), steps);
  },
  layout: peerLayout,
  run: runPeerScript,
};

// ---------------------------------------------------------------- records

/** A flow from the peer: valid records that tile it, in any order, cut into segments. */
function recordSteps(random: Random, flow: number): StepText[] {
  const count = 1 + random.integer(5);
  let offset = 0;
  const knowsEnd = random.chance(0.7);
  const bodies = Array.from({ length: count }, (_, index) => {
    const opened = random.chance(0.5) ? compressedRecord(random) : undefined;
    const isSmall = opened !== undefined && opened.length < 1_000;
    const payload = isSmall ? opened.subarray(RECORD_HEADER_BYTES) : random.bytes(1 + random.integer(400));
    const encoding = isSmall && opened[0] === 1 ? (1 as const) : (0 as const);
    const plainBytes = encoding === 1 ? numberAt(opened!, 15, 4) : payload.length;
    const isLast = index === count - 1;
    const body = { payload, encoding, plainBytes, offset, isLast };
    offset += plainBytes;
    return body;
  });
  const steps = bodies.map(({ payload, encoding, plainBytes, offset: start, isLast }, index) => {
    const dataLeft = isLast ? 0 : knowsEnd ? offset - start - plainBytes : -1;
    const record = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
    encodeRecordHeader({ encoding, offset: start, dataLeft, plainBytes }, record, 0);
    record.set(payload, RECORD_HEADER_BYTES);
    const parts = random.chance(0.5) ? 0 : random.integer(8);
    return { operation: PeerStep.RECORD, content: concatBytes(Uint8Array.of(flow, index, parts), record) };
  });
  return random.chance(0.3) ? steps.reverse() : steps;
}

const sessionRecords: Target = {
  name: 'session-records',
  description: 'an established session: sealed records and segments of a peer that has the key',
  weight: 2,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const flags = random.integer(2) | (random.chance(0.15) ? HAS_COMPANY : 0);
    const flow = (flags & IS_RESPONDER) !== 0 ? 1 : 0;
    // The session asks, and opens the flow that answers.
    const steps = [localStep(0, 0, 2), localStep(2, 0, 1), ...recordSteps(random, flow)];
    for (let more = random.integer(3); more > 0; more--) {
      const at = 2 + random.integer(steps.length - 1);
      const choice = random.integer(6);
      if (choice === 0) steps.splice(at, 0, { operation: PeerStep.UPDATE_KEYS, content: new Uint8Array(0) });
      else if (choice === 1) steps.splice(at, 0, waitStep(random));
      else if (choice === 2) steps.splice(at, 0, localStep(6, 0, random.integer(2)));
      else {
        const head = concatBytes(Uint8Array.of(flow, random.integer(4)), new Uint8Array(8));
        putNumber(head, 2, 4, random.integer(300));
        putNumber(head, 6, 4, unsigned(random, 17));
        steps.splice(at, 0, { operation: PeerStep.SEGMENT, content: concatBytes(head, random.bytes(40)) });
      }
    }
    return scriptOf(Uint8Array.of(flags), steps);
  },
  layout: peerLayout,
  run: runPeerScript,
};

// ---------------------------------------------------------------- datagrams of a stranger on the path

/** What somebody on the path does between two honest sessions. */
const PathStep = {
  /** u8 end, then a datagram; its first tag is set right. */
  FORGE: 0,
  /** u8 end, u8 which of the last datagrams, then changes of 4 bytes each: kind, u16 place, value. */
  CHANGE: 1,
  /** u16: how many times 32 us pass. */
  WAIT: 2,
  /** u8: how many datagrams get lost. */
  DROP: 3,
  /** u8 end, u8 one, u8 other: two datagrams glued together. */
  GLUE: 4,
} as const;
const PATH_STEPS = 5;
const PATH_WAIT_MICROS = 32;
const TAMPERED = 'flow ended: 14';

function pathLayout(input: Uint8Array): Layout {
  return scriptLayout(input, 0, ({ operation, content }: Step) => {
    const layout = new LayoutBuilder();
    layout.number(0, 1);
    switch (operation % PATH_STEPS) {
      case PathStep.FORGE:
        layout.nested(1, datagramLayout(content.subarray(1)));
        return layout;
      case PathStep.CHANGE:
        layout.number(1, 1);
        for (let at = 2; at + 4 <= content.length; at += 4) {
          layout.number(at, 1);
          layout.number(at + 1, 2);
          layout.number(at + 3, 1);
          layout.item(at, 4);
        }
        return layout;
      default:
        layout.number(1, 1);
        layout.number(2, 1);
        return layout;
    }
  });
}

function runPathScript(input: Uint8Array): string {
  const transfer = new HonestTransfer({ bytes: 24_000, recordBytes: 7_000 });
  transfer.run(PATH_WAIT_MICROS);
  for (const { operation, content } of stepsOf(input, 0)) {
    interfere(transfer, operation % PATH_STEPS, content);
    transfer.run(PATH_WAIT_MICROS);
  }
  transfer.drops = 0;
  transfer.finish(seconds(60));
  // [REC-18] Whoever is on the path can spoil a flow; it is never cut short or changed in silence.
  if (transfer.ended === TAMPERED) return 'tampered';
  check(transfer.ended === undefined, `somebody without the key ended a session: ${transfer.ended}`);
  check(transfer.done, 'the transfer did not end');
  return 'delivered';
}

function interfere(transfer: HonestTransfer, operation: number, content: Uint8Array): void {
  const [end = 0, one = 0, other = 0] = content;
  const to = end % 2 === 0 ? transfer.right : transfer.left;
  const tag = end % 2 === 0 ? TAGS.responder : TAGS.initiator;
  const late = (back: number): Uint8Array => transfer.captured.at(-1 - (back % transfer.captured.length))!;
  switch (operation) {
    case PathStep.FORGE: {
      const bytes = content.slice(1);
      putNumber(bytes, 4, 4, tag.high);
      putNumber(bytes, 8, 4, tag.low);
      return transfer.inject(to, bytes);
    }
    case PathStep.CHANGE:
      return transfer.inject(to, withChanges(late(one), content.subarray(2)));
    case PathStep.WAIT:
      return transfer.run(numberAt(content, 0, 2) * PATH_WAIT_MICROS);
    case PathStep.DROP:
      transfer.drops = end % 32;
      return;
    default:
      return transfer.inject(to, concatBytes(late(one), late(other)));
  }
}

function withChanges(datagram: Uint8Array, changes: Uint8Array): Uint8Array {
  let bytes = datagram.slice();
  for (let at = 0; at + 4 <= changes.length; at += 4) {
    const place = numberAt(changes, at + 1, 2) % Math.max(1, bytes.length);
    const value = changes[at + 3]!;
    switch (changes[at]! % 4) {
      case 0:
        bytes[place] = value;
        break;
      case 1:
        bytes[place] = (bytes[place] ?? 0) ^ (1 << (value % 8));
        break;
      case 2:
        bytes = bytes.slice(0, place);
        break;
      default:
        bytes[place] = ((bytes[place] ?? 0) + value) & 0xff;
    }
  }
  return bytes;
}

const sessionDatagrams: Target = {
  name: 'session-datagrams',
  description: 'two established sessions: datagrams of somebody on the path without the key',
  weight: 2,
  inputBytesMax: SCRIPT_BYTES_MAX,
  generate(random) {
    const end = (): number => random.integer(2);
    const steps = Array.from({ length: 1 + random.integer(6) }, () => {
      const choice = random.integer(8);
      if (choice < 4) {
        const header = Array.from({ length: 1 + random.integer(3) }, () => [
          random.integer(4),
          0,
          random.integer(36),
          random.integer(256),
        ]);
        const content = Uint8Array.from([end(), random.integer(24), ...header.flat()]);
        return { operation: PathStep.CHANGE, content };
      }
      if (choice < 5) {
        const segment = new Uint8Array(34 + 40);
        segment.set([6, 0, 0, segment.length]);
        putNumber(segment, 12, 6, random.integer(70_000));
        putNumber(segment, 22, 4, random.integer(5));
        putNumber(segment, 26, 4, random.integer(7_000));
        putNumber(segment, 30, 4, random.pick([7_035, 65_571, random.integer(65_572)]));
        return { operation: PathStep.FORGE, content: concatBytes(Uint8Array.of(end()), segment) };
      }
      if (choice < 6) return { operation: PathStep.WAIT, content: Uint8Array.of(0, random.integer(60)) };
      if (choice < 7) return { operation: PathStep.DROP, content: Uint8Array.of(random.integer(6)) };
      const content = Uint8Array.of(end(), random.integer(24), random.integer(24));
      return { operation: PathStep.GLUE, content };
    });
    return scriptOf(new Uint8Array(0), steps);
  },
  layout: pathLayout,
  run: runPathScript,
};

export const sessionTargets: readonly Target[] = [sessionFrames, sessionRecords, sessionDatagrams];
