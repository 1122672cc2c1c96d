import { describe, expect, test } from 'vitest';
import { drawFaults, type LinkFaults, NO_FAULTS } from '../../sim/faults.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { VirtualNetwork } from '../../sim/virtual-network.ts';
import { toHex } from '../../src/base/bytes.ts';
import { isGramlineError } from '../../src/base/errors.ts';
import type { DatagramHost, DatagramSocket } from '../../src/udp/host.ts';

const A = '10.0.0.1';
const B = '10.0.0.2';
const C = '10.0.0.3';
const PORT = 7400;
const STEPS_MAX = 1_000_000;

/** A socket, what it received, and how often its peer was refused. */
interface Endpoint {
  readonly socket: DatagramSocket;
  readonly received: { readonly at: number; readonly bytes: Uint8Array; readonly from: string }[];
  readonly refusedAt: number[];
}

class World {
  readonly clock = new VirtualClock();
  readonly network: VirtualNetwork;

  constructor(faults: Partial<LinkFaults> = {}, seed = 1) {
    this.network = new VirtualNetwork(this.clock, new Random(seed), { ...NO_FAULTS, ...faults });
  }

  async open(host: DatagramHost & { readonly ip: string }, port = PORT): Promise<Endpoint> {
    const received: Endpoint['received'] = [];
    const refusedAt: number[] = [];
    const socket = await host.open({
      host: host.ip,
      port,
      onDatagram: (bytes, fromHost, fromPort) =>
        received.push({ at: this.clock.now(), bytes: bytes.slice(), from: `${fromHost}:${fromPort}` }),
      onRefused: () => refusedAt.push(this.clock.now()),
    });
    return { socket, received, refusedAt };
  }

  /** Two endpoints on two hosts; the first is connected to the second. */
  async pair(): Promise<[Endpoint, Endpoint]> {
    const sender = await this.open(this.network.host(A));
    const receiver = await this.open(this.network.host(B));
    await sender.socket.connect(B, PORT);
    return [sender, receiver];
  }

  async settle(): Promise<void> {
    expect(await this.clock.run({ stepsMax: STEPS_MAX })).toBe('idle');
  }
}

/** `count` datagrams of `bytes` each whose first four bytes are their number. */
function sendNumbered(socket: DatagramSocket, count: number, bytes = 100): void {
  for (let number = 0; number < count; number++) {
    const buffer = new Uint8Array(bytes);
    new DataView(buffer.buffer).setUint32(0, number);
    socket.send(buffer, bytes, bytes, undefined, undefined);
  }
}

function numbers(endpoint: Endpoint): number[] {
  return endpoint.received.map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0));
}

/** `hits` of `tries` at probability `p`: within five standard deviations. */
function expectFrequency(hits: number, tries: number, p: number): void {
  expect(Math.abs(hits - tries * p)).toBeLessThan(5 * Math.sqrt(tries * p * (1 - p)));
}

