/**
 * A machine in the middle that knows every address and no secret: the attack on the seed's challenge
 * (DESIGN 4.3). Unchanged it is a wire; whatever it changes is noticed.
 */

import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { millis } from '../../src/base/units.ts';
import { HandshakeState } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { Connection } from '../../src/nodes/ports.ts';
import { signPacket } from '../../src/session/front.ts';
import { handshakePrologue } from '../../src/session/handshake-start.ts';
import { FLOW_WINDOW_BYTES } from '../../src/session/index.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import {
  decodePacket,
  encodeMessage,
  encodePacket,
  initiatorParameters,
  isFailure,
  type Packet,
  PacketType,
  packetSize,
  Role,
  responderParameters,
} from '../../src/wire/index.ts';
import { udpPorts } from '../support/process-resources.ts';
import { settle } from '../support/raw-socket.ts';
import { Relay, type Tamper } from '../support/relay.ts';
import { tappedHost } from '../support/tapped-host.ts';
import { frontSecret, loopbackTransport } from '../support/transport.ts';

const CLUSTER_ID = new Uint8Array(16).fill(9);
const MARKER = Buffer.from('the plaintext that nobody on the path may read ');
const OBJECT = Buffer.concat(
  [...Array(4_000)].map((_, index) => Buffer.concat([MARKER, Buffer.from(`${index}\n`)])),
);
const QUESTION = Buffer.concat([Buffer.from('a question: '), MARKER]);

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A server that sends OBJECT, and a client that reaches it through the relay only. */
async function open(relay: Relay, datagramBytesMax = 62_000) {
  const secrets = [frontSecret(new Uint8Array(randomBytes(32)))];
  const accepted: Connection[] = [];
  const plain = tappedHost(plainHost);
  const server = loopbackTransport({
    secrets,
    datagramBytesMax,
    host: {
      offload: false,
      open: async (options) => {
        const socket = await plain.open(options);
        // The relay sees where sessions open: an attacker would answer on all ports.
        await relay.stand(socket.port);
        return socket;
      },
    },
  });
  closers.push(() => relay.close());
  const listener = await server.listen({
    address: '127.0.0.1:0',
    role: Role.COORDINATOR,
    clusterId: CLUSTER_ID,
    onConnection: (connection) => {
      accepted.push(connection);
      connection.onQuery = async (query) => {
        const flow = query.send(FLOW_WINDOW_BYTES);
        query.reply(0, query.body);
        for (let at = 0; at < OBJECT.length; at += 16_384) {
          const payload = OBJECT.subarray(at, at + 16_384);
          const dataLeft = OBJECT.length - at - payload.length;
          await flow
            .write({ encoding: 0, plainBytes: payload.length, dataLeft, payload })
            .catch(() => undefined);
        }
      };
    },
  });
  closers.push(() => listener.close());
  const frontPort = Number(listener.address.split(':')[1]);
  const client = loopbackTransport({ secrets });
  const connect = async (timeoutMillis = 3_000): Promise<Connection> => {
    const connection = await client.connect({
      address: await relay.stand(frontPort),
      role: Role.CLIENT,
      timeoutMicros: millis(timeoutMillis),
    });
    closers.push(() => connection.close());
    return connection;
  };
  return { connect, accepted, frontPort, opened: () => plain.opened };
}

async function fetchAll(connection: Connection): Promise<{ question: Uint8Array; object: Buffer }> {
  const call = connection.call(33, QUESTION, { receives: true });
  const { body } = await call.reply;
  const parts: Uint8Array[] = [];
  for (let record = await call.receive.next(); record !== undefined; record = await call.receive.next()) {
    parts.push(record.payload);
  }
  return { question: body, object: Buffer.concat(parts) };
}

function encoded(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  return bytes;
}

function packetOf(bytes: Uint8Array): Packet | undefined {
  const packet = decodePacket(bytes);
  return isFailure(packet) ? undefined : packet;
}

