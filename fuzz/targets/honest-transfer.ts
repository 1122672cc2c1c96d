/**
 * Two honest sessions that move bytes while something else goes on beside them, or to them. Whatever
 * that is, what arrives is what was sent.
 */

import { type Micros, micros } from '../../src/base/units.ts';
import { type CreditPool, giveRecordBuffer } from '../../src/reliability/index.ts';
import type { Session, SessionEvent, Transmit } from '../../src/session/index.ts';
import { check } from '../engine/target.ts';
import { newSession, START } from './session-peer.ts';

const BUFFER = new Uint8Array(65_536);
const DELAY_MICROS = 100;
/** What is sent: a transfer sends the first bytes of it. */
const PATTERN = Uint8Array.from({ length: 65_536 }, (_, at) => (at * 7 + (at >>> 8) * 13) & 0xff);
/** Calls of one run of the link: beyond, the two ends do not come to rest. */
const STEPS_MAX = 50_000;

interface Flight {
  readonly at: number;
  readonly to: Session;
  readonly bytes: Uint8Array;
}

export interface HonestOptions {
  /** Receive memory of the receiving end, which it may share. */
  readonly pool?: CreditPool;
  readonly bytes: number;
  readonly recordBytes: number;
}

export class HonestTransfer {
  readonly left: Session;
  readonly right: Session;
  now: number = START;
  /** Datagrams that either end has sent, oldest first. */
  readonly captured: Uint8Array[] = [];
  /** Drops the next so many datagrams. */
  drops = 0;
  ended: string | undefined;
  readonly #options: HonestOptions;
  readonly #id: number;
  readonly #flights: Flight[] = [];
  #receivedBytes = 0;
  #writtenBytes = 0;
  #full = false;
  #replies = 0;

  constructor(options: HonestOptions) {
    this.#options = options;
    this.left = newSession('initiator');
    this.right = newSession('responder', options.pool === undefined ? {} : { pool: options.pool });
    this.#id = this.left.query(1, Uint8Array.of(42))!;
    this.left.openSend(this.#id, 0);
  }

  /** All has arrived, as it was sent, and the query was answered. */
  get done(): boolean {
    return this.#receivedBytes === this.#options.bytes && this.#replies === 1;
  }

  inject(to: Session, bytes: Uint8Array): void {
    if (bytes.length > 0) this.#flights.push({ at: this.now, to, bytes });
  }

  /** Drives both ends and the link for `span`. */
  run(span: number): void {
    const end = this.now + span;
    this.#drive(end, () => false);
    this.now = end;
  }

  /** Drives them until the transfer is done, or `span` has passed. */
  finish(span: number): void {
    this.#drive(this.now + span, () => this.done);
  }

  #drive(end: number, isOver: () => boolean): void {
    this.#flush();
    for (let steps = 0; !isOver(); steps++) {
      check(steps < STEPS_MAX, 'two honest sessions do not come to rest');
      const at = this.#next();
      if (at === undefined || at > end) break;
      this.now = Math.max(this.now, at);
      this.#deliver();
      this.#flush();
    }
  }

  #next(): number | undefined {
    const times = this.#flights.map(({ at }) => at as Micros);
    const timeouts = [this.left, this.right].flatMap((session) => session.nextTimeout() ?? []);
    return times.length + timeouts.length === 0 ? undefined : Math.min(...times, ...timeouts);
  }

  #deliver(): void {
    const due = this.#flights.filter(({ at }) => at <= this.now);
    for (const flight of due) {
      this.#flights.splice(this.#flights.indexOf(flight), 1);
      flight.to.handleDatagram(micros(this.now), flight.bytes);
      this.#takeEvents();
    }
  }

  #flush(): void {
    for (const from of [this.left, this.right]) {
      from.handleTimeout(micros(this.now));
      this.#takeEvents();
      this.#write();
      for (let count = 0; ; count++) {
        check(count < STEPS_MAX, 'an honest session sends and sends');
        const transmit = from.pollTransmit(micros(this.now), BUFFER);
        if (transmit === undefined) break;
        this.#launch(transmit, from === this.left ? this.right : this.left);
      }
      this.#takeEvents();
    }
  }

  #launch({ bytes, segmentBytes }: Transmit, to: Session): void {
    for (let at = 0; at < bytes; at += segmentBytes) {
      const datagram = BUFFER.slice(at, Math.min(at + segmentBytes, bytes));
      this.captured.push(datagram);
      if (this.drops > 0) this.drops -= 1;
      else this.#flights.push({ at: this.now + DELAY_MICROS, to, bytes: datagram.slice() });
    }
  }

  #write(): void {
    const { bytes, recordBytes } = this.#options;
    while (!this.#full && this.#writtenBytes < bytes && this.left.hasSend(this.#id)) {
      const plainBytes = Math.min(recordBytes, bytes - this.#writtenBytes);
      const start = this.#writtenBytes;
      const payload = PATTERN.slice(start, start + plainBytes);
      this.#writtenBytes += plainBytes;
      const dataLeft = bytes - this.#writtenBytes;
      this.#full = !this.left.writeRecord(this.#id, { encoding: 0, plainBytes, dataLeft, payload });
    }
  }

  #takeEvents(): void {
    for (const session of [this.left, this.right]) {
      for (let event = session.pollEvent(); event !== undefined; event = session.pollEvent()) {
        this.#onEvent(session, event);
      }
    }
  }

  #onEvent(session: Session, event: SessionEvent): void {
    switch (event.kind) {
      case 'query':
        check(event.body.length === 1 && event.body[0] === 42, 'a query arrives as another one');
        check(session === this.right && event.id === this.#id, 'a query that nobody asked');
        check(session.openReceive(event.id, false) > 0, 'no credit for an honest flow');
        session.reply(event.id, 0, Uint8Array.of(43));
        break;
      case 'reply':
        check(event.body.length === 1 && event.body[0] === 43, 'a reply arrives as another one');
        this.#replies += 1;
        check(this.#replies === 1, 'two replies to one query');
        break;
      case 'notice':
        check(false, 'a notice that nobody sent');
        break;
      case 'readable':
        this.#read(session);
        break;
      case 'writable':
        this.#full = false;
        break;
      case 'flow-ended':
      case 'closed':
        this.ended ??= event.kind === 'closed' ? `closed: ${event.reason}` : `flow ended: ${event.code}`;
        break;
      default:
        break;
    }
  }

  #read(session: Session): void {
    for (
      let record = session.readRecord(this.#id);
      record !== undefined;
      record = session.readRecord(this.#id)
    ) {
      check(record.offset === this.#receivedBytes, 'honest bytes arrive elsewhere');
      const expected = PATTERN.subarray(record.offset, record.offset + record.plainBytes);
      check(Buffer.compare(expected, record.payload) === 0, 'honest bytes arrive as others');
      this.#receivedBytes += record.plainBytes;
      giveRecordBuffer(record.payload);
    }
  }
}
