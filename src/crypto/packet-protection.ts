/**
 * The keys of one direction of a session: sealing and opening of control packets and of records, with
 * epochs that replace the keys without a new handshake.
 *
 * `noise.ts` gives the first secrets through {@link sessionSecrets}; `session/` decides when to update
 * and checks replays first (`replay-window.ts`). Left out: header layout, packet numbering, and the
 * choice of what goes into a record. Stateless about numbers: the caller never gives one twice.
 *
 * Overwriting a secret with zeros is done where this code owns the bytes, and providers are told to do
 * the same; what is left in a provider's key object goes when the object is collected.
 */

import { assert } from '../base/assert.ts';
import { hkdfExpand, hkdfExtract, labelInfo } from './hkdf.ts';
import { AEAD_NONCE_BYTES, type Aead, HASH_BYTES, type Suite } from './suite.ts';
import { writeUint32, writeUint64 } from './uint64.ts';

/** After this many sealings a sender updates [KEY-5]: well before the limit below. */
export const KEY_SEALINGS_MAX = 2 ** 22;
/** What no key ever passes [KEY-6]. */
export const KEY_SEALINGS_LIMIT = 2 ** 23;

/**
 * Told of the keys of every epoch that a direction enters, epoch 0 at its start: what a key log is written
 * from [LOG-3]. The keys are wiped when it returns.
 */
export type KeyObserver = (epoch: number, controlKey: Uint8Array, recordKey: Uint8Array) => void;

/** A header carries the epoch modulo 4. */
const EPOCH_MASK = 3;
const EMPTY = new Uint8Array(0);
const TRAFFIC = labelInfo('traffic');
const UPDATE = labelInfo('update');
const CONTROL = labelInfo('control');
const RECORD = labelInfo('record');
/** Where nonces are laid out: used within one call only, so all keys share it. */
const NONCE = new Uint8Array(new ArrayBuffer(AEAD_NONCE_BYTES));

/**
 * The first traffic secret of each direction, from the keys of the handshake [KEY-3]. The split keys
 * are borrowed; wipe them afterwards.
 */
export function sessionSecrets(
  suite: Suite,
  split: { readonly initiator: Uint8Array; readonly responder: Uint8Array },
  handshakeHash: Uint8Array,
): { initiator: Uint8Array; responder: Uint8Array } {
  return {
    initiator: trafficSecret(suite, split.initiator, handshakeHash),
    responder: trafficSecret(suite, split.responder, handshakeHash),
  };
}

function trafficSecret(suite: Suite, key: Uint8Array, handshakeHash: Uint8Array): Uint8Array {
  const extracted = hkdfExtract(suite, handshakeHash, key);
  const secret = hkdfExpand(suite, extracted, TRAFFIC, HASH_BYTES);
  extracted.fill(0);
  return secret;
}

/** The sending half of a direction. */
export class SendKeys {
  readonly #suite: Suite;
  readonly #observe: KeyObserver | undefined;
  #keys: EpochKeys;
  #epoch = 0;
  #sealings = 0;

  /**
   * @param secret A 32-byte traffic secret, copied.
   * @param observe Where keys are shown to an operator who asked for them; nowhere by default.
   */
  constructor(suite: Suite, secret: Uint8Array, observe?: KeyObserver) {
    this.#suite = suite;
    this.#observe = observe;
    this.#keys = new EpochKeys(copySecret(secret));
    this.#keys.show(suite, 0, observe);
  }

  /** How often the keys were updated. The header carries it modulo 4. */
  get epoch(): number {
    return this.#epoch;
  }

  /** AEAD calls under the current epoch, control packets and records together. */
  get sealings(): number {
    return this.#sealings;
  }

  /**
   * Seals one control packet: nonce = its number, additional data = its header [KEY-4].
   *
   * @param number The packet number, never used before in this direction.
   * @returns The bytes written to `into` from `at`: `plaintext.length + AEAD_TAG_BYTES`.
   * @throws AssertionError after {@link KEY_SEALINGS_LIMIT} sealings without an update.
   */
  sealControl(
    number: number,
    header: Uint8Array,
    plaintext: Uint8Array,
    into: Uint8Array,
    at: number,
  ): number {
    this.#count();
    return this.#keys.control(this.#suite).seal(controlNonce(number), header, plaintext, into, at);
  }

