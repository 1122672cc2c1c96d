/**
 * The front port: answers HELLO, and is silent to everything else. Pure.
 *
 * A stranger gets no byte back; an address that has not proven itself gets at most a COOKIE,
 * shorter than three times its HELLO [HS-24]; a repeated HELLO opens nothing new. Sockets for accepted
 * sessions are the driver's matter.
 */

import { toHex } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import type { Micros } from '../base/units.ts';
import {
  type ClusterKeys,
  COOKIE_LIFETIME_MICROS,
  CookieJar,
  checkHelloMac,
  HandshakeState,
  helloMac,
  type KeyPair,
  type Suite,
  sessionSecrets,
} from '../crypto/index.ts';
import type { CreditPool } from '../reliability/index.ts';
import {
  decodeMessage,
  decodePacket,
  encodeMessage,
  encodePacket,
  HELLO_MAC_BYTES,
  type HelloPacket,
  initiatorParameters,
  isFailure,
  type Packet,
  PacketType,
  packetSize,
  type ResponderParameters,
  ResultCode,
  type Role,
  responderParameters,
  type SessionTag,
  WIRE_VERSIONS,
  Writer,
} from '../wire/index.ts';
import { handshakeStart } from './handshake-start.ts';
import { BUSY_RETRY_MILLIS, FRONT_ACCEPTED_MAX } from './limits.ts';
import type { KeyLog, SessionParameters } from './parameters.ts';
import { Session } from './session.ts';

/** What a secret allows its holder. */
export interface SecretRights {
  readonly read: boolean;
  readonly write: boolean;
  readonly node: boolean;
  readonly admin: boolean;
}

/** One of the cluster secrets that a front port accepts. */
export interface FrontSecret {
  readonly keys: ClusterKeys;
  readonly rights: SecretRights;
}

export interface FrontOptions {
  readonly suite: Suite;
  readonly secrets: readonly FrontSecret[];
  readonly entropy: (bytes: number) => Uint8Array;
  readonly clusterId: Uint8Array;
  /** For the sessions that start here; see `SessionOptions`. */
  readonly keyLog?: KeyLog | undefined;
  /** Versions of the wire that are spoken here; default all that this code knows. */
  readonly versions?: readonly number[] | undefined;
  /** Handshakes remembered at once; fewer where a test wants it. */
  readonly acceptedMax?: number;
}

/** What the driver has to do about a datagram. Nothing is answered to what is not listed here. */
export type FrontOutcome =
  | { readonly kind: 'reply'; readonly bytes: Uint8Array }
  | { readonly kind: 'accept'; readonly acceptance: Acceptance };

/** A proven initiator that waits for a port: call `welcome` or `refuse` exactly once. */
export interface Acceptance {
  readonly role: Role;
  readonly rights: SecretRights;
  /** Makes the session, and the WELCOME to send from the front port. */
  welcome(options: WelcomeOptions): { readonly bytes: Uint8Array; readonly session: Session };
  /** The REFUSED to send; a later HELLO may try again. */
  refuse(code: ResultCode): Uint8Array;
}

export interface WelcomeOptions {
  readonly now: Micros;
  /** The session's own UDP port. */
  readonly port: number;
  readonly local: SessionParameters;
  readonly pool: CreditPool;
  /** Sealings after which the keys are updated; the default is the most that there may be. */
  readonly keySealingsMax?: number | undefined;
}

interface Accepted {
  readonly at: Micros;
  welcome: Uint8Array | undefined;
}

const EPHEMERAL_BYTES = 32;
const NO_MAC = new Uint8Array(HELLO_MAC_BYTES);

export class Front {
  /** Which cluster this port belongs to. */
  clusterId: Uint8Array;
  readonly dropped = new Map<string, number>();
  readonly #versions: readonly number[];
  readonly #suite: Suite;
  readonly #entropy: (bytes: number) => Uint8Array;
  readonly #secrets = new Map<string, FrontSecret>();
  readonly #cookies: CookieJar;
  readonly #keyLog: KeyLog | undefined;
  readonly #acceptedMax: number;
  /** Handshakes accepted within a cookie's life, by the initiator's ephemeral key [HS-17]. */
  readonly #accepted = new Map<string, Accepted>();

  constructor(options: FrontOptions) {
    this.#versions = options.versions ?? WIRE_VERSIONS;
    this.#suite = options.suite;
    this.#entropy = options.entropy;
    this.#keyLog = options.keyLog;
    this.#acceptedMax = options.acceptedMax ?? FRONT_ACCEPTED_MAX;
    this.clusterId = options.clusterId;
    for (const secret of options.secrets) this.#secrets.set(toHex(secret.keys.secretId), secret);
    this.#cookies = new CookieJar(options.suite, { secret: options.entropy(32), entropy: options.entropy });
  }

  handleDatagram(now: Micros, host: string, port: number, bytes: Uint8Array): FrontOutcome | undefined {
    const packet = decodePacket(bytes);
    if (isFailure(packet)) return this.#drop(packet);
    if (packet.type !== PacketType.HELLO) return this.#drop('not a hello');
    // [PKT-15] One packet a datagram.
    if (packetSize(packet) !== bytes.length) return this.#drop('trailing');
    // [HELLO-3] Of a secret that is unknown here nobody learns anything.
    const secret = this.#secrets.get(toHex(packet.secretId));
    if (secret === undefined) return this.#drop('secret id');
    // [HELLO-2] A wrong MAC gets no answer at all.
    const signed = bytes.subarray(0, bytes.length - HELLO_MAC_BYTES);
    if (!checkHelloMac(this.#suite, secret.keys.helloKey, signed, packet.mac)) return this.#drop('mac');
    const context = tagBytes(packet.tag);
    const proven =
      packet.cookie !== undefined && this.#cookies.check(now, host, port, context, packet.cookie);
    if (!proven) {
      // [HS-11] A right MAC from an unproven address gets a COOKIE, and costs no state.
      return {
        kind: 'reply',
        bytes: this.#sign(secret.keys, {
          type: PacketType.COOKIE,
          tag: packet.tag,
          cookie: this.#cookies.make(now, host, port, context),
          clusterId: this.clusterId,
          mac: NO_MAC,
        }),
      };
    }
    return this.#accept(now, packet, secret);
  }