describe('sockets', () => {
  test('a datagram arrives after the delay, from the address of its sender', async () => {
    const world = new World({ delayMicros: 120 });
    const [sender, receiver] = await world.pair();
    sender.socket.send(Uint8Array.of(1, 2, 3), 3, 3, undefined, undefined);
    await world.settle();
    expect(receiver.received).toEqual([{ at: 120, bytes: Uint8Array.of(1, 2, 3), from: `${A}:${PORT}` }]);
  });

  test('one send of N segments arrives as N datagrams, the last one shorter', async () => {
    const world = new World();
    const [sender, receiver] = await world.pair();
    const buffer = Uint8Array.from({ length: 12 }, (_, index) => index);
    sender.socket.send(buffer, 10, 4, undefined, undefined);
    await world.settle();
    expect(receiver.received.map(({ bytes }) => [...bytes])).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]);
    expect(world.network.statistics.sent).toBe(3);
  });

  test('bytes are copied when send is called, and the receiver owns its own copy', async () => {
    const world = new World({ duplicateProbability: 1 });
    const [sender, receiver] = await world.pair();
    const buffer = Buffer.from([7, 7]);
    sender.socket.send(buffer, 2, 2, undefined, undefined);
    buffer.fill(0);
    await world.settle();
    expect(receiver.received.map(({ bytes }) => [...bytes])).toEqual([
      [7, 7],
      [7, 7],
    ]);
    receiver.received[0]!.bytes.fill(9);
    expect([...receiver.received[1]!.bytes]).toEqual([7, 7]);
    expect(receiver.received[0]!.bytes.constructor).toBe(Uint8Array);
  });

  test('onSent is called from a later event, never inside send, even when all is lost', async () => {
    const world = new World({ lossProbability: 1 });
    const [sender] = await world.pair();
    let sentCalls = 0;
    sender.socket.send(new Uint8Array(8), 8, 2, undefined, () => {
      sentCalls += 1;
    });
    await null;
    expect(sentCalls).toBe(0);
    await world.settle();
    expect(sentCalls).toBe(1);
  });

  test('a datagram of no bytes is a datagram', async () => {
    const world = new World({ bitFlipProbability: 1, truncateProbability: 1 });
    const [sender, receiver] = await world.pair();
    sender.socket.send(new Uint8Array(0), 0, 0, undefined, undefined);
    await world.settle();
    expect(receiver.received.map(({ bytes }) => bytes.length)).toEqual([0]);
  });

  test('a connected socket hears its peer only; a stranger is refused like at a closed port', async () => {
    const world = new World();
    const [connected, peer] = await world.pair();
    const stranger = await world.open(world.network.host(C));
    await stranger.socket.connect(A, PORT);
    stranger.socket.send(Uint8Array.of(1), 1, 1, undefined, undefined);
    peer.socket.send(Uint8Array.of(2), 1, 1, { host: A, port: PORT }, undefined);
    await world.settle();
    expect(connected.received.map(({ bytes }) => [...bytes])).toEqual([[2]]);
    expect(stranger.refusedAt).toEqual([100]);
  });

  test('a taken port is refused with GRAMLINE_IN_USE that names it; closed, it is free again', async () => {
    const world = new World();
    const host = world.network.host(A);
    const first = await world.open(host);
    const error = await world.open(world.network.host(A)).catch((reason: unknown) => reason);
    expect(isGramlineError(error, 'GRAMLINE_IN_USE')).toBe(true);
    expect(String(error)).toContain(`${A}:${PORT}`);
    const closing = first.socket.close();
    await expect(world.open(host)).rejects.toThrow('is taken');
    await closing;
    expect((await world.open(host)).socket.port).toBe(PORT);
  });

  test('port 0 takes ports that are free, random and the same for the same seed, until none is left', async () => {
    const take = async (seed: number, count: number): Promise<number[]> => {
      const world = new World({}, seed);
      const host = world.network.host(A);
      const ports: number[] = [];
      for (let index = 0; index < count; index++) ports.push((await world.open(host, 0)).socket.port);
      return ports;
    };
    const ports = await take(1, 16_384);
    expect(new Set(ports).size).toBe(16_384);
    expect([Math.min(...ports), Math.max(...ports)]).toEqual([49_152, 65_535]);
    expect(await take(1, 10)).toEqual(ports.slice(0, 10));
    expect(await take(2, 10)).not.toEqual(ports.slice(0, 10));
    await expect(take(1, 16_385)).rejects.toThrow('is taken');
  });

  test('a closed socket receives nothing, and may be closed twice', async () => {
    const world = new World();
    const [sender, receiver] = await world.pair();
    sender.socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
    await receiver.socket.close();
    await receiver.socket.close();
    await world.settle();
    expect(receiver.received).toEqual([]);
    expect(world.network.statistics.dropped.portClosed).toBe(1);
  });

  test('misuse is refused by assertion', async () => {
    const world = new World();
    const [sender, receiver] = await world.pair();
    const buffer = new Uint8Array(70_000);
    const send = (bytes: number, segmentBytes: number, to?: { host: string; port: number }) => () =>
      sender.socket.send(buffer, bytes, segmentBytes, to, undefined);
    expect(send(65_507, 65_507)).not.toThrow();
    expect(send(65_508, 65_508)).toThrow('at most 65,507');
    expect(send(10, 0)).toThrow('segments of no bytes');
    expect(send(10, 10, { host: B, port: 1 })).toThrow('exactly when unconnected');
    expect(() => receiver.socket.send(buffer, 1, 1, undefined, undefined)).toThrow(
      'exactly when unconnected',
    );
    expect(() => sender.socket.send(new Uint8Array(1), 2, 2, undefined, undefined)).toThrow('buffer holds');
    await expect(world.network.host(A).open({ ...noCallbacks, host: B, port: 1 })).rejects.toThrow(
      'no address',
    );
    const offload = await world.open(world.network.host(C, { offload: true }));
    await offload.socket.connect(B, PORT);
    expect(() => offload.socket.send(buffer, 64, 1, undefined, undefined)).not.toThrow();
    expect(() => offload.socket.send(buffer, 65, 1, undefined, undefined)).toThrow('at most 64');
    await sender.socket.close();
    expect(send(1, 1)).toThrow('closed socket');
  });
});

const noCallbacks = { onDatagram: () => {}, onRefused: () => {} };

