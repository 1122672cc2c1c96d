/** Noise handshakes: independent vectors, what a stranger may send, and all providers side by side. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import {
  CipherState,
  type HandshakeOptions,
  HandshakeStart,
  HandshakeState,
  NOISE_MESSAGE_BYTES_MAX,
  type NoisePattern,
  type NoiseRole,
} from '../../src/crypto/noise.ts';
import type { Suite } from '../../src/crypto/suite.ts';
import {
  capturingSuite,
  countingSuite,
  flipBit,
  hex,
  keysLeft,
  readVectors,
  rising,
  SUITES,
} from './support.ts';

interface NoiseVector {
  readonly protocol_name: string;
  readonly handshake_hash?: string;
  readonly init_prologue: string;
  readonly init_psks?: readonly string[];
  readonly init_ephemeral: string;
  readonly init_static?: string;
  readonly init_remote_static?: string;
  readonly resp_prologue: string;
  readonly resp_psks?: readonly string[];
  readonly resp_ephemeral: string;
  readonly resp_static?: string;
  readonly resp_remote_static?: string;
  readonly messages: readonly { readonly payload: string; readonly ciphertext: string }[];
}

const VECTORS = ['noise-cacophony-25519_AESGCM_SHA256', 'noise-snow-25519_AESGCM_SHA256'].flatMap((file) =>
  readVectors<{ vectors: NoiseVector[] }>(file).vectors.map((vector) => ({ file, vector })),
);

const EMPTY = new Uint8Array(0);

describe.each(SUITES)('Noise over the $name provider', (suite) => {
  it('has nine vectors to pass', () => {
    expect(VECTORS.map(({ vector }) => vector.protocol_name)).toEqual([
      'Noise_NN_25519_AESGCM_SHA256',
      'Noise_NNpsk0_25519_AESGCM_SHA256',
      'Noise_NNpsk2_25519_AESGCM_SHA256',
      'Noise_KKpsk0_25519_AESGCM_SHA256',
      'Noise_KKpsk2_25519_AESGCM_SHA256',
      'Noise_IKpsk2_25519_AESGCM_SHA256',
      'Noise_XXpsk3_25519_AESGCM_SHA256',
      'Noise_NN_25519_AESGCM_SHA256',
      'Noise_NNpsk0+psk2_25519_AESGCM_SHA256',
    ]);
  });

  it.each(VECTORS)('passes $vector.protocol_name of $file', ({ vector }) => {
    const initiator = vectorEnd(suite, vector, 'initiator');
    const responder = vectorEnd(suite, vector, 'responder');
    let ciphers: Record<NoiseRole, { send: CipherState; receive: CipherState }> | undefined;
    let transportMessages = 0;
    for (const [index, message] of vector.messages.entries()) {
      const [writer, reader] = index % 2 === 0 ? [initiator, responder] : [responder, initiator];
      const payload = hex(message.payload);
      if (!initiator.isComplete) {
        const written = writer.writeMessage(payload);
        expect(toHex(written)).toBe(message.ciphertext);
        expect(reader.readMessage(written)).toEqual(payload);
        continue;
      }
      ciphers ??= {
        initiator: transport(suite, initiator, 'initiator'),
        responder: transport(suite, responder, 'responder'),
      };
      const [from, to] =
        index % 2 === 0 ? [ciphers.initiator, ciphers.responder] : [ciphers.responder, ciphers.initiator];
      const sealed = from.send.encryptWithAd(EMPTY, payload);
      expect(toHex(sealed)).toBe(message.ciphertext);
      expect(to.receive.decryptWithAd(EMPTY, sealed)).toEqual(payload);
      transportMessages++;
    }
    expect(transportMessages).toBeGreaterThanOrEqual(2);
    expect(responder.isComplete).toBe(true);
    expect(responder.handshakeHash).toEqual(initiator.handshakeHash);
    if (vector.handshake_hash !== undefined) {
      expect(toHex(initiator.handshakeHash)).toBe(vector.handshake_hash);
    }
  });

  it('ends with the same keys and hash at both ends, and split works once', () => {
    const { initiator, responder } = ends(suite);
    expect(responder.readMessage(initiator.writeMessage(utf8('hello')))).toEqual(utf8('hello'));
    expect(initiator.isComplete).toBe(false);
    expect(initiator.readMessage(responder.writeMessage(utf8('welcome')))).toEqual(utf8('welcome'));
    expect(initiator.isComplete && responder.isComplete).toBe(true);
    expect(initiator.handshakeHash).toEqual(responder.handshakeHash);
    const keys = initiator.split();
    expect(keys).toEqual(responder.split());
    expect(keys.initiator).not.toEqual(keys.responder);
    expect(keys.initiator).toHaveLength(32);
    expect(() => initiator.split()).toThrow(AssertionError);
  });

  it('refuses a first message under another psk before any key agreement or key pair [HS-2]', () => {
    const counting = countingSuite(suite);
    const stranger = new HandshakeState(suite, options(suite, 'initiator', { psks: [rising(32, 9)] }));
    const responder = new HandshakeState(counting, {
      ...options(suite, 'responder'),
      ephemeral: () => counting.keyPair(rising(32, 2)),
    });
    expect(responder.readMessage(stranger.writeMessage(EMPTY))).toBeUndefined();
    expect([counting.counts.dh, counting.counts.keyPair]).toEqual([0, 0]);

    const friend = new HandshakeState(counting, {
      ...options(suite, 'responder'),
      ephemeral: () => counting.keyPair(rising(32, 2)),
    });
    expect(friend.readMessage(ends(suite).initiator.writeMessage(EMPTY))).toEqual(EMPTY);
    expect([counting.counts.dh, counting.counts.keyPair]).toEqual([1, 1]);
  });

  it('refuses another prologue [HS-3]', () => {
    const { initiator } = ends(suite);
    const responder = new HandshakeState(suite, options(suite, 'responder', { prologue: utf8('other') }));
    expect(responder.readMessage(initiator.writeMessage(EMPTY))).toBeUndefined();
  });

  it('refuses both messages cut at any byte or with a bit of any byte turned, and is dead afterwards [HS-5]', () => {
    const first = ends(suite).initiator.writeMessage(rising(3));
    const second = answer(suite, first);
    for (const broken of brokenCopies(first)) {
      const { responder } = ends(suite);
      expect(responder.readMessage(broken)).toBeUndefined();
      expect(responder.readMessage(first)).toBeUndefined();
      expect(responder.isComplete).toBe(false);
      expect(() => responder.writeMessage(EMPTY)).toThrow(AssertionError);
    }
    for (const broken of brokenCopies(second)) {
      const { initiator } = ends(suite);
      initiator.writeMessage(rising(3));
      expect(initiator.readMessage(broken)).toBeUndefined();
      expect(initiator.readMessage(second)).toBeUndefined();
      expect(initiator.isComplete).toBe(false);
      expect(() => initiator.split()).toThrow(AssertionError);
    }
    const { initiator } = ends(suite);
    initiator.writeMessage(rising(3));
    expect(initiator.readMessage(second)).toEqual(rising(4));
  });

  it('never throws on random bytes, in any pattern', () => {
    const patterns: NoisePattern[] = ['NN', 'NNpsk0', 'NNpsk0+psk2', 'KK', 'IK', 'XX', 'XXpsk3'];
    fc.assert(
      fc.property(fc.constantFrom(...patterns), fc.uint8Array({ maxLength: 200 }), (pattern, bytes) => {
        const psks = (pattern.match(/psk/g) ?? []).map((_, index) => rising(32, index));
        const staticKey = suite.keyPair(rising(32, 50));
        const remoteStatic = suite.keyPair(rising(32, 60)).publicKey;
        const changes = { pattern, psks, staticKey, remoteStatic };
        new HandshakeState(suite, options(suite, 'responder', changes)).readMessage(bytes);
        const initiator = new HandshakeState(suite, options(suite, 'initiator', changes));
        initiator.writeMessage(EMPTY);
        expect(initiator.readMessage(bytes)).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  });

  it('refuses ephemeral keys of low order while reading, so that writing never fails [HS-6]', () => {
    for (const point of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31))]) {
      const forged = { privateKey: rising(32), publicKey: point };
      for (const pattern of ['NN', 'NNpsk0'] as const) {
        const psks = pattern === 'NN' ? [] : [rising(32, 100)];
        const initiator = new HandshakeState(
          suite,
          options(suite, 'initiator', { pattern, psks, ephemeral: forged }),
        );
        const responder = new HandshakeState(suite, options(suite, 'responder', { pattern, psks }));
        expect(responder.readMessage(initiator.writeMessage(EMPTY))).toBeUndefined();
        expect(() => responder.writeMessage(EMPTY)).toThrow(AssertionError);
      }
      const forgedResponder = new HandshakeState(
        suite,
        options(suite, 'responder', { pattern: 'NN', psks: [], ephemeral: forged }),
      );
      const honest = new HandshakeState(suite, options(suite, 'initiator', { pattern: 'NN', psks: [] }));
      forgedResponder.readMessage(honest.writeMessage(EMPTY));
      expect(honest.readMessage(forgedResponder.writeMessage(EMPTY))).toBeUndefined();
    }
  });

  it('ignores messages out of turn without harm', () => {
    const { initiator, responder } = ends(suite);
    expect(initiator.readMessage(rising(48))).toBeUndefined();
    const first = initiator.writeMessage(EMPTY);
    expect(responder.readMessage(first)).toEqual(EMPTY);
    expect(responder.readMessage(first)).toBeUndefined();
    const second = responder.writeMessage(EMPTY);
    expect(responder.readMessage(first)).toBeUndefined();
    expect(initiator.readMessage(second)).toEqual(EMPTY);
    expect(initiator.readMessage(second)).toBeUndefined();
    expect(initiator.split()).toEqual(responder.split());
  });

  it('takes messages of 65,535 bytes and none longer [HS-4]', () => {
    const payloadBytesMax = NOISE_MESSAGE_BYTES_MAX - 32 - 16;
    const { initiator, responder } = ends(suite);
    const longest = initiator.writeMessage(new Uint8Array(payloadBytesMax));
    expect(longest).toHaveLength(NOISE_MESSAGE_BYTES_MAX);
    expect(responder.readMessage(longest)).toHaveLength(payloadBytesMax);
    expect(() => ends(suite).initiator.writeMessage(new Uint8Array(payloadBytesMax + 1))).toThrow(
      AssertionError,
    );
    const plain = new HandshakeState(suite, options(suite, 'responder', { pattern: 'NN', psks: [] }));
    const tooLong = new Uint8Array(NOISE_MESSAGE_BYTES_MAX + 1).fill(9);
    expect(plain.readMessage(tooLong)).toBeUndefined();
    const another = new HandshakeState(suite, options(suite, 'responder', { pattern: 'NN', psks: [] }));
    expect(another.readMessage(tooLong.subarray(1))).toHaveLength(NOISE_MESSAGE_BYTES_MAX - 32);
  });

  it('overwrites its keys when it ends and when it refuses, but not the psk [HS-7]', () => {
    for (const isRefused of [false, true]) {
      const keys = new Set<Uint8Array>();
      const psk = rising(32, 100);
      const capturing = capturingSuite(suite, keys);
      const responder = new HandshakeState(capturing, options(suite, 'responder', { psks: [psk] }));
      const first = ends(suite).initiator.writeMessage(EMPTY);
      if (isRefused) {
        expect(responder.readMessage(flipBit(first, 300))).toBeUndefined();
      } else {
        responder.readMessage(first);
        responder.writeMessage(EMPTY);
        expect(keysLeft(keys)).toHaveLength(1);
        responder.split();
      }
      expect(keys.size).toBeGreaterThan(4);
      expect(keysLeft(keys)).toEqual([]);
      expect(psk).toEqual(rising(32, 100));
    }
  });

  it('asserts that its options fit the pattern', () => {
    const make = (changes: Partial<HandshakeOptions>) => () =>
      new HandshakeState(suite, options(suite, 'initiator', changes));
    expect(make({ psks: [] })).toThrow(AssertionError);
    expect(make({ psks: [rising(31)] })).toThrow(AssertionError);
    expect(make({ pattern: 'NNpsk3' })).toThrow(AssertionError);
    expect(make({ pattern: 'NNpsk2+psk0', psks: [rising(32), rising(32)] })).toThrow(AssertionError);
    expect(make({ pattern: 'ZZ' as NoisePattern })).toThrow(AssertionError);
    expect(make({ pattern: 'XX', psks: [] })).toThrow(AssertionError);
    expect(make({ pattern: 'IK', psks: [], staticKey: suite.keyPair(rising(32)) })).toThrow(AssertionError);
  });

  it('begins any number of handshakes from one start, byte for byte as without', () => {
    const basis = { pattern: 'NNpsk0' as const, prologue: rising(21), psks: [rising(32, 100)] };
    const start = new HandshakeStart(suite, basis);
    for (let round = 0; round < 3; round++) {
      const make = (role: NoiseRole, from: HandshakeStart | undefined) => {
        const ephemeral = suite.keyPair(rising(32, round + (role === 'initiator' ? 0 : 9)));
        return new HandshakeState(suite, { ...basis, role, ephemeral }, from);
      };
      const [initiator, plain] = [make('initiator', start), make('initiator', undefined)];
      const [responder, refusing] = [make('responder', start), make('responder', start)];
      const first = initiator.writeMessage(rising(3));
      expect(plain.writeMessage(rising(3))).toEqual(first);
      // Handshakes that end or refuse wipe their own keys, not those of the start.
      expect(refusing.readMessage(flipBit(first, 300))).toBeUndefined();
      expect(responder.readMessage(first)).toEqual(rising(3));
      const second = responder.writeMessage(rising(4));
      for (const end of [initiator, plain]) expect(end.readMessage(second)).toEqual(rising(4));
      const keys = initiator.split();
      expect(plain.split()).toEqual(keys);
      expect(responder.split()).toEqual(keys);
      expect(plain.handshakeHash).toEqual(initiator.handshakeHash);
    }
  });

  it('asserts that a start is used for its own basis only', () => {
    const basis = { pattern: 'NNpsk0' as const, prologue: rising(21), psks: [rising(32, 100)] };
    const start = new HandshakeStart(suite, basis);
    const rest = { role: 'initiator' as const, ephemeral: suite.keyPair(rising(32)) };
    for (const change of [
      { prologue: rising(21) },
      { psks: [rising(32, 100)] },
      { pattern: 'NNpsk1' as const },
    ]) {
      const options = { ...basis, ...rest, ...change };
      expect(() => new HandshakeState(suite, options, start)).toThrow(AssertionError);
    }
  });

  it('counts the nonces of a CipherState up, and not after a refusal', () => {
    const sender = cipher(suite, rising(32));
    const receiver = cipher(suite, rising(32));
    const first = sender.encryptWithAd(rising(2), rising(5));
    const second = sender.encryptWithAd(rising(2), rising(5));
    expect(second).not.toEqual(first);
    expect(receiver.decryptWithAd(rising(2), second)).toBeUndefined();
    expect(receiver.decryptWithAd(rising(2), first)).toEqual(rising(5));
    expect(receiver.decryptWithAd(rising(2), second)).toEqual(rising(5));
    expect(receiver.decryptWithAd(EMPTY, rising(15))).toBeUndefined();
    receiver.setNonce(0);
    expect(receiver.decryptWithAd(rising(2), first)).toEqual(rising(5));
    receiver.wipe();
    expect(receiver.hasKey()).toBe(false);
  });
});

describe('all providers', () => {
  it('write the same NNpsk0 handshakes, byte for byte', () => {
    const exactly32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
    const payload = fc.uint8Array({ maxLength: 60 });
    fc.assert(
      fc.property(
        exactly32,
        exactly32,
        exactly32,
        fc.uint8Array({ maxLength: 40 }),
        payload,
        payload,
        (psk, left, right, prologue, hello, welcome) => {
          const runs = SUITES.map((suite) => {
            const shared = { prologue, psks: [psk] };
            const initiator = new HandshakeState(
              suite,
              options(suite, 'initiator', { ...shared, ephemeral: suite.keyPair(left) }),
            );
            const responder = new HandshakeState(
              suite,
              options(suite, 'responder', { ...shared, ephemeral: suite.keyPair(right) }),
            );
            const first = initiator.writeMessage(hello);
            expect(responder.readMessage(first)).toEqual(hello);
            const second = responder.writeMessage(welcome);
            expect(initiator.readMessage(second)).toEqual(welcome);
            return { first, second, hash: initiator.handshakeHash, keys: initiator.split() };
          });
          for (const run of runs) expect(run).toEqual(runs[0]);
        },
      ),
      { numRuns: 40 },
    );
  });
});

function options(suite: Suite, role: NoiseRole, changes: Partial<HandshakeOptions> = {}): HandshakeOptions {
  return {
    pattern: 'NNpsk0',
    role,
    prologue: utf8('gramline test'),
    psks: [rising(32, 100)],
    ephemeral: suite.keyPair(rising(32, role === 'initiator' ? 1 : 2)),
    ...changes,
  };
}

function ends(suite: Suite): { initiator: HandshakeState; responder: HandshakeState } {
  return {
    initiator: new HandshakeState(suite, options(suite, 'initiator')),
    responder: new HandshakeState(suite, options(suite, 'responder')),
  };
}

function answer(suite: Suite, first: Uint8Array): Uint8Array {
  const { responder } = ends(suite);
  expect(responder.readMessage(first)).toEqual(rising(3));
  return responder.writeMessage(rising(4));
}

/** Every shorter beginning of `message`, every copy with one bit turned, and one with a byte more. */
function brokenCopies(message: Uint8Array): Uint8Array[] {
  const copies: Uint8Array[] = [Uint8Array.of(...message, 0)];
  for (let length = 0; length < message.length; length++) copies.push(message.subarray(0, length));
  // Any bit of any byte is found in the same way: of eight neighbours each has another one turned.
  for (let byte = 0; byte < message.length; byte++) {
    const bit = byte * 8 + (byte % 8);
    // The top bit of an X25519 key does not count, but the transcript hash covers it all the same.
    copies.push(flipBit(message, bit));
  }
  return copies;
}

