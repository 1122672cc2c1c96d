/** A coordinator on a fake transport and a state store that answers when the test says so. */

import { MemoryStateStore } from '../../sim/memory-state-store.ts';
import { Random } from '../../sim/random.ts';
import { VirtualClock } from '../../sim/virtual-clock.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import { micros } from '../../src/base/units.ts';
import { admissionProof } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { Coordinator } from '../../src/nodes/coordinator.ts';
import { allBuckets } from '../../src/nodes/holdings.ts';
import type {
  CloseReason,
  Connection,
  IncomingQuery,
  ListenOptions,
  Log,
  LogFields,
  ReceiveFlow,
  Reply,
  SendFlow,
  StateStore,
  Transport,
} from '../../src/nodes/ports.ts';
import { Receipts } from '../../src/nodes/receipts.ts';
import { ADMISSION_ROLE } from '../../src/nodes/roles.ts';
import {
  admitQuery,
  commitQuery,
  decodeMessage,
  encodeMessage,
  hashQuery,
  INVENTORY_ENTRY_BYTES,
  inventoryQuery,
  isFailure,
  joinQuery,
  joinReply,
  QueryKind,
  RecordEncoding,
  ResultCode,
  removeQuery,
  tokenQuery,
  Writer,
  whereToQuery,
} from '../../src/wire/index.ts';
import { freshToken } from './tokens.ts';

export const SECRET = new Uint8Array(32).fill(2);
export const HANDSHAKE_HASH = new Uint8Array(32).fill(3);
const CLUSTER_ID = new Uint8Array(16).fill(1);
const NO_BYTES = new Uint8Array(0);
const OBJECT_BYTES = 100;
const STEPS_MAX = 10_000_000;

/** A state whose commits wait while it is held. */
export class HeldState extends MemoryStateStore {
  #released: Promise<void> = Promise.resolve();

  hold(): () => void {
    let release = (): void => {};
    this.#released = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  override async commit(...args: Parameters<StateStore['commit']>): ReturnType<StateStore['commit']> {
    await this.#released;
    return super.commit(...args);
  }
}

/** The coordinator's end of a session. */
export class FakeConnection implements Connection {
  readonly firstWindowBytes = 1_048_576;
  heardAt = micros(2 ** 52);
  ping(): void {}
  abandon(): void {
    void this.close();
  }
  readonly peerHost: string;
  readonly peerPort = 1;
  readonly peerRole = 0;
  readonly rights = { read: true, write: true, node: true, admin: true };
  readonly handshakeHash = HANDSHAKE_HASH;
  readonly receiveWindowBytes = 65_536;
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
  /** Hashes that this peer was told to delete, in order. */
  readonly deleted: Uint8Array[] = [];
  /** How it answers that. */
  onDelete: () => Promise<number> = async () => ResultCode.OK;
  #end!: (reason: CloseReason) => void;

  constructor(peerHost = '10.0.0.1') {
    this.peerHost = peerHost;
    this.closed = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  async query(kind: number, body: Uint8Array): Promise<Reply> {
    const message = decodeMessage(hashQuery, body);
    if (kind !== QueryKind.DELETE || isFailure(message)) throw new Error('a node is only told to delete');
    this.deleted.push(message.hash);
    return { code: await this.onDelete(), body: NO_BYTES };
  }

  call(): never {
    throw new Error('a coordinator calls nobody with a flow');
  }

  notify(): void {}

  async close(): Promise<void> {
    this.isOpen = false;
    this.#end({ kind: 'peer', code: 0, text: '' });
  }

  /** Asks the coordinator. */
  ask(kind: number, body: Uint8Array, records: readonly Uint8Array[] = []): Promise<Reply> {
    const left = [...records];
    const flow: ReceiveFlow = {
      next: async () => {
        const payload = left.shift();
        if (payload === undefined) return undefined;
        const { length } = payload;
        return { offset: 0, encoding: RecordEncoding.STORED, plainBytes: length, dataLeft: 0, payload };
      },
      stop: () => {},
    };
    return new Promise((resolve) => {
      this.onQuery!({
        kind,
        body,
        reply: (code, answer = NO_BYTES) => resolve({ code, body: answer }),
        send: (): SendFlow => {
          throw new Error('a coordinator sends no flow');
        },
        receive: () => flow,
      });
    });
  }
}

/** A client's put whose object is stored, and not committed. */
export interface Put {
  readonly token: Uint8Array;
  commit(): Promise<number>;
}

export class Hub {
  readonly clock = new VirtualClock();
  readonly state = new HeldState({ clusterId: CLUSTER_ID });
  /** Messages of the log above info. */
  readonly warnings: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
  readonly client: FakeConnection = new FakeConnection();
  readonly #receipts = new Receipts(nodeSuite, SECRET);
  coordinator!: Coordinator;
  #onConnection!: (connection: Connection) => void;
  #open!: () => Promise<Coordinator>;

