/** The slow twin of the handshake (section 2): each packet from what its sender knows, without time or state. */

import type * as wire from '../../src/wire/index.ts';
import { decodeMessage, decodePacket, encodeMessage, encodePacket } from './codec.ts';
import { clusterKeys, frontMac, MAC_BYTES, trafficSecret } from './keys.ts';
import { begin, type Handshake, readFirst, readSecond, split, writeFirst, writeSecond } from './noise.ts';
import { ascii, join } from './primitives.ts';

const NO_MAC = new Uint8Array(MAC_BYTES);
const NO_NOISE = new Uint8Array(0);
const VERSION = 1;

/** What the initiator keeps from HELLO to WELCOME. */
export interface Initiator {
  readonly clusterSecret: Uint8Array;
  readonly tag: wire.SessionTag;
  readonly ephemeralPrivateKey: Uint8Array;
  readonly parameters: unknown;
}

/** A front packet without its MAC. */
type Unsigned = { readonly type: 1 | 2 | 3 | 4 } & Readonly<Record<string, unknown>>;

export interface Responder {
  readonly clusterSecret: Uint8Array;
  readonly clusterId: Uint8Array;
  readonly ephemeralPrivateKey: Uint8Array;
  readonly parameters: unknown;
}

/** What both ends know when the handshake is over. */
export interface Secrets {
  readonly handshakeHash: Uint8Array;
  readonly initiatorSecret: Uint8Array;
  readonly responderSecret: Uint8Array;
}

/** The first HELLO [HS-12]. */
export function ask(clusterSecret: Uint8Array, tag: wire.SessionTag): Uint8Array {
  return hello(clusterSecret, tag, undefined, NO_NOISE);
}

export function cookiePacket(
  clusterSecret: Uint8Array,
  tag: wire.SessionTag,
  cookie: Uint8Array,
  clusterId: Uint8Array,
): Uint8Array {
  return signedPacket(clusterSecret, { type: 2, tag, cookie, clusterId });
}

export function refusedPacket(
  clusterSecret: Uint8Array,
  tag: wire.SessionTag,
  code: number,
  retryMillis: number,
): Uint8Array {
  return signedPacket(clusterSecret, { type: 4, tag, code, retryMillis });
}

/** The second HELLO, or undefined when the COOKIE packet is dropped [HS-14]. */
export function prove(initiator: Initiator, answer: Uint8Array): Uint8Array | undefined {
  return proven(initiator, answer)?.packet;
}

/** What the initiator has from WELCOME, or undefined when that is refused. */
export function finish(
  initiator: Initiator,
  answer: Uint8Array,
  welcomePacket: Uint8Array,
): (Secrets & { readonly responderParameters: unknown }) | undefined {
  const handshake = proven(initiator, answer)?.handshake;
  const welcome = answered(initiator, welcomePacket);
  if (handshake === undefined || welcome?.type !== 3) return undefined;
  const payload = readSecond(handshake, welcome.noise);
  if (payload === undefined) return undefined;
  const responderParameters = decodeMessage('responderParameters', [...payload]);
  return responderParameters === undefined ? undefined : { responderParameters, ...secretsOf(handshake) };
}

/** What a responder answers to a HELLO whose cookie is valid, or undefined when it drops it. */
export function accept(
  responder: Responder,
  helloBytes: Uint8Array,
):
  | (Secrets & {
      readonly packet: Uint8Array;
      readonly initiatorTag: wire.SessionTag;
      readonly initiatorParameters: unknown;
    })
  | undefined {
  const { clusterSecret, clusterId } = responder;
  const { secretId, psk } = clusterKeys(clusterSecret);
  const packet = checked(clusterSecret, helloBytes);
  if (packet?.type !== 1 || packet.version !== VERSION || packet.cookie === undefined) return undefined;
  if (!isSame(packet.secretId, secretId)) return undefined; // [HELLO-3]
  const handshake = begin(prologue(clusterId), psk, responder.ephemeralPrivateKey);
  const payload = readFirst(handshake, packet.noise);
  if (payload === undefined) return undefined;
  const initiatorParameters = decodeMessage('initiatorParameters', [...payload]);
  if (initiatorParameters === undefined) return undefined; // [HS-15]
  const noise = writeSecond(
    handshake,
    Uint8Array.from(encodeMessage('responderParameters', responder.parameters)),
  );
  if (noise === undefined) return undefined;
  const welcome = signedPacket(clusterSecret, { type: 3, tag: packet.tag, noise });
  return { packet: welcome, initiatorTag: packet.tag, initiatorParameters, ...secretsOf(handshake) };
}

/** Whether the last 16 bytes are the MAC of all before [HELLO-1]. */
export function macHolds(clusterSecret: Uint8Array, bytes: Uint8Array): boolean {
  const body = bytes.slice(0, -MAC_BYTES);
  const isLongEnough = bytes.length > MAC_BYTES;
  return isLongEnough && isSame(frontMac(clusterKeys(clusterSecret).helloKey, body), bytes.slice(-MAC_BYTES));
}

function proven(
  initiator: Initiator,
  answer: Uint8Array,
): { readonly packet: Uint8Array; readonly handshake: Handshake } | undefined {
  const { clusterSecret, tag, ephemeralPrivateKey, parameters } = initiator;
  const packet = answered(initiator, answer);
  if (packet?.type !== 2) return undefined;
  const handshake = begin(prologue(packet.clusterId), clusterKeys(clusterSecret).psk, ephemeralPrivateKey);
  const noise = writeFirst(handshake, Uint8Array.from(encodeMessage('initiatorParameters', parameters)));
  return { packet: hello(clusterSecret, tag, packet.cookie, noise), handshake };
}

/** [HS-13] */
function prologue(clusterId: Uint8Array): Uint8Array {
  return join(ascii('GRML'), [VERSION], clusterId);
}

function secretsOf(handshake: Handshake): Secrets {
  const { initiator, responder } = split(handshake);
  return {
    handshakeHash: handshake.h,
    initiatorSecret: trafficSecret(handshake.h, initiator),
    responderSecret: trafficSecret(handshake.h, responder),
  };
}

function hello(
  clusterSecret: Uint8Array,
  tag: wire.SessionTag,
  cookie: Uint8Array | undefined,
  noise: Uint8Array,
): Uint8Array {
  const { secretId } = clusterKeys(clusterSecret);
  return signedPacket(clusterSecret, { type: 1, version: VERSION, secretId, tag, cookie, noise });
}

/** A packet of these fields with its MAC behind them [HELLO-1]. */
export function signedPacket(clusterSecret: Uint8Array, fields: Unsigned): Uint8Array {
  const body = encodePacket({ ...fields, mac: NO_MAC } as wire.Packet).slice(0, -MAC_BYTES);
  return join(body, frontMac(clusterKeys(clusterSecret).helloKey, Uint8Array.from(body)));
}

/** The packet that is these bytes and nothing else [PKT-15], if its MAC holds. */
function checked(clusterSecret: Uint8Array, bytes: Uint8Array): wire.Packet | undefined {
  const packet = decodePacket([...bytes]);
  if (packet === undefined || encodePacket(packet).length !== bytes.length) return undefined;
  return macHolds(clusterSecret, bytes) ? packet : undefined;
}

/** A checked packet that carries the initiator's own tag [HS-14]. */
function answered(initiator: Initiator, bytes: Uint8Array): wire.Packet | undefined {
  const packet = checked(initiator.clusterSecret, bytes);
  const isMine = packet?.tag.high === initiator.tag.high && packet?.tag.low === initiator.tag.low;
  return isMine ? packet : undefined;
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}