describe('closed ports', () => {
  test('a connected sender hears that the port is closed, after the way there and back', async () => {
    const world = new World({ delayMicros: 200 });
    const sender = await world.open(world.network.host(A));
    world.network.host(B);
    await sender.socket.connect(B, PORT);
    sender.socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
    await world.settle();
    expect(sender.refusedAt).toEqual([400]);
    expect(world.network.statistics.refused).toBe(1);
  });

  test('an unconnected sender, and the sender to a dead host, hear nothing', async () => {
    const world = new World();
    const sender = await world.open(world.network.host(A));
    world.network.host(B);
    sender.socket.send(new Uint8Array(1), 1, 1, { host: B, port: PORT }, undefined);
    sender.socket.send(new Uint8Array(1), 1, 1, { host: C, port: PORT }, undefined);
    await sender.socket.connect(C, PORT);
    sender.socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
    await world.settle();
    expect(sender.refusedAt).toEqual([]);
    expect(world.network.statistics.dropped).toMatchObject({ portClosed: 1, hostDown: 2 });
  });

  test('the report is lost with the return way, and stopped by a cut of it', async () => {
    const world = new World({ lossProbability: 0.5 }, 3);
    const sender = await world.open(world.network.host(A));
    world.network.host(B);
    await sender.socket.connect(B, PORT);
    sendNumbered(sender.socket, 4_000);
    await world.settle();
    expectFrequency(sender.refusedAt.length, 4_000, 0.25);
    const before = sender.refusedAt.length;
    world.network.cut(B, A);
    sendNumbered(sender.socket, 100);
    await world.settle();
    expect(sender.refusedAt.length).toBe(before);
  });

  test('a socket that closed or connected elsewhere meanwhile hears nothing', async () => {
    const world = new World();
    const closed = await world.open(world.network.host(A), 1);
    const moved = await world.open(world.network.host(A), 2);
    world.network.host(B);
    for (const { socket } of [closed, moved]) {
      await socket.connect(B, PORT);
      socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
    }
    await closed.socket.close();
    await moved.socket.connect(B, PORT + 1);
    await world.settle();
    expect([closed.refusedAt, moved.refusedAt]).toEqual([[], []]);
  });
});

