/** Capture files for dissectors: UDP over IPv4 in the pcap format, written by hand, without rights to capture. */

const MAGIC_MICROS = 0xa1b2c3d4;
const LINKTYPE_RAW = 101;
const SNAP_BYTES = 262_144;
const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;
const IP_BYTES = 20;
const UDP_BYTES = 8;
const PROTOCOL_UDP = 17;

export interface CapturedDatagram {
  readonly fromPort: number;
  readonly toPort: number;
  readonly bytes: Uint8Array;
  /** How much of the IP packet the capture kept; all of it by default. */
  readonly keptBytes?: number;
}

/** A capture of `datagrams` between ports of 127.0.0.1, a millisecond apart. */
export function pcapOf(datagrams: readonly CapturedDatagram[]): Buffer {
  const header = Buffer.alloc(FILE_HEADER_BYTES);
  header.writeUInt32LE(MAGIC_MICROS, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(SNAP_BYTES, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  return Buffer.concat([header, ...datagrams.flatMap(recordOf)]);
}

function recordOf(datagram: CapturedDatagram, index: number): Buffer[] {
  const packet = ipPacketOf(datagram);
  const kept = packet.subarray(0, datagram.keptBytes ?? packet.length);
  const header = Buffer.alloc(RECORD_HEADER_BYTES);
  header.writeUInt32LE(Math.floor(index / 1_000), 0);
  header.writeUInt32LE((index % 1_000) * 1_000, 4);
  header.writeUInt32LE(kept.length, 8);
  header.writeUInt32LE(packet.length, 12);
  return [header, kept];
}

function ipPacketOf({ fromPort, toPort, bytes }: CapturedDatagram): Buffer {
  const packet = Buffer.alloc(IP_BYTES + UDP_BYTES + bytes.length);
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet[8] = 64;
  packet[9] = PROTOCOL_UDP;
  packet.set([127, 0, 0, 1], 12);
  packet.set([127, 0, 0, 1], 16);
  let sum = 0;
  for (let at = 0; at < IP_BYTES; at += 2) sum += packet.readUInt16BE(at);
  packet.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10);
  packet.writeUInt16BE(fromPort, IP_BYTES);
  packet.writeUInt16BE(toPort, IP_BYTES + 2);
  // The checksum stays 0: none was computed.
  packet.writeUInt16BE(UDP_BYTES + bytes.length, IP_BYTES + 4);
  packet.set(bytes, IP_BYTES + UDP_BYTES);
  return packet;
}
