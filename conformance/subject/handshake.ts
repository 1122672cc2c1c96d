/**
 * Our code as a subject, third part: the handshake. The initiator's packets are those of
 * `session/initiator.ts`, with chance taken from the request; the values behind them come from `src/crypto`.
 */

import {
  type Fields,
  fromJson,
  hexOf,
  hexOfTag,
  type JsonObject,
  MESSAGE_NAMES,
  tagOf,
  toJson,
} from '../../spec/reference/json.ts';
import type { Operations } from '../../spec/reference/subject.ts';
import { equalBytes } from '../../src/base/bytes.ts';
import { micros } from '../../src/base/units.ts';
import {
  checkHelloMac,
  HandshakeState,
  type NoiseRole,
  type Suite,
  sessionSecrets,
} from '../../src/crypto/index.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import { signPacket } from '../../src/session/front.ts';
import { handshakeStart } from '../../src/session/handshake-start.ts';
import { Initiator } from '../../src/session/initiator.ts';
import * as wire from '../../src/wire/index.ts';
import { orRefused } from './codec.ts';
import { clusterKeysIn } from './keys.ts';

const NO_MAC = new Uint8Array(wire.HELLO_MAC_BYTES);
const POOL_BYTES = 2 ** 20;
const BEGIN = micros(0);
/** Parameters of a HELLO that carries none. */
const ANY_PARAMETERS = {
  role: wire.Role.CLIENT,
  datagramBytesMax: 1_200,
  windowBytes: 2_400,
  idleMillis: 1_000,
};

export function handshakeOperations(suite: Suite): Operations {
  return {
    'handshake.ask': (request) => {
      const hello = transmitted(initiatorOf(suite, request, ANY_PARAMETERS));
      return hello === undefined ? undefined : { packet: hexOf(hello) };
    },
    'handshake.cookie': (request) => {
      const [cookie, clusterId] = [request.bytes('cookie', 24), request.bytes('clusterId', 16)];
      const fields = { type: wire.PacketType.COOKIE, tag: tagIn(request), cookie, clusterId, mac: NO_MAC };
      return { packet: hexOf(signPacket(suite, clusterKeysIn(suite, request), fields)) };
    },
    'handshake.refuse': (request) => {
      const [code, retryMillis] = [request.number('code', 255), request.number('retryMs', 65_535)];
      const fields = { type: wire.PacketType.REFUSED, tag: tagIn(request), code, retryMillis, mac: NO_MAC };
      return { packet: hexOf(signPacket(suite, clusterKeysIn(suite, request), fields)) };
    },
    'handshake.prove': (request) => {
      const hello = proven(suite, request)?.hello;
      return hello === undefined ? undefined : { packet: hexOf(hello) };
    },
    'handshake.accept': (request) => accept(suite, request),
    'handshake.finish': (request) => finish(suite, request),
  };
}

function initiatorOf(suite: Suite, request: Fields, parameters: wire.InitiatorParameters): Initiator {
  const tag = new wire.Writer(new Uint8Array(8));
  tag.u32(tagIn(request).high);
  tag.u32(tagIn(request).low);
  return new Initiator({
    suite,
    keys: clusterKeysIn(suite, request),
    // A tag is 8 random bytes, a private key 32.
    entropy: (bytes) => (bytes === tag.buffer.length ? tag.buffer : ephemeralIn(request)),
    now: BEGIN,
    role: parameters.role,
    local: {
      datagramBytesMax: parameters.datagramBytesMax,
      windowBytes: parameters.windowBytes,
      idleMicros: micros(parameters.idleMillis * 1_000),
    },
    pool: new CreditPool(POOL_BYTES),
  });
}

/** The initiator after the COOKIE, and its second HELLO, if it sends one; undefined for impossible parameters. */
function proven(
  suite: Suite,
  request: Fields,
): { initiator: Initiator; hello: Uint8Array | undefined } | undefined {
  const parameters = fromJson(request.json('parameters'), MESSAGE_NAMES) as wire.InitiatorParameters;
  if (payloadOf(wire.initiatorParameters, request) === undefined) return undefined;
  const initiator = initiatorOf(suite, request, parameters);
  transmitted(initiator);
  initiator.handleDatagram(BEGIN, request.bytes('cookiePacket'));
  return { initiator, hello: transmitted(initiator) };
}

