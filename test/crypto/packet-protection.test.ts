/** Control packets, records and key updates, against a slow plain twin and on all providers. */

import { createCipheriv, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import { concatBytes, utf8 } from '../../src/base/bytes.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import {
  KEY_SEALINGS_LIMIT,
  KEY_SEALINGS_MAX,
  ReceiveKeys,
  SendKeys,
  sessionSecrets,
} from '../../src/crypto/packet-protection.ts';
import { AEAD_TAG_BYTES, type Suite } from '../../src/crypto/suite.ts';
import { capturingSuite, countingSuite, flipBit, keysLeft, rising, SUITES } from './support.ts';

const SECRET = rising(32, 50);
const HEADER = rising(12);
const EMPTY = new Uint8Array(0);

describe.each(SUITES)('packet protection over the $name provider', (suite) => {
  it('derives traffic secrets from split keys and handshake hash [KEY-3]', () => {
    const secrets = sessionSecrets(suite, { initiator: rising(32), responder: rising(32, 1) }, rising(32, 2));
    const twin = (key: Uint8Array) => label(hmac(rising(32, 2), key), 'traffic');
    expect(secrets).toEqual({ initiator: twin(rising(32)), responder: twin(rising(32, 1)) });
  });

  it('seals like the plain twin, in every epoch [KEY-4] [REC-1]', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 5 }),
        fc.oneof(fc.nat({ max: 2 ** 31 - 1 }), fc.maxSafeNat()),
        fc.nat({ max: 0xffffffff }),
        fc.uint8Array({ maxLength: 60 }),
        fc.uint8Array({ maxLength: 20 }),
        (epoch, number, flowId, plaintext, header) => {
          const keys = new SendKeys(suite, SECRET);
          for (let step = 0; step < epoch; step++) keys.update();
          const control = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
          const record = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
          expect(keys.sealControl(number, header, plaintext, control, 0)).toBe(control.length);
          expect(keys.sealRecord(flowId, number, plaintext, record, 0)).toBe(record.length);
          expect(control).toEqual(twinSeal('control', epoch, 0, number, header, plaintext));
          expect(record).toEqual(twinSeal('record', epoch, flowId, number, EMPTY, plaintext));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('opens what was sealed and refuses every turned bit', () => {
    const send = new SendKeys(suite, SECRET);
    const receive = new ReceiveKeys(suite, SECRET);
    const control = control7(send);
    const record = record9(send);
    const into = new Uint8Array(10);
    for (let bit = 0; bit < control.length * 8; bit++) {
      expect(receive.openControl(0, 7, HEADER, flipBit(control, bit), into, 0)).toBe(-1);
      expect(openedRecord(receive, 0, 3, 9, flipBit(record, bit))).toBeUndefined();
    }
    for (let bit = 0; bit < HEADER.length * 8; bit++) {
      expect(receive.openControl(0, 7, flipBit(HEADER, bit), control, into, 0)).toBe(-1);
    }
    for (let length = 0; length < control.length; length++) {
      expect(receive.openControl(0, 7, HEADER, control.subarray(0, length), into, 0)).toBe(-1);
      expect(openedRecord(receive, 0, 3, 9, record.subarray(0, length))).toBeUndefined();
    }
    expect(receive.openControl(0, 8, HEADER, control, into, 0)).toBe(-1);
    expect(openedRecord(receive, 0, 4, 9, record)).toBeUndefined();
    expect(openedRecord(receive, 0, 3, 10, record)).toBeUndefined();
    expect(into).toEqual(new Uint8Array(10));
    expect(openControl7(receive, 0, control)).toBe(4);
    expect(openRecord9(receive, 0, record)).toBe(4);
  });

  it('seals a record in two parts and opens it in place, in every epoch', () => {
    const send = new SendKeys(suite, SECRET);
    const receive = new ReceiveKeys(suite, SECRET);
    let before: Uint8Array | undefined;
    for (let epoch = 0; epoch < 6; epoch++) {
      const sealed = new Uint8Array(30 + AEAD_TAG_BYTES);
      expect(send.sealRecordParts(3, 9, rising(10), rising(20, 10), sealed, 0)).toBe(sealed.length);
      const whole = new Uint8Array(sealed.length);
      send.sealRecord(3, 9, rising(30), whole, 0);
      expect(sealed).toEqual(whole);
      expect(receive.openRecord(epoch & 3, 3, 9, sealed, sealed)).toBe(30);
      expect(sealed.subarray(0, 30)).toEqual(rising(30));
      expect(receive.epoch).toBe(epoch);
      if (before !== undefined) {
        expect(openedRecord(receive, (epoch - 1) & 3, 3, 9, before)).toEqual(rising(30));
        expect(openedRecord(receive, (epoch + 2) & 3, 3, 9, before)).toBeUndefined();
      }
      before = whole;
      expect(send.sealings).toBe(2);
      send.update();
    }
  });

  it('keeps control packets and records apart [REC-1]', () => {
    const send = new SendKeys(suite, SECRET);
    const receive = new ReceiveKeys(suite, SECRET);
    const into = new Uint8Array(32);
    const sealed = new Uint8Array(20);
    send.sealControl(9, EMPTY, rising(4), sealed, 0);
    expect(openedRecord(receive, 0, 0, 9, sealed)).toBeUndefined();
    expect(receive.openControl(0, 9, EMPTY, sealed, into, 0)).toBe(4);
  });

  it('follows an update, and opens old packets until they are dropped [KEY-8] [KEY-11] [REC-3]', () => {
    const send = new SendKeys(suite, SECRET);
    const receive = new ReceiveKeys(suite, SECRET);
    const oldControl = control7(send);
    const oldRecord = record9(send);
    send.update();
    const newControl = control7(send);
    expect(newControl).not.toEqual(oldControl);

    expect(openControl7(receive, 1, newControl)).toBe(4);
    expect(receive.epoch).toBe(1);
    expect(openControl7(receive, 0, oldControl)).toBe(4);
    expect(openRecord9(receive, 0, oldRecord)).toBe(4);
    expect(openControl7(receive, 1, newControl)).toBe(4);
    expect(receive.epoch).toBe(1);

    receive.dropPreviousControl();
    expect(openControl7(receive, 0, oldControl)).toBe(-1);
    expect(openRecord9(receive, 0, oldRecord)).toBe(4);

    send.update();
    expect(openRecord9(receive, 2, record9(send))).toBe(4);
    expect(receive.epoch).toBe(2);
    expect(openRecord9(receive, 0, oldRecord)).toBe(-1);
    expect(openControl7(receive, 1, newControl)).toBe(4);
  });

  it('refuses packets two epochs ahead, and those of an epoch before the first [KEY-10]', () => {
    const receive = new ReceiveKeys(suite, SECRET);
    const send = new SendKeys(suite, SECRET);
    const first = control7(send);
    send.update();
    const next = control7(send);
    send.update();
    const twoAhead = control7(send);
    const twoAheadRecord = record9(send);
    for (const epochBits of [0, 1, 2, 3]) {
      expect(openControl7(receive, epochBits, twoAhead)).toBe(-1);
      expect(openRecord9(receive, epochBits, twoAheadRecord)).toBe(-1);
    }
    expect(openControl7(receive, 3, first)).toBe(-1);
    expect(receive.epoch).toBe(0);
    expect(openControl7(receive, 1, next)).toBe(4);
    expect(openControl7(receive, 2, twoAhead)).toBe(4);
    expect(receive.epoch).toBe(2);
  });

  it('wraps the two epoch bits through nine updates', () => {
    const send = new SendKeys(suite, SECRET);
    const receive = new ReceiveKeys(suite, SECRET);
    let before = control7(send);
    for (let epoch = 1; epoch <= 9; epoch++) {
      send.update();
      const sealed = control7(send);
      expect(openControl7(receive, epoch & 3, sealed)).toBe(4);
      expect([send.epoch, receive.epoch]).toEqual([epoch, epoch]);
      expect(openControl7(receive, (epoch - 1) & 3, before)).toBe(4);
      before = sealed;
    }
  });

  it('derives the next keys once for any number of forgeries, each of which costs one opening [KEY-9]', () => {
    const counting = countingSuite(suite);
    const receive = new ReceiveKeys(counting, SECRET);
    const { hmac: atStart } = counting.counts;
    for (let forgery = 0; forgery < 50; forgery++) {
      expect(openControl7(receive, 1, rising(40, forgery))).toBe(-1);
      expect(receive.openRecord(1, 3, 9, rising(40, forgery), new Uint8Array(40))).toBe(-1);
      expect(openControl7(receive, 2, rising(40, forgery))).toBe(-1);
      expect(openControl7(receive, 3, rising(40, forgery))).toBe(-1);
    }
    expect(counting.counts.hmac - atStart).toBe(3);
    expect(counting.counts.open).toBe(100);
    expect(receive.epoch).toBe(0);
  });

  it('keeps one secret and overwrites those of past epochs [KEY-7]', () => {
    const keys = new Set<Uint8Array>();
    const send = new SendKeys(capturingSuite(suite, keys), SECRET);
    for (let epoch = 1; epoch <= 3; epoch++) {
      send.update();
      // Keys are derived when they are first used.
      control7(send);
      record9(send);
      expect(keysLeft(keys)).toHaveLength(1);
    }
    keys.clear();
    const receive = new ReceiveKeys(capturingSuite(suite, keys), SECRET);
    expect(openControl7(receive, 3, control7(send))).toBe(-1);
    const next = new SendKeys(suite, SECRET);
    next.update();
    expect(openControl7(receive, 1, control7(next))).toBe(4);
    expect(keysLeft(keys)).toHaveLength(1);
  });

  it('copies its secret', () => {
    const secret = new Uint8Array(SECRET);
    const send = new SendKeys(suite, secret);
    const receive = new ReceiveKeys(suite, secret);
    secret.fill(0);
    send.update();
    expect(openControl7(receive, 1, control7(send))).toBe(4);
    expect(() => new SendKeys(suite, rising(31))).toThrow(AssertionError);
  });

  it('never throws on random bytes', () => {
    const receive = new ReceiveKeys(suite, SECRET);
    fc.assert(
      fc.property(fc.nat({ max: 255 }), fc.uint8Array({ maxLength: 80 }), (epochBits, bytes) => {
        expect(openControl7(receive, epochBits, bytes)).toBe(-1);
        expect(openRecord9(receive, epochBits, bytes)).toBe(-1);
      }),
    );
  });
});