describe('each fault alone', () => {
  const COUNT = 10_000;

  async function through(faults: Partial<LinkFaults>): Promise<[Endpoint, VirtualNetwork]> {
    const world = new World(faults, 7);
    const [sender, receiver] = await world.pair();
    sendNumbered(sender.socket, COUNT);
    await world.settle();
    return [receiver, world.network];
  }

  const inOrder = Array.from({ length: COUNT }, (_, number) => number);

  test('no fault: all arrive once, in order, whole, and nothing is counted', async () => {
    const [receiver, { statistics }] = await through({});
    expect(numbers(receiver)).toEqual(inOrder);
    expect(statistics).toMatchObject({
      sent: COUNT,
      delivered: COUNT,
      callbacks: COUNT,
      deliveredBytes: COUNT * 100,
      duplicated: 0,
      reordered: 0,
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
    });
  });

  test('loss removes its share and keeps the order of the rest', async () => {
    const [receiver, { statistics }] = await through({ lossProbability: 0.1 });
    expectFrequency(COUNT - receiver.received.length, COUNT, 0.1);
    expect(statistics.dropped.loss).toBe(COUNT - receiver.received.length);
    expect(numbers(receiver)).toEqual(numbers(receiver).sort((left, right) => left - right));
  });

  test('duplication adds its share', async () => {
    const [receiver, { statistics }] = await through({ duplicateProbability: 0.2 });
    expectFrequency(receiver.received.length - COUNT, COUNT, 0.2);
    expect(statistics.duplicated).toBe(receiver.received.length - COUNT);
    expect([...new Set(numbers(receiver))]).toEqual(inOrder);
  });

  test('reordering delays its share past others and loses none', async () => {
    const [receiver, { statistics }] = await through({ reorderProbability: 0.05, reorderMicros: 400 });
    const order = numbers(receiver);
    expectFrequency(statistics.reordered, COUNT, 0.05);
    const late = order.filter((number, index) => index > 0 && number < order[index - 1]!);
    expect(late.length).toBeGreaterThan(100);
    expect(order.toSorted((left, right) => left - right)).toEqual(inOrder);
    for (const { at } of receiver.received) expect(at >= 50 && at <= 450).toBe(true);
  });

  test('jitter spreads arrivals over its span and keeps the order', async () => {
    const world = new World({ jitterMicros: 1_000 });
    const [sender, receiver] = await world.pair();
    for (let number = 0; number < 1_000; number++) {
      world.clock.schedule(number * 10_000, () => sendNumbered(sender.socket, 1));
    }
    await world.settle();
    const delays = receiver.received.map(({ at }, index) => at - index * 10_000);
    expect(Math.min(...delays)).toBeLessThan(100);
    expect(Math.max(...delays)).toBeGreaterThan(1_000);
    for (const delay of delays) expect(delay >= 50 && delay <= 1_050).toBe(true);
    const [burst] = await through({ jitterMicros: 1_000 });
    expect(numbers(burst)).toEqual(inOrder);
  });

  test('a bit flip turns exactly one bit, anywhere, in its share', async () => {
    const [receiver, { statistics }] = await through({ bitFlipProbability: 0.1 });
    let flipped = 0;
    const places = new Set<number>();
    for (const [index, { bytes }] of receiver.received.entries()) {
      const whole = new Uint8Array(100);
      new DataView(whole.buffer).setUint32(0, index);
      const bits = [...bytes].flatMap((byte, at) => {
        const difference = byte ^ whole[at]!;
        if (difference !== 0) places.add(at * 8 + Math.log2(difference));
        return difference === 0 ? [] : [difference.toString(2).replaceAll('0', '').length];
      });
      if (bits.length > 0) {
        flipped += 1;
        expect(bits).toEqual([1]);
      }
    }
    expectFrequency(flipped, COUNT, 0.1);
    expect(statistics.bitFlipped).toBe(flipped);
    expect(places.size).toBeGreaterThan(500);
  });

  test('truncation cuts its share to any shorter length', async () => {
    const [receiver, { statistics }] = await through({ truncateProbability: 0.3 });
    const lengths = receiver.received.map(({ bytes }) => bytes.length).filter((length) => length < 100);
    expectFrequency(lengths.length, COUNT, 0.3);
    expect(statistics.truncated).toBe(lengths.length);
    expect([Math.min(...lengths), Math.max(...lengths)]).toEqual([0, 99]);
  });

  test('the MTU lets a datagram of its size through and swallows one byte more', async () => {
    const world = new World({ mtuBytes: 1_472 });
    const [sender, receiver] = await world.pair();
    for (const bytes of [1_472, 1_473, 65_507]) {
      sender.socket.send(new Uint8Array(bytes), bytes, bytes, undefined, undefined);
    }
    await world.settle();
    expect(receiver.received.map(({ bytes }) => bytes.length)).toEqual([1_472]);
    expect(world.network.statistics.dropped.mtu).toBe(2);
  });

  test('a limited link delivers at its rate and drops at the tail of its queue', async () => {
    const world = new World({ bytesPerSecond: 1_280_000, queueBytes: 12_800, delayMicros: 0 });
    const [sender, receiver] = await world.pair();
    sendNumbered(sender.socket, 250);
    await world.settle();
    // 128 bytes with headers take 100 us; the queue holds 100 of them.
    expect(numbers(receiver)).toEqual(inOrder.slice(0, 100));
    expect(receiver.received.map(({ at }) => at)).toEqual(inOrder.slice(1, 101).map((count) => count * 100));
    expect(world.network.statistics.dropped.queue).toBe(150);
  });
});

describe('a switch port', () => {
  const PORT_RATE = { bytesPerSecond: 1_280_000, queueBytes: 12_800 };

  test('is shared by all senders to a host, at its rate, and drops at the tail', async () => {
    const world = new World({ delayMicros: 0 });
    world.network.setPort(B, PORT_RATE);
    const [sender, receiver] = await world.pair();
    const other = await world.open(world.network.host(C));
    sendNumbered(sender.socket, 80);
    const buffer = new Uint8Array(100);
    for (let count = 0; count < 80; count++) {
      other.socket.send(buffer, 100, 100, { host: B, port: PORT }, undefined);
    }
    await world.settle();
    expect(receiver.received.map(({ at }) => at)).toEqual(
      Array.from({ length: 100 }, (_, index) => (index + 1) * 100),
    );
    expect(world.network.statistics.dropped).toMatchObject({ port: 60, queue: 0 });
  });

  test('serves what limited links bring in the order of its coming', async () => {
    const world = new World({ delayMicros: 0, bytesPerSecond: 12_800_000, queueBytes: 1_000_000 });
    world.network.setPort(B, PORT_RATE);
    const [sender, receiver] = await world.pair();
    sendNumbered(sender.socket, 50);
    await world.settle();
    expect(numbers(receiver)).toEqual(Array.from({ length: 50 }, (_, index) => index));
    // The first one needs 10 us to the port and 100 through it.
    expect(receiver.received[0]!.at).toBe(110);
    expect(receiver.received.at(-1)!.at).toBe(10 + 50 * 100);
  });

  test('can be taken away', async () => {
    const world = new World({ delayMicros: 7 });
    world.network.setPort(B, PORT_RATE);
    world.network.setPort(B, undefined);
    const [sender, receiver] = await world.pair();
    sendNumbered(sender.socket, 200);
    await world.settle();
    expect(receiver.received.map(({ at }) => at)).toEqual(Array<number>(200).fill(7));
  });
});

