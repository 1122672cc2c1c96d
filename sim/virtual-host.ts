/**
 * The hosts of a virtual network: machines with ports, the processes on them, and their sockets, which
 * glue what they receive as a kernel does. What happens between hosts is in `virtual-network.ts`.
 */

import { assert } from '../src/base/assert.ts';
import { GramlineError } from '../src/base/errors.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from '../src/udp/host.ts';
import { DATAGRAM_PAYLOAD_BYTES_MAX } from './faults.ts';
import { SocketBuffer } from './queues.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';
import type { VirtualNetwork } from './virtual-network.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A datagram on the wire. The bytes are borrowed: copy what you keep, change nothing. */
export interface WireDatagram {
  readonly from: Address;
  readonly to: Address;
  readonly bytes: Uint8Array;
}

export interface VirtualHostOptions {
  /** The host says that it has segmentation offload, and glues what it receives. Default: no. */
  readonly offload?: boolean;
  /** How long arrivals wait to be glued; 0 glues only what arrives at the same instant. */
  readonly glueMicros?: number;
}

/** One process on a machine of the virtual network. */
export interface VirtualHost extends DatagramHost {
  readonly ip: string;
  readonly isCrashed: boolean;
  /**
   * `machine` (default): the power fails. All sockets of this IP vanish, what is in flight to it
   * is lost, and nothing answers until `network.host(ip)` starts it again. `process`: the sockets
   * of this handle vanish; the machine lives on, and its closed ports refuse.
   */
  crash(kind?: 'machine' | 'process'): void;
}

/** Most datagrams of one send with offload, as in Linux. */
export const SEGMENTS_MAX = 64;
/** Most bytes that one callback glues together. */
export const GLUED_BYTES_MAX = 65_535;

const EPHEMERAL_PORT_FIRST = 49_152;
const EPHEMERAL_PORTS = 16_384;
const ANY_HOSTS = ['0.0.0.0', '::'];

/** What has an IP address; it outlives its processes and its crashes. */
export class Machine {
  readonly ip: string;
  readonly sockets = new Map<number, Socket>();
  readonly #random: Random;
  incarnation = 0;
  isUp = false;
  pausedUntilMicros = 0;
  /** Datagrams that arrived while it is paused. */
  readonly waiting: (() => void)[] = [];

  constructor(ip: string, random: Random) {
    this.ip = ip;
    this.#random = random;
  }

  start(): void {
    if (this.isUp) return;
    this.isUp = true;
    this.incarnation += 1;
  }

  /** A port that is free, or undefined when all are taken. */
  freePort(): number | undefined {
    const start = this.#random.integer(EPHEMERAL_PORTS);
    for (let offset = 0; offset < EPHEMERAL_PORTS; offset++) {
      const port = EPHEMERAL_PORT_FIRST + ((start + offset) % EPHEMERAL_PORTS);
      if (!this.sockets.has(port)) return port;
    }
    return undefined;
  }
}

export class Process implements VirtualHost {
  readonly offload: boolean;
  readonly #network: VirtualNetwork;
  readonly #clock: VirtualClock;
  readonly #machine: Machine;
  readonly #incarnation: number;
  readonly #glueMicros: number;
  #isKilled = false;

  constructor(
    network: VirtualNetwork,
    clock: VirtualClock,
    machine: Machine,
    { offload = false, glueMicros = 0 }: VirtualHostOptions,
  ) {
    this.offload = offload;
    this.#network = network;
    this.#clock = clock;
    this.#machine = machine;
    this.#incarnation = machine.incarnation;
    this.#glueMicros = glueMicros;
  }

  get ip(): string {
    return this.#machine.ip;
  }

  get isCrashed(): boolean {
    return this.#isKilled || !this.#machine.isUp || this.#machine.incarnation !== this.#incarnation;
  }

