/** The flows of a connection as promises: waiting for room, for records, for the end. */

import { GramlineError } from '../base/errors.ts';
import { KIB } from '../base/units.ts';
import type { FlowRecord, ReceiveFlow, SendFlow } from '../nodes/ports.ts';
import { resultError } from '../nodes/results.ts';
import type { Session } from '../session/index.ts';

/** Promises that are settled together when something changes. */
class Waiters {
  #waiting: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}

/** Does what `Connection` needs after a change: schedules a flush. */
type Touch = () => void;

/** Payload bytes that one flow takes without a turn of the event loop. */
const TURN_BYTES = 1_024 * KIB;

export class PromisedSendFlow implements SendFlow {
  readonly #id: number;
  readonly #session: Session;
  readonly #touch: Touch;
  readonly #pump: () => void;
  readonly #turn: (run: () => void) => void;
  /** Written since the event loop had its last turn. */
  #unturnedBytes = 0;
  readonly #forget: () => void;
  readonly #changed = new Waiters();
  #writable = true;
  #delivered = false;
  #error: GramlineError | undefined;

  /**
   * `pump` sends what fills whole sends by now, `turn` runs a function after a turn of the event loop;
   * `forget` is called when nothing more is to be told to this flow.
   */
  constructor(
    id: number,
    session: Session,
    driver: { readonly touch: Touch; readonly pump: () => void; readonly turn: (run: () => void) => void },
    forget: () => void,
  ) {
    this.#id = id;
    this.#session = session;
    this.#touch = driver.touch;
    this.#pump = driver.pump;
    this.#turn = driver.turn;
    this.#forget = forget;
  }

  get recordBytes(): number {
    return this.#session.recordBytes;
  }

  async write(record: Omit<FlowRecord, 'offset'>): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    if (!this.#session.hasSend(this.#id)) throw this.#ended('the flow has ended');
    this.#writable = this.#session.writeRecord(this.#id, record);
    // Sealed and sent in turn: the peer opens this record while the next one is made.
    this.#pump();
    this.#touch();
    this.#unturnedBytes += record.payload.length;
    if (this.#unturnedBytes >= TURN_BYTES) {
      // Answers that other sockets have brought are not kept waiting by a writer with a full window.
      this.#unturnedBytes = 0;
      await new Promise<void>(this.#turn);
      if (this.#error !== undefined) throw this.#error;
    }
    while (!this.#writable) {
      await this.#changed.wait();
      if (this.#error !== undefined) throw this.#error;
    }
  }

  async delivered(): Promise<void> {
    while (!this.#delivered) {
      if (this.#error !== undefined) throw this.#error;
      await this.#changed.wait();
    }
  }

  reset(code: number): void {
    this.fail(this.#ended('the flow was reset'));
    this.#session.reset(this.#id, code);
    this.#forget();
    this.#touch();
  }

  onWritable(): void {
    this.#writable = true;
    this.#changed.wake();
  }

  onDelivered(): void {
    this.#delivered = true;
    this.#writable = true;
    this.#changed.wake();
  }

  onEnded(code: number): void {
    this.fail(resultError(code, 'sending stopped'));
  }

  fail(error: GramlineError): void {
    if (!this.#delivered) this.#error ??= error;
    this.#changed.wake();
  }

  #ended(text: string): GramlineError {
    return new GramlineError('GRAMLINE_ABORTED', `${text}: try again`, { retryable: true });
  }
}

export class PromisedReceiveFlow implements ReceiveFlow {
  readonly #id: number;
  readonly #session: Session;
  readonly #touch: Touch;
  readonly #forget: () => void;
  readonly #changed = new Waiters();
  #error: GramlineError | undefined;
  #ended = false;

  /** `forget` is called when nothing more is to be told to this flow. */
  constructor(id: number, session: Session, touch: Touch, forget: () => void) {
    this.#id = id;
    this.#session = session;
    this.#touch = touch;
    this.#forget = forget;
  }

  async next(): Promise<FlowRecord | undefined> {
    for (;;) {
      const record = this.#session.readRecord(this.#id);
      if (record !== undefined) {
        if (record.dataLeft === 0) this.#end();
        if (this.#session.hasFrames) this.#touch();
        return record;
      }
      if (this.#error !== undefined) throw this.#error;
      // Only behind the last record. A flow that ended otherwise is gone from the session before the
      // event that says why: never a silent truncation.
      if (this.#ended) return undefined;
      await this.#changed.wait();
    }
  }

  stop(code: number): void {
    this.#end();
    this.#session.stop(this.#id, code);
    this.#touch();
    this.#changed.wake();
  }

  #end(): void {
    this.#ended = true;
    this.#forget();
  }

  onReadable(): void {
    this.#changed.wake();
  }

  onEnded(code: number): void {
    this.fail(resultError(code, 'receiving stopped'));
  }

  fail(error: GramlineError): void {
    this.#error ??= error;
    this.#changed.wake();
  }
}