  /**
   * Seals one record under the record key: nonce = flow and record number, no additional data [REC-1].
   *
   * @param recordNumber Never used before in this flow under this epoch: also when a record is cut
   * anew, since its bytes would differ [REC-2].
   * @returns The bytes written to `into` from `at`: `plaintext.length + AEAD_TAG_BYTES`.
   * @throws AssertionError after {@link KEY_SEALINGS_LIMIT} sealings without an update.
   */
  sealRecord(
    flowId: number,
    recordNumber: number,
    plaintext: Uint8Array,
    into: Uint8Array,
    at: number,
  ): number {
    this.#count();
    return this.#keys.record(this.#suite).seal(recordNonce(flowId, recordNumber), EMPTY, plaintext, into, at);
  }

  /**
   * {@link sealRecord} of `head` and `body` as one plaintext, without putting them together first.
   * `body` may lie in `into` exactly where its ciphertext goes [REC-1].
   *
   * @returns The bytes written to `into` from `at`: `head.length + body.length + AEAD_TAG_BYTES`.
   * @throws AssertionError after {@link KEY_SEALINGS_LIMIT} sealings without an update.
   */
  sealRecordParts(
    flowId: number,
    recordNumber: number,
    head: Uint8Array,
    body: Uint8Array,
    into: Uint8Array,
    at: number,
  ): number {
    this.#count();
    return this.#keys.record(this.#suite).sealParts(recordNonce(flowId, recordNumber), head, body, into, at);
  }

  /**
   * Starts the next epoch and overwrites the secret of the last one [KEY-7]. To be called only once the
   * peer acknowledged a packet of the current epoch [KEY-12].
   */
  update(): void {
    const next = this.#keys.next(this.#suite);
    this.#keys.wipe();
    this.#keys = next;
    this.#epoch++;
    this.#sealings = 0;
    next.show(this.#suite, this.#epoch, this.#observe);
  }

  #count(): void {
    assert(this.#sealings < KEY_SEALINGS_LIMIT, 'a key sealed 2^23 times: update it'); // [KEY-6]
    this.#sealings++;
  }
}

/** The receiving half of a direction. Knows the keys of three epochs at most. */
export class ReceiveKeys {
  readonly #suite: Suite;
  readonly #observe: KeyObserver | undefined;
  #current: EpochKeys;
  /** Derived at the first packet that claims the next epoch and kept, whether or not it opens [KEY-9]. */
  #next: EpochKeys | undefined;
  #previousControl: Aead | undefined;
  #previousRecord: Aead | undefined;
  #epoch = 0;

  /**
   * @param secret A 32-byte traffic secret, copied.
   * @param observe As for {@link SendKeys}.
   */
  constructor(suite: Suite, secret: Uint8Array, observe?: KeyObserver) {
    this.#suite = suite;
    this.#observe = observe;
    this.#current = new EpochKeys(copySecret(secret));
    this.#current.show(suite, 0, observe);
  }

  /** The newest epoch in which the sender proved to be. */
  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Opens one control packet of the previous, current or next epoch. One of the next epoch that opens
   * advances the keys [KEY-8]. Never throws on hostile bytes.
   *
   * @param epochBits The sender's epoch modulo 4, from the header.
   * @returns The length of the plaintext written to `into` from `at`; or -1, see {@link Aead.open}.
   */
  openControl(
    epochBits: number,
    number: number,
    header: Uint8Array,
    sealed: Uint8Array,
    into: Uint8Array,
    at: number,
  ): number {
    const ahead = this.#ahead(epochBits);
    const aead = ahead === PREVIOUS ? this.#previousControl : this.#keysAhead(ahead)?.control(this.#suite);
    if (aead === undefined) return -1; // [KEY-10]
    const bytes = aead.open(controlNonce(number), header, sealed, into, at);
    if (bytes >= 0 && ahead === NEXT) this.#advance();
    return bytes;
  }

  /**
   * Opens one record into `into` from 0, which is `sealed` itself or does not overlap it. Epochs as in
   * {@link openControl}: the bits name one key, so no second attempt on the same bytes is ever needed.
   *
   * @returns The length of the plaintext; or -1, after which `sealed`, where it is `into`, is to be thrown
   * away: it may hold neither ciphertext nor plaintext.
   */
  openRecord(
    epochBits: number,
    flowId: number,
    recordNumber: number,
    sealed: Uint8Array,
    into: Uint8Array,
  ): number {
    const ahead = this.#ahead(epochBits);
    const aead = this.#recordKey(ahead);
    if (aead === undefined) return -1; // [KEY-10]
    const nonce = recordNonce(flowId, recordNumber);
    const bytes =
      into === sealed ? aead.openInPlace(nonce, sealed) : aead.open(nonce, EMPTY, sealed, into, 0);
    if (bytes >= 0 && ahead === NEXT) this.#advance();
    return bytes;
  }

