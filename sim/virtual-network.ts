/**
 * A network of hosts under virtual time: `DatagramHost` and `DatagramSocket` with the semantics of
 * real UDP, links with faults drawn from one seed, and a place for an active attacker.
 *
 * A datagram passes: taps, interceptors, cut, MTU, rate and queue, the receiver's switch port, loss,
 * duplication, damage, delay; then, at the receiver, the socket lookup and the socket's buffer. All
 * links keep order unless told to reorder.
 */

import { assert } from '../src/base/assert.ts';
import { GramlineError } from '../src/base/errors.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from '../src/udp/host.ts';
import { DATAGRAM_PAYLOAD_BYTES_MAX, Link, type LinkFaults } from './faults.ts';
import {
  Reader,
  type ReceiveLimits,
  SOCKET_USABLE_SHARE,
  SocketBuffer,
  type SwitchPort,
  TailDrop,
  wireBytes,
} from './queues.ts';
import type { Random } from './random.ts';
import type { Fate } from './trace.ts';
import type { VirtualClock } from './virtual-clock.ts';

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

/** A datagram that an attacker sends in place of another, from and to where that went unless told. */
export interface ForgedDatagram {
  readonly bytes: Uint8Array;
  readonly from?: Address;
  readonly to?: Address;
}

export type Verdict = 'pass' | 'drop' | readonly ForgedDatagram[];
export type Interceptor = (datagram: WireDatagram) => Verdict;
/** What became of a datagram, as it happens; `reason` is a key of `NetworkStatistics.dropped`. */
export type FateWatcher = (
  fate: Fate,
  from: Address,
  to: Address,
  bytes: Uint8Array,
  reason?: string,
) => void;
export type Tap = (from: Address, to: Address, bytes: Uint8Array) => void;

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

/** Most datagrams of one send with offload, as in Linux. */
export const SEGMENTS_MAX = 64;
/** Most bytes that one callback glues together. */
export const GLUED_BYTES_MAX = 65_535;
/** Most datagrams under way at one time; more is a storm in the code under test. */
export const IN_FLIGHT_MAX = 1_000_000;

/** What one socket of a paused machine holds: Linux's default of `rmem_max`. */
const PAUSED_BUFFER_BYTES = 212_992;

const EPHEMERAL_PORT_FIRST = 49_152;
const EPHEMERAL_PORTS = 16_384;
const ANY_HOSTS = ['0.0.0.0', '::'];

export class VirtualNetwork {
  readonly statistics: NetworkStatistics = newStatistics();
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #machines = new Map<string, Machine>();
  readonly #links = new Map<string, Map<string, Link>>();
  readonly #ports = new Map<string, SwitchPort & { readonly line: TailDrop }>();
  readonly #receivers = new Map<string, { readonly limits: ReceiveLimits; readonly reader: Reader }>();
  readonly #taps = new Set<Tap>();
  readonly #interceptors = new Set<Interceptor>();
  /** Later rules win over earlier ones. */
  #rules: FaultRule[] = [];
  #inFlight = 0;
  #watcher: FateWatcher | undefined;

  /** A network whose links all have `faults` until told otherwise. */
  constructor(clock: VirtualClock, random: Random, faults: LinkFaults) {
    this.#clock = clock;
    this.#random = random.fork('network');
    this.#rules.push({ fromIp: undefined, toIp: undefined, faults });
  }

