/** The reference as a subject, second part: keys, handshake, proofs. */

import * as handshake from './handshake.ts';
import {
  type Fields,
  fromJson,
  hexOf,
  hexOfTag,
  type JsonObject,
  MESSAGE_NAMES,
  tagOf,
  toJson,
} from './json.ts';
import * as keys from './keys.ts';
import { label } from './primitives.ts';
import type { Operations } from './subject.ts';

/** The largest epoch that is asked for. */
export const EPOCH_MAX = 1_000;
const LABEL_BYTES_MAX = 255 * 32;

export const KEY_OPERATIONS: Operations = {
  'key.label': (request) => ({
    key: hexOf(
      label(request.bytes('secret', 32), request.text('name'), request.number('length', LABEL_BYTES_MAX)),
    ),
  }),
  'key.cluster': (request) => {
    const { secretId, psk, helloKey } = keys.clusterKeys(request.bytes('clusterSecret', 32));
    return { secretId: hexOf(secretId), psk: hexOf(psk), helloKey: hexOf(helloKey) };
  },
  'key.passphrase': (request) => {
    const secret = keys.stretched(request.text('passphrase'));
    return secret === undefined ? undefined : { clusterSecret: hexOf(secret) };
  },
  'key.traffic': (request) => ({
    trafficSecret: hexOf(
      keys.trafficSecret(request.bytes('handshakeHash', 32), request.bytes('splitKey', 32)),
    ),
  }),
  'key.epoch': (request) => {
    const found = keys.epochKeys(request.bytes('trafficSecret', 32), request.number('epoch', EPOCH_MAX));
    return {
      trafficSecret: hexOf(found.trafficSecret),
      controlKey: hexOf(found.controlKey),
      recordKey: hexOf(found.recordKey),
    };
  },
  'front.mac': (request) => {
    const { helloKey } = keys.clusterKeys(request.bytes('clusterSecret', 32));
    return { mac: hexOf(keys.frontMac(helloKey, request.bytes('bytes'))) };
  },
  'front.check': (request) =>
    handshake.macHolds(request.bytes('clusterSecret', 32), request.bytes('packet')) ? {} : undefined,
  'handshake.ask': (request) => ({
    packet: hexOf(handshake.ask(request.bytes('clusterSecret', 32), tagIn(request))),
  }),
  'handshake.cookie': (request) => {
    const [cookie, clusterId] = [request.bytes('cookie', 24), request.bytes('clusterId', 16)];
    const secret = request.bytes('clusterSecret', 32);
    return { packet: hexOf(handshake.cookiePacket(secret, tagIn(request), cookie, clusterId)) };
  },
  'handshake.refuse': (request) => {
    const [code, retry] = [request.number('code', 255), request.number('retryMs', 65_535)];
    const secret = request.bytes('clusterSecret', 32);
    return { packet: hexOf(handshake.refusedPacket(secret, tagIn(request), code, retry)) };
  },
  'handshake.prove': (request) => {
    const packet = handshake.prove(initiatorIn(request), request.bytes('cookiePacket'));
    return packet === undefined ? undefined : { packet: hexOf(packet) };
  },
  'handshake.accept': (request) => {
    const responder = {
      clusterSecret: request.bytes('clusterSecret', 32),
      clusterId: request.bytes('clusterId', 16),
      ephemeralPrivateKey: request.bytes('ephemeralPrivateKey', 32),
      parameters: parametersIn(request),
    };
    const accepted = handshake.accept(responder, request.bytes('packet'));
    if (accepted === undefined) return undefined;
    return {
      packet: hexOf(accepted.packet),
      initiatorTag: hexOfTag(accepted.initiatorTag),
      initiatorParameters: toJson(accepted.initiatorParameters, MESSAGE_NAMES),
      ...secretsJson(accepted),
    };
  },
  'handshake.finish': (request) => {
    const welcome = request.bytes('packet');
    const finished = handshake.finish(initiatorIn(request), request.bytes('cookiePacket'), welcome);
    if (finished === undefined) return undefined;
    return {
      responderParameters: toJson(finished.responderParameters, MESSAGE_NAMES),
      ...secretsJson(finished),
    };
  },
  'admission.proof': (request) => {
    const [secret, hash] = [request.bytes('admissionSecret', 32), request.bytes('handshakeHash', 32)];
    return { proof: hexOf(keys.admissionProof(secret, hash, request.bytes('nonce'), request.text('role'))) };
  },
  'receipt.make': (request) => {
    const [nodeId, token] = [request.bytes('nodeId', 16), request.bytes('token', 8)];
    const secret = request.bytes('admissionSecret', 32);
    const size = request.number('size', 2 ** 48 - 1);
    return { receipt: hexOf(keys.receipt(secret, nodeId, token, request.bytes('hash', 32), size)) };
  },
};

function tagIn(request: Fields): ReturnType<typeof tagOf> {
  return tagOf(request.text('initiatorTag'));
}

function parametersIn(request: Fields): unknown {
  return fromJson(request.json('parameters'), MESSAGE_NAMES);
}

function initiatorIn(request: Fields): handshake.Initiator {
  return {
    clusterSecret: request.bytes('clusterSecret', 32),
    tag: tagIn(request),
    ephemeralPrivateKey: request.bytes('ephemeralPrivateKey', 32),
    parameters: parametersIn(request),
  };
}

function secretsJson({ handshakeHash, initiatorSecret, responderSecret }: handshake.Secrets): JsonObject {
  return {
    handshakeHash: hexOf(handshakeHash),
    initiatorSecret: hexOf(initiatorSecret),
    responderSecret: hexOf(responderSecret),
  };
}
