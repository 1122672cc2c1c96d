/** What became of the datagrams of a virtual network, in numbers. */

/** Datagrams by fate. `sent` = all that hosts sent or an attacker injected, segments counted singly. */
export interface NetworkStatistics {
  sent: number;
  sentBytes: number;
  delivered: number;
  deliveredBytes: number;
  /** Calls of `onDatagram`: fewer than `delivered` where datagrams were glued. */
  callbacks: number;
  injected: number;
  forged: number;
  duplicated: number;
  reordered: number;
  bitFlipped: number;
  truncated: number;
  /** Reports of a closed port that reached a connected socket. */
  refused: number;
  dropped: {
    intercepted: number;
    cut: number;
    mtu: number;
    queue: number;
    /** The queue of a switch port was full. */
    port: number;
    loss: number;
    /** A socket's buffer was full. */
    buffer: number;
    /** No such host, or it crashed while the datagram travelled. */
    hostDown: number;
    /** No socket at that port, or one that is connected to another peer. */
    portClosed: number;
  };
}

export function newStatistics(): NetworkStatistics {
  return {
    sent: 0,
    sentBytes: 0,
    delivered: 0,
    deliveredBytes: 0,
    callbacks: 0,
    injected: 0,
    forged: 0,
    duplicated: 0,
    reordered: 0,
    bitFlipped: 0,
    truncated: 0,
    refused: 0,
    dropped: {
      intercepted: 0,
      cut: 0,
      mtu: 0,
      queue: 0,
      port: 0,
      loss: 0,
      buffer: 0,
      hostDown: 0,
      portClosed: 0,
    },
  };
}