  /**
   * A handle on the machine `ip`, which is started where it is not running. Each handle is a
   * process of its own: several on one machine share its ports, and crash apart.
   */
  host(ip: string, options: VirtualHostOptions = {}): VirtualHost {
    let machine = this.#machines.get(ip);
    if (machine === undefined) {
      machine = new Machine(ip, this.#random.fork(`ports ${ip}`));
      this.#machines.set(ip, machine);
    }
    machine.start();
    return new Process(this, this.#clock, machine, options);
  }

  /** Cuts the way from one host to another, one way: what is sent from now on vanishes. */
  cut(fromIp: string, toIp: string): void {
    this.#link(fromIp, toIp).isCut = true;
  }

  /** Mends one cut. */
  mend(fromIp: string, toIp: string): void {
    this.#link(fromIp, toIp).isCut = false;
  }

  /** Nothing is handed to sockets of `ip` for `spanMicros`: what arrives waits in them, as far as it fits. */
  pause(ip: string, spanMicros: number): void {
    const machine = this.#machines.get(ip);
    if (machine === undefined) return;
    machine.pausedUntilMicros = Math.max(machine.pausedUntilMicros, this.#clock.now() + spanMicros);
  }

  /** The pause ends: what waits is handed over, in order. */
  resume(ip: string): void {
    const machine = this.#machines.get(ip);
    if (machine === undefined) return;
    machine.pausedUntilMicros = 0;
    for (const land of machine.waiting.splice(0)) land();
  }

  /** Everything that is sent to `toIp` from now on passes one switch port; undefined takes it away. */
  setPort(toIp: string, port: SwitchPort | undefined): void {
    if (port === undefined) this.#ports.delete(toIp);
    else this.#ports.set(toIp, { ...port, line: new TailDrop() });
  }

  /** How `ip` takes in what arrives from now on: its sockets overflow, and it reads only so fast. */
  setReceiveLimits(ip: string, limits: ReceiveLimits | undefined): void {
    if (limits === undefined) this.#receivers.delete(ip);
    else this.#receivers.set(ip, { limits, reader: new Reader() });
  }

  /** @internal What a socket of `ip` says of its buffer. */
  usableBufferBytes(ip: string): number | undefined {
    const receiver = this.#receivers.get(ip);
    return receiver === undefined ? undefined : Math.floor(receiver.limits.bufferBytes * SOCKET_USABLE_SHARE);
  }

  /** Mends all cuts. */
  heal(): void {
    for (const links of this.#links.values()) for (const link of links.values()) link.isCut = false;
  }

  /**
   * Sets the faults of all links, or of those from `fromIp`, to `toIp`, or of the one link. What is
   * set later wins; set for all links, it replaces everything that was set before.
   */
  setFaults(faults: LinkFaults, fromIp?: string, toIp?: string): void {
    // A rule that covers an older one replaces it, so the list stays as short as the set of links.
    this.#rules = this.#rules.filter(
      (rule) =>
        !((fromIp === undefined || rule.fromIp === fromIp) && (toIp === undefined || rule.toIp === toIp)),
    );
    this.#rules.push({ fromIp, toIp, faults });
    for (const links of this.#links.values()) {
      for (const link of links.values()) link.faults = this.#faultsOf(link.fromIp, link.toIp);
    }
  }

  /** Shows `tap` every datagram as it is sent or injected, before any fault. Returns what removes it. */
  tap(tap: Tap): () => void {
    this.#taps.add(tap);
    return () => this.#taps.delete(tap);
  }

  /** Tells `watcher` of the fate of every datagram from now on. */
  observe(watcher: FateWatcher | undefined): void {
    this.#watcher = watcher;
  }

  /**
   * Asks `interceptor` about every datagram that a host sends, before the link's faults: an active
   * attacker on the path. Datagrams that attackers make are not shown to attackers again.
   * Returns what removes it.
   */
  intercept(interceptor: Interceptor): () => void {
    this.#interceptors.add(interceptor);
    return () => this.#interceptors.delete(interceptor);
  }

  /** Sockets that are open on the machine `ip`. */
  socketsAt(ip: string): number {
    return this.#machines.get(ip)?.sockets.size ?? 0;
  }

  /** Sends `bytes` (copied) with any source: an off-path forger. The link from that source applies. */
  inject(from: Address, to: Address, bytes: Uint8Array): void {
    assert(bytes.length <= DATAGRAM_PAYLOAD_BYTES_MAX, 'no UDP datagram is that large');
    this.statistics.injected += 1;
    this.#enter({ from, to, bytes: copyOf(bytes) });
    this.#carry({ from, to, bytes: copyOf(bytes) }, undefined);
  }

  /** @internal A datagram of a socket; `bytes` are the network's. */
  launch(datagram: WireDatagram, sender: Socket): void {
    this.#enter(datagram);
    for (const interceptor of this.#interceptors) {
      const verdict = interceptor(datagram);
      if (verdict === 'pass') continue;
      this.#drop('intercepted', datagram);
      if (verdict === 'drop') return;
      for (const forged of verdict) {
        this.statistics.forged += 1;
        const { from, to } = { ...datagram, ...forged };
        this.#carry({ from, to, bytes: copyOf(forged.bytes) }, undefined);
      }
      return;
    }
    this.#carry(datagram, sender);
  }

  #enter(datagram: WireDatagram): void {
    this.statistics.sent += 1;
    this.statistics.sentBytes += datagram.bytes.length;
    this.#watcher?.('sent', datagram.from, datagram.to, datagram.bytes);
    for (const tap of this.#taps) tap(datagram.from, datagram.to, copyOf(datagram.bytes));
  }

  #carry(datagram: WireDatagram, sender: Socket | undefined): void {
    const link = this.#link(datagram.from.host, datagram.to.host);
    const { faults } = link;
    if (link.isCut) {
      this.#drop('cut', datagram);
      return;
    }
    if (datagram.bytes.length > faults.mtuBytes) {
      this.#drop('mtu', datagram);
      return;
    }
    const departMicros = link.depart(this.#clock.now(), datagram.bytes.length);
    if (departMicros === undefined) {
      this.#drop('queue', datagram);
      return;
    }
    const port = this.#ports.get(datagram.to.host);
    if (port === undefined) return this.#depart(link, departMicros, datagram, sender);
    // The port serves datagrams in the order in which they come to it.
    const enter = (): void => {
      const servedMicros = port.line.serve(this.#clock.now(), wireBytes(datagram.bytes.length), port);
      if (servedMicros === undefined) this.#drop('port', datagram);
      else this.#depart(link, servedMicros, datagram, sender);
    };
    if (departMicros <= this.#clock.now()) enter();
    else this.#clock.schedule(Math.ceil(departMicros) - this.#clock.now(), enter);
  }

  #depart(link: Link, departMicros: number, datagram: WireDatagram, sender: Socket | undefined): void {
    const { faults, random } = link;
    if (random.chance(faults.lossProbability)) {
      this.#drop('loss', datagram);
      return;
    }
    this.#fly(link, departMicros, datagram, sender);
    if (random.chance(faults.duplicateProbability)) {
      this.statistics.duplicated += 1;
      this.#fly(link, departMicros, { ...datagram, bytes: copyOf(datagram.bytes) }, sender);
    }
  }

  #fly(link: Link, departMicros: number, datagram: WireDatagram, sender: Socket | undefined): void {
    const { faults, random } = link;
    let { bytes } = datagram;
    if (bytes.length > 0 && random.chance(faults.truncateProbability)) {
      this.statistics.truncated += 1;
      bytes = bytes.slice(0, random.integer(bytes.length));
    }
    if (bytes.length > 0 && random.chance(faults.bitFlipProbability)) {
      this.statistics.bitFlipped += 1;
      // The same bytes may fly twice, and were shown to an interceptor: damage a copy.
      bytes = copyOf(bytes);
      const bit = random.integer(bytes.length * 8);
      bytes[bit >>> 3] = bytes[bit >>> 3]! ^ (1 << (bit & 7));
    }
    let arriveMicros = Math.ceil(link.arrive(departMicros));
    if (random.chance(faults.reorderProbability)) {
      this.statistics.reordered += 1;
      arriveMicros += faults.reorderMicros > 0 ? 1 + random.integer(faults.reorderMicros) : 0;
    } else {
      link.lastArrivalMicros = arriveMicros;
    }
    const incarnation = this.#machines.get(datagram.to.host)?.incarnation;
    assert(this.#inFlight < IN_FLIGHT_MAX, 'too many datagrams in flight');
    this.#inFlight += 1;
    this.#clock.schedule(arriveMicros - this.#clock.now(), () => {
      this.#inFlight -= 1;
      this.#land(datagram.from, datagram.to, bytes, incarnation, sender);
    });
  }

  #land(
    from: Address,
    to: Address,
    bytes: Uint8Array,
    incarnation: number | undefined,
    sender: Socket | undefined,
  ): void {
    const machine = this.#machines.get(to.host);
    if (machine === undefined || !machine.isUp || machine.incarnation !== incarnation) {
      this.#drop('hostDown', { from, to, bytes });
      return;
    }
    const socket = machine.sockets.get(to.port);
    if (socket === undefined || !socket.takesFrom(from)) {
      this.#drop('portClosed', { from, to, bytes });
      if (sender !== undefined) this.#refuse(from, to, sender);
      return;
    }
    if (machine.pausedUntilMicros > this.#clock.now())
      return this.#wait(machine, socket, { from, to, bytes });
    const receiver = this.#receivers.get(to.host);
    if (receiver === undefined) return this.#deliver(socket, from, to, bytes);
    if (!socket.buffer.take(bytes.length, receiver.limits.bufferBytes)) {
      this.#drop('buffer', { from, to, bytes });
      return;
    }
    const readMicros = receiver.reader.read(this.#clock.now(), bytes.length, receiver.limits);
    this.#clock.schedule(Math.ceil(readMicros) - this.#clock.now(), () => {
      socket.buffer.give(bytes.length);
      // What waits in a socket that closed meanwhile is gone with it.
      if (socket.takesFrom(from)) this.#deliver(socket, from, to, bytes);
      else this.#drop('portClosed', { from, to, bytes });
    });
  }

  /** The machine is paused: its kernel holds what fits the socket. */
  #wait(machine: Machine, socket: Socket, datagram: WireDatagram): void {
    const { from, to, bytes } = datagram;
    if (!socket.buffer.take(bytes.length, PAUSED_BUFFER_BYTES)) {
      this.#drop('buffer', { from, to, bytes });
      return;
    }
    machine.waiting.push(() => {
      socket.buffer.give(bytes.length);
      if (socket.takesFrom(from)) this.#deliver(socket, from, to, bytes);
      else this.#drop('portClosed', { from, to, bytes });
    });
  }

