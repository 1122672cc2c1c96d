/**
 * The asking side of the handshake: HELLO, COOKIE, HELLO with cookie, WELCOME. Pure, with the same
 * contract as a session. States and transitions:
 *
 *   asking    -- COOKIE -->  proving   -- WELCOME --> established
 *   asking, proving -- REFUSED --> refused;  -- tries used up --> unanswered
 *   proving   -- COOKIE -->  proving (the first cookie grew old: the same message under a new one)
 */

import { equalBytes } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros } from '../base/units.ts';
import {
  type ClusterKeys,
  checkHelloMac,
  HandshakeState,
  type KeyPair,
  type Suite,
  sessionSecrets,
} from '../crypto/index.ts';
import type { CreditPool } from '../reliability/index.ts';
import {
  decodeMessage,
  decodePacket,
  encodeMessage,
  HELLO_MAC_BYTES,
  initiatorParameters,
  isFailure,
  type Packet,
  PacketType,
  packetSize,
  type Role,
  responderParameters,
  type SessionTag,
  WIRE_VERSION,
} from '../wire/index.ts';
import { randomTag, signPacket } from './front.ts';
import { handshakeStart } from './handshake-start.ts';
import { HANDSHAKE_RETRY_MICROS, HANDSHAKE_TRIES_MAX } from './limits.ts';
import type { KeyLog, SessionParameters, Transmit } from './parameters.ts';
import { Session } from './session.ts';

export interface InitiatorOptions {
  readonly suite: Suite;
  readonly keys: ClusterKeys;
  readonly entropy: (bytes: number) => Uint8Array;
  readonly now: Micros;
  readonly role: Role;
  readonly local: SessionParameters;
  readonly pool: CreditPool;
  /** For the sessions that start here; see `SessionOptions`. */
  readonly keyLog?: KeyLog | undefined;
  /** Of the wire; default the highest that this code speaks. */
  readonly version?: number | undefined;
  /** When given, only this cluster will do. */
  readonly clusterId?: Uint8Array | undefined;
  /** Sealings after which the keys are updated; the default is the most that there may be. */
  readonly keySealingsMax?: number | undefined;
}

export type InitiatorOutcome =
  | {
      readonly kind: 'established';
      readonly session: Session;
      readonly port: number;
      readonly clusterId: Uint8Array;
    }
  | { readonly kind: 'refused'; readonly code: number; readonly retryMillis: number }
  | { readonly kind: 'other-cluster'; readonly clusterId: Uint8Array }
  | { readonly kind: 'unanswered' };

const NO_MAC = new Uint8Array(HELLO_MAC_BYTES);
const EPHEMERAL_BYTES = 32;
const NO_NOISE = new Uint8Array(0);

export class Initiator {
  readonly #options: InitiatorOptions;
  readonly #tag: SessionTag;
  #cookie: Uint8Array | undefined;
  #clusterId: Uint8Array | undefined;
  #handshake: HandshakeState | undefined;
  #noise: Uint8Array = NO_NOISE;
  /** Made before it was needed; see {@link prepare}. */
  #ephemeral: KeyPair | undefined;
  #tries = 0;
  #retryAt: Micros;
  #due = true;
  #outcome: InitiatorOutcome | undefined;

  constructor(options: InitiatorOptions) {
    this.#options = options;
    this.#tag = randomTag(options.entropy);
    this.#retryAt = options.now;
  }

  /** How it ended, once it has. */
  get outcome(): InitiatorOutcome | undefined {
    return this.#outcome;
  }

