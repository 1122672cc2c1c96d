/**
 * The socket functions of libc that Node does not show: options, and messages with control data.
 *
 * Structures are laid out by hand for Linux on 64-bit little-endian machines, which `koffi.ts` has
 * made sure of; the layouts are the same in glibc and musl. Every call here is synchronous and never
 * blocks. What the socket is used for is `udp/`'s matter.
 */

import { type Koffi, loadKoffi, type NativeFunction } from './koffi.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SOL_IP = 0;
const SOL_IPV6 = 41;
const SOL_UDP = 17;
const SO_RCVBUF = 8;
const SO_SNDBUF = 7;
const SO_RCVBUFFORCE = 33;
const SO_SNDBUFFORCE = 32;
const IP_MTU_DISCOVER = 10;
const IPV6_MTU_DISCOVER = 23;
/** Sets the don't-fragment bit and leaves the search for the path's MTU to us. */
const PMTUDISC_PROBE = 3;
const UDP_SEGMENT = 103;
const UDP_GRO = 104;
const MSG_DONTWAIT = 0x40;

const SOCKADDR_BYTES = 28;
const INT_BYTES = 4;

/** What a call came to, where it failed: an `errno` by name, `OTHER` where it has none here. */
export type Errno =
  | 'EAGAIN'
  | 'ECONNREFUSED'
  | 'EADDRINUSE'
  | 'EACCES'
  | 'EIO'
  | 'EINVAL'
  | 'EMSGSIZE'
  | 'OTHER';

const ERRNO_NAMES: readonly Errno[] = [
  'EAGAIN',
  'ECONNREFUSED',
  'EADDRINUSE',
  'EACCES',
  'EIO',
  'EINVAL',
  'EMSGSIZE',
];

interface Functions {
  readonly socket: NativeFunction;
  readonly bind: NativeFunction;
  readonly connect: NativeFunction;
  readonly setsockopt: NativeFunction;
  readonly getsockopt: NativeFunction;
  readonly getsockname: NativeFunction;
  readonly sendmsg: NativeFunction;
  readonly recvmmsg: NativeFunction;
  readonly close: NativeFunction;
  readonly inet_pton: NativeFunction;
}

/** Calls libc about UDP sockets. Descriptors are numbers; results below 0 say to ask {@link failure}. */
export class LibC {
  readonly #koffi: Koffi;
  readonly #call: Functions;