  #drop(reason: keyof NetworkStatistics['dropped'], { from, to, bytes }: WireDatagram): void {
    this.statistics.dropped[reason] += 1;
    this.#watcher?.('dropped', from, to, bytes, reason);
  }

  #deliver(socket: Socket, from: Address, to: Address, bytes: Uint8Array): void {
    this.#watcher?.('received', from, to, bytes);
    this.statistics.delivered += 1;
    this.statistics.deliveredBytes += bytes.length;
    socket.receive(from, bytes);
  }

  /** The ICMP report of a closed port: it travels back, may be lost, and only a connected socket hears it. */
  #refuse(from: Address, to: Address, sender: Socket): void {
    const back = this.#link(to.host, from.host);
    if (back.isCut || back.random.chance(back.faults.lossProbability)) return;
    const { delayMicros, jitterMicros } = back.faults;
    this.#clock.schedule(delayMicros + back.random.integer(jitterMicros + 1), () => {
      const machine = this.#machines.get(from.host);
      const refuse = (): void => {
        if (sender.refuse(to)) this.statistics.refused += 1;
      };
      if (machine !== undefined && machine.pausedUntilMicros > this.#clock.now())
        machine.waiting.push(refuse);
      else refuse();
    });
  }

  #link(fromIp: string, toIp: string): Link {
    let links = this.#links.get(fromIp);
    if (links === undefined) {
      links = new Map();
      this.#links.set(fromIp, links);
    }
    let link = links.get(toIp);
    if (link === undefined) {
      const random = this.#random.fork(`link ${fromIp} ${toIp}`);
      link = new Link(fromIp, toIp, random, this.#faultsOf(fromIp, toIp));
      links.set(toIp, link);
    }
    return link;
  }

  #faultsOf(fromIp: string, toIp: string): LinkFaults {
    const rule = this.#rules.findLast(
      (candidate) =>
        (candidate.fromIp === undefined || candidate.fromIp === fromIp) &&
        (candidate.toIp === undefined || candidate.toIp === toIp),
    );
    return rule!.faults;
  }
}

interface FaultRule {
  readonly fromIp: string | undefined;
  readonly toIp: string | undefined;
  readonly faults: LinkFaults;
}

/** What has an IP address; it outlives its processes and its crashes. */
class Machine {
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

class Process implements VirtualHost {
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

class Socket implements DatagramSocket {
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

function copyOf(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy;
}

function newStatistics(): NetworkStatistics {
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
