/**
 * A bad network between real sockets: drops, duplicates and reorders the datagrams of a host, on
 * their way out and on their way in, from one seed.
 *
 * A proxy between two ports could not follow a session to the random port that WELCOME names inside
 * its encryption; the host port sees every socket. Kernel timing stays real, so the same seed gives
 * the same draws, not the same run.
 */

import { Random } from '../../sim/random.ts';
import type { DatagramHost, DatagramSocket, DatagramSocketOptions } from '../../src/udp/host.ts';

/** Chances, 0 to 1, for one direction. */
export interface Impairment {
  readonly drop: number;
  readonly duplicate: number;
  readonly reorder: number;
}

export interface ImpairedHostOptions {
  readonly seed: number;
  readonly send: Impairment;
  readonly receive: Impairment;
}

export interface ImpairmentCounts {
  passed: number;
  dropped: number;
  duplicated: number;
  reordered: number;
}

export interface ImpairedHost extends DatagramHost {
  readonly sent: ImpairmentCounts;
  readonly received: ImpairmentCounts;
}

/** A datagram that is reordered leaves behind this many later ones... */
const OVERTAKEN_BY = 3;
/** ...or after this long, when fewer come. */
const HELD_MILLIS = 4;

/** `inner` with a bad network in front of it. */
export function impairedHost(inner: DatagramHost, options: ImpairedHostOptions): ImpairedHost {
  const sent = noCounts();
  const received = noCounts();
  let sockets = 0;
  return {
    offload: inner.offload,
    ...(inner.payloadBytesTo === undefined ? {} : { payloadBytesTo: inner.payloadBytesTo }),
    sent,
    received,
    async open(socketOptions: DatagramSocketOptions): Promise<DatagramSocket> {
      const random = new Random(options.seed).fork(`socket ${sockets++}`);
      let closed = false;
      const inward = new BadPath(options.receive, random.fork('in'), received);
      const outward = new BadPath(options.send, random.fork('out'), sent);
      const socket = await inner.open({
        ...socketOptions,
        onDatagram: (bytes, host, port) => {
          inward.pass((again) => {
            if (!closed) socketOptions.onDatagram(again ? bytes.slice() : bytes, host, port);
          });
        },
      });
      return {
        host: socket.host,
        port: socket.port,
        ...(socket.receiveBufferBytes === undefined ? {} : { receiveBufferBytes: socket.receiveBufferBytes }),
        connect: (host, port) => socket.connect(host, port),
        send(buffer, bytes, segmentBytes, to, onSent) {
          // Copied, because a datagram may leave after its buffer is used anew.
          const copy = buffer.slice(0, bytes);
          for (let at = 0; at < bytes; at += segmentBytes) {
            const datagram = copy.subarray(at, Math.min(at + segmentBytes, bytes));
            outward.pass(() => {
              if (!closed) socket.send(datagram, datagram.length, datagram.length, to, undefined);
            });
          }
          onSent?.();
        },
        close() {
          closed = true;
          inward.close();
          outward.close();
          return socket.close();
        },
      };
    },
  };
}

/** Hands datagrams on, or not, or twice, or later. */
class BadPath {
  readonly #impairment: Impairment;
  readonly #random: Random;
  readonly #counts: ImpairmentCounts;
  #held: { readonly go: () => void; left: number; readonly timer: NodeJS.Timeout }[] = [];

  constructor(impairment: Impairment, random: Random, counts: ImpairmentCounts) {
    this.#impairment = impairment;
    this.#random = random;
    this.#counts = counts;
  }

  pass(go: (again: boolean) => void): void {
    const { drop, duplicate, reorder } = this.#impairment;
    if (this.#random.chance(drop)) {
      this.#counts.dropped += 1;
    } else if (this.#random.chance(reorder)) {
      this.#counts.reordered += 1;
      this.#hold(() => go(false));
    } else {
      this.#counts.passed += 1;
      go(false);
      if (this.#random.chance(duplicate)) {
        this.#counts.duplicated += 1;
        go(true);
      }
    }
    this.#overtake();
  }

  close(): void {
    for (const { timer } of this.#held) clearTimeout(timer);
    this.#held = [];
  }

  #hold(run: () => void): void {
    const held = {
      left: OVERTAKEN_BY + 1,
      go: () => {
        clearTimeout(held.timer);
        this.#held = this.#held.filter((other) => other !== held);
        run();
      },
      timer: setTimeout(() => held.go(), HELD_MILLIS),
    };
    this.#held.push(held);
  }

  #overtake(): void {
    for (const held of [...this.#held]) {
      held.left -= 1;
      if (held.left === 0) held.go();
    }
  }
}

function noCounts(): ImpairmentCounts {
  return { passed: 0, dropped: 0, duplicated: 0, reordered: 0 };
}