describe('a host that reads so fast and no faster', () => {
  const LIMITS = { bufferBytes: 8_680, bytesPerSecond: 1_000_000, datagramBytes: 100 };

  test('reads its sockets in turn, and what finds no room in one is lost', async () => {
    const world = new World({ delayMicros: 0 });
    world.network.setReceiveLimits(B, LIMITS);
    const [sender, receiver] = await world.pair();
    expect(receiver.socket.receiveBufferBytes).toBe(4_340);
    sendNumbered(sender.socket, 50);
    await world.settle();
    // 100 bytes and 768 of the kernel's: ten find room. Each takes 200 us to read.
    expect(numbers(receiver)).toEqual(Array.from({ length: 10 }, (_, index) => index));
    expect(receiver.received.map(({ at }) => at)).toEqual(
      Array.from({ length: 10 }, (_, index) => (index + 1) * 200),
    );
    expect(world.network.statistics.dropped.buffer).toBe(40);
    sendNumbered(sender.socket, 3);
    await world.settle();
    expect(receiver.received, 'the room is given back').toHaveLength(13);
  });

  test('forgets what waits in a socket that is closed', async () => {
    const world = new World({ delayMicros: 0 });
    world.network.setReceiveLimits(B, LIMITS);
    const [sender, receiver] = await world.pair();
    sendNumbered(sender.socket, 5);
    world.clock.schedule(500, () => void receiver.socket.close());
    await world.settle();
    expect(receiver.received).toHaveLength(2);
    expect(world.network.statistics.dropped.portClosed).toBe(3);
  });

  test('says nothing of its buffer where it has no limits', async () => {
    const world = new World();
    expect((await world.pair())[1].socket.receiveBufferBytes).toBeUndefined();
  });
});

describe('the network', () => {
  test('a cut is one way, and heal mends it', async () => {
    const world = new World();
    const [one, other] = await world.pair();
    await other.socket.connect(A, PORT);
    const exchange = async (): Promise<number[]> => {
      one.socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
      other.socket.send(new Uint8Array(1), 1, 1, undefined, undefined);
      await world.settle();
      return [one.received.length, other.received.length];
    };
    world.network.cut(A, B);
    expect(await exchange()).toEqual([1, 0]);
    world.network.heal();
    expect(await exchange()).toEqual([2, 1]);
    expect(world.network.statistics.dropped.cut).toBe(1);
  });

  test('faults of one link, of one host or of all: what is set later wins', async () => {
    const world = new World();
    const lossy = { ...NO_FAULTS, lossProbability: 1 };
    const hosts = [A, B, C];
    const ends = await Promise.all(hosts.map((ip) => world.open(world.network.host(ip))));
    const reachable = async (): Promise<string> => {
      for (const end of ends) end.received.length = 0;
      for (const { socket } of ends) {
        for (const host of hosts) {
          if (host !== socket.host) socket.send(new Uint8Array(1), 1, 1, { host, port: PORT }, undefined);
        }
      }
      await world.settle();
      return ends
        .flatMap((end) => end.received.map(({ from }) => `${from.at(7)}${end.socket.host.at(-1)}`))
        .sort()
        .join(' ');
    };
    expect(await reachable()).toBe('12 13 21 23 31 32');
    world.network.setFaults(lossy, A, B);
    expect(await reachable()).toBe('13 21 23 31 32');
    world.network.setFaults(lossy, C);
    expect(await reachable()).toBe('13 21 23');
    world.network.setFaults(lossy, undefined, A);
    expect(await reachable()).toBe('13 23');
    world.network.setFaults(NO_FAULTS, C, A);
    expect(await reachable()).toBe('13 23 31');
    world.network.setFaults(NO_FAULTS);
    expect(await reachable()).toBe('12 13 21 23 31 32');
  });

  test('a tap sees what was sent before the faults, in copies of its own', async () => {
    const world = new World({ lossProbability: 1 });
    const [sender] = await world.pair();
    const seen: string[] = [];
    const remove = world.network.tap((from, to, bytes) => {
      seen.push(`${from.host}:${from.port} > ${to.host}:${to.port} ${toHex(bytes)}`);
      bytes.fill(0);
    });
    sender.socket.send(Uint8Array.of(1, 2, 3), 3, 2, undefined, undefined);
    remove();
    sender.socket.send(Uint8Array.of(9), 1, 1, undefined, undefined);
    expect(seen).toEqual([`${A}:7400 > ${B}:7400 0102`, `${A}:7400 > ${B}:7400 03`]);
  });

  test('an attacker on the path passes, drops, replaces, repeats and redirects', async () => {
    const world = new World();
    const [sender, receiver] = await world.pair();
    const third = await world.open(world.network.host(C));
    const remove = world.network.intercept(({ bytes, to }) => {
      switch (bytes[0]) {
        case 1:
          return 'drop';
        case 2:
          return [{ bytes: Uint8Array.of(20) }, { bytes: Uint8Array.of(21) }];
        case 3:
          return [{ bytes, from: { host: B, port: 1 }, to: { host: C, port: to.port } }];
        default:
          return 'pass';
      }
    });
    for (const byte of [0, 1, 2, 3]) sender.socket.send(Uint8Array.of(byte), 1, 1, undefined, undefined);
    remove();
    sender.socket.send(Uint8Array.of(1), 1, 1, undefined, undefined);
    await world.settle();
    expect(receiver.received.map(({ bytes }) => bytes[0])).toEqual([0, 20, 21, 1]);
    expect(third.received).toMatchObject([{ bytes: Uint8Array.of(3), from: `${B}:1` }]);
    expect(world.network.statistics).toMatchObject({ forged: 3, dropped: { intercepted: 3 } });
  });

  test('injected datagrams bear any source, pass a connected socket only as its peer, and meet no interceptor', async () => {
    const world = new World();
    const [connected] = await world.pair();
    world.network.intercept(() => 'drop');
    const to = { host: A, port: PORT };
    world.network.inject({ host: C, port: PORT }, to, Uint8Array.of(1));
    world.network.inject({ host: B, port: PORT }, to, Uint8Array.of(2));
    world.network.inject({ host: B, port: PORT + 1 }, to, Uint8Array.of(3));
    await world.settle();
    expect(connected.received).toMatchObject([{ bytes: Uint8Array.of(2), from: `${B}:${PORT}` }]);
    expect(world.network.statistics.injected).toBe(3);
  });
});