function transmitted(initiator: Initiator): Uint8Array | undefined {
  const buffer = new Uint8Array(wire.PACKET_BYTES_MAX);
  const sent = initiator.pollTransmit(BEGIN, buffer);
  return sent === undefined ? undefined : buffer.slice(0, sent.bytes);
}

function finish(suite: Suite, request: Fields): JsonObject | undefined {
  const proof = proven(suite, request);
  const parameters = payloadOf(wire.initiatorParameters, request);
  if (proof === undefined || parameters === undefined) return undefined;
  const { initiator, hello } = proof;
  const welcome = request.bytes('packet');
  initiator.handleDatagram(BEGIN, welcome);
  if (hello === undefined || initiator.outcome?.kind !== 'established') return undefined;
  const cookie = wire.decodePacket(request.bytes('cookiePacket')) as wire.CookiePacket;
  const packet = wire.decodePacket(welcome) as wire.WelcomePacket;
  const state = stateOf(suite, request, cookie.clusterId, 'initiator');
  state.writeMessage(parameters);
  const payload = state.readMessage(packet.noise);
  if (payload === undefined) return undefined;
  const answer = wire.decodeMessage(wire.responderParameters, payload);
  if (wire.isFailure(answer)) return undefined;
  return { responderParameters: toJson(answer, MESSAGE_NAMES), ...secretsJson(suite, state) };
}

/** What `session/front.ts` does with a HELLO whose cookie is valid. */
function accept(suite: Suite, request: Fields): JsonObject | undefined {
  const own = payloadOf(wire.responderParameters, request);
  if (own === undefined) return undefined;
  const keys = clusterKeysIn(suite, request);
  const bytes = request.bytes('packet');
  const packet = wire.decodePacket(bytes);
  if (wire.isFailure(packet) || packet.type !== wire.PacketType.HELLO) return undefined;
  if (wire.packetSize(packet) !== bytes.length || !equalBytes(packet.secretId, keys.secretId))
    return undefined;
  const body = bytes.subarray(0, bytes.length - wire.HELLO_MAC_BYTES);
  if (!checkHelloMac(suite, keys.helloKey, body, packet.mac)) return undefined;
  if (packet.cookie === undefined || packet.version !== wire.WIRE_VERSION) return undefined;
  const state = stateOf(suite, request, request.bytes('clusterId', 16), 'responder');
  const payload = state.readMessage(packet.noise);
  if (payload === undefined) return undefined;
  const asked = wire.decodeMessage(wire.initiatorParameters, payload);
  if (wire.isFailure(asked)) return undefined;
  const noise = state.writeMessage(own);
  const fields = { type: wire.PacketType.WELCOME, tag: packet.tag, noise, mac: NO_MAC };
  return {
    packet: hexOf(signPacket(suite, keys, fields)),
    initiatorTag: hexOfTag(packet.tag),
    initiatorParameters: toJson(asked, MESSAGE_NAMES),
    ...secretsJson(suite, state),
  };
}

/** The parameters of a request as the payload of a Noise message; undefined when no bytes can say them. */
function payloadOf<Parameters>(codec: wire.Codec<Parameters>, request: Fields): Uint8Array | undefined {
  const parameters = fromJson(request.json('parameters'), MESSAGE_NAMES) as Parameters;
  return orRefused(() => wire.encodeMessage(codec, parameters));
}

function stateOf(suite: Suite, request: Fields, clusterId: Uint8Array, role: NoiseRole): HandshakeState {
  const start = handshakeStart(suite, clusterKeysIn(suite, request), clusterId);
  const ephemeral = suite.keyPair(ephemeralIn(request));
  return new HandshakeState(suite, { ...start.basis, role, ephemeral }, start);
}

function secretsJson(suite: Suite, state: HandshakeState): JsonObject {
  const handshakeHash = new Uint8Array(state.handshakeHash);
  const { initiator, responder } = sessionSecrets(suite, state.split(), handshakeHash);
  return {
    handshakeHash: hexOf(handshakeHash),
    initiatorSecret: hexOf(initiator),
    responderSecret: hexOf(responder),
  };
}

function tagIn(request: Fields): wire.SessionTag {
  return tagOf(request.text('initiatorTag'));
}

function ephemeralIn(request: Fields): Uint8Array {
  return request.bytes('ephemeralPrivateKey', 32);
}