  static async open(listen = '10.0.0.9:7400'): Promise<Hub> {
    const hub = new Hub();
    const transport: Transport = {
      offload: false,
      connect: () => Promise.reject(new Error('a coordinator connects to nobody')),
      listen: async ({ onConnection, address, clusterId }: ListenOptions) => {
        hub.#onConnection = onConnection;
        return { address, clusterId, close: async () => {} };
      },
    };
    const warn = (message: string, fields?: LogFields): void => void hub.warnings.push({ message, fields });
    const log: Log = { info: () => {}, warn, error: warn };
    hub.#open = () =>
      Coordinator.open({
        transport,
        clock: hub.clock,
        entropy: new Random(1),
        suite: nodeSuite,
        state: hub.state,
        clusterId: CLUSTER_ID,
        admissionSecret: SECRET,
        listen,
        log,
      });
    hub.coordinator = await hub.#open();
    hub.connect(hub.client);
    return hub;
  }

  /** The coordinator ends, and another one starts on its state; the client has a session with it. */
  async restart(): Promise<void> {
    await this.coordinator.close();
    this.coordinator = await this.#open();
    this.connect(this.client);
  }

  connect(connection: FakeConnection): void {
    this.#onConnection(connection);
  }

  /** Runs the clock. */
  async pass(spanMicros: number): Promise<void> {
    await this.clock.run({ untilMicros: micros(this.clock.now() + spanMicros), stepsMax: STEPS_MAX });
  }

  /** A node that is up; its inventory is another matter. */
  async join(nodeId: Uint8Array, address = '10.0.0.1:1', incarnation = 1, peerHost = '10.0.0.1') {
    const connection = new FakeConnection(peerHost);
    this.connect(connection);
    const join = {
      nodeId,
      incarnation,
      name: 'n',
      address,
      quotaBytes: 1e9,
      freeBytes: 1e9,
      offload: false,
      draining: false,
    };
    const reply = await connection.ask(QueryKind.JOIN, encodeMessage(joinQuery, join));
    const message = decodeMessage(joinReply, reply.body);
    if (isFailure(message)) throw new Error('no nonce');
    const proof = admissionProof(nodeSuite, SECRET, HANDSHAKE_HASH, message.nonce, ADMISSION_ROLE);
    const { code } = await connection.ask(QueryKind.ADMIT, encodeMessage(admitQuery, { proof }));
    if (code !== ResultCode.OK) throw new Error(`not admitted: ${code}`);
    return connection;
  }

  /** Sends an inventory of settled objects. */
  async inventory(node: FakeConnection, hashes: readonly Uint8Array[], entries = hashes.length) {
    const records = hashes.map((hash) => {
      const writer = new Writer(new Uint8Array(INVENTORY_ENTRY_BYTES));
      writer.bytes(hash);
      writer.u48(OBJECT_BYTES);
      writer.u8(0);
      return writer.buffer;
    });
    const body = encodeMessage(inventoryQuery, { entries, buckets: allBuckets() });
    const reply = node.ask(QueryKind.INVENTORY, body, [concatBytes(...records)]);
    return reply.then(({ code }) => code);
  }

  async put(hash: Uint8Array, nodeIds: readonly Uint8Array[]): Promise<Put> {
    const token = freshToken();
    const where = { token, bytes: OBJECT_BYTES, replicas: nodeIds.length, hash: undefined };
    await this.client.ask(QueryKind.WHERE_TO, encodeMessage(whereToQuery, where));
    const receipts = nodeIds.map((nodeId) => {
      const receipt = this.#receipts.make({ nodeId, token, hash, bytes: OBJECT_BYTES });
      return { nodeId, receipt };
    });
    const body = encodeMessage(commitQuery, { token, hash, bytes: OBJECT_BYTES, replicas: 2, receipts });
    return { token, commit: async () => (await this.client.ask(QueryKind.COMMIT, body)).code };
  }

  async remove(hash: Uint8Array, token = freshToken()): Promise<number> {
    return (await this.client.ask(QueryKind.REMOVE, encodeMessage(removeQuery, { token, hash }))).code;
  }

  async whereIs(hash: Uint8Array): Promise<number> {
    return (await this.client.ask(QueryKind.WHERE_IS, encodeMessage(hashQuery, { hash }))).code;
  }

  async renew(token: Uint8Array): Promise<number> {
    return (await this.client.ask(QueryKind.RENEW, encodeMessage(tokenQuery, { token }))).code;
  }
}