function cipher(suite: Suite, key: Uint8Array): CipherState {
  const state = new CipherState(suite);
  state.initializeKey(key);
  return state;
}

function transport(
  suite: Suite,
  end: HandshakeState,
  role: NoiseRole,
): { send: CipherState; receive: CipherState } {
  const keys = end.split();
  const peer = role === 'initiator' ? 'responder' : 'initiator';
  return { send: cipher(suite, keys[role]), receive: cipher(suite, keys[peer]) };
}

function vectorEnd(suite: Suite, vector: NoiseVector, role: NoiseRole): HandshakeState {
  const prefix = role === 'initiator' ? 'init' : 'resp';
  const staticHex = vector[`${prefix}_static`];
  const remoteHex = vector[`${prefix}_remote_static`];
  return new HandshakeState(suite, {
    pattern: vector.protocol_name.split('_')[1] as NoisePattern,
    role,
    prologue: hex(vector[`${prefix}_prologue`]),
    psks: (vector[`${prefix}_psks`] ?? []).map(hex),
    ephemeral: suite.keyPair(hex(vector[`${prefix}_ephemeral`])),
    ...(staticHex === undefined ? {} : { staticKey: suite.keyPair(hex(staticHex)) }),
    ...(remoteHex === undefined ? {} : { remoteStatic: hex(remoteHex) }),
  });
}
