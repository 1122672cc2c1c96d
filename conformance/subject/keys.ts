/** Our code as a subject, second part: keys, MACs, proofs and receipts, by `src/crypto`. */

import { type Fields, hexOf } from '../../spec/reference/json.ts';
import type { Operations } from '../../spec/reference/subject.ts';
import { utf8 } from '../../src/base/bytes.ts';
import {
  admissionProof,
  type ClusterKeys,
  checkHelloMac,
  deriveClusterKeys,
  expandLabel,
  helloMac,
  type Suite,
  sessionSecrets,
} from '../../src/crypto/index.ts';
import { stretchPassphrase } from '../../src/crypto/passphrase.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { HELLO_MAC_BYTES } from '../../src/wire/index.ts';

const EPOCH_MAX = 1_000;
const LABEL_BYTES_MAX = 255 * 32;
const PASSPHRASE_SALT = utf8('gramline passphrase v1');

export function keyOperations(suite: Suite): Operations {
  return {
    'key.label': (request) => {
      const length = request.number('length', LABEL_BYTES_MAX);
      return { key: hexOf(expandLabel(suite, request.bytes('secret', 32), request.text('name'), length)) };
    },
    'key.cluster': (request) => {
      const { secretId, psk, helloKey } = clusterKeysIn(suite, request);
      return { secretId: hexOf(secretId), psk: hexOf(psk), helloKey: hexOf(helloKey) };
    },
    'key.passphrase': (request) => {
      const secret = stretchPassphrase(request.text('passphrase'), PASSPHRASE_SALT);
      return secret === undefined ? undefined : { clusterSecret: hexOf(secret) };
    },
    'key.traffic': (request) => {
      const key = request.bytes('splitKey', 32);
      const hash = request.bytes('handshakeHash', 32);
      const { initiator } = sessionSecrets(suite, { initiator: key, responder: key }, hash);
      return { trafficSecret: hexOf(initiator) };
    },
    'key.epoch': (request) => {
      let secret = request.bytes('trafficSecret', 32);
      const epoch = request.number('epoch', EPOCH_MAX);
      for (let count = 0; count < epoch; count++) secret = expandLabel(suite, secret, 'update');
      return {
        trafficSecret: hexOf(secret),
        controlKey: hexOf(expandLabel(suite, secret, 'control')),
        recordKey: hexOf(expandLabel(suite, secret, 'record')),
      };
    },
    'front.mac': (request) => {
      const { helloKey } = clusterKeysIn(suite, request);
      return { mac: hexOf(helloMac(suite, helloKey, request.bytes('bytes'))) };
    },
    'front.check': (request) => {
      const { helloKey } = clusterKeysIn(suite, request);
      const packet = request.bytes('packet');
      const end = Math.max(0, packet.length - HELLO_MAC_BYTES);
      return checkHelloMac(suite, helloKey, packet.subarray(0, end), packet.subarray(end)) ? {} : undefined;
    },
    'admission.proof': (request) => {
      const [secret, hash] = [request.bytes('admissionSecret', 32), request.bytes('handshakeHash', 32)];
      const proof = admissionProof(suite, secret, hash, request.bytes('nonce'), request.text('role'));
      return { proof: hexOf(proof) };
    },
    'receipt.make': (request) => {
      const receipts = new Receipts(suite, request.bytes('admissionSecret', 32));
      const receipt = receipts.make({
        nodeId: request.bytes('nodeId', 16),
        token: request.bytes('token', 8),
        hash: request.bytes('hash', 32),
        bytes: request.number('size', 2 ** 48 - 1),
      });
      return { receipt: hexOf(receipt) };
    },
  };
}

/** The keys of the cluster secret that a request names. */
export function clusterKeysIn(suite: Suite, request: Fields): ClusterKeys {
  return deriveClusterKeys(suite, request.bytes('clusterSecret', 32));
}
