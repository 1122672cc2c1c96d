/** What a session by hand is made of, and what it has to tell. */

import type { Suite } from '../src/crypto/index.ts';
import type { Frame, SegmentPacket, SessionTag } from '../src/wire/index.ts';
import type { Endpoint, UdpPort } from './udp-port.ts';

export interface RawSessionOptions {
  readonly suite: Suite;
  readonly port: UdpPort;
  readonly to: Endpoint;
  readonly side: 'initiator' | 'responder';
  readonly sendSecret: Uint8Array;
  readonly receiveSecret: Uint8Array;
  readonly handshakeHash: Uint8Array;
  readonly localTag: SessionTag;
  readonly peerTag: SessionTag;
  readonly local: { readonly datagramBytesMax: number; readonly windowBytes: number };
  readonly peer: {
    readonly datagramBytesMax: number;
    readonly windowBytes: number;
    readonly idleMillis: number;
  };
}

/** How a SEALED packet is made; what is left out is as it should be. */
export interface SealOptions {
  readonly number?: number;
  /** Epoch whose keys seal it. */
  readonly epoch?: number;
  /** Flags byte of the header; the epoch modulo 4 otherwise. */
  readonly flags?: number;
  readonly tag?: SessionTag;
  readonly type?: number;
  /** Changes the header after sealing: then it is not what was authenticated. */
  readonly spoil?: (packet: Uint8Array) => void;
}

/** A SEALED packet of the other end that opened. */
export interface ReceivedPacket {
  readonly number: number;
  readonly epochBits: number;
  readonly frames: readonly Frame[];
  readonly atMillis: number;
  readonly datagramBytes: number;
}

/** A SEGMENT packet of the other end. */
export interface ReceivedSegment extends SegmentPacket {
  readonly atMillis: number;
  readonly datagramBytes: number;
}

export interface Answer {
  readonly code: number;
  readonly body: Uint8Array;
}
