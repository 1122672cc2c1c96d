/** What somebody without the secret, or with a captured HELLO, gets out of an open port: nothing. */

import { afterEach, describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { type Micros, micros, type PacketNumber, seconds } from '../../src/base/units.ts';
import { COOKIE_LIFETIME_MICROS, deriveClusterKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { Clock } from '../../src/nodes/ports.ts';
import { signPacket } from '../../src/session/front.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import {
  COOKIE_BYTES,
  encodeMessage,
  encodePacket,
  HELLO_MAC_BYTES,
  type Packet,
  PacketType,
  packetSize,
  QueryKind,
  Role,
  type SessionTag,
  statusQuery,
  WIRE_VERSION,
} from '../../src/wire/index.ts';
import { eventually, TestCluster } from '../support/cluster.ts';
import { RawSocket, settle } from '../support/raw-socket.ts';
import { tappedHost } from '../support/tapped-host.ts';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function open(nodes: number, clock: Clock = systemClock) {
  const hub = tappedHost(plainHost);
  const cluster = await TestCluster.open({
    nodes,
    transport: { host: hub, clock, idleMicros: seconds(60) },
  });
  closers.push(() => cluster.close());
  return { cluster, hub, front: Number(cluster.address.split(':')[1]) };
}

async function raw(host?: string, port?: number): Promise<RawSocket> {
  const socket = await RawSocket.open(host, port);
  closers.push(() => socket.close().catch(() => undefined));
  return socket;
}

const TAG: SessionTag = { high: 0x01020304, low: 0x05060708 };
const filled = (bytes: number, value = 0xab): Uint8Array => new Uint8Array(bytes).fill(value);

function encoded(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  return bytes;
}

/** One packet of every type, with MACs and seals of somebody who does not know the secret. */
function everyPacket(secretId: Uint8Array, random: Random): Uint8Array[] {
  const mac = random.bytes(HELLO_MAC_BYTES);
  const hello = { type: PacketType.HELLO, version: WIRE_VERSION, secretId, tag: TAG, mac } as const;
  const number = random.integer(1_000) as PacketNumber;
  return [
    encoded({ ...hello, cookie: undefined, noise: new Uint8Array(0) }),
    encoded({ ...hello, cookie: random.bytes(COOKIE_BYTES), noise: random.bytes(96) }),
    encoded({ ...hello, version: 9, cookie: undefined, noise: new Uint8Array(0) }),
    encoded({
      type: PacketType.COOKIE,
      tag: TAG,
      cookie: random.bytes(COOKIE_BYTES),
      clusterId: filled(16),
      mac,
    }),
    encoded({ type: PacketType.WELCOME, tag: TAG, noise: random.bytes(90), mac }),
    encoded({ type: PacketType.REFUSED, tag: TAG, code: 7, retryMillis: 1, mac }),
    encoded({
      type: PacketType.SEALED,
      tag: TAG,
      epochBits: 0,
      number,
      header: filled(18),
      sealed: random.bytes(60),
    }),
    encoded({
      type: PacketType.SEGMENT,
      tag: TAG,
      epochBits: 0,
      number,
      flowId: 1,
      record: 0,
      offset: 0,
      sealedBytes: 500,
      payload: random.bytes(500),
    }),
  ];
}

/** A real client's datagrams to the front port: HELLO, and HELLO with its cookie. */
async function captureHellos(cluster: TestCluster) {
  const ear = tappedHost(plainHost);
  const connection = await cluster
    .clientTransport({ transport: { host: ear } })
    .connect({ address: cluster.address, role: Role.CLIENT });
  const hellos = ear.seen.filter(({ direction, peer }) => direction === 'sent' && peer !== undefined);
  expect(hellos).toHaveLength(2);
  return { connection, first: hellos[0]!.bytes, second: hellos[1]!.bytes, port: hellos[0]!.localPort };
}

describe('a stranger at an open port', () => {
  it('gets no byte back from a front port, whatever it sends, and does no harm', async () => {
    const { cluster, hub, front } = await open(1);
    const nodeFront = Number(cluster.nodes[0]!.address.split(':')[1]);
    const { connection, first, second } = await captureHellos(cluster);
    const random = new Random(11);
    const { secretId } = deriveClusterKeys(nodeSuite, cluster.secret);
    const other = deriveClusterKeys(nodeSuite, filled(32, 1));
    const datagrams: Uint8Array[] = [new Uint8Array(0), filled(62_000), random.bytes(62_000), filled(1, 1)];
    for (let round = 0; round < 150; round++) {
      datagrams.push(...everyPacket(round % 2 === 0 ? secretId : random.bytes(8), random));
      datagrams.push(random.bytes(1 + random.integer(1_500)));
      datagrams.push(
        signPacket(
          nodeSuite,
          { ...other, secretId },
          {
            type: PacketType.HELLO,
            version: WIRE_VERSION,
            secretId,
            tag: TAG,
            cookie: undefined,
            noise: new Uint8Array(0),
            mac: filled(HELLO_MAC_BYTES),
          },
        ),
      );
    }
    for (const hello of [first, second]) {
      // Every bit flipped, every length cut, something behind it.
      for (let bit = 0; bit < hello.length * 8; bit += hello === first ? 1 : 5) {
        const changed = hello.slice();
        changed[bit >> 3]! ^= 1 << (bit & 7);
        datagrams.push(changed);
      }
      for (let bytes = 0; bytes < hello.length; bytes++) datagrams.push(hello.slice(0, bytes));
      datagrams.push(Uint8Array.of(...hello, 0), Uint8Array.of(...hello, ...hello));
    }
    const stranger = await raw();
    const opened = hub.opened;
    hub.seen.length = 0;
    for (const [index, datagram] of datagrams.entries()) {
      await stranger.send(datagram, front);
      await stranger.send(datagram, nodeFront);
      if (index % 20 === 0) await settle(1);
    }
    await settle();
    const arrived = hub.seen.filter(
      ({ direction, peer }) => direction === 'received' && peer?.port === stranger.port,
    );
    // The check would mean little if the kernel had thrown them away.
    expect(datagrams.length).toBeGreaterThan(2_000);
    expect(arrived.length).toBeGreaterThan(datagrams.length * 1.8);
    expect(stranger.received).toEqual([]);
    expect(
      hub.seen.filter(({ direction, peer }) => direction === 'sent' && peer?.port === stranger.port),
    ).toEqual([]);
    expect(hub.opened).toBe(opened);
    await connection.close();
    expect((await cluster.client().status()).nodes).toHaveLength(1);
  });

  it('gets no byte back from the port of a session, and does not disturb it', async () => {
    const { cluster, hub } = await open(0);
    const { connection, first, second, port: clientPort } = await captureHellos(cluster);
    const ask = () => connection.query(QueryKind.STATUS, encodeMessage(statusQuery, { cursor: 0 }));
    await ask();
    await settle(700);
    const sessionPort = connection.peerPort;
    expect(hub.openPorts.has(sessionPort)).toBe(true);
    const random = new Random(12);
    const { secretId } = deriveClusterKeys(nodeSuite, cluster.secret);
    const datagrams = [new Uint8Array(0), random.bytes(62_000), first, second];
    for (let round = 0; round < 100; round++) {
      datagrams.push(...everyPacket(secretId, random), random.bytes(1 + random.integer(1_500)));
    }
    // The session's own packets, as somebody on the path has them: again, and changed.
    const genuine = hub.seen.filter(
      ({ direction, localPort }) => direction === 'received' && localPort === sessionPort,
    );
    expect(genuine.length).toBeGreaterThan(1);
    const forged = genuine.flatMap(({ bytes }) => {
      const changed = bytes.slice();
      changed[bytes.length - 1]! ^= 1;
      const tagged = random.bytes(bytes.length);
      tagged.set(bytes.subarray(0, 18));
      return [bytes, changed, tagged];
    });
    hub.seen.length = 0;
    const stranger = await raw();
    for (const [index, datagram] of [...datagrams, ...forged].entries()) {
      await stranger.send(datagram, sessionPort);
      // With the true client's address, which a real socket here cannot claim.
      hub.inject(sessionPort, datagram, '127.0.0.1', clientPort);
      if (index % 20 === 0) await settle(1);
    }
    await settle(200);
    expect(stranger.received).toEqual([]);
    expect(
      hub.seen.filter(({ direction, localPort }) => direction === 'sent' && localPort === sessionPort),
    ).toEqual([]);
    expect((await ask()).code).toBe(0);
    await connection.close();
  });

  it.each([
    ['nothing', 0],
    ['a bogus cookie', 1],
    ['another version', 2],
    ['another version and a bogus cookie', 3],
    ['a maximal Noise message', 4],
  ] as const)(
    'who knows the secret gets at most three times its bytes before it is proven: %s',
    async (_title, kind) => {
      const { cluster, front } = await open(0);
      const keys = deriveClusterKeys(nodeSuite, cluster.secret);
      const bogus = kind === 1 || kind === 3 || kind === 4;
      const hello = signPacket(nodeSuite, keys, {
        type: PacketType.HELLO,
        version: kind >= 2 && kind < 4 ? 2 : WIRE_VERSION,
        secretId: keys.secretId,
        tag: TAG,
        cookie: bogus ? filled(COOKIE_BYTES) : undefined,
        noise: bogus ? filled(kind === 4 ? 60_000 : 1) : new Uint8Array(0),
        mac: filled(HELLO_MAC_BYTES),
      });
      const socket = await raw();
      for (let round = 0; round < 20; round++) await socket.send(hello, front);
      await settle();
      expect(socket.received).toHaveLength(20);
      expect(socket.receivedBytes).toBeLessThanOrEqual(3 * socket.sentBytes);
      for (const { bytes } of socket.received) expect(bytes[0]).toBe(PacketType.COOKIE);
    },
  );
});

describe('a HELLO that was captured and is sent again', () => {
  it('opens no port from the same address, from another, or to another front', async () => {
    const { cluster, hub, front } = await open(1);
    const { connection, first, second, port } = await captureHellos(cluster);
    await connection.close();
    await eventually('the session is closed', () => !hub.openPorts.has(connection.peerPort));
    const opened = hub.opened;
    const ports = hub.openPorts.size;

    const same = await raw('127.0.0.1', port);
    for (let round = 0; round < 50; round++) await same.send(second, front);
    await settle();
    // It gets the very WELCOME that was sent before: shorter, and worth nothing without the ephemeral key.
    expect(new Set(same.received.map(({ bytes }) => bytes.toString('hex'))).size).toBe(1);
    expect(same.receivedBytes).toBeLessThan(same.sentBytes);

    for (const other of [await raw(), await raw('127.0.0.2')]) {
      for (let round = 0; round < 50; round++) {
        await other.send(second, front);
        await other.send(first, front);
      }
      await settle();
      for (const { bytes } of other.received) expect(bytes[0]).toBe(PacketType.COOKIE);
      expect(other.receivedBytes).toBeLessThan(3 * other.sentBytes);
    }
    // A node of the same cluster made no such cookie.
    for (let round = 0; round < 20; round++) {
      await same.send(second, Number(cluster.nodes[0]!.address.split(':')[1]));
    }
    await settle();
    expect(hub.opened).toBe(opened);
    expect(hub.openPorts.size).toBe(ports);
  });

  it('opens no port when its cookie has grown old', async () => {
    let skew = 0;
    const clock: Clock = {
      now: () => micros(systemClock.now() + skew),
      wallMillis: systemClock.wallMillis,
      setTimer: (at: Micros, run) => systemClock.setTimer(micros(at - skew), run),
    };
    const { cluster, hub, front } = await open(0, clock);
    const { connection, second, port } = await captureHellos(cluster);
    await connection.close();
    await eventually('the session is closed', () => !hub.openPorts.has(connection.peerPort));
    const opened = hub.opened;
    const same = await raw('127.0.0.1', port);
    // Around the moment at which the cookie dies, and the front forgets the handshake.
    for (const at of [-200_000, -50_000, 0, 1, 50_000, 1_000_000, 60_000_000, 180_000_000]) {
      skew = COOKIE_LIFETIME_MICROS + at;
      await same.send(second, front);
      await settle(5);
    }
    await settle();
    expect(same.received.length).toBe(8);
    expect(same.received.at(-1)!.bytes[0]).toBe(PacketType.COOKIE);
    expect(hub.opened).toBe(opened);
  });
});
