/** Control frames that wait to be sent: lost ones first, then in order. */

import { type Frame, FrameType, frameSize } from '../wire/index.ts';
import { CONTROL_FRAMES_QUEUED_MAX } from './limits.ts';

const PING: Frame = { type: FrameType.PING };

export class Outbox {
  /** Bytes of a CREDIT frame. */
  static readonly creditBytes: number = frameSize({
    type: FrameType.CREDIT,
    flowId: 0,
    limitBytes: 0,
    openedBytes: 0,
    complete: false,
  });
  readonly #stillWanted: (frame: Frame) => boolean;
  readonly #frames: Frame[] = [];
  #again: Frame[] = [];
  #ping = false;

  /** `stillWanted` says whether a lost frame is worth sending again. */
  constructor(stillWanted: (frame: Frame) => boolean) {
    this.#stillWanted = stillWanted;
  }

  static sizeOf(frame: Frame): number {
    return frameSize(frame);
  }

  get size(): number {
    return this.#frames.length + this.#again.length;
  }

  get empty(): boolean {
    return this.size === 0 && !this.#ping;
  }

  /** Callers that can be refused are refused at half the maximum: answers always find room. */
  get full(): boolean {
    return this.size >= CONTROL_FRAMES_QUEUED_MAX / 2;
  }

  /** Whether a PING waits: it goes out even when the window is full. */
  get pingDue(): boolean {
    return this.#ping;
  }

  /** Queues a frame; false when the queue is at its maximum. */
  push(frame: Frame): boolean {
    if (this.size >= CONTROL_FRAMES_QUEUED_MAX) return false;
    this.#frames.push(frame);
    return true;
  }

  pushAgain(frame: Frame): void {
    if (this.#stillWanted(frame) && !this.#again.includes(frame)) this.#again.push(frame);
  }

  pushPing(): void {
    this.#ping = true;
  }

  /** Takes frames that fit into `room` bytes together, in order. A waiting PING goes first. */
  take(room: number): Frame[] {
    const taken: Frame[] = [];
    let left = room;
    if (this.#ping && left >= 1) {
      this.#ping = false;
      taken.push(PING);
      left -= 1;
    }
    for (const queue of [this.#again, this.#frames]) {
      let count = 0;
      while (count < queue.length && frameSize(queue[count]!) <= left) {
        left -= frameSize(queue[count]!);
        taken.push(queue[count]!);
        count += 1;
      }
      queue.splice(0, count);
      if (queue.length > 0) break;
    }
    return taken;
  }
}
