/**
 * A network of hosts under virtual time: `DatagramHost` and `DatagramSocket` with the semantics of
 * real UDP, links with faults drawn from one seed, and a place for an active attacker.
 *
 * A datagram passes: taps, interceptors, cut, MTU, rate and queue, the receiver's switch port, loss,
 * duplication, damage, delay; then, at the receiver, the socket lookup and the socket's buffer. All
 * links keep order unless told to reorder.
 */

import { assert } from '../src/base/assert.ts';
import { DATAGRAM_PAYLOAD_BYTES_MAX, Link, type LinkFaults } from './faults.ts';
import { type NetworkStatistics, newStatistics } from './network-statistics.ts';
import {
  Reader,
  type ReceiveLimits,
  SOCKET_USABLE_SHARE,
  type SwitchPort,
  TailDrop,
  wireBytes,
} from './queues.ts';
import type { Random } from './random.ts';
import type { Fate } from './trace.ts';
import type { VirtualClock } from './virtual-clock.ts';
import {
  type Address,
  copyOf,
  Machine,
  Process,
  type Socket,
  type VirtualHost,
  type VirtualHostOptions,
  type WireDatagram,
} from './virtual-host.ts';

export type { NetworkStatistics } from './network-statistics.ts';
export {
  type Address,
  GLUED_BYTES_MAX,
  SEGMENTS_MAX,
  type VirtualHost,
  type VirtualHostOptions,
  type WireDatagram,
} from './virtual-host.ts';

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

/** Most datagrams under way at one time; more is a storm in the code under test. */
export const IN_FLIGHT_MAX = 1_000_000;

/** What one socket of a paused machine holds: Linux's default of `rmem_max`. */
const PAUSED_BUFFER_BYTES = 212_992;

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