describe('the count of sealings', () => {
  it('counts control packets and records together, and starts anew with each epoch', () => {
    const send = new SendKeys(nodeSuite, SECRET);
    expect([send.epoch, send.sealings]).toEqual([0, 0]);
    control7(send);
    record9(send);
    expect([send.epoch, send.sealings]).toEqual([0, 2]);
    send.update();
    expect([send.epoch, send.sealings]).toEqual([1, 0]);
  });

  it('stops at 2^23, twice the number at which a sender updates [KEY-5] [KEY-6]', () => {
    expect(KEY_SEALINGS_LIMIT).toBe(2 * KEY_SEALINGS_MAX);
    const idle: Suite = {
      ...nodeSuite,
      aead: () => ({
        seal: () => 0,
        open: () => -1,
        openNew: () => undefined,
        sealParts: () => 0,
        openInPlace: () => -1,
        wipe: () => undefined,
      }),
    };
    const send = new SendKeys(idle, SECRET);
    for (let count = 0; count < KEY_SEALINGS_LIMIT; count++) send.sealControl(count, EMPTY, EMPTY, EMPTY, 0);
    expect(() => send.sealControl(0, EMPTY, EMPTY, EMPTY, 0)).toThrow(AssertionError);
    expect(() => send.sealRecord(0, 0, EMPTY, EMPTY, 0)).toThrow(AssertionError);
    send.update();
    expect(send.sealRecord(0, 0, EMPTY, EMPTY, 0)).toBe(0);
  });
});

