/**
 * The driver's own port to the operating system: sockets that send "one buffer, N equal segments"
 * and hand in whatever one receive call brought. `sockets.ts` implements it on `node:dgram`, the
 * simulator on its virtual network.
 */

export interface DatagramSocketOptions {
  /** IP address to bind. */
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /**
   * Called for every datagram. The bytes are borrowed for the call. They may hold several packets,
   * and with receive offload several datagrams glued together: packets carry their own length.
   */
  readonly onDatagram: (bytes: Uint8Array, fromHost: string, fromPort: number) => void;
  /**
   * Called by sockets that `drain`, when all that had arrived has been handed in, or a slice of it:
   * `hasMore` says that another waits.
   */
  readonly onDrained?: (hasMore: boolean) => void;
  /** Called when the peer's host reported that the connected port is closed (ICMP). */
  readonly onRefused: () => void;
}

export interface DatagramSocket {
  readonly host: string;
  readonly port: number;
  /** Bytes of datagrams that may wait unread without loss; undefined where nothing is known. */
  readonly receiveBufferBytes?: number;
  /** Whether `onDrained` follows every call of `onDatagram`, or several. */
  readonly drains?: boolean;
  /** From here on sends go to, and datagrams come from, this address only. */
  connect(host: string, port: number): Promise<void>;
  /**
   * Sends `buffer[0..bytes)` as datagrams of `segmentBytes` each, the last one perhaps shorter.
   * The buffer is the socket's until `onSent` is called. `to` is given exactly when not connected.
   */
  send(
    buffer: Uint8Array,
    bytes: number,
    segmentBytes: number,
    to: { readonly host: string; readonly port: number } | undefined,
    onSent: (() => void) | undefined,
  ): void;
  /** Resolves when the port is free again. */
  close(): Promise<void>;
}

export interface DatagramHost {
  /**
   * Largest UDP payload that leaves for this host in one piece: what the interface there carries.
   * Larger ones would be cut by IP, and one lost piece loses all. Undefined where nothing is known.
   */
  readonly payloadBytesTo?: (host: string) => number | undefined;
  /** Whether the kernel cuts and glues segments for this host. */
  readonly offload: boolean;
  /** Binds a socket. Rejects with GRAMLINE_IN_USE, naming the port, when it is taken. */
  open(options: DatagramSocketOptions): Promise<DatagramSocket>;
}
