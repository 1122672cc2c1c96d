/** What a session is made of and what it hands to its driver: types, and little else. */

import type { Micros } from '../base/units.ts';
import type { KeyObserver, Suite } from '../crypto/index.ts';
import type { CreditPool } from '../reliability/index.ts';
import type { SessionTag } from '../wire/index.ts';

/**
 * Takes down the keys of one direction of a session in one epoch: the direction whose packets carry `tag`.
 * Called for both directions, at the start and at every key update. The keys are borrowed for the call.
 */
export type KeyLog = (tag: SessionTag, epoch: number, controlKey: Uint8Array, recordKey: Uint8Array) => void;

/** `log` for the keys of the direction whose packets carry `tag`. */
export function keyObserver(log: KeyLog | undefined, tag: SessionTag): KeyObserver | undefined {
  return log && ((...keys) => log(tag, ...keys));
}

/** What one end declared in the handshake. */
export interface SessionParameters {
  readonly datagramBytesMax: number;
  readonly windowBytes: number;
  readonly idleMicros: Micros;
}

export interface SessionOptions {
  readonly suite: Suite;
  readonly side: 'initiator' | 'responder';
  readonly now: Micros;
  /** Traffic secrets of the two directions. Copied. */
  readonly sendSecret: Uint8Array;
  readonly receiveSecret: Uint8Array;
  readonly handshakeHash: Uint8Array;
  readonly localTag: SessionTag;
  readonly peerTag: SessionTag;
  readonly local: SessionParameters;
  readonly peer: SessionParameters;
  /** Receive memory, shared with the endpoint's other sessions. */
  readonly pool: CreditPool;
  /** Where the session's keys are logged because an operator asked for it; nowhere by default [LOG-1]. */
  readonly keyLog?: KeyLog | undefined;
  /** Sealings before the keys are updated [KEY-5]; fewer where a test wants it. */
  readonly keySealingsMax?: number;
  /** Sealings after which a session whose keys could not be updated ends [KEY-13]. */
  readonly keySealingsLimit?: number;
  /** Packet number of a space at which the session ends [PKT-17]. */
  readonly packetNumberLimit?: number;
}

/** A datagram, or several of equal size behind one another, written into the caller's buffer. */
export interface Transmit {
  readonly bytes: number;
  readonly segmentBytes: number;
}

/** Counts since the start; `dropped` by reason. */
export interface SessionCounts {
  datagramsSent: number;
  datagramsReceived: number;
  bytesSent: number;
  bytesReceived: number;
  segmentsSent: number;
  segmentsResent: number;
  readonly dropped: Map<string, number>;
}

export function noCounts(): SessionCounts {
  return {
    datagramsSent: 0,
    datagramsReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    segmentsSent: 0,
    segmentsResent: 0,
    dropped: new Map(),
  };
}