describe('crashes', () => {
  test('a machine that crashes loses its sockets and what is in flight to it, and answers nothing', async () => {
    const world = new World();
    const host = world.network.host(B);
    const receiver = await world.open(host);
    const sender = await world.open(world.network.host(A));
    await sender.socket.connect(B, PORT);
    sender.socket.send(Uint8Array.of(1), 1, 1, undefined, undefined);
    let lateCalls = 0;
    receiver.socket.send(Uint8Array.of(2), 1, 1, { host: A, port: PORT }, () => {
      lateCalls += 1;
    });
    host.crash();
    // What left before the crash is on its way; what the dead send is not.
    receiver.socket.send(Uint8Array.of(3), 1, 1, { host: A, port: PORT }, undefined);
    await world.settle();
    sender.socket.send(Uint8Array.of(4), 1, 1, undefined, undefined);
    await world.settle();
    expect([receiver.received.length, lateCalls, sender.refusedAt.length]).toEqual([0, 0, 0]);
    expect(sender.received.map(({ bytes }) => bytes[0])).toEqual([2]);
    expect(world.network.statistics.dropped.hostDown).toBe(2);
    expect(host.isCrashed).toBe(true);
    await expect(world.open(host)).rejects.toMatchObject({ code: 'GRAMLINE_CLOSED' });
  });

  test('what was in flight to a machine stays lost when it restarts at once', async () => {
    const world = new World();
    const [sender] = await world.pair();
    sender.socket.send(Uint8Array.of(1), 1, 1, undefined, undefined);
    world.network.host(B).crash();
    const restarted = await world.open(world.network.host(B));
    sender.socket.send(Uint8Array.of(2), 1, 1, undefined, undefined);
    await world.settle();
    expect(restarted.received.map(({ bytes }) => bytes[0])).toEqual([2]);
  });

  test('a process that crashes leaves the machine and its other process alive: its ports refuse', async () => {
    const world = new World();
    const [sender] = await world.pair();
    const process = world.network.host(B);
    const other = await world.open(world.network.host(B), 1);
    const dying = await world.open(process, 2);
    await sender.socket.connect(B, 2);
    sender.socket.send(Uint8Array.of(1), 1, 1, undefined, undefined);
    process.crash('process');
    await world.settle();
    expect([dying.received.length, sender.refusedAt.length]).toEqual([0, 1]);
    await sender.socket.connect(B, 1);
    sender.socket.send(Uint8Array.of(2), 1, 1, undefined, undefined);
    await world.settle();
    expect(other.received.length).toBe(1);
    expect((await world.open(world.network.host(B), 2)).socket.port).toBe(2);
  });

  test('a socket that was closing when its host crashed does not free the port of its successor', async () => {
    const world = new World();
    const host = world.network.host(A);
    const old = await world.open(host);
    const closing = old.socket.close();
    host.crash();
    const reopening = world.open(world.network.host(A));
    await closing;
    await reopening;
    await expect(world.open(world.network.host(A))).rejects.toThrow('is taken');
  });
});