  #accept(now: Micros, packet: HelloPacket, secret: FrontSecret): FrontOutcome | undefined {
    // [HS-19] The asker hears that its version is not spoken here.
    if (!this.#versions.includes(packet.version)) {
      return { kind: 'reply', bytes: this.#refused(packet, secret, ResultCode.UNSUPPORTED) };
    }
    this.#forgetExpired(now);
    const key = toHex(packet.noise.subarray(0, EPHEMERAL_BYTES));
    const earlier = this.#accepted.get(key);
    if (earlier !== undefined) {
      mark('hello-again');
      // [HS-17] The same HELLO again: the same WELCOME again, no new port.
      return earlier.welcome === undefined
        ? this.#drop('repeated hello')
        : { kind: 'reply', bytes: earlier.welcome };
    }
    if (this.#accepted.size >= this.#acceptedMax) {
      return { kind: 'reply', bytes: this.#refused(packet, secret, ResultCode.BUSY) };
    }
    const start = handshakeStart(this.#suite, secret.keys, this.clusterId, packet.version);
    const ephemeral = (): KeyPair => this.#suite.keyPair(this.#entropy(EPHEMERAL_BYTES));
    const handshake = new HandshakeState(
      this.#suite,
      { ...start.basis, role: 'responder', ephemeral },
      start,
    );
    const payload = handshake.readMessage(packet.noise);
    if (payload === undefined) return this.#drop('noise');
    const parameters = decodeMessage(initiatorParameters, payload);
    if (isFailure(parameters)) return this.#drop('parameters');
    const accepted: Accepted = { at: now, welcome: undefined };
    this.#accepted.set(key, accepted);
    return {
      kind: 'accept',
      acceptance: {
        role: parameters.role,
        rights: secret.rights,
        refuse: (code) => {
          this.#accepted.delete(key);
          return this.#refused(packet, secret, code);
        },
        welcome: ({ now: at, port, local, pool, keySealingsMax }) => {
          const tag = randomTag(this.#entropy);
          const answer: ResponderParameters = {
            port,
            tag,
            datagramBytesMax: local.datagramBytesMax,
            windowBytes: local.windowBytes,
            idleMillis: Math.round(local.idleMicros / 1000),
          };
          const noise = handshake.writeMessage(encodeMessage(responderParameters, answer));
          const { handshakeHash } = handshake;
          const secrets = sessionSecrets(this.#suite, handshake.split(), handshakeHash);
          const session = new Session({
            suite: this.#suite,
            side: 'responder',
            now: at,
            sendSecret: secrets.responder,
            receiveSecret: secrets.initiator,
            handshakeHash,
            localTag: tag,
            peerTag: packet.tag,
            local,
            peer: {
              datagramBytesMax: parameters.datagramBytesMax,
              windowBytes: parameters.windowBytes,
              idleMicros: (parameters.idleMillis * 1000) as Micros,
            },
            pool,
            keyLog: this.#keyLog,
            ...(keySealingsMax === undefined ? {} : { keySealingsMax }),
          });
          accepted.welcome = this.#sign(secret.keys, {
            type: PacketType.WELCOME,
            tag: packet.tag,
            noise,
            mac: NO_MAC,
          });
          return { bytes: accepted.welcome, session };
        },
      },
    };
  }

  #refused(packet: HelloPacket, secret: FrontSecret, code: ResultCode): Uint8Array {
    return this.#sign(secret.keys, {
      type: PacketType.REFUSED,
      tag: packet.tag,
      code,
      retryMillis: BUSY_RETRY_MILLIS,
      mac: NO_MAC,
    });
  }

  #sign(keys: ClusterKeys, packet: Packet): Uint8Array {
    return signPacket(this.#suite, keys, packet);
  }

  /** Cookies of these handshakes are dead by now, so their HELLO can't come again. */
  #forgetExpired(now: Micros): void {
    for (const [key, accepted] of this.#accepted) {
      if (now - accepted.at <= COOKIE_LIFETIME_MICROS) return;
      this.#accepted.delete(key);
    }
  }

  #drop(reason: string): undefined {
    this.dropped.set(reason, (this.dropped.get(reason) ?? 0) + 1);
    return undefined;
  }
}

/** Encodes a front packet and puts its MAC behind it [HELLO-1]. */
export function signPacket(suite: Suite, keys: ClusterKeys, packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  const body = bytes.subarray(0, bytes.length - HELLO_MAC_BYTES);
  bytes.set(helloMac(suite, keys.helloKey, body), body.length);
  return bytes;
}

/** A session tag nobody can guess. */
export function randomTag(entropy: (bytes: number) => Uint8Array): SessionTag {
  const bytes = entropy(8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return { high: view.getUint32(0), low: view.getUint32(4) };
}

export function tagBytes(tag: SessionTag): Uint8Array {
  const writer = new Writer(new Uint8Array(8));
  writer.u32(tag.high);
  writer.u32(tag.low);
  return writer.buffer;
}
