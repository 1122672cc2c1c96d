/**
 * A session with a socket and a clock: the thin asynchronous shell around the pure core. Turns
 * events into settled promises and calls, and `pollTransmit` into sends. The simulator runs this
 * same file on a virtual clock and network.
 */

import { assert } from '../base/assert.ts';
import { GramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { KIB, type Micros } from '../base/units.ts';
import type {
  Call,
  CallOptions,
  Clock,
  CloseReason,
  Connection,
  IncomingQuery,
  Reply,
  Rights,
  Timer,
  TransferCounts,
} from '../nodes/ports.ts';
import { resultError } from '../nodes/results.ts';
import type { Session, SessionEvent, Transmit } from '../session/index.ts';
import { CloseCode, ResultCode } from '../wire/index.ts';
import type { BufferPool } from './buffers.ts';
import { failedCall, noFlowError, PendingCalls, tooManyQueries } from './calls.ts';
import { PromisedReceiveFlow, PromisedSendFlow } from './flows.ts';
import type { DatagramSocket } from './host.ts';

/** Sends of one flush: then what else is due gets its turn. */
const SENDS_PER_FLUSH_MAX = 16;
/** Unsent bytes of flows that are worth a send before the tick ends. */
const PUMP_BYTES_MIN = 48 * KIB;
/** Bytes of input, with more waiting, after which acknowledgements leave all the same. */
const HELD_INPUT_BYTES_MAX = 512 * KIB;
const EMPTY = new Uint8Array(0);

export interface ConnectionOptions {
  readonly session: Session;
  readonly socket: DatagramSocket;
  readonly clock: Clock;
  /** Runs a function after what is going on now, within the same tick. */
  readonly defer: (run: () => void) => void;
  /** Runs a function after other sockets and timers had their turn. */
  readonly turn: (run: () => void) => void;
  readonly buffers: BufferPool;
  readonly peerHost: string;
  readonly peerPort: number;
  readonly peerRole: number;
  readonly rights: Rights;
  readonly onLive: (connection: SessionConnection) => void;
  readonly onClosed: (connection: SessionConnection) => void;
}

export class SessionConnection implements Connection {
  readonly peerHost: string;
  readonly peerPort: number;
  readonly peerRole: number;
  readonly rights: Rights;
  readonly closed: Promise<CloseReason>;
  onQuery: ((query: IncomingQuery) => void) | undefined;
  onNotice: ((kind: number, body: Uint8Array) => void) | undefined;
  readonly #session: Session;
  readonly #socket: DatagramSocket;
  readonly #options: ConnectionOptions;
  readonly #calls: PendingCalls;
  readonly #sending = new Map<number, PromisedSendFlow>();
  readonly #receiving = new Map<number, PromisedReceiveFlow>();
  #resolveClosed!: (reason: CloseReason) => void;
  #closeReason: CloseReason | undefined;
  /** Whether all that waited has been told that the session is over. */
  #hasEnded = false;
  #timer: Timer | undefined;
  #timerAt: Micros | undefined;
  #flushDue = false;
  #inFlush = false;
  /** Handed in since the last flush, by a socket that says when that was all. */
  #inputBytes = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#socket = options.socket;
    this.peerHost = options.peerHost;
    this.peerPort = options.peerPort;
    this.peerRole = options.peerRole;
    this.rights = options.rights;
    this.#calls = new PendingCalls(options.clock, options.peerHost, (id) => this.#dropFlows(id));
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.touch();
  }

  get session(): Session {
    return this.#session;
  }

  get handshakeHash(): Uint8Array {
    return this.#session.handshakeHash;
  }

  get counts(): TransferCounts {
    return this.#session.counts;
  }

  get isOpen(): boolean {
    return this.#session.isOpen;
  }

  get firstWindowBytes(): number {
    return this.#session.firstWindowBytes;
  }

  get heardAt(): Micros {
    return this.#session.heardAt;
  }

  // ---------------------------------------------------------------- from the socket

  handleDatagram(bytes: Uint8Array): void {
    this.#session.handleDatagram(this.#options.clock.now(), bytes);
    if (this.#socket.drains === true) this.#inputBytes += bytes.length;
    else this.touch();
  }

  /**
   * What had arrived has been handed in: what it brings leaves now. [ACK-5] While more waits,
   * acknowledgements are gathered for a while: each costs the sender a wake-up, and it can't have run dry.
   */
  handleDrained(hasMore: boolean): void {
    if (this.#inputBytes === 0) return;
    // What readers and handlers have to say of it schedules a flush of its own.
    if (hasMore && !this.#flushDue && this.#inputBytes < HELD_INPUT_BYTES_MAX) {
      this.#pollEvents();
      if (this.#closeReason === undefined) return;
    }
    this.#flush();
  }

  handleRefused(): void {
    this.#session.handleRefused(this.#options.clock.now());
    this.touch();
  }

  // ---------------------------------------------------------------- for the roles

  call(
    kind: number,
    body: Uint8Array,
    options: CallOptions & { readonly receives?: boolean | number; readonly sends?: boolean } = {},
  ): Call {
    const { signal } = options;
    if (signal?.aborted === true) return failedCall(signal.reason);
    if (!this.isOpen) return failedCall(this.#closedError());
    const id = this.#session.query(kind, body);
    if (id === undefined) return failedCall(tooManyQueries());
    const send = this.#sendFlow(id);
    const receive = this.#receiveFlow(id);
    if (options.sends === true) {
      if (!this.#session.openSend(id, 0)) return this.#refusedCall();
      this.#sending.set(id, send);
    }
    if (options.receives !== undefined && options.receives !== false) {
      if (this.#session.openReceive(id, options.receives) === 0) return this.#refusedCall();
      this.#receiving.set(id, receive);
    } else receive.fail(noFlowError());
    const reply = this.#calls.wait(id, options);
    this.touch();
    return { reply, send, receive };
  }

  query(kind: number, body: Uint8Array, options: CallOptions = {}): Promise<Reply> {
    const { signal } = options;
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (!this.isOpen) return Promise.reject(this.#closedError());
    const id = this.#session.query(kind, body);
    if (id === undefined) {
      mark('too-many-queries');
      return Promise.reject(tooManyQueries());
    }
    const reply = this.#calls.wait(id, options);
    this.touch();
    return reply;
  }

  notify(kind: number, body: Uint8Array): void {
    this.#session.notify(kind, body);
    this.touch();
  }

  ping(): void {
    this.#session.ping();
    this.touch();
  }

  async close(code: number = CloseCode.NORMAL): Promise<void> {
    this.#session.close(this.#options.clock.now(), code);
    this.touch();
    await this.closed;
  }

  abandon(): void {
    this.#session.close(this.#options.clock.now(), CloseCode.NORMAL, '', false);
    this.touch();
  }

  /** Schedules a flush: everything that one tick brings leaves together. */
  readonly touch = (): void => {
    // A flush that is going on takes what it brings about with it.
    if (!this.#inFlush) this.#scheduleFlush();
  };

  #scheduleFlush(): void {
    if (this.#flushDue || this.#hasEnded) return;
    this.#flushDue = true;
    this.#options.defer(this.#runFlush);
  }

  readonly #runFlush = (): void => {
    if (this.#flushDue) this.#flush();
  };

  // ---------------------------------------------------------------- the loop

  #flush(): void {
    this.#flushDue = false;
    this.#inputBytes = 0;
    if (this.#hasEnded) return;
    const now = this.#options.clock.now();
    this.#inFlush = true;
    try {
      this.#session.handleTimeout(now);
      this.#pollEvents();
      this.#transmit(now);
      // A send may tell at once that the peer's port is closed.
      while (this.#pollEvents()) this.#transmit(now);
    } finally {
      this.#inFlush = false;
    }
    if (this.#closeReason !== undefined) this.#end();
    else this.#arm();
  }

  /** Whether there were any. */
  #pollEvents(): boolean {
    let event = this.#session.pollEvent();
    if (event === undefined) return false;
    for (; event !== undefined; event = this.#session.pollEvent()) this.#onEvent(event);
    return true;
  }

  #transmit(now: Micros): void {
    for (let sent = 0; sent < SENDS_PER_FLUSH_MAX; sent++) {
      if (this.#transmitOnce(now) !== 'sent') return;
    }
    this.#scheduleFlush();
  }

  #transmitOnce(now: Micros): 'sent' | 'nothing' | 'no buffer' {
    const { buffers } = this.#options;
    const buffer = buffers.take();
    if (buffer === undefined) {
      // All buffers are with the kernel: the flush goes on when one comes back.
      buffers.whenFree(this.touch);
      return 'no buffer';
    }
    const transmit = this.#session.pollTransmit(now, buffer);
    if (transmit === undefined) {
      buffers.give(buffer);
      return 'nothing';
    }
    this.#send(buffer, transmit);
    return 'sent';
  }

  /** Sends at once what fills whole sends; the rest leaves with the flush of this tick. */
  readonly #pump = (): void => {
    if (this.#closeReason !== undefined || this.#session.unsentBytes < PUMP_BYTES_MIN) return;
    const now = this.#options.clock.now();
    for (let sent = 0; sent < SENDS_PER_FLUSH_MAX && this.#session.unsentBytes >= PUMP_BYTES_MIN; sent++) {
      if (this.#transmitOnce(now) !== 'sent') return;
    }
  };

  #send(buffer: Uint8Array, transmit: Transmit): void {
    this.#socket.send(buffer, transmit.bytes, transmit.segmentBytes, undefined, () => {
      this.#options.buffers.give(buffer);
    });
  }

  #arm(): void {
    const at = this.#session.nextTimeout();
    if (at === undefined) {
      this.#timer?.cancel();
      this.#timer = undefined;
      return;
    }
    // A timer that fires too early costs one look; moving it on every packet would cost more.
    if (this.#timer !== undefined && this.#timerAt! <= at) return;
    this.#timer?.cancel();
    this.#timerAt = at;
    this.#timer = this.#options.clock.setTimer(at, () => {
      this.#timer = undefined;
      this.touch();
    });
  }

  #onEvent(event: SessionEvent): void {
    switch (event.kind) {
      case 'live':
        this.#options.onLive(this);
        break;
      case 'query':
        this.#onQuery(event.id, event.query, event.body);
        break;
      case 'reply':
        this.#calls.settle(event.id, { code: event.code, body: event.body });
        break;
      case 'notice':
        this.onNotice?.(event.notice, event.body);
        break;
      case 'readable':
        this.#receiving.get(event.flowId)?.onReadable();
        break;
      case 'writable':
        this.#sending.get(event.flowId)?.onWritable();
        break;
      case 'delivered':
        this.#sending.get(event.flowId)?.onDelivered();
        this.#sending.delete(event.flowId);
        break;
      case 'flow-ended':
        if (event.sending) this.#sending.get(event.flowId)?.onEnded(event.code);
        else this.#receiving.get(event.flowId)?.onEnded(event.code);
        (event.sending ? this.#sending : this.#receiving).delete(event.flowId);
        break;
      case 'closed':
        this.#closeReason = { kind: event.reason, code: event.code, text: event.text };
        break;
    }
  }

  #onQuery(id: number, kind: number, body: Uint8Array): void {
    const { onQuery } = this;
    const reply = (code: number, answer: Uint8Array = EMPTY): void => {
      this.#session.reply(id, code, answer);
      this.touch();
    };
    if (onQuery === undefined) return reply(ResultCode.UNSUPPORTED);
    onQuery({
      kind,
      body,
      reply,
      send: (creditBytes) => {
        const flow = this.#sendFlow(id);
        if (!this.#session.openSend(id, creditBytes))
          flow.fail(resultError(ResultCode.BUSY, 'too many flows'));
        else this.#sending.set(id, flow);
        return flow;
      },
      receive: () => {
        const flow = this.#receiveFlow(id);
        if (this.#session.openReceive(id, false) === 0) {
          flow.fail(resultError(ResultCode.BUSY, 'too many flows'));
        } else this.#receiving.set(id, flow);
        this.touch();
        return flow;
      },
    });
  }

  /** There is no place for a flow: the query has left, and its other end is told that nobody listens. */
  #refusedCall(): Call {
    this.touch();
    return failedCall(resultError(ResultCode.BUSY, 'too many flows'));
  }

  #sendFlow(id: number): PromisedSendFlow {
    return new PromisedSendFlow(
      id,
      this.#session,
      { touch: this.touch, pump: this.#pump, turn: this.#options.turn },
      () => this.#sending.delete(id),
    );
  }

  #receiveFlow(id: number): PromisedReceiveFlow {
    return new PromisedReceiveFlow(id, this.#session, this.touch, () => this.#receiving.delete(id));
  }

  /** A caller gave up: its flows end with it. */
  #dropFlows(id: number): void {
    this.#sending.get(id)?.reset(ResultCode.ABORTED);
    this.#receiving.get(id)?.stop(ResultCode.ABORTED);
    this.#sending.delete(id);
    this.#receiving.delete(id);
  }

  #closedError(): GramlineError {
    const why = this.#closeReason?.text;
    return new GramlineError(
      'GRAMLINE_CLOSED',
      `the session with ${this.peerHost} has ended${why ? ` (${why})` : ''}: connect again`,
      { retryable: true },
    );
  }

  #end(): void {
    const reason = this.#closeReason;
    assert(reason !== undefined, 'ended without a reason');
    this.#hasEnded = true;
    this.#timer?.cancel();
    const error = this.#closedError();
    this.#calls.end(error);
    for (const flow of this.#sending.values()) flow.fail(error);
    for (const flow of this.#receiving.values()) flow.fail(error);
    this.#sending.clear();
    this.#receiving.clear();
    this.#options.onClosed(this);
    void this.#socket.close().then(() => this.#resolveClosed(reason));
  }
}
