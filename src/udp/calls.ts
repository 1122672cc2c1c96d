/** Queries of one connection that wait for their reply: each is settled once, by it, by time or by the end. */

import { GramlineError } from '../base/errors.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import type { Call, CallOptions, Clock, Reply, Timer } from '../nodes/ports.ts';
import { resultError } from '../nodes/results.ts';
import { RECORD_BYTES_MAX, ResultCode } from '../wire/index.ts';

/** How long a caller waits for a reply unless it says otherwise. */
const CALL_TIMEOUT_MICROS: Micros = seconds(10);
/** Overdue calls are looked for this often. */
const CALL_SWEEP_MICROS: Micros = millis(100);

interface PendingCall {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  readonly deadline: Micros;
}

export class PendingCalls {
  readonly #clock: Clock;
  readonly #peerHost: string;
  readonly #onGivenUp: (id: number) => void;
  /** As many as the session lets wait [QRY-6]. */
  readonly #calls = new Map<number, PendingCall>();
  #sweep: Timer | undefined;

  /** `onGivenUp` is told the id of a call whose caller does not wait any more. */
  constructor(clock: Clock, peerHost: string, onGivenUp: (id: number) => void) {
    this.#clock = clock;
    this.#peerHost = peerHost;
    this.#onGivenUp = onGivenUp;
  }

  /** The reply to query `id`. Rejects with GRAMLINE_TIMEOUT, or with what the signal or `end` gives as a reason. */
  wait(id: number, options: CallOptions): Promise<Reply> {
    const { signal, timeoutMicros = CALL_TIMEOUT_MICROS } = options;
    const deadline = micros(this.#clock.now() + timeoutMicros);
    if (this.#sweep === undefined) this.#startSweep();
    if (signal === undefined) {
      return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, deadline }));
    }
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#calls.delete(id);
        this.#onGivenUp(id);
        reject(signal.reason);
      };
      const ended = (): void => signal.removeEventListener('abort', onAbort);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#calls.set(id, {
        resolve: (reply) => {
          ended();
          resolve(reply);
        },
        reject: (error) => {
          ended();
          reject(error);
        },
        deadline,
      });
    });
  }

  settle(id: number, reply: Reply): void {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.resolve(reply);
  }

  /** Nothing will be answered any more. */
  end(error: GramlineError): void {
    this.#sweep?.cancel();
    for (const call of this.#calls.values()) call.reject(error);
    this.#calls.clear();
  }

  #startSweep(): void {
    this.#sweep = this.#clock.setTimer(micros(this.#clock.now() + CALL_SWEEP_MICROS), () => {
      this.#sweep = undefined;
      const now = this.#clock.now();
      for (const [id, call] of this.#calls) {
        if (call.deadline > now) continue;
        this.#calls.delete(id);
        this.#onGivenUp(id);
        call.reject(
          new GramlineError('GRAMLINE_TIMEOUT', `no reply from ${this.#peerHost} in time: try again`, {
            retryable: true,
          }),
        );
      }
      if (this.#calls.size > 0) this.#startSweep();
    });
  }
}

export function tooManyQueries(): GramlineError {
  return resultError(ResultCode.BUSY, 'too many queries wait for a reply');
}

export function noFlowError(): GramlineError {
  return new GramlineError('GRAMLINE_INVALID', 'this call asked for no flow: pass receives');
}

/** A call that came to nothing before it began. */
export function failedCall(error: unknown): Call {
  const reply = Promise.reject(error);
  // Callers that only use the flow see the error there; this rejection is never lost on them.
  reply.catch(() => undefined);
  const fail = (): Promise<never> => Promise.reject(error);
  return {
    reply,
    send: { recordBytes: RECORD_BYTES_MAX, write: fail, delivered: fail, reset: () => undefined },
    receive: { next: fail, stop: () => undefined },
  };
}