  /**
   * Forgets the control key of the previous epoch, 3 PTO after an update [KEY-11]. Its record key
   * stays until the next update, because a resent segment is the old ciphertext [REC-3].
   */
  dropPreviousControl(): void {
    this.#previousControl?.wipe();
    this.#previousControl = undefined;
  }

  /** How far `epochBits` is ahead of the current epoch, modulo 4. */
  #ahead(epochBits: number): number {
    return (epochBits - this.#epoch) & EPOCH_MASK;
  }

  #recordKey(ahead: number): Aead | undefined {
    return ahead === PREVIOUS ? this.#previousRecord : this.#keysAhead(ahead)?.record(this.#suite);
  }

  #keysAhead(ahead: number): EpochKeys | undefined {
    if (ahead === CURRENT) return this.#current;
    if (ahead !== NEXT) return undefined;
    this.#next ??= this.#current.next(this.#suite);
    return this.#next;
  }

  #advance(): void {
    assert(this.#next !== undefined, 'the next epoch opened a packet, so its keys exist');
    this.#previousControl?.wipe();
    this.#previousRecord?.wipe();
    // Taken before the secret goes: the first record of the epoch may come late.
    this.#previousControl = this.#current.control(this.#suite);
    this.#previousRecord = this.#current.record(this.#suite);
    this.#current.wipeSecret(); // [KEY-7]
    this.#current = this.#next;
    this.#next = undefined;
    this.#epoch++;
    this.#current.show(this.#suite, this.#epoch, this.#observe);
  }
}

const CURRENT = 0;
const NEXT = 1;
const PREVIOUS = 3;

/**
 * The keys of one epoch. Each is derived when it is first used: most sessions never move a record, and
 * thousands of idle ones hold little more than a secret.
 */
class EpochKeys {
  readonly #secret: Uint8Array;
  #control: Aead | undefined;
  #record: Aead | undefined;

  /** @param secret Owned and wiped by this object. */
  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  control(suite: Suite): Aead {
    this.#control ??= labelledAead(suite, this.#secret, CONTROL);
    return this.#control;
  }

  record(suite: Suite): Aead {
    this.#record ??= labelledAead(suite, this.#secret, RECORD);
    return this.#record;
  }

  /** Lets `observe` see both keys, in copies that are wiped behind it. */
  show(suite: Suite, epoch: number, observe: KeyObserver | undefined): void {
    if (observe === undefined) return;
    const control = hkdfExpand(suite, this.#secret, CONTROL, HASH_BYTES);
    const record = hkdfExpand(suite, this.#secret, RECORD, HASH_BYTES);
    observe(epoch, control, record);
    control.fill(0);
    record.fill(0);
  }

  next(suite: Suite): EpochKeys {
    return new EpochKeys(hkdfExpand(suite, this.#secret, UPDATE, HASH_BYTES));
  }

  /** Overwrites the secret; only keys that were taken before can be used from now on. */
  wipeSecret(): void {
    this.#secret.fill(0);
  }

  wipe(): void {
    this.wipeSecret();
    this.#control?.wipe();
    this.#record?.wipe();
  }
}

function labelledAead(suite: Suite, secret: Uint8Array, info: Uint8Array): Aead {
  const key = hkdfExpand(suite, secret, info, HASH_BYTES);
  const aead = suite.aead(key);
  key.fill(0);
  return aead;
}

function copySecret(secret: Uint8Array): Uint8Array {
  assert(secret.length === HASH_BYTES, 'a traffic secret has 32 bytes');
  return new Uint8Array(secret);
}

function controlNonce(number: number): Uint8Array {
  writeUint32(NONCE, 0, 0);
  writeUint64(NONCE, 4, number);
  return NONCE;
}

function recordNonce(flowId: number, recordNumber: number): Uint8Array {
  writeUint32(NONCE, 0, flowId);
  writeUint64(NONCE, 4, recordNumber);
  return NONCE;
}