describe('receive offload', () => {
  async function glued(
    send: (world: World, one: Endpoint, two: Endpoint) => void,
    glueMicros = 0,
  ): Promise<[number[][], VirtualNetwork]> {
    const world = new World();
    const receiver = await world.open(world.network.host(B, { offload: true, glueMicros }));
    const one = await world.open(world.network.host(A));
    const two = await world.open(world.network.host(C));
    await one.socket.connect(B, PORT);
    await two.socket.connect(B, PORT);
    send(world, one, two);
    await world.settle();
    return [receiver.received.map(({ bytes }) => [...bytes]), world.network];
  }
  const sendAll = (endpoint: Endpoint, ...datagrams: number[][]): void => {
    for (const bytes of datagrams) {
      endpoint.socket.send(
        Uint8Array.from(bytes),
        bytes.length,
        Math.max(bytes.length, 1),
        undefined,
        undefined,
      );
    }
  };

  test('equal datagrams of one instant come in one callback; a shorter one is the last', async () => {
    const [callbacks, { statistics }] = await glued((_world, one) =>
      sendAll(one, [1, 1], [2, 2], [3], [4, 4], [5, 5, 5], [6, 6, 6]),
    );
    expect(callbacks).toEqual([
      [1, 1, 2, 2, 3],
      [4, 4],
      [5, 5, 5, 6, 6, 6],
    ]);
    expect(statistics).toMatchObject({ delivered: 6, callbacks: 3 });
  });

  test('datagrams of two peers, of no bytes, and of another instant stay apart', async () => {
    const [callbacks] = await glued((world, one, two) => {
      sendAll(one, [1]);
      sendAll(two, [2]);
      sendAll(one, [], [3]);
      world.clock.schedule(10, () => sendAll(one, [4]));
    });
    expect(callbacks).toEqual([[1], [2], [], [3], [4]]);
  });

  test('with a wait, datagrams of several instants are glued', async () => {
    const [callbacks] = await glued((world, one) => {
      sendAll(one, [1]);
      world.clock.schedule(20, () => sendAll(one, [2]));
      world.clock.schedule(21, () => sendAll(one, [3]));
    }, 20);
    expect(callbacks).toEqual([[1, 2], [3]]);
  });

  test('at most 64 datagrams and 65,535 bytes are glued', async () => {
    const [small] = await glued((_world, one) => sendAll(one, ...Array.from({ length: 65 }, () => [0])));
    expect(small.map((bytes) => bytes.length)).toEqual([64, 1]);
    const half = new Array<number>(32_768).fill(0);
    const [large] = await glued((_world, one) => sendAll(one, half, half, half.slice(1)));
    expect(large.map((bytes) => bytes.length)).toEqual([32_768, 65_535]);
  });

  test('a callback that closes its socket gets no further ones', async () => {
    const world = new World();
    const sender = await world.open(world.network.host(A));
    let calls = 0;
    const socket = await world.network.host(B, { offload: true }).open({
      host: '0.0.0.0',
      port: PORT,
      onRefused: () => {},
      onDatagram: () => {
        calls += 1;
        void socket.close();
      },
    });
    await sender.socket.connect(B, PORT);
    sendAll(sender, [1], [2, 2]);
    await world.settle();
    expect(calls).toBe(1);
  });
});

