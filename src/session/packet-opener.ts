/**
 * The receiving keys of a session: which packets of a datagram are meant for it, and what stands in
 * the SEALED ones. What their frames mean is `session.ts`'s matter.
 */

import { mark, marked } from '../base/marks.ts';
import { ReceiveKeys, ReplayWindow, type Suite } from '../crypto/index.ts';
import {
  decodePacket,
  isFailure,
  PACKET_BYTES_MAX,
  PacketType,
  packetLength,
  type SealedPacket,
  type SegmentPacket,
  SegmentView,
  type SessionTag,
} from '../wire/index.ts';
import { type KeyLog, keyObserver } from './parameters.ts';

/** Where segments are read: used within one call only, so all sessions share it. */
const SEGMENT = new SegmentView();

/** Where control packets are opened: used within one call only, so all sessions share it. */
const OPENED = new Uint8Array(PACKET_BYTES_MAX);

export interface PacketOpenerOptions {
  readonly suite: Suite;
  readonly receiveSecret: Uint8Array;
  readonly localTag: SessionTag;
  /** Counts a packet that is passed over, and why. */
  readonly drop: (reason: string) => void;
  readonly keyLog?: KeyLog | undefined;
  /** The peer's keys were updated. */
  readonly onKeyUpdate: () => void;
}

export class PacketOpener {
  readonly #options: PacketOpenerOptions;
  readonly #keys: ReceiveKeys;
  readonly #replay = new ReplayWindow();

  constructor(options: PacketOpenerOptions) {
    const { suite, receiveSecret, keyLog, localTag } = options;
    this.#options = options;
    this.#keys = new ReceiveKeys(suite, receiveSecret, keyObserver(keyLog, localTag));
  }

  /** How often the peer has updated its keys. */
  get epoch(): number {
    return this.#keys.epoch;
  }

  /** Hands the session's packets of one datagram to `take`, in order, until it says stop [PKT-13]. */
  split(bytes: Uint8Array, take: (packet: SealedPacket | SegmentPacket) => 'go on' | 'stop'): void {
    let at = 0;
    while (at < bytes.length) {
      const length = packetLength(bytes, at);
      const packet =
        length > 0 && bytes[at] === PacketType.SEGMENT
          ? (SEGMENT.read(bytes, at, length) ?? SEGMENT)
          : decodePacket(bytes, at);
      if (isFailure(packet)) {
        this.#options.drop(packet);
        if (length === 0) return;
      } else if (packet.type !== PacketType.SEALED && packet.type !== PacketType.SEGMENT) {
        this.#options.drop('front packet');
      } else if (!this.#isMine(packet.tag)) {
        // [PKT-8] The tag keeps strangers off the path out.
        this.#options.drop('tag');
      } else if (take(packet) === 'stop') {
        return;
      }
      at += length;
    }
  }

  /** The frames' bytes, borrowed until the next call; undefined when the packet is dropped. */
  open(packet: SealedPacket): Uint8Array | undefined {
    // [SEAL-3] Check, open, then commit: a forged packet never moves the window.
    if (this.#replay.check(packet.number) !== 'fresh') return this.#drop(marked('replay-refused', 'replay'));
    const { epoch } = this.#keys;
    const bytes = this.#keys.openControl(
      packet.epochBits,
      packet.number,
      packet.header,
      packet.sealed,
      OPENED,
      0,
    );
    if (bytes < 0) return this.#drop(marked('seal-refused', 'seal'));
    this.#replay.commit(packet.number);
    if (this.#keys.epoch !== epoch) this.#options.onKeyUpdate();
    return OPENED.subarray(0, bytes);
  }

  /** Opens a sealed record into `into`, which may be `sealed` itself; its bytes, or -1 when its seal does not hold. */
  openRecord(
    epochBits: number,
    flowId: number,
    record: number,
    sealed: Uint8Array,
    into: Uint8Array,
  ): number {
    const { epoch } = this.#keys;
    const bytes = this.#keys.openRecord(epochBits, flowId, record, sealed, into);
    if (this.#keys.epoch !== epoch) this.#options.onKeyUpdate();
    return bytes;
  }

  /** Three PTOs after an update: control packets of the epoch before are no longer taken [KEY-11]. */
  dropPreviousKeys(): void {
    mark('keys-forgotten');
    this.#keys.dropPreviousControl();
  }

  #isMine(tag: SessionTag): boolean {
    const { localTag } = this.#options;
    return tag.high === localTag.high && tag.low === localTag.low;
  }

  #drop(reason: string): undefined {
    this.#options.drop(reason);
    return undefined;
  }
}
