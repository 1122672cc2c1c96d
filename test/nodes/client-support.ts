/** A cluster that is made of answers: what a client asks is a function call, and time is virtual. */

import { VirtualClock } from '../../sim/virtual-clock.ts';
import { assert } from '../../src/base/assert.ts';
import { GramlineError } from '../../src/base/errors.ts';
import { type Micros, micros } from '../../src/base/units.ts';
import { Client } from '../../src/nodes/client.ts';
import type {
  Call,
  CallOptions,
  CloseReason,
  Connection,
  ConnectOptions,
  FlowRecord,
  Reply,
  Transport,
} from '../../src/nodes/ports.ts';
import { lz4Compression, nodeHashing } from '../../src/store/index.ts';
import { failedCall } from '../../src/udp/calls.ts';
import { RecordEncoding } from '../../src/wire/index.ts';
import { ALL_RIGHTS, SILENT } from '../support/transport.ts';

export const HUB = '10.0.0.1:7400';
const NO_BYTES = new Uint8Array(0);
const STEPS_MAX = 100_000;

/** Never settles: who was asked stays silent. */
export const silence = (): Promise<never> => new Promise(() => undefined);

export interface Question {
  readonly address: string;
  readonly kind: number;
  readonly body: Uint8Array;
  /** What the last record of the flow settles. */
  readonly sent: Promise<void>;
}

export interface Answers {
  /** Payloads of the records that a flow brings, stored and in order; none ever comes by default. */
  readonly records?: (question: Omit<Question, 'sent'>) => readonly Uint8Array[];
  readonly answer: (question: Question) => Reply | Promise<Reply>;
  /** How long a record waits for room; at once by default. */
  readonly room?: (address: string) => Promise<void> | undefined;
  /** Why a call comes to nothing before it begins; none does by default. */
  readonly refusal?: (address: string, kind: number) => GramlineError | undefined;
}

export class ScriptedConnection implements Connection {
  readonly firstWindowBytes = 1_048_576;
  heardAt = micros(2 ** 52);
  ping(): void {}
  abandon(): void {
    void this.close();
  }
  readonly peerHost = '10.0.0.1';
  readonly peerPort = 7400;
  readonly peerRole = 3;
  readonly rights = ALL_RIGHTS;
  readonly handshakeHash = new Uint8Array(32);
  readonly counts = {
    datagramsSent: 0,
    datagramsReceived: 0,
    segmentsSent: 0,
    segmentsResent: 0,
    bytesSent: 0,
    bytesReceived: 0,
  };
  readonly closed: Promise<CloseReason>;
  isOpen = true;
  onQuery = undefined;
  onNotice = undefined;
  readonly #address: string;
  readonly #answers: Answers;
  #end!: (reason: CloseReason) => void;
  #fail!: (error: unknown) => void;
  readonly #broken: Promise<never>;

  constructor(address: string, answers: Answers) {
    this.#address = address;
    this.#answers = answers;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
    this.#broken = new Promise((_resolve, reject) => {
      this.#fail = reject;
    });
    this.#broken.catch(() => undefined);
  }

  call(kind: number, body: Uint8Array, options: CallOptions & { sends?: boolean } = {}): Call {
    const refusal = this.#answers.refusal?.(this.#address, kind);
    if (refusal !== undefined) return failedCall(refusal);
    let onSent = (): void => undefined;
    const sent = new Promise<void>((resolve) => {
      onSent = resolve;
    });
    const aborted = new Promise<never>((_resolve, reject) => {
      options.signal?.addEventListener('abort', () => reject(options.signal!.reason));
    });
    aborted.catch(() => undefined);
    const answered = Promise.resolve().then(() =>
      this.#answers.answer({ address: this.#address, kind, body, sent }),
    );
    const reply = Promise.race([answered, aborted, this.#broken]);
    reply.catch(() => undefined);
    let reset = (): void => undefined;
    const wasReset = new Promise<never>((_resolve, reject) => {
      reset = () => reject(new GramlineError('GRAMLINE_ABORTED', 'the flow was reset', { retryable: true }));
    });
    wasReset.catch(() => undefined);
    let stop = (): void => undefined;
    const stopped = new Promise<undefined>((resolve) => {
      stop = () => resolve(undefined);
    });
    const left = [...(this.#answers.records?.({ address: this.#address, kind, body }) ?? [])];
    const isScripted = left.length > 0;
    let offset = 0;
    const next = async (): Promise<FlowRecord | undefined> => {
      const payload = left.shift();
      if (payload === undefined) return isScripted ? undefined : Promise.race([silence(), stopped]);
      const dataLeft = left.reduce((sum, { length }) => sum + length, 0);
      const record = {
        offset,
        encoding: RecordEncoding.STORED,
        plainBytes: payload.length,
        dataLeft,
        payload,
      };
      offset += payload.length;
      return record;
    };
    return {
      reply,
      send: {
        recordBytes: 65_536,
        write: async (record) => {
          assert(record.plainBytes > 0 || record.dataLeft === 0, 'empty record in the middle of a flow');
          await Promise.race([this.#answers.room?.(this.#address), aborted, wasReset, this.#broken]);
          if (record.dataLeft === 0) onSent();
        },
        delivered: async () => undefined,
        reset,
      },
      receive: { next, stop },
    };
  }

  query(kind: number, body: Uint8Array, options?: CallOptions): Promise<Reply> {
    return this.call(kind, body, options).reply;
  }

  notify(): void {}

  async close(): Promise<void> {
    this.isOpen = false;
    this.#fail(new GramlineError('GRAMLINE_CLOSED', 'the session has ended', { retryable: true }));
    this.#end({ kind: 'local', code: 0, text: '' });
  }
}

export class ScriptedTransport implements Transport {
  readonly offload = false;
  readonly connections: ScriptedConnection[] = [];
  readonly #answers: Answers;

  constructor(answers: Answers = { answer: silence }) {
    this.#answers = answers;
  }

  async connect({ address }: ConnectOptions): Promise<ScriptedConnection> {
    const connection = new ScriptedConnection(address, this.#answers);
    this.connections.push(connection);
    return connection;
  }

  listen(): Promise<never> {
    throw new Error('a client does not listen');
  }
}

/** A client of that cluster, with its clock. */
export function scriptedClient({
  coordinators = [HUB],
  ...answers
}: Answers & { coordinators?: readonly string[] }) {
  const clock = new VirtualClock();
  const transport = new ScriptedTransport(answers);
  let tokens = 0;
  const client = new Client({
    transport,
    clock,
    entropy: { bytes: (count) => new Uint8Array(count).fill(++tokens), fraction: () => 0.5 },
    hashing: nodeHashing,
    compression: lz4Compression,
    coordinators,
    log: SILENT,
  });
  /** Runs the clock until `work` has settled; resolves to how, and how long it took. */
  const finish = async <Result>(
    work: Promise<Result>,
  ): Promise<{ readonly value?: Result; readonly error?: unknown; readonly tookMicros: Micros }> => {
    const startedAt = clock.now();
    let outcome: { value?: Result; error?: unknown } | undefined;
    work.then(
      (value) => {
        outcome = { value };
      },
      (error: unknown) => {
        outcome = { error };
      },
    );
    // A turn of the loop for work that needs no time at all.
    await new Promise((resolve) => setImmediate(resolve));
    await clock.run({ until: () => outcome !== undefined, stepsMax: STEPS_MAX });
    return { ...outcome, tookMicros: micros(clock.now() - startedAt) };
  };
  return { client, clock, transport, finish };
}

export const reply = (code: number, body: Uint8Array = NO_BYTES): Reply => ({ code, body });