describe('determinism', () => {
  /** Five hosts that echo and gossip over bad links, with cuts and crashes; every byte is in the trace. */
  async function trace(seed: number): Promise<string[]> {
    const random = new Random(seed);
    const clock = new VirtualClock();
    const network = new VirtualNetwork(clock, random, drawFaults(random.fork('faults')));
    const lines: string[] = [];
    network.tap((from, to, bytes) =>
      lines.push(`${clock.now()} sent ${from.host}:${from.port} ${to.host}:${to.port} ${toHex(bytes)}`),
    );
    const ips = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'];
    for (const [index, ip] of ips.entries()) {
      const draws = random.fork(ip);
      const host = network.host(ip, { offload: index % 2 === 0, glueMicros: 30 });
      const socket = await host.open({
        host: ip,
        port: PORT,
        onRefused: () => lines.push(`${clock.now()} refused ${ip}`),
        onDatagram: (bytes, fromHost, fromPort) => {
          lines.push(`${clock.now()} got ${ip} ${fromHost}:${fromPort} ${toHex(bytes)}`);
          void (async () => {
            for (let depth = draws.integer(5); depth > 0; depth--) await null;
            if (host.isCrashed || bytes.length === 0 || draws.chance(0.6)) return;
            socket.send(
              bytes,
              bytes.length,
              1 + draws.integer(64),
              { host: fromHost, port: fromPort },
              undefined,
            );
          })();
        },
      });
      const gossip = (): void => {
        if (clock.now() > 300_000) return;
        const bytes = draws.bytes(draws.integer(64));
        socket.send(bytes, bytes.length, 64, { host: draws.pick(ips), port: PORT }, undefined);
        clock.schedule(draws.integer(20_000), gossip);
      };
      clock.schedule(draws.integer(1_000), gossip);
    }
    clock.schedule(100_000, () => network.cut(random.pick(ips), random.pick(ips)));
    clock.schedule(200_000, () => {
      network.heal();
      network.host(random.pick(ips)).crash();
    });
    const result = await clock.run({ stepsMax: STEPS_MAX });
    lines.push(`${clock.now()} ${result} ${JSON.stringify(network.statistics)}`);
    return lines;
  }

  test('the same seed gives the same trace, byte for byte', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const first = await trace(seed);
      expect(first.length, `seed ${seed}`).toBeGreaterThan(100);
      expect(await trace(seed), `seed ${seed}`).toEqual(first);
    }
  });

  test('different seeds give different traces', async () => {
    const traces = new Set<string>();
    for (let seed = 0; seed < 20; seed++) traces.add((await trace(seed)).join('\n'));
    expect(traces.size).toBe(20);
  });

  test('two simulations in one process at one time do not disturb each other', async () => {
    const alone = await trace(5);
    const [first, second] = await Promise.all([trace(5), trace(5)]);
    expect(first).toEqual(alone);
    expect(second).toEqual(alone);
  });

  test('traffic on one link does not change the faults of another', async () => {
    const arrivals = async (noise: boolean): Promise<number[]> => {
      const world = new World({
        lossProbability: 0.3,
        jitterMicros: 100,
        reorderProbability: 0.1,
        reorderMicros: 500,
      });
      const [sender, receiver] = await world.pair();
      const other = await world.open(world.network.host(C));
      if (noise)
        for (let count = 0; count < 50; count++) {
          other.socket.send(new Uint8Array(4), 4, 4, { host: A, port: PORT }, undefined);
        }
      sendNumbered(sender.socket, 200);
      await world.settle();
      return numbers(receiver);
    };
    expect(await arrivals(true)).toEqual(await arrivals(false));
  });
});

describe('a machine that is paused', () => {
  test('gets what arrived meanwhile when it goes on, in order, as far as its sockets hold it', async () => {
    const world = new World();
    const [sender, receiver] = await world.pair();
    world.network.pause(B, 5_000);
    sendNumbered(sender.socket, 300, 1_000);
    await world.clock.run({ stepsMax: STEPS_MAX });
    expect(receiver.received).toEqual([]);
    world.clock.schedule(5_000, () => world.network.resume(B));
    await world.settle();
    const arrived = numbers(receiver);
    expect(arrived).toEqual(arrived.map((_, index) => index));
    expect(arrived.length).toBeGreaterThan(100);
    expect(arrived.length + world.network.statistics.dropped.buffer).toBe(300);
    sendNumbered(sender.socket, 1);
    await world.settle();
    expect(numbers(receiver)).toHaveLength(arrived.length + 1);
  });

  test('loses what waited when it crashes, and is not paused when it starts again', async () => {
    const world = new World();
    const host = world.network.host(B);
    const receiver = await world.open(host);
    const sender = await world.open(world.network.host(A));
    await sender.socket.connect(B, PORT);
    world.network.pause(B, 5_000);
    sendNumbered(sender.socket, 3);
    await world.settle();
    host.crash();
    world.network.resume(B);
    expect(receiver.received).toEqual([]);
    const again = await world.open(world.network.host(B));
    sendNumbered(sender.socket, 2);
    await world.settle();
    expect(numbers(again)).toEqual([0, 1]);
  });
});

test('one cut is mended, and the others stay', async () => {
  const world = new World();
  const [sender, receiver] = await world.pair();
  world.network.cut(A, B);
  world.network.cut(A, C);
  world.network.mend(A, C);
  sendNumbered(sender.socket, 1);
  await world.settle();
  expect(receiver.received).toEqual([]);
  world.network.mend(A, B);
  sendNumbered(sender.socket, 1);
  await world.settle();
  expect(receiver.received).toHaveLength(1);
});
