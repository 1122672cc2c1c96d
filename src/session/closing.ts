/**
 * How a session ends, as a table of states:
 *
 *   open    -- we close, or the peer breaks a rule --> closing (CLOSE is sent, and again to late packets)
 *   open    -- CLOSE, idle, refused               --> closed  (a CLOSE is answered once)
 *   closing -- CLOSE, refused, 3 PTO              --> closed
 */

import { assert } from '../base/assert.ts';
import { mark } from '../base/marks.ts';
import { CLOSE_TEXT_BYTES_MAX, CloseCode, decodeFrames, type Frame, FrameType } from '../wire/index.ts';
import type { CloseKind } from './events.ts';

/** A UTF-16 unit takes at most three bytes of UTF-8. */
const CLOSE_TEXT_UNITS_MAX = Math.floor(CLOSE_TEXT_BYTES_MAX / 3);

export interface Reason {
  readonly reason: CloseKind;
  readonly code: number;
  readonly text: string;
}

export class Closing {
  #state: 'open' | 'closing' | 'closed' = 'open';
  #reason: Reason | undefined;
  #frame: Frame | undefined;
  #due = false;

  get state(): 'open' | 'closing' | 'closed' {
    return this.#state;
  }

  /** We end the session: the peer is told. */
  start(reason: Reason): void {
    assert(this.#state === 'open', 'a session ends once');
    this.#state = 'closing';
    this.#reason = reason;
    this.#say(reason.code, reason.text.slice(0, CLOSE_TEXT_UNITS_MAX));
  }

  /** A packet came while closing. Whether the peer closed too; otherwise it is told again [SES-17]. */
  onPacket(bytes: Uint8Array): boolean {
    mark('late-packet');
    const frames = decodeFrames(bytes);
    if (typeof frames !== 'string' && frames.some((frame) => frame.type === FrameType.CLOSE)) return true;
    this.#due = true;
    return false;
  }

  /** The peer closed: it is told once that we know. */
  answer(): void {
    this.#say(CloseCode.NORMAL, '');
  }

  /** The end, for the reason given, or for the one that closing began with. */
  finish(reason?: Reason): Reason {
    const why = this.#reason ?? reason;
    assert(why !== undefined, 'a session ends for a reason');
    if (why.reason === 'idle') mark('session-idle');
    if (why.reason === 'refused') mark('session-refused');
    this.#state = 'closed';
    return why;
  }

  /** The CLOSE frame that is to leave now, if one is. */
  takeFrame(): Frame | undefined {
    if (!this.#due) return undefined;
    this.#due = false;
    return this.#frame;
  }

  #say(code: number, text: string): void {
    this.#frame = { type: FrameType.CLOSE, code, text };
    this.#due = true;
  }
}
