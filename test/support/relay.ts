/**
 * A machine in the middle on loopback: the client believes that the server is at 127.0.0.2, where
 * this relay answers on the same ports. It knows all addresses and no secret.
 */

import { type RawDatagram, RawSocket } from './raw-socket.ts';

const RELAY_HOST = '127.0.0.2';
const SERVER_HOST = '127.0.0.1';

/** What the relay makes of a datagram: what it hands on, in this order; nothing drops it. */
export type Tamper = (bytes: Uint8Array, direction: 'to server' | 'to client') => readonly Uint8Array[];

export const UNCHANGED: Tamper = (bytes) => [bytes];

export class Relay {
  /** All that passed, before it was tampered with. */
  readonly captured: Uint8Array[] = [];
  tamper: Tamper;
  readonly #down = new Map<number, RawSocket>();
  /** One socket towards the server for each of the client's: by the client's port. */
  readonly #up = new Map<number, Promise<RawSocket>>();

  constructor(tamper: Tamper = UNCHANGED) {
    this.tamper = tamper;
  }

  /** Stands at this port of the server's, from now on; returns the address to give to the client. */
  async stand(port: number): Promise<string> {
    if (!this.#down.has(port)) {
      const socket = await RawSocket.open(RELAY_HOST, port);
      this.#down.set(port, socket);
      socket.onDatagram((datagram) => void this.#fromClient(datagram, port));
    }
    return `${RELAY_HOST}:${port}`;
  }

  /** Sends bytes of its own to a client, as if from the server's port. */
  async inject(bytes: Uint8Array, port: number, clientPort: number): Promise<void> {
    await this.#down.get(port)?.send(bytes, clientPort);
  }

  async close(): Promise<void> {
    for (const socket of this.#down.values()) await socket.close();
    for (const socket of this.#up.values()) await (await socket).close();
  }

  async #fromClient({ bytes, port: clientPort }: RawDatagram, serverPort: number): Promise<void> {
    this.captured.push(bytes);
    const up = await this.#towardsServer(clientPort);
    for (const changed of this.tamper(bytes, 'to server')) await up.send(changed, serverPort, SERVER_HOST);
  }

  #towardsServer(clientPort: number): Promise<RawSocket> {
    const known = this.#up.get(clientPort);
    if (known !== undefined) return known;
    const opening = RawSocket.open(SERVER_HOST).then((socket) => {
      socket.onDatagram(({ bytes, port }) => {
        this.captured.push(bytes);
        for (const changed of this.tamper(bytes, 'to client')) void this.inject(changed, port, clientPort);
      });
      return socket;
    });
    this.#up.set(clientPort, opening);
    return opening;
  }
}