describe('all providers', () => {
  it('protect alike through any order of seals and updates, and open each other', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('control' as const),
        number: fc.maxSafeNat(),
        payload: fc.uint8Array({ maxLength: 50 }),
      }),
      fc.record({
        kind: fc.constant('record' as const),
        number: fc.maxSafeNat(),
        payload: fc.uint8Array({ maxLength: 50 }),
      }),
      fc.record({ kind: fc.constant('update' as const) }),
    );
    let updates = 0;
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.array(step, { minLength: 10, maxLength: 25 }),
        (secret, steps) => {
          const senders = SUITES.map((suite) => new SendKeys(suite, secret));
          const receivers = SUITES.map((suite) => new ReceiveKeys(suite, secret));
          let isAdvanced = true;
          for (const action of steps) {
            if (action.kind === 'update') {
              // A sender waits until its current epoch has arrived [KEY-12].
              if (!isAdvanced) continue;
              for (const sender of senders) sender.update();
              isAdvanced = false;
              updates++;
              continue;
            }
            const { kind, number, payload } = action;
            const sealed = senders.map((sender) => {
              const into = new Uint8Array(payload.length + AEAD_TAG_BYTES);
              if (kind === 'control') sender.sealControl(number, HEADER, payload, into, 0);
              else sender.sealRecord(77, number, payload, into, 0);
              return into;
            });
            for (const each of sealed) expect(each).toEqual(sealed[0]);
            for (const receiver of receivers) {
              const into = new Uint8Array(payload.length);
              const epochBits = senders[0]!.epoch & 3;
              if (kind === 'control') {
                const bytes = receiver.openControl(epochBits, number, HEADER, sealed[0]!, into, 0);
                expect(bytes).toBe(payload.length);
                expect(into).toEqual(payload);
              } else {
                expect(openedRecord(receiver, epochBits, 77, number, sealed[0]!)).toEqual(payload);
              }
              expect(receiver.epoch).toBe(senders[0]!.epoch);
            }
            isAdvanced = true;
          }
        },
      ),
      { numRuns: 60 },
    );
    expect(updates).toBeGreaterThan(20);
  });
});

