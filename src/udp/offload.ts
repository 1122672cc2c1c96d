/**
 * The datagram host of a Linux machine where C functions can be called: the kernel cuts one send into
 * datagrams and glues received ones together, buffers are large, and IP never cuts what we send.
 *
 * We make and tune each descriptor, and `dgram` adopts it (`bind({ fd })`): its event loop wakes us with
 * the first datagram, and we fetch the others that wait, many in one call, into buffers that are used
 * again. Sends go to the kernel directly, and through `dgram` only where they would block. Front ports,
 * which talk to many peers, receive as plain ones do.
 */

import type { Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { DgramAsPromised } from 'dgram-as-promised';
import { KIB, MIB } from '../base/units.ts';
import { DatagramBuffer, IncomingBatch, LibC, OutgoingMessage } from '../native/index.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from './host.ts';
import { Inbox, InboxMemory } from './inbox.ts';
import { payloadBytesTo } from './interfaces.ts';
import { bindError, cannotOpen, plainHost } from './sockets.ts';

/** What is asked of the kernel; without the right to exceed it, it grants `net.core.rmem_max`. */
const SOCKET_BUFFER_BYTES = 4 * MIB;
/** A datagram of this size may have others behind it. */
const LARGE_BYTES = 8 * KIB;
/** Datagrams that follow one another within this time may have others behind them. */
const BUSY_MILLIS = 0.02;

/** Both ends of a connected socket, as `dgram` wants them where a send has to wait. */
interface Peer {
  readonly host: string;
  readonly port: number;
}

/** The host, or undefined where this machine can't offer it: found out by trying. */
export function tryOffload(): DatagramHost | undefined {
  const libc = LibC.load();
  if (libc === undefined || !works(libc)) return undefined;
  // The kernel patches its code when the first such socket of the machine opens and the last one closes,
  // at 100 us each: one that stays open, without a port, spares every session that.
  libc.setReceiveOffload(libc.udpSocket(4));
  const context: Context = {
    libc,
    memory: new InboxMemory(libc),
    messages: new WeakMap(),
  };
  return { offload: true, payloadBytesTo, open: (options) => openOffloaded(context, options) };
}

interface Context {
  readonly libc: LibC;
  readonly memory: InboxMemory;
  /** The description of each send buffer. */
  readonly messages: WeakMap<Uint8Array, OutgoingMessage>;
}

/** Two datagrams of one send arrive at this very socket: options that are accepted and do nothing won't do. */
function works(libc: LibC): boolean {
  const fd = libc.udpSocket(4);
  if (fd < 0) return false;
  try {
    if (!libc.setReceiveOffload(fd) || !libc.knowsSegmentOffload(fd)) return false;
    const any = libc.socketAddress(4, '127.0.0.1', 0);
    if (any === undefined || !libc.bind(fd, any)) return false;
    const own = libc.localAddress(fd);
    if (!libc.connect(fd, own)) return false;
    const message = new OutgoingMessage(libc, new Uint8Array(new ArrayBuffer(TRIAL_BYTES)));
    message.describe(libc, 0, TRIAL_BYTES, TRIAL_SEGMENT_BYTES);
    if (libc.sendMessage(fd, message) !== TRIAL_BYTES) return false;
    const batch = new IncomingBatch(libc, 4, () => new DatagramBuffer(libc, TRIAL_BYTES));
    const count = libc.receiveMessages(fd, batch);
    let bytes = 0;
    for (let index = 0; index < count; index++) bytes += batch.bytesAt(index);
    return bytes === TRIAL_BYTES;
  } finally {
    libc.close(fd);
  }
}

const TRIAL_BYTES = 300;
const TRIAL_SEGMENT_BYTES = 200;

async function openOffloaded(context: Context, options: DatagramSocketOptions): Promise<DatagramSocket> {
  const { libc } = context;
  const family = isIPv6(options.host) ? 6 : 4;
  const local = libc.socketAddress(family, options.host, options.port);
  // An address with a zone, or no address at all: the system's own resolver knows better.
  if (local === undefined) return plainHost.open(options);
  const fd = libc.udpSocket(family);
  if (fd < 0) throw cannotOpen(options, libc.failure());
  const receiveBufferBytes = tune(libc, fd, family);
  if (!libc.bind(fd, local)) {
    const error = bindError(libc.failure(), options);
    libc.close(fd);
    throw error;
  }
  const wrapper = DgramAsPromised.createSocket({ type: family === 6 ? 'udp6' : 'udp4' });
  const { socket } = wrapper;
  let peer: Peer | undefined;
  let closing: Promise<void> | undefined;
  /** Ends of sends that wait for room: `dgram` forgets those that it has not begun when it is closed. */
  const waiting = new Set<() => void>();
  const close = async (): Promise<void> => {
    await wrapper.close();
    for (const end of waiting) end();
  };
  const refused = (code: string | undefined): void => {
    // [SES-13] A refusal is a fact about the peer, not a failure of ours.
    if (code === 'ECONNREFUSED' && peer !== undefined && closing === undefined) options.onRefused();
  };
  socket.on('error', (error: NodeJS.ErrnoException) => refused(error.code));
  try {
    await wrapper.bind({ fd, exclusive: true } as never);
  } catch (error) {
    libc.close(fd);
    throw cannotOpen(options, String(error), error);
  }
  const { address, port } = socket.address();

  const inbox = new Inbox(context.memory, fd, {
    onDatagram: (bytes) => options.onDatagram(bytes, peer!.host, peer!.port),
    onDrained: (hasMore) => options.onDrained?.(hasMore),
    onFailure: () => refused(libc.failure()),
    get isClosed() {
      return closing !== undefined;
    },
  });
  let lastAt = Number.NEGATIVE_INFINITY;
  socket.on('message', (bytes, from) => {
    const now = performance.now();
    const isLone = bytes.length < LARGE_BYTES && now - lastAt > BUSY_MILLIS && inbox.isIdle;
    lastAt = now;
    if (peer !== undefined && !isLone) return inbox.take(bytes);
    // A lone small datagram, as queries are, is answered before the kernel is asked for more.
    options.onDatagram(bytes, from.address, from.port);
    options.onDrained?.(false);
  });

  return {
    host: address,
    port,
    receiveBufferBytes,
    drains: true,
    async connect(host, peerPort) {
      const remote = libc.socketAddress(family, host, peerPort);
      if (remote === undefined || !libc.connect(fd, remote)) throw cannotOpen(options, libc.failure());
      peer = { host, port: peerPort };
    },
    send(buffer, bytes, segmentBytes, to, onSent) {
      if (closing === undefined) {
        if (to !== undefined) return sendThrough(socket, buffer, 0, bytes, segmentBytes, to, onSent);
        if (sendNow(context, fd, buffer, bytes, segmentBytes, refused) === 'blocked') {
          const end = (): void => {
            if (waiting.delete(end)) onSent?.();
          };
          waiting.add(end);
          return sendThrough(socket, buffer, 0, bytes, segmentBytes, peer!, end);
        }
      }
      onSent?.();
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

/** Sets what may be set, and returns the bytes that may wait unread. */
function tune(libc: LibC, fd: number, family: 4 | 6): number {
  libc.setReceiveOffload(fd);
  libc.setDontFragment(fd, family);
  libc.setSendBuffer(fd, SOCKET_BUFFER_BYTES);
  return libc.setReceiveBuffer(fd, SOCKET_BUFFER_BYTES);
}

/** Hands a send to the kernel. Anything but a full buffer is as good as sent: what failed is lost. */
function sendNow(
  context: Context,
  fd: number,
  buffer: Uint8Array,
  bytes: number,
  segmentBytes: number,
  refused: (code: string) => void,
): 'done' | 'blocked' {
  const { libc, messages } = context;
  let message = messages.get(buffer);
  if (message === undefined) {
    message = new OutgoingMessage(libc, buffer);
    messages.set(buffer, message);
  }
  message.describe(libc, 0, bytes, segmentBytes);
  if (libc.sendMessage(fd, message) >= 0) return 'done';
  const failure = libc.failure();
  if (failure === 'EAGAIN') return 'blocked';
  refused(failure);
  if (segmentBytes >= bytes || (failure !== 'EIO' && failure !== 'EINVAL')) return 'done';
  // This interface can't be served with cut sends: each datagram goes alone.
  for (let at = 0; at < bytes; at += segmentBytes) {
    const part = Math.min(segmentBytes, bytes - at);
    message.describe(libc, at, part, part);
    libc.sendMessage(fd, message);
  }
  return 'done';
}

/** Sends through `dgram`, which waits where it must. */
function sendThrough(
  socket: Socket,
  buffer: Uint8Array,
  from: number,
  bytes: number,
  segmentBytes: number,
  to: Peer,
  onSent: (() => void) | undefined,
): void {
  let left = Math.ceil((bytes - from) / segmentBytes);
  const done = (): void => {
    left -= 1;
    if (left === 0) onSent?.();
  };
  for (let at = from; at < bytes; at += segmentBytes) {
    socket.send(buffer, at, Math.min(segmentBytes, bytes - at), to.port, to.host, done);
  }
}