  private constructor(koffi: Koffi) {
    this.#koffi = koffi;
    const program = koffi.load(null);
    this.#call = {
      socket: program.func('int socket(int, int, int)'),
      bind: program.func('int bind(int, const uint8_t*, uint32_t)'),
      connect: program.func('int connect(int, const uint8_t*, uint32_t)'),
      setsockopt: program.func('int setsockopt(int, int, int, const uint8_t*, uint32_t)'),
      getsockopt: program.func('int getsockopt(int, int, int, uint8_t*, uint8_t*)'),
      getsockname: program.func('int getsockname(int, uint8_t*, uint8_t*)'),
      sendmsg: program.func('long sendmsg(int, const uint8_t*, int)'),
      recvmmsg: program.func('int recvmmsg(int, uint8_t*, uint32_t, int, const uint8_t*)'),
      close: program.func('int close(int)'),
      inet_pton: program.func('int inet_pton(int, const uint8_t*, uint8_t*)'),
    };
  }

  /** The bindings, or undefined where this machine does not offer them. */
  static load(): LibC | undefined {
    const koffi = loadKoffi();
    if (koffi === undefined) return undefined;
    try {
      return new LibC(koffi);
    } catch {
      return undefined;
    }
  }

  /** Why the last call failed. */
  failure(): Errno {
    const errno = this.#koffi.errno();
    return ERRNO_NAMES.find((name) => this.#koffi.os.errno[name] === errno) ?? 'OTHER';
  }

  address(bytes: ArrayBufferView): bigint {
    return this.#koffi.address(bytes);
  }

  /** A UDP socket that does not block, or -1. */
  udpSocket(family: 4 | 6): number {
    const domain = family === 6 ? AF_INET6 : AF_INET;
    return Number(this.#call.socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  }

  close(fd: number): void {
    this.#call.close(fd);
  }

  /** The `sockaddr` of an IP address without a zone, or undefined when it is none. */
  socketAddress(family: 4 | 6, host: string, port: number): Uint8Array | undefined {
    const bytes = new Uint8Array(SOCKADDR_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, family === 6 ? AF_INET6 : AF_INET, true);
    view.setUint16(2, port);
    const ip = family === 6 ? bytes.subarray(8, 24) : bytes.subarray(4, 8);
    const text = new TextEncoder().encode(`${host}\0`);
    return Number(this.#call.inet_pton(family === 6 ? AF_INET6 : AF_INET, text, ip)) === 1
      ? bytes
      : undefined;
  }

  bind(fd: number, address: Uint8Array): boolean {
    return Number(this.#call.bind(fd, address, address.length)) === 0;
  }

  connect(fd: number, address: Uint8Array): boolean {
    return Number(this.#call.connect(fd, address, address.length)) === 0;
  }

  /** The `sockaddr` that the socket is bound to. */
  localAddress(fd: number): Uint8Array {
    const bytes = new Uint8Array(SOCKADDR_BYTES);
    this.#call.getsockname(fd, bytes, new Uint8Array(new Int32Array([SOCKADDR_BYTES]).buffer));
    return bytes;
  }

  /** Sets the size of the receive buffer, beyond the system's limit where we may; returns what was granted. */
  setReceiveBuffer(fd: number, bytes: number): number {
    if (!this.#set(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes)) this.#set(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    // The kernel books the space of its own structures, too, and reports twice what it was asked for.
    return this.#get(fd, SOL_SOCKET, SO_RCVBUF) / 2;
  }

  setSendBuffer(fd: number, bytes: number): void {
    if (!this.#set(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes)) this.#set(fd, SOL_SOCKET, SO_SNDBUF, bytes);
  }

  /** IP never cuts what this socket sends: what is too large for the path is lost, and found out. */
  setDontFragment(fd: number, family: 4 | 6): boolean {
    return family === 6
      ? this.#set(fd, SOL_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
      : this.#set(fd, SOL_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
  }

  /** Has the kernel hand in equal datagrams of one sender glued together. */
  setReceiveOffload(fd: number): boolean {
    return this.#set(fd, SOL_UDP, UDP_GRO, 1);
  }

  /** Whether the kernel would cut what this socket sends: it knows the option. */
  knowsSegmentOffload(fd: number): boolean {
    return this.#set(fd, SOL_UDP, UDP_SEGMENT, 0);
  }

  /** Sends what `message` describes; the bytes that left, or -1. */
  sendMessage(fd: number, message: OutgoingMessage): number {
    return Number(this.#call.sendmsg(fd, message.header, MSG_DONTWAIT));
  }

  /** Receives the datagrams that wait, at most `count` and what the batch has room for; how many, or -1. */
  receiveMessages(fd: number, batch: IncomingBatch, count: number = batch.size): number {
    return Number(this.#call.recvmmsg(fd, batch.headers, Math.min(count, batch.size), MSG_DONTWAIT, null));
  }

  #set(fd: number, level: number, option: number, value: number): boolean {
    const bytes = new Uint8Array(new Int32Array([value]).buffer);
    return Number(this.#call.setsockopt(fd, level, option, bytes, INT_BYTES)) === 0;
  }

  #get(fd: number, level: number, option: number): number {
    const value = new Int32Array(1);
    const length = new Uint8Array(new Int32Array([INT_BYTES]).buffer);
    this.#call.getsockopt(fd, level, option, new Uint8Array(value.buffer), length);
    return value[0]!;
  }
}

const MSGHDR_BYTES = 56;
const IOVEC_BYTES = 16;
const CMSG_BYTES = 24;
const CMSG_LENGTH = 18;

/** The `msghdr` of one buffer that is sent again and again: made once, so that a send writes two numbers. */
export class OutgoingMessage {
  readonly header: Uint8Array;
  readonly #view: DataView;
  /** Kept, so that the address in the header stays good. */
  readonly buffer: Uint8Array;

  constructor(libc: LibC, buffer: Uint8Array) {
    this.buffer = buffer;
    const memory = new ArrayBuffer(MSGHDR_BYTES + IOVEC_BYTES + CMSG_BYTES);
    this.header = new Uint8Array(memory);
    const view = new DataView(memory);
    this.#view = view;
    const base = libc.address(this.header);
    view.setBigUint64(16, base + BigInt(MSGHDR_BYTES), true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, base + BigInt(MSGHDR_BYTES + IOVEC_BYTES), true);
    view.setBigUint64(MSGHDR_BYTES, libc.address(buffer), true);
    const control = MSGHDR_BYTES + IOVEC_BYTES;
    view.setBigUint64(control, BigInt(CMSG_LENGTH), true);
    view.setInt32(control + 8, SOL_UDP, true);
    view.setInt32(control + 12, UDP_SEGMENT, true);
  }

  /** Describes `bytes` bytes from `at`, cut by the kernel into datagrams of `segmentBytes` where that is less. */
  describe(libc: LibC, at: number, bytes: number, segmentBytes: number): void {
    if (at + bytes > this.buffer.length) throw new RangeError('a message past the end of its buffer');
    const base = libc.address(this.buffer);
    this.#view.setBigUint64(MSGHDR_BYTES, at === 0 ? base : base + BigInt(at), true);
    this.#view.setUint32(MSGHDR_BYTES + 8, bytes, true);
    const cut = segmentBytes < bytes;
    this.#view.setUint32(40, cut ? CMSG_BYTES : 0, true);
    if (cut) this.#view.setUint16(MSGHDR_BYTES + IOVEC_BYTES + 16, segmentBytes, true);
  }
}

const MMSGHDR_BYTES = 64;
const MSG_LEN_AT = 56;
const MSG_FLAGS_AT = 48;
const MSG_TRUNC = 0x20;

/** Memory for one datagram, or for many that the kernel glued together; made once, used again. */
export class DatagramBuffer {
  readonly bytes: Uint8Array;
  readonly address: bigint;

  constructor(libc: LibC, bytes: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(bytes));
    this.address = libc.address(this.bytes);
  }
}

/** Several datagrams of one receive call. The senders are not asked for: the socket is connected. */
export class IncomingBatch {
  readonly headers: Uint8Array;
  readonly size: number;
  readonly #view: DataView;
  readonly #buffers: DatagramBuffer[];
  readonly #takeBuffer: () => DatagramBuffer;

  /** At most `size` datagrams, into buffers that `takeBuffer` gives. */
  constructor(libc: LibC, size: number, takeBuffer: () => DatagramBuffer) {
    this.size = size;
    this.#takeBuffer = takeBuffer;
    const memory = new ArrayBuffer(size * (MMSGHDR_BYTES + IOVEC_BYTES));
    this.headers = new Uint8Array(memory);
    this.#view = new DataView(memory);
    this.#buffers = Array.from({ length: size }, () => takeBuffer());
    const base = libc.address(this.headers);
    for (const index of this.#buffers.keys()) {
      const iovec = size * MMSGHDR_BYTES + index * IOVEC_BYTES;
      this.#view.setBigUint64(index * MMSGHDR_BYTES + 16, base + BigInt(iovec), true);
      this.#view.setBigUint64(index * MMSGHDR_BYTES + 24, 1n, true);
      this.#point(index);
    }
  }

  /** Bytes of the datagram at `index` of the last receive call; 0 where it was cut off. */
  bytesAt(index: number): number {
    const at = index * MMSGHDR_BYTES;
    const wasCut = (this.#view.getUint32(at + MSG_FLAGS_AT, true) & MSG_TRUNC) !== 0;
    return wasCut ? 0 : this.#view.getUint32(at + MSG_LEN_AT, true);
  }

  /** The bytes of the datagram at `index`, until the next receive call. */
  borrow(index: number, bytes: number): Uint8Array {
    return this.#buffers[index]!.bytes.subarray(0, bytes);
  }

  /** The memory of the datagram at `index`, which is the caller's from here on: another takes its place. */
  take(index: number): DatagramBuffer {
    const taken = this.#buffers[index]!;
    this.#buffers[index] = this.#takeBuffer();
    this.#point(index);
    return taken;
  }

  #point(index: number): void {
    const iovec = this.size * MMSGHDR_BYTES + index * IOVEC_BYTES;
    const buffer = this.#buffers[index]!;
    this.#view.setBigUint64(iovec, buffer.address, true);
    this.#view.setBigUint64(iovec + 8, BigInt(buffer.bytes.length), true);
  }
}
