/** Sessions for roles, without datagrams: the fuzzer asks, and every query is answered once, by the rules. */

import { GramlineError } from '../../src/base/errors.ts';
import { micros } from '../../src/base/units.ts';
import type {
  CloseReason,
  Connection,
  IncomingQuery,
  Log,
  LogFields,
  ReceiveFlow,
  Reply,
  Rights,
  SendFlow,
} from '../../src/nodes/ports.ts';
import { BODY_BYTES_MAX, ResultCode } from '../../src/wire/index.ts';
import { check, Finding } from '../engine/target.ts';

const NO_BYTES = new Uint8Array(0);
const CODES: ReadonlySet<number> = new Set(Object.values(ResultCode));
export const HANDSHAKE_HASH = new Uint8Array(32).fill(3);

/** A query under way, as its asker sees it. */
export interface Asked {
  readonly kind: number;
  readonly body: Uint8Array;
  reply: Reply | undefined;
}

/** A role's end of a session. */
export class FuzzConnection implements Connection {
  readonly firstWindowBytes = 1_048_576;
  heardAt = micros(2 ** 52);
  ping(): void {}
  abandon(): void {
    void this.close();
  }
  readonly peerHost: string;
  readonly peerPort = 1;
  readonly peerRole = 0;
  readonly rights: Rights;
  readonly handshakeHash = HANDSHAKE_HASH;
  readonly counts: Connection['counts'] = {
    datagramsSent: 0,
    datagramsReceived: 0,
    segmentsSent: 0,
    segmentsResent: 0,
    bytesSent: 0,
    bytesReceived: 0,
  };
  readonly closed: Promise<CloseReason>;
  isOpen = true;
  onQuery: ((query: IncomingQuery) => void) | undefined;
  onNotice: ((kind: number, body: Uint8Array) => void) | undefined;
  #end!: (reason: CloseReason) => void;

  constructor(rights: Rights, peerHost: string) {
    this.rights = rights;
    this.peerHost = peerHost;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** What the role asks of us is granted. */
  async query(): Promise<Reply> {
    return { code: ResultCode.OK, body: NO_BYTES };
  }

  call(): never {
    throw new Finding('a call with a flow that no role makes here');
  }

  notify(): void {}

  async close(): Promise<void> {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#end({ kind: 'peer', code: 0, text: '' });
  }

  /** Asks the role; `receive` is the flow that comes with the query, `send` the one that answers it. */
  ask(kind: number, body: Uint8Array, receive?: ReceiveFlow, send?: SendFlow): Asked {
    const asked: Asked = { kind, body, reply: undefined };
    check(this.onQuery !== undefined, 'a session that nobody serves');
    this.onQuery({
      kind,
      body: body.slice(),
      reply(code, answer = NO_BYTES) {
        check(CODES.has(code), `a reply of code ${code}`);
        check(answer.length <= BODY_BYTES_MAX, `a reply of ${answer.length} bytes`);
        // The session drops a second answer; a role that gives two has lost its way all the same.
        asked.reply ??= { code, body: answer.slice() };
      },
      receive: () => receive ?? emptyFlow(),
      send() {
        check(send !== undefined, 'a flow that was not asked for');
        return send;
      },
    });
    return asked;
  }
}

/** A flow that has ended. */
export function emptyFlow(): ReceiveFlow {
  return { next: async () => undefined, stop: () => undefined };
}

/** The error with which a flow ends when its session does. */
export function aborted(): GramlineError {
  return new GramlineError('GRAMLINE_ABORTED', 'the session ended');
}

/** A log that takes errors which no rule foresees for findings. */
export function strictLog(onFinding: (sentence: string) => void): Log {
  const look = (message: string, fields?: LogFields): void => {
    const reason = String(fields?.reason ?? '');
    if (
      /AssertionError|TypeError|RangeError|ReferenceError|Finding/.test(reason) ||
      fields?.code === 'unknown'
    ) {
      onFinding(`${message}: ${reason}`);
    }
  };
  return { info: () => undefined, warn: look, error: look };
}
