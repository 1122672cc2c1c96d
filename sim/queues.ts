/**
 * Where datagrams of several senders meet, each place with room for so many bytes and no more: the
 * port of a switch, and the buffer of a socket whose process reads only so fast. Both are off until
 * asked for. `virtual-network.ts` applies them.
 */

import { DATAGRAM_OVERHEAD_BYTES } from './faults.ts';

/** The port of a switch that leads to one host: all that is sent to the host passes it. */
export interface SwitchPort {
  readonly bytesPerSecond: number;
  /** Most bytes that wait; what does not fit is dropped at the tail. */
  readonly queueBytes: number;
}

/** How a host takes in what arrives. */
export interface ReceiveLimits {
  /** Most bytes that wait in one socket, {@link SOCKET_OVERHEAD_BYTES} a datagram included; what does not fit is dropped. */
  readonly bufferBytes: number;
  /** Payload bytes that the host reads in a second, from all its sockets together. */
  readonly bytesPerSecond: number;
  /** What the host does for each datagram, however short, is worth so many bytes. */
  readonly datagramBytes: number;
}

/** What the kernel counts of a socket's buffer for a datagram beyond its payload. */
export const SOCKET_OVERHEAD_BYTES = 768;
/** Share of a socket's buffer that a host tells its peers of, since the kernel counts its own overhead. */
export const SOCKET_USABLE_SHARE = 0.5;

const MICROS_PER_SECOND = 1_000_000;

/** A line that serves at a rate, with a waiting room that overflows at its tail. */
export class TailDrop {
  #freeMicros = 0;

  /** When `bytes` that came now have been served; undefined when they found no room. */
  serve(nowMicros: number, bytes: number, port: SwitchPort): number | undefined {
    const startMicros = Math.max(this.#freeMicros, nowMicros);
    const waitingBytes = ((startMicros - nowMicros) * port.bytesPerSecond) / MICROS_PER_SECOND;
    // An idle line takes any datagram: the queue is for those that wait.
    if (waitingBytes > 0 && waitingBytes + bytes > port.queueBytes) return undefined;
    this.#freeMicros = startMicros + (bytes * MICROS_PER_SECOND) / port.bytesPerSecond;
    return this.#freeMicros;
  }
}

/** What a datagram takes of the wire. */
export function wireBytes(payloadBytes: number): number {
  return payloadBytes + DATAGRAM_OVERHEAD_BYTES;
}

/** Bytes that wait in one socket. */
export class SocketBuffer {
  #waitingBytes = 0;

  /** Takes room for a datagram; false when there is not enough. */
  take(payloadBytes: number, bufferBytes: number): boolean {
    const bytes = payloadBytes + SOCKET_OVERHEAD_BYTES;
    if (this.#waitingBytes + bytes > bufferBytes) return false;
    this.#waitingBytes += bytes;
    return true;
  }

  give(payloadBytes: number): void {
    this.#waitingBytes -= payloadBytes + SOCKET_OVERHEAD_BYTES;
  }
}

/** The one process of a host that reads all its sockets in turn. */
export class Reader {
  #freeMicros = 0;

  /** When a datagram that came now has been read. */
  read(nowMicros: number, payloadBytes: number, limits: ReceiveLimits): number {
    const work = payloadBytes + limits.datagramBytes;
    this.#freeMicros =
      Math.max(this.#freeMicros, nowMicros) + (work * MICROS_PER_SECOND) / limits.bytesPerSecond;
    return this.#freeMicros;
  }
}
