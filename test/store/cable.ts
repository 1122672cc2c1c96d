/** A TCP connection between a store and etcd that a test can cut, in two ways. */

import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

export class Cable {
  readonly #server: Server;
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #state: 'whole' | 'refusing' | 'silent' = 'whole';

  private constructor(target: URL) {
    this.#target = target;
    this.#server = createServer((socket) => this.#take(socket));
  }

  /** @param url Where etcd listens. */
  static async lay(url: string): Promise<Cable> {
    const cable = new Cable(new URL(url));
    cable.#server.listen(0, '127.0.0.1');
    await once(cable.#server, 'listening');
    return cable;
  }

  /** Where the store goes instead. */
  get url(): string {
    const { port } = this.#server.address() as { readonly port: number };
    return `${this.#target.protocol}//127.0.0.1:${port}`;
  }

  /** `refusing` ends all connections, and new ones at once; `silent` lets no byte pass, either way. */
  cut(how: 'refusing' | 'silent'): void {
    this.#state = how;
    for (const socket of this.#sockets) {
      if (how === 'refusing') socket.destroy();
      else socket.unpipe().pause();
    }
  }

  /** New connections pass again; those that were cut are over. */
  mend(): void {
    this.#state = 'whole';
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(socket: Socket): void {
    this.#keep(socket);
    if (this.#state === 'refusing') socket.destroy();
    if (this.#state !== 'whole') return;
    const far = connect(Number(this.#target.port), this.#target.hostname);
    this.#keep(far);
    far.setNoDelay(true);
    socket.setNoDelay(true);
    socket.pipe(far);
    far.pipe(socket);
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
