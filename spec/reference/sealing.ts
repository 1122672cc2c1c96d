/** The slow twin of sealing (section 3): packets, records, epochs, and the replay window as a plain set. */

import type * as wire from '../../src/wire/index.ts';
import { decodePacket, encodePacket, encodeRecordHeader, packetLength } from './codec.ts';
import { refuseUnless } from './fields.ts';
import { epochKeys } from './keys.ts';
import { join, nonceOf, open, seal } from './primitives.ts';

const NO_DATA = new Uint8Array(0);
const TAG_BYTES = 16;
const REPLAY_WINDOW = 8_192;

/** A SEALED packet [SEAL-1] [KEY-4]. */
export function sealPacket(
  traffic: Uint8Array,
  epoch: number,
  tag: wire.SessionTag,
  number: number,
  plaintext: Uint8Array,
): Uint8Array {
  const blank = new Uint8Array(plaintext.length + TAG_BYTES);
  const fields = { type: 5, epochBits: epoch % 4, tag, number, header: NO_DATA, sealed: blank } as const;
  const header = Uint8Array.from(encodePacket(fields as unknown as wire.Packet)).slice(0, -blank.length);
  return join(header, seal(epochKeys(traffic, epoch).controlKey, nonceOf(0, number), header, plaintext));
}

/** A sealed record [REC-1]. */
export function sealRecord(
  traffic: Uint8Array,
  epoch: number,
  flowId: number,
  record: number,
  header: wire.RecordHeader,
  payload: Uint8Array,
): Uint8Array {
  refuseUnless(
    header.encoding !== 0 || header.plainBytes === payload.length,
    'stored payload of another length',
  );
  refuseUnless(
    header.encoding !== 1 || header.plainBytes > payload.length,
    'compressed payload that is not shorter',
  );
  refuseUnless(header.plainBytes <= 65_536, 'record too long');
  const plaintext = join(encodeRecordHeader(header), payload);
  return seal(epochKeys(traffic, epoch).recordKey, nonceOf(flowId, record), NO_DATA, plaintext);
}

/** Which packet numbers count as new [REPLAY-1]: all that were committed are kept. */
export class ReplaySet {
  readonly #committed = new Set<number>();
  #greatest = -1;

  isFresh(number: number): boolean {
    return number >= this.#greatest - REPLAY_WINDOW && !this.#committed.has(number); // [REPLAY-2] [REPLAY-3]
  }

  commit(number: number): void {
    this.#committed.add(number);
    this.#greatest = Math.max(this.#greatest, number);
  }
}

/** The receiving end of one direction: what of the bytes that arrive opens, and under which epoch it is then. */
export class Receiver {
  readonly #traffic: Uint8Array;
  readonly #tag: wire.SessionTag;
  readonly #seen = new ReplaySet();
  #epoch = 0;
  /** The epoch before, while its control key is still held [KEY-11]. */
  #holdsPreviousControl = false;

  constructor(traffic: Uint8Array, tag: wire.SessionTag) {
    this.#traffic = traffic;
    this.#tag = tag;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The packets of a datagram that are this session's [PKT-8]. */
  packetsOf(datagram: readonly number[]): wire.Packet[] {
    const packets: wire.Packet[] = [];
    for (let at = 0; packetLength(datagram, at) > 0; at += packetLength(datagram, at)) {
      const packet = decodePacket(datagram, at);
      const isMine = packet?.tag.high === this.#tag.high && packet?.tag.low === this.#tag.low;
      if (packet !== undefined && packet.type >= 5 && isMine) packets.push(packet);
    }
    return packets;
  }

  /** The plaintext of a SEALED packet, or undefined when it is dropped [SEAL-3]. */
  openPacket(packet: Extract<wire.Packet, { type: 5 }>): Uint8Array | undefined {
    if (!this.#seen.isFresh(packet.number)) return undefined;
    const epoch = this.#epochOf(packet.epochBits);
    if (epoch === undefined || (epoch < this.#epoch && !this.#holdsPreviousControl)) return undefined;
    const { controlKey } = epochKeys(this.#traffic, epoch);
    const plaintext = open(controlKey, nonceOf(0, packet.number), packet.header, packet.sealed);
    if (plaintext === undefined) return undefined;
    this.#seen.commit(packet.number);
    this.#moveTo(epoch);
    return plaintext;
  }

  /** The plaintext of a sealed record, or undefined when it does not open. */
  openRecord(epochBits: number, flowId: number, record: number, sealed: Uint8Array): Uint8Array | undefined {
    const epoch = this.#epochOf(epochBits);
    if (epoch === undefined) return undefined;
    const plaintext = open(
      epochKeys(this.#traffic, epoch).recordKey,
      nonceOf(flowId, record),
      NO_DATA,
      sealed,
    );
    if (plaintext !== undefined) this.#moveTo(epoch);
    return plaintext;
  }

  /** 3 PTO after an update [KEY-11]. */
  forgetPreviousControl(): void {
    this.#holdsPreviousControl = false;
  }

  /** The previous, the current or the next epoch, whichever has these bits; undefined for another [KEY-10]. */
  #epochOf(epochBits: number): number | undefined {
    return [this.#epoch - 1, this.#epoch, this.#epoch + 1].find(
      (epoch) => epoch >= 0 && epoch % 4 === epochBits,
    );
  }

  #moveTo(epoch: number): void {
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    this.#holdsPreviousControl = true;
  }
}
