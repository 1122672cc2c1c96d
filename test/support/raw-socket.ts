/** A plain UDP socket on loopback: a stranger, or somebody on the path. */

import { createSocket, type Socket } from 'node:dgram';

export interface RawDatagram {
  readonly bytes: Buffer;
  readonly host: string;
  readonly port: number;
}

export class RawSocket {
  readonly received: RawDatagram[] = [];
  sentBytes = 0;
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (bytes, { address, port }) => this.received.push({ bytes, host: address, port }));
    // A closed port answers by ICMP, which is no byte of ours.
    socket.on('error', () => undefined);
  }

  static async open(host = '127.0.0.1', port = 0): Promise<RawSocket> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.bind(port, host, resolve);
    });
    socket.setRecvBufferSize(4 * 2 ** 20);
    return new RawSocket(socket);
  }

  get port(): number {
    return this.#socket.address().port;
  }

  get receivedBytes(): number {
    return this.received.reduce((sum, { bytes }) => sum + bytes.length, 0);
  }

  /** Calls `run` for every datagram, beside collecting it. */
  onDatagram(run: (datagram: RawDatagram) => void): void {
    this.#socket.on('message', (bytes, { address, port }) => run({ bytes, host: address, port }));
  }

  send(bytes: Uint8Array, port: number, host = '127.0.0.1'): Promise<void> {
    this.sentBytes += bytes.length;
    return new Promise((resolve) => this.#socket.send(bytes, port, host, () => resolve()));
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()));
  }
}

/** Lets everything that is under way on loopback arrive and be answered. */
export const settle = (millis = 60): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));
