/** The handshake as section 2.6 of `spec/` writes it out, with node:crypto and nothing of ours. */

import {
  createCipheriv,
  createHash,
  createHmac,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { HandshakeState } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';

const PROLOGUE = Buffer.concat([Buffer.from('GRML\x01', 'latin1'), Buffer.alloc(16, 9)]);
const PSK = Buffer.alloc(32, 7);
const PARAMETERS = [Buffer.alloc(11, 1), Buffer.alloc(20, 2)] as const;

const hash = (...parts: readonly Uint8Array[]): Buffer =>
  createHash('sha256').update(Buffer.concat(parts)).digest();
const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer =>
  createHmac('sha256', key).update(Buffer.concat(parts)).digest();

function mix(chain: Uint8Array, input: Uint8Array): [Buffer, Buffer, Buffer] {
  const key = hmac(chain, input);
  const first = hmac(key, Uint8Array.of(1));
  const second = hmac(key, first, Uint8Array.of(2));
  return [first, second, hmac(key, second, Uint8Array.of(3))];
}

function seal(key: Uint8Array, transcript: Uint8Array, text: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAAD(transcript);
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

function raw(key: KeyObject, name: 'x' | 'd'): Buffer {
  return Buffer.from(key.export({ format: 'jwk' })[name]!, 'base64url');
}

describe('the handshake of the page', () => {
  it('gives the messages, the hash and the split keys of the source, byte for byte [HS-8] [HS-13]', () => {
    const pairs = [generateKeyPairSync('x25519'), generateKeyPairSync('x25519')] as const;
    const publicKeys = pairs.map(({ publicKey }) => raw(publicKey, 'x')) as [Buffer, Buffer];
    // The table of the page, from here on.
    let transcript: Buffer = Buffer.from('Noise_NNpsk0_25519_AESGCM_SHA256');
    let chain = transcript;
    let key: Buffer;
    transcript = hash(transcript, PROLOGUE);
    const [afterPsk, temporary] = mix(chain, PSK);
    chain = afterPsk;
    transcript = hash(transcript, temporary);
    transcript = hash(transcript, publicKeys[0]);
    [chain, key] = mix(chain, publicKeys[0]);
    const first = seal(key, transcript, PARAMETERS[0]);
    transcript = hash(transcript, first);
    transcript = hash(transcript, publicKeys[1]);
    [chain] = mix(chain, publicKeys[1]);
    [chain, key] = mix(
      chain,
      diffieHellman({ privateKey: pairs[0].privateKey, publicKey: pairs[1].publicKey }),
    );
    const second = seal(key, transcript, PARAMETERS[1]);
    transcript = hash(transcript, second);
    const [initiatorKey, responderKey] = mix(chain, Buffer.alloc(0));

    const [initiator, responder] = (['initiator', 'responder'] as const).map(
      (role, index) =>
        new HandshakeState(nodeSuite, {
          pattern: 'NNpsk0',
          prologue: new Uint8Array(PROLOGUE),
          psks: [new Uint8Array(PSK)],
          role,
          ephemeral: nodeSuite.keyPair(new Uint8Array(raw(pairs[index]!.privateKey, 'd'))),
        }),
    ) as [HandshakeState, HandshakeState];
    const messages = [initiator.writeMessage(new Uint8Array(PARAMETERS[0]))];
    expect(responder.readMessage(messages[0]!)).toEqual(new Uint8Array(PARAMETERS[0]));
    messages.push(responder.writeMessage(new Uint8Array(PARAMETERS[1])));
    expect(initiator.readMessage(messages[1]!)).toEqual(new Uint8Array(PARAMETERS[1]));
    expect(messages.map((message) => Buffer.from(message).toString('hex'))).toEqual([
      Buffer.concat([publicKeys[0], first]).toString('hex'),
      Buffer.concat([publicKeys[1], second]).toString('hex'),
    ]);
    expect(messages.map(({ length }) => length)).toEqual([59, 68]);
    expect(Buffer.from(initiator.handshakeHash).equals(transcript)).toBe(true);
    const split = initiator.split();
    expect(Buffer.from(split.initiator).equals(initiatorKey)).toBe(true);
    expect(Buffer.from(split.responder).equals(responderKey)).toBe(true);
  });
});
