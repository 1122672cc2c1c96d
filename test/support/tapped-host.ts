/**
 * A host whose datagrams are seen, and may be changed, by a test: a capture on real sockets, and the
 * hands of somebody on the path.
 */

import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from '../../src/udp/host.ts';

export interface SeenDatagram {
  readonly direction: 'sent' | 'received';
  /** The port of the socket at this end. */
  readonly localPort: number;
  /** The other end; undefined where a connected socket sent. */
  readonly peer: { readonly host: string; readonly port: number } | undefined;
  /** A copy. */
  readonly bytes: Uint8Array;
}

export interface TappedHost extends DatagramHost {
  /** Every datagram so far, in order. Emptied by the test when it likes. */
  readonly seen: SeenDatagram[];
  /** Sockets that are open now, by port. */
  readonly openPorts: ReadonlySet<number>;
  /** Sockets opened so far. */
  readonly opened: number;
  /** Hands `bytes` to the socket at `port` as if they had come from this address. */
  inject(port: number, bytes: Uint8Array, fromHost: string, fromPort: number): void;
}

/** Changes a datagram on its way: other bytes, or none (undefined). */
export type Change = (datagram: SeenDatagram) => Uint8Array | undefined;

/** `inner` with an ear on it; with `change`, with a hand on it. */
export function tappedHost(inner: DatagramHost, change?: Change): TappedHost {
  const seen: SeenDatagram[] = [];
  const open = new Map<number, DatagramSocketOptions>();
  let opened = 0;
  return {
    offload: inner.offload,
    ...(inner.payloadBytesTo === undefined ? {} : { payloadBytesTo: inner.payloadBytesTo }),
    seen,
    get openPorts() {
      return new Set(open.keys());
    },
    get opened() {
      return opened;
    },
    inject(port, bytes, fromHost, fromPort) {
      const options = open.get(port);
      if (options === undefined) throw new Error(`no socket is open at ${port}`);
      options.onDatagram(bytes.slice(), fromHost, fromPort);
    },
    async open(options): Promise<DatagramSocket> {
      let localPort = 0;
      const socket = await inner.open({
        ...options,
        onDatagram: (bytes, host, port) => {
          const datagram = {
            direction: 'received',
            localPort,
            peer: { host, port },
            bytes: bytes.slice(),
          } as const;
          seen.push(datagram);
          const after = change === undefined ? bytes : change(datagram);
          if (after !== undefined) options.onDatagram(after, host, port);
        },
      });
      localPort = socket.port;
      opened += 1;
      open.set(localPort, options);
      return {
        host: socket.host,
        port: socket.port,
        ...(socket.receiveBufferBytes === undefined ? {} : { receiveBufferBytes: socket.receiveBufferBytes }),
        connect: (host, port) => socket.connect(host, port),
        send(buffer, bytes, segmentBytes, to, onSent) {
          const copy = buffer.slice(0, bytes);
          for (let at = 0; at < bytes; at += segmentBytes) {
            const part = copy.subarray(at, Math.min(at + segmentBytes, bytes));
            const datagram = { direction: 'sent', localPort, peer: to, bytes: part } as const;
            seen.push(datagram);
            const after = change === undefined ? part : change(datagram);
            if (after !== undefined) socket.send(after, after.length, after.length, to, undefined);
          }
          onSent?.();
        },
        async close() {
          open.delete(localPort);
          await socket.close();
        },
      };
    },
  };
}