  handleDatagram(now: Micros, bytes: Uint8Array): void {
    if (this.#outcome !== undefined) return;
    const packet = decodePacket(bytes);
    if (isFailure(packet) || packetSize(packet) !== bytes.length || !this.#isSigned(packet, bytes)) return;
    switch (packet.type) {
      case PacketType.COOKIE:
        this.#onCookie(now, packet.cookie, packet.clusterId);
        break;
      case PacketType.WELCOME:
        this.#onWelcome(now, packet.noise);
        break;
      case PacketType.REFUSED:
        this.#outcome = { kind: 'refused', code: packet.code, retryMillis: packet.retryMillis };
        break;
      default:
        break;
    }
  }

  /**
   * Does what the next step needs anyway, namely the key pair, while an answer is on its way. To be
   * called when the first HELLO has been sent, or not at all.
   */
  prepare(): void {
    if (this.#outcome === undefined && this.#handshake === undefined) this.#ephemeral ??= this.#newPair();
  }

  handleTimeout(now: Micros): void {
    if (this.#outcome !== undefined || now < this.#retryAt) return;
    if (this.#tries > 0) mark('hello-repeated');
    if (this.#tries >= HANDSHAKE_TRIES_MAX) this.#outcome = { kind: 'unanswered' };
    else this.#due = true;
  }

  nextTimeout(): Micros | undefined {
    return this.#outcome === undefined ? this.#retryAt : undefined;
  }

  pollTransmit(now: Micros, buffer: Uint8Array): Transmit | undefined {
    if (this.#outcome !== undefined || !this.#due) return undefined;
    this.#due = false;
    this.#retryAt = micros(now + HANDSHAKE_RETRY_MICROS * 2 ** this.#tries);
    this.#tries += 1;
    const hello = signPacket(this.#options.suite, this.#options.keys, {
      type: PacketType.HELLO,
      version: this.#options.version ?? WIRE_VERSION,
      secretId: this.#options.keys.secretId,
      tag: this.#tag,
      cookie: this.#cookie,
      noise: this.#noise,
      mac: NO_MAC,
    });
    buffer.set(hello);
    return { bytes: hello.length, segmentBytes: hello.length };
  }

  /** [HS-14] Only packets for this tag, signed under the secret, count. */
  #isSigned(packet: Packet, bytes: Uint8Array): boolean {
    if (
      packet.type !== PacketType.COOKIE &&
      packet.type !== PacketType.WELCOME &&
      packet.type !== PacketType.REFUSED
    ) {
      return false;
    }
    if (packet.tag.high !== this.#tag.high || packet.tag.low !== this.#tag.low) return false;
    const signed = bytes.subarray(0, bytes.length - HELLO_MAC_BYTES);
    return checkHelloMac(this.#options.suite, this.#options.keys.helloKey, signed, packet.mac);
  }

  #onCookie(now: Micros, cookie: Uint8Array, clusterId: Uint8Array): void {
    const { suite, keys, local, role } = this.#options;
    const expected = this.#options.clusterId;
    if (expected !== undefined && !equalBytes(expected, clusterId)) {
      this.#outcome = { kind: 'other-cluster', clusterId };
      return;
    }
    // [HS-21] One message for all cookies; another only where the cluster is another.
    if (this.#clusterId === undefined || !equalBytes(this.#clusterId, clusterId)) {
      this.#clusterId = clusterId;
      const start = handshakeStart(suite, keys, clusterId, this.#options.version);
      const ephemeral = this.#takeEphemeral();
      this.#handshake = new HandshakeState(suite, { ...start.basis, role: 'initiator', ephemeral }, start);
      this.#noise = this.#handshake.writeMessage(
        encodeMessage(initiatorParameters, {
          role,
          datagramBytesMax: local.datagramBytesMax,
          windowBytes: local.windowBytes,
          idleMillis: Math.round(local.idleMicros / 1000),
        }),
      );
      this.#tries = 0;
    }
    const isNews = this.#cookie === undefined || !equalBytes(this.#cookie, cookie);
    this.#cookie = cookie;
    if (isNews) {
      this.#due = true;
      this.#retryAt = now;
    }
  }

  /** A pair is used for one handshake only [HS-1]. */
  #takeEphemeral(): KeyPair {
    const pair = this.#ephemeral ?? this.#newPair();
    this.#ephemeral = undefined;
    return pair;
  }

  #newPair(): KeyPair {
    return this.#options.suite.keyPair(this.#options.entropy(EPHEMERAL_BYTES));
  }

  #onWelcome(now: Micros, noise: Uint8Array): void {
    if (this.#handshake === undefined) return;
    const payload = this.#handshake.readMessage(noise);
    const answer = payload === undefined ? undefined : decodeMessage(responderParameters, payload);
    if (answer === undefined || isFailure(answer)) {
      // [HS-22] A WELCOME that does not open ends this handshake: whoever signed it holds the secret.
      this.#outcome = { kind: 'unanswered' };
      return;
    }
    const { handshakeHash } = this.#handshake;
    const secrets = sessionSecrets(this.#options.suite, this.#handshake.split(), handshakeHash);
    const session = new Session({
      suite: this.#options.suite,
      side: 'initiator',
      now,
      sendSecret: secrets.initiator,
      receiveSecret: secrets.responder,
      handshakeHash,
      localTag: this.#tag,
      peerTag: answer.tag,
      local: this.#options.local,
      peer: {
        datagramBytesMax: answer.datagramBytesMax,
        windowBytes: answer.windowBytes,
        idleMicros: micros(answer.idleMillis * 1000),
      },
      pool: this.#options.pool,
      keyLog: this.#options.keyLog,
      ...(this.#options.keySealingsMax === undefined ? {} : { keySealingsMax: this.#options.keySealingsMax }),
    });
    this.#outcome = { kind: 'established', session, port: answer.port, clusterId: this.#clusterId! };
  }
}
