/** Captures for the tests of the dissector, and what it should say of them. */

import { createDecipheriv, randomBytes } from 'node:crypto';
import type { Random } from '../../sim/random.ts';
import { formatKeyLine } from '../../src/key-log.ts';
import type { KeyLog } from '../../src/session/index.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import {
  decodeFrames,
  decodePacket,
  isFailure,
  type Packet,
  packetLength,
  type SealedPacket,
} from '../../src/wire/index.ts';
import { collect, TestCluster } from './cluster.ts';
import type { CapturedDatagram } from './pcap.ts';
import { tappedHost } from './tapped-host.ts';
import type { Row } from './tshark.ts';

export const OBJECT = randomBytes(140_000);
/** What must stand nowhere, whatever the bytes are: the dissector itself failed. */
export const FAULTS = ['_ws.malformed.expert', '_ws.malformed.dissector_bug', '_ws.lua.error'] as const;
/** What stands where bytes are damaged. */
export const DAMAGE = [
  '_ws.malformed',
  'gramline.damaged',
  'gramline.unsealed',
  'gramline.bad_frames',
] as const;
export const PLAIN = ['gramline.type', 'gramline.tag', 'gramline.number'] as const;
export const DEEP = ['gramline.frame', 'gramline.epoch', 'gramline.payload', 'gramline.msg.hash'] as const;
export const EVERYTHING = [...PLAIN, ...DEEP, ...FAULTS, ...DAMAGE] as const;

/** Lines that a process would have written. */
export function logging(lines: string[]): KeyLog {
  return (...keys) => void lines.push(formatKeyLine(...keys));
}

export function packetsOf(bytes: Uint8Array): Packet[] {
  const packets: Packet[] = [];
  for (let at = 0; at < bytes.length; at += packetLength(bytes, at)) {
    const packet = decodePacket(bytes, at);
    if (isFailure(packet)) throw new Error(`not a packet: ${packet}`);
    packets.push(packet);
  }
  return packets;
}

/** The frames of a packet, by the keys of the log and Node's own cipher. */
export function framesOf(packet: SealedPacket, keyLog: string) {
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(packet.number), 4);
  for (const line of keyLog.split('\n')) {
    const [, tag, epoch, control] = line.split(' ');
    if (tag !== tagOf(packet) || Number(epoch) % 4 !== packet.epochBits) continue;
    const cipher = createDecipheriv('aes-256-gcm', Buffer.from(control!, 'hex'), nonce);
    cipher.setAAD(packet.header).setAuthTag(packet.sealed.subarray(-16));
    try {
      const frames = decodeFrames(
        Buffer.concat([cipher.update(packet.sealed.subarray(0, -16)), cipher.final()]),
      );
      if (!isFailure(frames)) return frames;
    } catch {
      // Another epoch's key.
    }
  }
  throw new Error('no key opens this packet');
}

export function tagOf({ tag }: { readonly tag: { readonly high: number; readonly low: number } }): string {
  return Buffer.from(
    [tag.high, tag.low].flatMap((word) => [24, 16, 8, 0].map((shift) => word >>> shift)),
  ).toString('hex');
}

export const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0')}`;

/** What tshark is to say of the plaintext of `bytes`. */
export function plainOf(bytes: Uint8Array): Row {
  const packets = packetsOf(bytes);
  return {
    'gramline.type': packets.map(({ type }) => hex(type)),
    'gramline.tag': packets.map(tagOf),
    'gramline.number': packets.flatMap((packet) => ('number' in packet ? [String(packet.number)] : [])),
  };
}

export const picked = (row: Row, fields: readonly string[]): Row =>
  Object.fromEntries(fields.map((field) => [field, row[field]!]));

export const valuesOf = (rows: readonly Row[], fields: readonly string[]): string[] =>
  rows.flatMap((row) => fields.flatMap((field) => row[field]!));

/** A cluster's whole life on loopback, as seen on the wire, and its keys. */
export async function captureCluster(): Promise<{
  datagrams: CapturedDatagram[];
  keyLog: string;
  hash: string;
}> {
  const wire = tappedHost(plainHost);
  const lines: string[] = [];
  const cluster = await TestCluster.open({ nodes: 2, transport: { host: wire, keyLog: logging(lines) } });
  const app = cluster.client();
  const { hash } = await app.put(OBJECT, { replicas: 2 });
  await collect(app.get(hash));
  await app.status();
  await Promise.all([app.whereIs(hash), app.whereIs('00'.repeat(32)).catch(() => undefined)]);
  await app.rm(hash);
  await cluster.close();
  const datagrams = wire.seen
    .filter(({ direction }) => direction === 'received')
    .map(({ localPort, peer, bytes }) => ({ fromPort: peer!.port, toPort: localPort, bytes }));
  return { datagrams, keyLog: lines.join(''), hash };
}

/** `bytes` with some changed, cut, repeated or glued behind others. */
export function mutated(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Buffer.from(bytes);
  switch (random.integer(4)) {
    case 0:
      return copy.subarray(0, random.integer(copy.length) + 1);
    case 1:
      return Buffer.concat([copy, copy.subarray(random.integer(copy.length))]);
    case 2:
      return Uint8Array.from(copy, (byte, index) => (index < 4 ? byte : random.integer(256)));
    default:
      for (let count = 0; count < 4; count++) copy[random.integer(copy.length)] = random.integer(256);
      return copy;
  }
}
