/**
 * The initiator's half of the handshake, piece by piece: every field of a HELLO is the case's to choose,
 * and nothing is sent that a case did not ask for.
 */

import { randomBytes } from 'node:crypto';
import { concatBytes, equalBytes } from '../src/base/bytes.ts';
import {
  type ClusterKeys,
  checkHelloMac,
  HandshakeState,
  helloMac,
  type KeyPair,
  type Suite,
  sessionSecrets,
} from '../src/crypto/index.ts';
import {
  CLUSTER_ID_BYTES,
  COOKIE_BYTES,
  type CookiePacket,
  decodeMessage,
  decodePacket,
  encodeMessage,
  HELLO_MAC_BYTES,
  type InitiatorParameters,
  initiatorParameters,
  isFailure,
  MAGIC,
  PacketType,
  type RefusedPacket,
  type ResponderParameters,
  Role,
  responderParameters,
  type SessionTag,
  type WelcomePacket,
  WIRE_VERSION,
  Writer,
} from '../src/wire/index.ts';
import { CaseFailure, expectThat } from './expectations.ts';
import { RawSession } from './peer.ts';
import type { Endpoint, UdpPort } from './udp-port.ts';

/** Tries of a question on a front port: a datagram may be lost on the way. */
const TRIES_MAX = 6;
const FIRST_WAIT_MILLIS = 200;
/** Answers of another type than the one that is looked for, before one is believed. */
const UNWANTED_MAX = 3;
/** How late the answer to a packet that was sent again may be. */
const LATE_ANSWER_MILLIS = 400;
const HELLO_FIXED_BYTES = 49;

/** What a HELLO is made under. */
export interface HelloSecret {
  readonly suite: Suite;
  readonly keys: ClusterKeys;
}

/** The fields of a HELLO. What is left out is as it should be. */
export interface HelloFields {
  readonly tag: SessionTag;
  readonly type?: number;
  readonly flags?: number;
  readonly magic?: number;
  readonly version?: number;
  readonly secretId?: Uint8Array;
  readonly cookie?: Uint8Array;
  readonly noise?: Uint8Array;
  /** What the length field says; by default the truth. */
  readonly length?: number;
  /** Turns the MAC, which is made over all the rest, into what is sent. */
  readonly mac?: (right: Uint8Array) => Uint8Array;
}

/** The bytes of a HELLO, right or wrong. */
export function helloBytes({ suite, keys }: HelloSecret, fields: HelloFields): Uint8Array {
  const { cookie, noise = new Uint8Array(0) } = fields;
  const bytes = HELLO_FIXED_BYTES + noise.length + HELLO_MAC_BYTES;
  const writer = new Writer(new Uint8Array(bytes));
  writer.u8(fields.type ?? PacketType.HELLO);
  writer.u8(fields.flags ?? (cookie === undefined ? 0 : 1));
  writer.u16(fields.length ?? bytes);
  writer.u32(fields.magic ?? MAGIC);
  writer.u8(fields.version ?? WIRE_VERSION);
  writer.bytes(fields.secretId ?? keys.secretId);
  writer.u32(fields.tag.high);
  writer.u32(fields.tag.low);
  writer.bytes(cookie ?? new Uint8Array(COOKIE_BYTES));
  writer.bytes(noise);
  const mac = helloMac(suite, keys.helloKey, writer.buffer.subarray(0, writer.at));
  writer.bytes(fields.mac?.(mac) ?? mac);
  return writer.buffer;
}

/** A fresh tag. */
export function randomTag(): SessionTag {
  const bytes = randomBytes(8);
  return { high: bytes.readUInt32BE(0), low: bytes.readUInt32BE(4) };
}

/** The prologue of the handshake with a cluster [HS-13]. */
export function prologueOf(clusterId: Uint8Array): Uint8Array {
  const writer = new Writer(new Uint8Array(5 + CLUSTER_ID_BYTES));
  writer.u32(MAGIC);
  writer.u8(WIRE_VERSION);
  writer.fixed(clusterId, CLUSTER_ID_BYTES);
  return writer.buffer;
}

/** What a responder's front port said to one HELLO. */
export type FrontAnswer = CookiePacket | WelcomePacket | RefusedPacket;

/** The answer in `datagram` when it is one to `tag`; its MAC must hold [HELLO-1]. */
export function frontAnswer(
  { suite, keys }: HelloSecret,
  tag: SessionTag,
  datagram: Uint8Array,
): FrontAnswer | undefined {
  const packet = decodePacket(datagram);
  if (isFailure(packet)) return undefined;
  const { COOKIE, WELCOME, REFUSED } = PacketType;
  if (packet.type !== COOKIE && packet.type !== WELCOME && packet.type !== REFUSED) return undefined;
  if (packet.tag.high !== tag.high || packet.tag.low !== tag.low) return undefined;
  const signed = datagram.subarray(0, datagram.length - HELLO_MAC_BYTES);
  const isSigned = checkHelloMac(suite, keys.helloKey, signed, packet.mac);
  expectThat(isSigned, 'a right MAC on every answer', 'a wrong one', 'HELLO-1');
  return packet;
}

/** Everything of one handshake at the initiator, in the case's hands. */
export class RawInitiator {
  readonly secret: HelloSecret;
  readonly port: UdpPort;
  readonly front: Endpoint;
  readonly tag: SessionTag = randomTag();
  readonly parameters: InitiatorParameters;
  #handshake: HandshakeState | undefined;