  async open(options: DatagramSocketOptions): Promise<DatagramSocket> {
    const machine = this.#machine;
    assert(
      options.host === machine.ip || ANY_HOSTS.includes(options.host),
      `${options.host} is no address of ${machine.ip}`,
    );
    assert(options.port >= 0 && options.port <= 65_535, 'no such port');
    if (this.isCrashed) {
      throw new GramlineError('GRAMLINE_CLOSED', `${machine.ip} crashed: take a new handle of the network`);
    }
    const port = options.port === 0 ? machine.freePort() : options.port;
    if (port === undefined || machine.sockets.has(port)) {
      const address = `${options.host}:${port ?? 0}`;
      throw new GramlineError(
        'GRAMLINE_IN_USE',
        `port ${address} is taken: stop its owner or choose another`,
      );
    }
    const socket = new Socket(this.#network, this.#clock, machine, this, port, options, this.#glueMicros);
    machine.sockets.set(port, socket);
    return socket;
  }

  crash(kind: 'machine' | 'process' = 'machine'): void {
    if (this.isCrashed) return;
    for (const socket of [...this.#machine.sockets.values()]) {
      if (kind === 'machine' || socket.owner === this) socket.vanish();
    }
    if (kind === 'machine') this.#machine.isUp = false;
    else this.#isKilled = true;
  }
}

export class Socket implements DatagramSocket {
  readonly host: string;
  readonly port: number;
  readonly owner: Process;
  readonly buffer = new SocketBuffer();
  /** As on a machine: a socket with offload says when it has handed in all that waited, or a slice of it. */
  readonly drains: boolean;
  /** Known where the host has {@link ReceiveLimits}. */
  readonly receiveBufferBytes?: number;
  readonly #network: VirtualNetwork;
  readonly #clock: VirtualClock;
  readonly #machine: Machine;
  readonly #options: DatagramSocketOptions;
  readonly #glueMicros: number;
  readonly #address: Address;
  #peer: Address | undefined;
  #state: 'open' | 'closed' | 'crashed' = 'open';
  /** Arrivals that wait to be glued. */
  #arrivals: { readonly from: Address; readonly bytes: Uint8Array }[] = [];

  constructor(
    network: VirtualNetwork,
    clock: VirtualClock,
    machine: Machine,
    owner: Process,
    port: number,
    options: DatagramSocketOptions,
    glueMicros: number,
  ) {
    this.#network = network;
    this.#clock = clock;
    this.#machine = machine;
    this.owner = owner;
    this.drains = owner.offload;
    this.host = options.host;
    this.port = port;
    this.#options = options;
    this.#glueMicros = glueMicros;
    this.#address = { host: machine.ip, port };
    const usableBytes = network.usableBufferBytes(machine.ip);
    if (usableBytes !== undefined) this.receiveBufferBytes = usableBytes;
  }

  async connect(host: string, port: number): Promise<void> {
    assert(this.#state !== 'closed', 'connect on a closed socket');
    this.#peer = { host, port };
  }

  send(
    buffer: Uint8Array,
    bytes: number,
    segmentBytes: number,
    to: { readonly host: string; readonly port: number } | undefined,
    onSent: (() => void) | undefined,
  ): void {
    assert(this.#state !== 'closed', 'send on a closed socket');
    assert(bytes >= 0 && bytes <= buffer.length, 'send of more bytes than the buffer holds');
    assert(bytes <= DATAGRAM_PAYLOAD_BYTES_MAX, 'a send takes at most 65,507 bytes');
    assert(segmentBytes > 0 || bytes === 0, 'segments of no bytes');
    assert((to === undefined) === (this.#peer !== undefined), 'an address is given exactly when unconnected');
    const segments = bytes === 0 ? 1 : Math.ceil(bytes / segmentBytes);
    assert(!this.owner.offload || segments <= SEGMENTS_MAX, 'offload cuts at most 64 segments');
    // Code of a crashed host may still run for a while; nobody hears it.
    if (this.#state === 'crashed') return;
    const target = to === undefined ? this.#peer! : { host: to.host, port: to.port };
    for (let segment = 0; segment < segments; segment++) {
      const start = segment * segmentBytes;
      const payload = copyOf(buffer.subarray(start, Math.min(start + segmentBytes, bytes)));
      this.#network.launch({ from: this.#address, to: target, bytes: payload }, this);
    }
    if (onSent !== undefined) {
      this.#clock.schedule(0, () => {
        if (this.#state !== 'crashed') onSent();
      });
    }
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closed';
    this.#arrivals = [];
    // The port is free when the promise resolves, not yet when `close` returns.
    await Promise.resolve();
    this.#release();
  }

  vanish(): void {
    this.#state = 'crashed';
    this.#arrivals = [];
    this.#release();
  }

  /** Whether a datagram from `from` is for this socket, and not one for a stranger's closed port. */
  takesFrom(from: Address): boolean {
    if (this.#state !== 'open') return false;
    return this.#peer === undefined || (this.#peer.host === from.host && this.#peer.port === from.port);
  }

  receive(from: Address, bytes: Uint8Array): void {
    if (!this.owner.offload) {
      this.#network.statistics.callbacks += 1;
      this.#options.onDatagram(bytes, from.host, from.port);
      return;
    }
    this.#arrivals.push({ from, bytes });
    if (this.#arrivals.length === 1) this.#clock.schedule(this.#glueMicros, () => this.#deliverGlued());
  }

  /** Whether the report that `peer` is closed concerned this socket. */
  refuse(peer: Address): boolean {
    const isOurs = this.#peer !== undefined && this.#peer.host === peer.host && this.#peer.port === peer.port;
    if (this.#state !== 'open' || !isOurs) return false;
    this.#options.onRefused();
    return true;
  }

  /** As the kernel does it: datagrams of one peer and one size are joined, a shorter one is the last. */
  #deliverGlued(): void {
    const arrivals = this.#arrivals;
    this.#arrivals = [];
    let start = 0;
    while (start < arrivals.length) {
      const { from, bytes } = arrivals[start]!;
      let end = start + 1;
      let glued = bytes.length;
      let isOpen = bytes.length > 0;
      while (isOpen && end < arrivals.length && end - start < SEGMENTS_MAX) {
        const next = arrivals[end]!;
        const fits = next.bytes.length > 0 && next.bytes.length <= bytes.length;
        const samePeer = next.from.host === from.host && next.from.port === from.port;
        if (!fits || !samePeer || glued + next.bytes.length > GLUED_BYTES_MAX) break;
        glued += next.bytes.length;
        isOpen = next.bytes.length === bytes.length;
        end += 1;
      }
      const joined = new Uint8Array(glued);
      let at = 0;
      for (let index = start; index < end; index++) {
        joined.set(arrivals[index]!.bytes, at);
        at += arrivals[index]!.bytes.length;
      }
      start = end;
      // A callback before this one may have closed the socket.
      if (this.#state !== 'open') return;
      this.#network.statistics.callbacks += 1;
      this.#options.onDatagram(joined, from.host, from.port);
      // Borrowed for the call: whoever looks later is found.
      joined.fill(0xee);
      if (this.#state === 'open') this.#options.onDrained?.(start < arrivals.length);
    }
  }

  #release(): void {
    if (this.#machine.sockets.get(this.port) === this) this.#machine.sockets.delete(this.port);
  }
}

export function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}