function control7(send: SendKeys): Uint8Array {
  const sealed = new Uint8Array(4 + AEAD_TAG_BYTES);
  send.sealControl(7, HEADER, rising(4), sealed, 0);
  return sealed;
}

function openControl7(receive: ReceiveKeys, epochBits: number, sealed: Uint8Array): number {
  return receive.openControl(epochBits, 7, HEADER, sealed, new Uint8Array(100), 0);
}

function record9(send: SendKeys): Uint8Array {
  const sealed = new Uint8Array(4 + AEAD_TAG_BYTES);
  send.sealRecord(3, 9, rising(4), sealed, 0);
  return sealed;
}

function openRecord9(receive: ReceiveKeys, epochBits: number, sealed: Uint8Array): number {
  return openedRecord(receive, epochBits, 3, 9, sealed)?.length ?? -1;
}

/** The specification in plain words: `node:crypto` one-shots, BigInt nonces, everything derived anew. */
function twinSeal(
  purpose: 'control' | 'record',
  epoch: number,
  prefix: number,
  number: number,
  aad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  let secret = SECRET;
  for (let step = 0; step < epoch; step++) secret = label(secret, 'update');
  const nonce = new DataView(new ArrayBuffer(12));
  nonce.setUint32(0, prefix);
  nonce.setBigUint64(4, BigInt(number));
  const cipher = createCipheriv('aes-256-gcm', label(secret, purpose), nonce);
  cipher.setAAD(aad);
  return concatBytes(cipher.update(plaintext), cipher.final(), cipher.getAuthTag());
}

function label(secret: Uint8Array, name: string): Uint8Array {
  return hmac(secret, concatBytes(utf8(`gramline ${name}`), Uint8Array.of(1)));
}

function hmac(key: Uint8Array, input: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac('sha256', key).update(input).digest());
}

/** What a record holds, opened into other memory and over itself: both must say the same. */
function openedRecord(
  receive: ReceiveKeys,
  epochBits: number,
  flowId: number,
  number: number,
  sealed: Uint8Array,
): Uint8Array | undefined {
  const into = new Uint8Array(sealed.length);
  const bytes = receive.openRecord(epochBits, flowId, number, sealed, into);
  const itself = new Uint8Array(sealed);
  expect(receive.openRecord(epochBits, flowId, number, itself, itself)).toBe(bytes);
  if (bytes < 0) return undefined;
  expect(itself.subarray(0, bytes)).toEqual(into.subarray(0, bytes));
  return into.subarray(0, bytes);
}