  constructor(
    secret: HelloSecret,
    port: UdpPort,
    front: Endpoint,
    parameters: Partial<InitiatorParameters> = {},
  ) {
    this.secret = secret;
    this.port = port;
    this.front = front;
    this.parameters = {
      role: Role.CLIENT,
      datagramBytesMax: 1_200,
      windowBytes: 1 << 20,
      idleMillis: 10_000,
      ...parameters,
    };
  }

  /** The bytes of a HELLO of this handshake. */
  hello(fields: Omit<HelloFields, 'tag'> = {}): Uint8Array {
    return helloBytes(this.secret, { tag: this.tag, ...fields });
  }

  /**
   * Sends `hello` until an answer to it comes; undefined when none does. On a busy machine an answer to an
   * earlier packet may come first: one that is not of the type `wanted` counts only when it comes again.
   */
  async ask(
    hello: Uint8Array,
    wanted: FrontAnswer['type'],
    triesMax = TRIES_MAX,
  ): Promise<FrontAnswer | undefined> {
    let wait = FIRST_WAIT_MILLIS;
    let other: FrontAnswer | undefined;
    let others = 0;
    for (let attempt = 0; attempt < triesMax && others < UNWANTED_MAX; attempt++) {
      this.port.send(hello, this.front);
      const deadline = performance.now() + wait;
      for (let left = wait; left > 0; left = deadline - performance.now()) {
        const answer = await this.answer(left);
        if (answer === undefined) break;
        if (answer.type === wanted) {
          if (attempt > 0) await this.#drain();
          return answer;
        }
        other = answer;
        others += 1;
      }
      wait *= 2;
    }
    return other;
  }

  /** Takes in the answers to HELLOs that were sent again for no reason: nobody is to take them for other ones. */
  async #drain(): Promise<void> {
    for (let count = 0; count < TRIES_MAX; count++) {
      if ((await this.answer(LATE_ANSWER_MILLIS)) === undefined) return;
    }
  }

  /** The next answer to this handshake's tag within `millis`. */
  async answer(millis: number): Promise<FrontAnswer | undefined> {
    const deadline = performance.now() + millis;
    for (let left = millis; left > 0; left = deadline - performance.now()) {
      const datagram = await this.port.receive(left);
      if (datagram === undefined) return undefined;
      if (datagram.port !== this.front.port) continue;
      const answer = frontAnswer(this.secret, this.tag, datagram.bytes);
      if (answer !== undefined) return answer;
    }
    return undefined;
  }

  /** Asks for a cookie. */
  async cookie(): Promise<CookiePacket> {
    const answer = await this.ask(this.hello(), PacketType.COOKIE);
    if (answer?.type === PacketType.COOKIE) return answer;
    throw new CaseFailure('COOKIE to a HELLO without one', nameOf(answer), 'HS-11');
  }

  /** Noise message 1 for the cluster that `cookie` names; `ephemeral` is random unless given. */
  noise(
    clusterId: Uint8Array,
    options: { readonly ephemeral?: KeyPair; readonly payload?: Uint8Array; readonly psk?: Uint8Array } = {},
  ): Uint8Array {
    const { suite, keys } = this.secret;
    this.#handshake = new HandshakeState(suite, {
      role: 'initiator',
      pattern: 'NNpsk0',
      prologue: prologueOf(clusterId),
      psks: [options.psk ?? keys.psk],
      ephemeral: options.ephemeral ?? suite.keyPair(new Uint8Array(randomBytes(32))),
    });
    return this.#handshake.writeMessage(
      options.payload ?? encodeMessage(initiatorParameters, this.parameters),
    );
  }

  /** The session that a WELCOME opens. */
  session(welcome: WelcomePacket): RawSession {
    const payload = this.#handshake?.readMessage(welcome.noise);
    expectThat(payload !== undefined, 'a WELCOME that opens', 'one that does not', 'HS-8');
    const answer = decodeMessage(responderParameters, payload);
    if (isFailure(answer)) {
      throw new CaseFailure('20 bytes of parameters in WELCOME', `${payload.length} bytes`, 'HS-16');
    }
    return this.#open(answer);
  }

  /** The whole handshake. The session has sent nothing yet. */
  async connect(): Promise<RawSession> {
    const { cookie, clusterId } = await this.cookie();
    const hello = this.hello({ cookie, noise: this.noise(clusterId) });
    const answer = await this.ask(hello, PacketType.WELCOME);
    if (answer?.type !== PacketType.WELCOME) {
      throw new CaseFailure('WELCOME to a HELLO with a valid cookie', nameOf(answer));
    }
    return this.session(answer);
  }

  #open(answer: ResponderParameters): RawSession {
    const { suite } = this.secret;
    const handshake = this.#handshake!;
    const handshakeHash = handshake.handshakeHash.slice();
    const secrets = sessionSecrets(suite, handshake.split(), handshakeHash);
    return new RawSession({
      suite,
      port: this.port,
      to: { host: this.front.host, port: answer.port },
      side: 'initiator',
      sendSecret: secrets.initiator,
      receiveSecret: secrets.responder,
      handshakeHash,
      localTag: this.tag,
      peerTag: answer.tag,
      local: this.parameters,
      peer: answer,
    });
  }
}

/** The name of a front packet, for a verdict. */
export function nameOf(answer: { readonly type: number } | undefined): string {
  if (answer === undefined) return 'no answer';
  return Object.entries(PacketType).find(([, type]) => type === answer.type)?.[0] ?? 'another packet';
}

/** Whether two tags are one. */
export function isSameTag(left: SessionTag, right: SessionTag): boolean {
  return left.high === right.high && left.low === right.low;
}

/** Whether two cookies are one. */
export function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return equalBytes(left, right);
}

/** Several packets as one datagram. */
export function glue(...packets: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...packets);
}
