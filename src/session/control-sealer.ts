/**
 * The sending keys of a session: writes SEALED packets in place, seals records, and updates the
 * keys when it is time [KEY-5].
 */

import { assert } from '../base/assert.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, type PacketNumber } from '../base/units.ts';
import { AEAD_TAG_BYTES, KEY_SEALINGS_LIMIT, KEY_SEALINGS_MAX, SendKeys } from '../crypto/index.ts';
import {
  encodeFrame,
  encodeSealedHeader,
  type Frame,
  frameSize,
  PACKET_BYTES_MAX,
  SEALED_HEADER_BYTES,
  type SessionTag,
  Writer,
} from '../wire/index.ts';
import { KEY_MICROS_MAX } from './limits.ts';
import { keyObserver, type SessionOptions } from './parameters.ts';

const EPOCHS_ON_WIRE = 4;
/** Room below the limit for what is sealed before the session has closed [KEY-13]. */
const CLOSING_SEALINGS = 2 ** 19;

/** Where frames are laid out before sealing: used within one call only, so all sessions share it. */
const PLAINTEXT = new Uint8Array(PACKET_BYTES_MAX);

/** What seals for the session of these options. */
export function sealerOf(options: SessionOptions): ControlSealer {
  const { suite, sendSecret, peerTag, now, keyLog, keySealingsMax, keySealingsLimit } = options;
  const keys = new SendKeys(suite, sendSecret, keyObserver(keyLog, peerTag));
  return new ControlSealer(keys, peerTag, now, keySealingsMax, keySealingsLimit);
}

export class ControlSealer {
  readonly #keys: SendKeys;
  readonly #peerTag: SessionTag;
  readonly #sealingsMax: number;
  readonly #sealingsLimit: number;
  #updateAt: Micros;
  /** Whether a packet of the current epoch has been acknowledged: only then may the next begin. */
  #confirmed = false;

  /** Updates the keys after `sealingsMax` sealings; is worn out after `sealingsLimit`. */
  constructor(
    keys: SendKeys,
    peerTag: SessionTag,
    now: Micros,
    sealingsMax: number = KEY_SEALINGS_MAX,
    sealingsLimit: number = KEY_SEALINGS_LIMIT - CLOSING_SEALINGS,
  ) {
    this.#sealingsLimit = sealingsLimit;
    this.#keys = keys;
    this.#sealingsMax = sealingsMax;
    this.#peerTag = peerTag;
    this.#updateAt = micros(now + KEY_MICROS_MAX);
  }

  /** Whether a peer that never confirms an epoch, or never opens a record, has worn the keys out. */
  get wornOut(): boolean {
    return this.#keys.sealings >= this.#sealingsLimit;
  }

  get epochBits(): number {
    return this.#keys.epoch % EPOCHS_ON_WIRE;
  }

  /** Writes one SEALED packet with `frames` at `at`; returns its bytes [SEAL-2]. */
  write(number: PacketNumber, frames: readonly Frame[], buffer: Uint8Array, at: number): number {
    let plainBytes = 0;
    for (const frame of frames) plainBytes += frameSize(frame);
    const bytes = SEALED_HEADER_BYTES + plainBytes + AEAD_TAG_BYTES;
    assert(bytes <= PACKET_BYTES_MAX, 'control packet too long');
    const writer = new Writer(PLAINTEXT, 0, plainBytes);
    for (const frame of frames) encodeFrame(frame, writer);
    encodeSealedHeader(buffer, at, bytes, this.epochBits, this.#peerTag, number);
    const body = at + SEALED_HEADER_BYTES;
    const header = buffer.subarray(at, body);
    this.#keys.sealControl(number, header, PLAINTEXT.subarray(0, plainBytes), buffer, body);
    return bytes;
  }

  /** Seals `head` and `body` as one record; returns the epoch's bits for its segment headers. */
  sealRecord(flowId: number, number: number, head: Uint8Array, body: Uint8Array, into: Uint8Array): number {
    this.#keys.sealRecordParts(flowId, number, head, body, into, 0);
    return this.epochBits;
  }

  /** A control packet of this epoch was acknowledged. */
  onAcked(epochBits: number): void {
    if (epochBits === this.epochBits) this.#confirmed = true;
  }

  /**
   * Starts the next epoch when this one is old or worn [KEY-5], but never while a record of an
   * earlier epoch may have to be sent again [REC-4].
   */
  updateWhenDue(now: Micros, hasRecordsOutside: (epochBits: number) => boolean): void {
    if (this.#keys.sealings < this.#sealingsMax && now < this.#updateAt) return;
    if (!this.#confirmed) return mark('update-unconfirmed');
    if (hasRecordsOutside(this.epochBits)) return mark('update-waits');
    mark('key-update');
    this.#keys.update();
    this.#confirmed = false;
    this.#updateAt = micros(now + KEY_MICROS_MAX);
  }
}
