/**
 * What the roles need from outside: the ports that `udp/`, `store/` and the simulator implement.
 *
 * The roles (coordinator, node, client) use these and nothing else, so that a whole cluster runs
 * in one process under virtual time from one seed.
 */

import type { Micros } from '../base/units.ts';
import type { RecordEncoding } from '../wire/index.ts';

// ---------------------------------------------------------------- time and chance

export interface Timer {
  /** Stops the timer; afterwards it does not run. Harmless when it has run. */
  cancel(): void;
}

export interface Clock {
  /** Monotonic time with an arbitrary origin. */
  now(): Micros;
  /** Wall-clock time, milliseconds since 1970: for labels that people read, never for deadlines. */
  wallMillis(): number;
  /** Calls `run` once, at `at` or soon after, never from inside this call. */
  setTimer(at: Micros, run: () => void): Timer;
}

export interface Entropy {
  /** `count` unpredictable bytes, newly allocated. */
  bytes(count: number): Uint8Array;
  /** A number from 0 (included) to 1 (excluded): for choices and jitter, not for keys. */
  fraction(): number;
}

// ---------------------------------------------------------------- state and objects

/** A condition of a commit: the key holds exactly these bytes, or (undefined) does not exist. */
export interface Comparison {
  readonly key: Uint8Array;
  readonly equals: Uint8Array | undefined;
}

/** What keeps entries in the state for as long as somebody keeps it alive. */
export interface StateLease {
  /** The engine's own name for it. */
  readonly id: string;
}

/** A change of a commit: the key gets these bytes, or (undefined) is removed. */
export interface StateOperation {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
  /** The entry goes when this lease ends, unless it has been written anew since, without it. */
  readonly lease?: StateLease | undefined;
}

export interface CommitResult {
  /** Whether all comparisons held and all operations are durable. */
  readonly ok: boolean;
  /** A revision of the store at which this was decided; with `ok`, the one that the commit made. */
  readonly revision: number;
}

/** What has become of one key. */
export interface StateChange {
  readonly key: Uint8Array;
  /** Undefined: it was removed, by a commit or by the end of its lease. */
  readonly value: Uint8Array | undefined;
  readonly revision: number;
}

/** Changes, in the order in which they took effect. Their bytes are the store's: to be read, and not kept changed. */
export type ChangeListener = (changes: readonly StateChange[]) => void;

/**
 * Durable, ordered keys and values, which one coordinator has for itself (`isShared` is false) or several
 * share. Reads are answered from here, never from far away: of a store that is shared they see a mirror,
 * which follows what others write.
 */
export interface StateStore {
  /** Which cluster this is: 16 bytes, made once. */
  readonly clusterId: Uint8Array;
  /** Grows with every commit that changes something, across restarts. */
  readonly revision: number;
  /** Whether several coordinators may write at the same time. */
  readonly isShared: boolean;
  /** Whether reads see all that was durable a moment ago; false while a shared store is out of reach. */
  readonly isCurrent: boolean;
  /** The value, owned by the caller, or undefined. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** Entries with `start <= key < end` in byte order, at most `limit`. */
  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]>;
  /**
   * All or nothing; resolves when durable, when reads here see it, and when watchers here have heard of it.
   * Rejects with GRAMLINE_IO when the disk or the engine fails: then it may have taken effect all the same.
   */
  commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult>;
  /** A lease that ends `ttlMicros` after this, or after it was last kept alive; whole seconds, rounded up. */
  lease(ttlMicros: Micros): Promise<StateLease>;
  /** Lets a lease begin anew; false when it has ended. Rejects with GRAMLINE_IO when nobody can say. */
  keepAlive(lease: StateLease): Promise<boolean>;
  /**
   * Tells `listener` of every change after revision `from`, in order: those that are known before this
   * returns, later ones in the turn in which reads here begin to see them. What is returned ends it.
   *
   * @throws GRAMLINE_EXPIRED when the changes after `from` are not all known any more: read what there is,
   *   and watch from `revision`
   */
  watch(from: number, listener: ChangeListener): () => void;
  close(): Promise<void>;
}

/** An object that is being stored: invisible until it is finished. */
export interface ObjectWriter {
  /** Appends bytes (borrowed until the promise resolves); several calls may be under way. Rejects with GRAMLINE_INVALID past the announced size, GRAMLINE_NO_SPACE on a full disk. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Makes the object durable, then visible under its SHA-256. Rejects, leaving nothing, unless all bytes came,
   * and with GRAMLINE_CORRUPT where `expected` is given and they are not what has that hash.
   */
  finish(expected?: Uint8Array): Promise<{ readonly hash: Uint8Array; readonly bytes: number }>;
  /** Removes every trace. Harmless after `finish` or twice. */
  abort(): Promise<void>;
}