describe('a machine in the middle', () => {
  it('that changes nothing is a wire, and reads nothing', async () => {
    const relay = new Relay();
    const { connect, accepted } = await open(relay);
    const connection = await connect();
    const { question, object } = await fetchAll(connection);
    expect(Buffer.from(question).equals(QUESTION)).toBe(true);
    expect(object.equals(OBJECT)).toBe(true);
    // Both ends are of one session, which is what admission proofs are bound to.
    expect(accepted[0]!.handshakeHash).toEqual(connection.handshakeHash);
    const capture = Buffer.concat(relay.captured);
    expect(capture.length).toBeGreaterThan(OBJECT.length);
    expect(capture.includes(MARKER.subarray(0, 12))).toBe(false);
    expect(capture.includes(Buffer.from(connection.handshakeHash))).toBe(false);
  });

  it('that runs an exchange of its own with each side completes neither', async () => {
    // It plays the responder to the client and the initiator to the server, with its own ephemeral keys
    // and without the psk, which it replaces by every guess that it can make.
    const guesses = [new Uint8Array(32), new Uint8Array(32).fill(0xff), new Uint8Array(randomBytes(32))];
    const random = new Random(21);
    let answered = 0;
    const forge: Tamper = (bytes, direction) => {
      const packet = packetOf(bytes);
      if (packet === undefined || direction === 'to client') return [];
      if (packet.type !== PacketType.HELLO) return [];
      answered += 1;
      const guess = new Uint8Array(guesses[answered % guesses.length]!);
      const keys = { secretId: packet.secretId, psk: guess, helloKey: guess };
      const { tag } = packet;
      const mac = random.bytes(16);
      const responder = new HandshakeState(nodeSuite, {
        pattern: 'NNpsk0',
        role: 'responder',
        prologue: handshakePrologue(CLUSTER_ID),
        psks: [guess],
        ephemeral: nodeSuite.keyPair(random.bytes(32)),
      });
      // With a psk that it guessed, it cannot even read the first message; it answers all the same.
      const first = packet.noise.length > 0 ? responder.readMessage(packet.noise) : undefined;
      const parameters = encodeMessage(responderParameters, {
        port: 9,
        tag,
        datagramBytesMax: 62_000,
        windowBytes: 100_000,
        idleMillis: 10_000,
      });
      const noise =
        first === undefined ? random.bytes(48 + parameters.length) : responder.writeMessage(parameters);
      const initiator = new HandshakeState(nodeSuite, {
        pattern: 'NNpsk0',
        role: 'initiator',
        prologue: handshakePrologue(CLUSTER_ID),
        psks: [guess],
        ephemeral: nodeSuite.keyPair(random.bytes(32)),
      });
      const own = initiator.writeMessage(
        encodeMessage(initiatorParameters, {
          role: Role.CLIENT,
          datagramBytesMax: 1_472,
          windowBytes: 100_000,
          idleMillis: 10_000,
        }),
      );
      for (const answer of [
        signPacket(nodeSuite, keys, {
          type: PacketType.COOKIE,
          tag,
          cookie: random.bytes(24),
          clusterId: CLUSTER_ID,
          mac,
        }),
        signPacket(nodeSuite, keys, { type: PacketType.WELCOME, tag, noise, mac }),
        signPacket(nodeSuite, keys, { type: PacketType.REFUSED, tag, code: 7, retryMillis: 0, mac }),
      ]) {
        for (const port of clientPorts) void relay.inject(answer, frontPort, port);
      }
      return [
        signPacket(nodeSuite, keys, { ...packet, noise: packet.cookie === undefined ? packet.noise : own }),
        signPacket(nodeSuite, keys, { ...packet, cookie: random.bytes(24), noise: own }),
      ];
    };
    const clientPorts = new Set<number>();
    const relay = new Relay(forge);
    const { connect, accepted, frontPort, opened } = await open(relay);
    const before = opened();
    const attempt = connect(900);
    await settle(20);
    // One of these is the client's, and the others do not mind.
    for (const port of udpPorts()) clientPorts.add(port);
    await expect(attempt).rejects.toMatchObject({ code: 'GRAMLINE_NO_COORDINATOR' });
    expect(answered).toBeGreaterThan(2);
    expect(accepted).toEqual([]);
    expect(opened()).toBe(before);
  });

  it.each(['hello', 'welcome', 'cookie'] as const)(
    'that puts in another ephemeral key or changes the %s is not heard',
    async (what) => {
      const type = { hello: PacketType.HELLO, welcome: PacketType.WELCOME, cookie: PacketType.COOKIE }[what];
      const own = nodeSuite.keyPair(new Uint8Array(randomBytes(32)));
      let changed = 0;
      const relay = new Relay((bytes) => {
        const packet = packetOf(bytes);
        if (packet?.type !== type) return [bytes];
        if (packet.type === PacketType.HELLO && packet.noise.length === 0) return [bytes];
        changed += 1;
        if (packet.type === PacketType.COOKIE) return [encoded({ ...packet, clusterId: new Uint8Array(16) })];
        const noise = (packet as { noise: Uint8Array }).noise.slice();
        noise.set(own.publicKey);
        return [encoded({ ...packet, noise } as Packet)];
      });
      const { connect, accepted } = await open(relay);
      await expect(connect(700)).rejects.toMatchObject({ code: 'GRAMLINE_NO_COORDINATOR' });
      expect(changed).toBeGreaterThan(0);
      expect(accepted).toEqual([]);
    },
  );

  it('that gives each of two clients what belongs to the other connects neither', async () => {
    let held: Uint8Array | undefined;
    let swapped = 0;
    const relay = new Relay((bytes) => {
      const packet = packetOf(bytes);
      if (packet?.type !== PacketType.WELCOME) return [bytes];
      const other = held;
      held = bytes;
      if (other === undefined) return [];
      swapped += 1;
      return [other];
    });
    const { connect } = await open(relay);
    const attempts = await Promise.allSettled([connect(700), connect(700)]);
    expect(swapped).toBeGreaterThan(0);
    // A WELCOME that comes again to the one that it belongs to is the wire's right; no wrong one counts.
    for (const attempt of attempts) {
      if (attempt.status === 'rejected') expect(attempt.reason.code).toBe('GRAMLINE_NO_COORDINATOR');
      else expect((await fetchAll(attempt.value)).object.equals(OBJECT)).toBe(true);
    }
  });

  it.each([
    ['a bit of every 8th datagram', 8, PacketType.SEALED],
    ['a bit of every 40th segment', 40, PacketType.SEGMENT],
    ['a bit of every 3rd segment', 3, PacketType.SEGMENT],
  ] as const)(
    'that changes %s alters nothing unnoticed',
    async (_title, every, type) => {
      const random = new Random(22 + every);
      let seen = 0;
      let changed = 0;
      const relay = new Relay((bytes) => {
        if (bytes[0] !== type) return [bytes];
        seen += 1;
        if (seen % every !== 0) return [bytes];
        changed += 1;
        const copy = bytes.slice();
        copy[random.integer(copy.length)]! ^= 1 << random.integer(8);
        return [copy];
      });
      const { connect } = await open(relay, 1_472);
      const connection = await connect();
      const digest = createHash('sha256').update(OBJECT).digest('hex');
      let whole = 0;
      for (let round = 0; round < 5; round++) {
        const result = await Promise.race([
          fetchAll(connection).catch((error) => error),
          settle(4_000).then(() => new Error('still trying')),
        ]);
        if (result instanceof Error) continue;
        whole += 1;
        expect(Buffer.from(result.question).equals(QUESTION)).toBe(true);
        expect(createHash('sha256').update(result.object).digest('hex')).toBe(digest);
      }
      // A changed control packet is dropped and sent again; changed segments may end a flow as tampered.
      if (type === PacketType.SEALED) expect(whole).toBe(5);
      expect(changed).toBeGreaterThan(0);
    },
    25_000,
  );
});