/** A stored object, open for reading. */
export interface ObjectReader {
  readonly bytes: number;
  /**
   * Plaintext from `offset`, at most `length` bytes: fewer at the object's end and where a stored chunk
   * ends, none only at the object's end. The chunk is checked first: rejects with GRAMLINE_CORRUPT.
   * Borrowed until the second `read` from this one on, so that it can be sent while the next is read.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A stored object whose commit the node has not heard of. */
export interface PendingObject {
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
  /** Wall-clock milliseconds when it was stored. */
  readonly storedMillis: number;
}

export interface InventoryEntry {
  readonly hash: Uint8Array;
  readonly bytes: number;
}

/** The objects of one node on its disk. */
export interface ObjectStore {
  /** Made at the first start, kept with the objects. */
  readonly nodeId: Uint8Array;
  /** Grows with every start, and with `renew`. */
  readonly incarnation: number;
  readonly quotaBytes: number;
  /** Bytes that new objects may take: quota less stored and being stored, or the disk's free space if less. */
  readonly freeBytes: number;
  readonly objects: number;
  /** Whether the last write met a full or failing disk; cleared by the next write that succeeds or by `probe`. */
  readonly full: boolean;
  /** Makes the next incarnation durable: who was given up comes back under it [MEM-4]. */
  renew(): Promise<void>;
  /** Looks at the disk again; updates `freeBytes` and `full`. */
  probe(): Promise<void>;
  /** Opens a writer for exactly `bytes` bytes. Rejects with GRAMLINE_NO_SPACE or GRAMLINE_BUSY. */
  create(token: Uint8Array, bytes: number): Promise<ObjectWriter>;
  /** A reader, or undefined when there is no such object. */
  open(hash: Uint8Array): Promise<ObjectReader | undefined>;
  /** Whether there was one to remove. */
  remove(hash: Uint8Array): Promise<boolean>;
  /** Takes an object that failed its check out of service, for an admin to look at. */
  quarantine(hash: Uint8Array): Promise<void>;
  /** All visible objects, in no order. */
  inventory(): Iterable<InventoryEntry>;
  pending(): readonly PendingObject[];
  /** Settles a pending object: it stays for good, or goes. */
  settle(hash: Uint8Array, keep: boolean): Promise<void>;
  close(): Promise<void>;
}

/** A SHA-256 that is computed piece by piece. */
export interface StreamingHash {
  update(bytes: Uint8Array): void;
  digest(): Uint8Array;
}

export interface Hashing {
  sha256(): StreamingHash;
}

/** Compression of record payloads. */
export interface Compression {
  /** The compressed bytes, or undefined when that would not be shorter. */
  compress(plain: Uint8Array): Uint8Array | undefined;
  /** Exactly `plainBytes` bytes, or undefined when `payload` does not hold them. Never allocates more. */
  decompress(payload: Uint8Array, plainBytes: number): Uint8Array | undefined;
}

// ---------------------------------------------------------------- transport

export interface Reply {
  /** A result code of the wire. */
  readonly code: number;
  readonly body: Uint8Array;
}

/** One record of a flow. */
export interface FlowRecord {
  readonly offset: number;
  readonly encoding: RecordEncoding;
  readonly plainBytes: number;
  /** Plaintext bytes that remain behind this record: 0 = complete, -1 = unknown. */
  readonly dataLeft: number;
  /** Owned by whoever receives the record, who may give its memory back with `giveRecordBuffer`. */
  readonly payload: Uint8Array;
}

/** The sending end of a flow. */
export interface SendFlow {
  /** Plaintext bytes of a record that travels best as things are: what fits one datagram where those are large. */
  readonly recordBytes: number;
  /**
   * Queues one record (payload borrowed until the promise resolves); resolves when the flow has
   * room for another. Rejects with GRAMLINE_ABORTED when the receiver stopped or the session ended.
   */
  write(record: Omit<FlowRecord, 'offset'>): Promise<void>;
  /** Resolves when the receiver has opened every record. */
  delivered(): Promise<void>;
  /** Ends the flow at once; the receiver is told `code`. */
  reset(code: number): void;
}

/** The receiving end of a flow: records in order, without gaps. */
export interface ReceiveFlow {
  /** The next record, or undefined behind the last. Credit returns as records are taken. */
  next(): Promise<FlowRecord | undefined>;
  /** Tells the sender to stop. Harmless when the flow has ended. */
  stop(code: number): void;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** How long to wait for the reply; the default is the transport's. */
  readonly timeoutMicros?: Micros | undefined;
}

/** A query under way, with the flow that belongs to it. */
export interface Call {
  /** Rejects with GRAMLINE_TIMEOUT, GRAMLINE_CLOSED or the signal's reason. */
  readonly reply: Promise<Reply>;
  /** The flow towards the peer. */
  readonly send: SendFlow;
  /** The flow from the peer. */
  readonly receive: ReceiveFlow;
}

/** A query that arrived: answer it exactly once. */
export interface IncomingQuery {
  readonly kind: number;
  readonly body: Uint8Array;
  reply(code: number, body?: Uint8Array): void;
  /** The flow towards the asker, which granted `creditBytes` with its query. */
  send(creditBytes: number): SendFlow;
  /** The flow from the asker. Credit is granted from here on. */
  receive(): ReceiveFlow;
}

export interface TransferCounts {
  readonly datagramsSent: number;
  readonly datagramsReceived: number;
  readonly segmentsSent: number;
  readonly segmentsResent: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** Why a connection ended. */
export interface CloseReason {
  readonly kind: 'local' | 'peer' | 'idle' | 'refused' | 'protocol';
  readonly code: number;
  readonly text: string;
}

/** A session, seen by a role. */
export interface Connection {
  /** The peer's IP address, and the port of this session there. */
  readonly peerHost: string;
  readonly peerPort: number;
  /** What the peer called itself in the handshake: a claim until admission. */
  readonly peerRole: number;
  /** What the peer's secret allows. */
  readonly rights: Rights;
  /** The same 32 bytes at both ends, and at no other session. */
  readonly handshakeHash: Uint8Array;
  readonly counts: TransferCounts;
  /** Resolves when the connection has ended; never rejects. */
  readonly closed: Promise<CloseReason>;
  readonly isOpen: boolean;
  /** When a packet of the peer last opened, or the connection began. */
  readonly heardAt: Micros;
  /** Asks the peer for a sign of life, which `heardAt` tells of. */
  ping(): void;
  /** Sends a query of kind `kind`; `sends` opens a flow with it, `receives` the flow that answers it, with this much credit (true is FLOW_WINDOW_BYTES). */
  call(
    kind: number,
    body: Uint8Array,
    options?: CallOptions & { readonly receives?: boolean | number; readonly sends?: boolean },
  ): Call;
  /** Credit that a query may grant now to the flow that answers it; 0 when there is no room for one. */
  readonly firstWindowBytes: number;
  /** A query without a flow. */
  query(kind: number, body: Uint8Array, options?: CallOptions): Promise<Reply>;
  /** A small unreliable message. */
  notify(kind: number, body: Uint8Array): void;
  /** Who answers queries; without one they are answered UNSUPPORTED. */
  onQuery: ((query: IncomingQuery) => void) | undefined;
  onNotice: ((kind: number, body: Uint8Array) => void) | undefined;
  /** Ends the connection; resolves when its port is free. */
  close(code?: number): Promise<void>;
  /** Ends it without a word to a peer that does not answer any more: what is under way fails at once. */
  abandon(): void;
}

export interface Rights {
  readonly read: boolean;
  readonly write: boolean;
  readonly node: boolean;
  readonly admin: boolean;
}

export interface ConnectOptions {
  /** `host:port` of the peer's front port. */
  readonly address: string;
  readonly role: number;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMicros?: Micros | undefined;
  /** When given, a responder of another cluster is refused. */
  readonly clusterId?: Uint8Array | undefined;
}

export interface ListenOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly address: string;
  readonly role: number;
  readonly clusterId: Uint8Array;
  readonly onConnection: (connection: Connection) => void;
}

export interface Listener {
  /** `host:port` as bound. */
  readonly address: string;
  /** Which cluster this end belongs to: a node learns it at admission. */
  clusterId: Uint8Array;
  close(): Promise<void>;
}

export interface Transport {
  /** Which send path is active; shown by `status`. */
  readonly offload: boolean;
  /** A session with `address`. Rejects with GRAMLINE_NO_COORDINATOR when nothing valid answers, GRAMLINE_BUSY, GRAMLINE_DENIED. */
  connect(options: ConnectOptions): Promise<Connection>;
  /** Opens a front port. Rejects with GRAMLINE_IN_USE when the port is taken. */
  listen(options: ListenOptions): Promise<Listener>;
}

// ---------------------------------------------------------------- log

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured log. Never given a secret, a key, a token or a receipt. */
export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}
