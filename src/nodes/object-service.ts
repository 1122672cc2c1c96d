/** What a node does for clients: STORE and READ. */

import { toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { MIB, type Micros, seconds } from '../base/units.ts';
import { giveRecordBuffer } from '../reliability/index.ts';
import {
  encodeMessage,
  noSpaceReply,
  QueryKind,
  RECORD_BYTES_MAX,
  RecordEncoding,
  ResultCode,
  readQuery as readQueryCodec,
  readReply,
  type StoreQuery,
  storeQuery,
  storeReply,
} from '../wire/index.ts';
import { Outstanding } from './outstanding.ts';
import type {
  Clock,
  Compression,
  Connection,
  FlowRecord,
  IncomingQuery,
  Log,
  ObjectReader,
  ObjectStore,
  SendFlow,
} from './ports.ts';
import type { Receipts } from './receipts.ts';
import { RecordPacker } from './records.ts';
import { resultCodeOf } from './results.ts';
import { readQuery, replyBusy, StallWatch } from './roles.ts';

/** Least record plaintext that a reader is given [REC-21]. */
const RECORD_BYTES_MIN = 1_024;
/** Stores and reads that run at once; one more is refused as busy. */
const TRANSFERS_MAX = 1_024;

/** Bytes of one store that are on their way to the disk: records wait for it beyond this. */
export const WRITES_BYTES_MAX: number = 4 * MIB;

/** A store that brings no bytes for this long ends: its space is others' again [DEFS-26]. */
export const STORE_STALL_MICROS: Micros = seconds(60);

export interface ObjectServiceOptions {
  readonly clock: Clock;
  readonly store: ObjectStore;
  readonly compression: Compression;
  readonly receipts: Receipts;
  readonly log: Log;
  /** Called when free space or the number of objects changed. */
  readonly onChanged: () => void;
  /** Called when an object failed its check. */
  readonly onCorrupt: (hash: Uint8Array) => void;
  /** Whether the coordinator knows of every damage to this object: a late report would strike a new copy. */
  readonly isReported: (hash: Uint8Array) => boolean;
}

export class ObjectService {
  readonly #options: ObjectServiceOptions;
  readonly #running = new Set<Promise<void>>();

  constructor(options: ObjectServiceOptions) {
    this.#options = options;
  }

  /** Resolves when no transfer is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running]);
  }

  handle(connection: Connection, query: IncomingQuery): void {
    if (this.#running.size >= TRANSFERS_MAX) return replyBusy(query);
    const { rights } = connection;
    const run =
      query.kind === QueryKind.STORE
        ? rights.write && this.#store(query)
        : query.kind === QueryKind.READ
          ? rights.read && this.#read(query)
          : undefined;
    if (run === undefined) return query.reply(ResultCode.UNSUPPORTED);
    if (run === false) return query.reply(ResultCode.DENIED);
    this.#running.add(run);
    const forget = (): boolean => this.#running.delete(run);
    run.then(forget, (error: unknown) => {
      forget();
      this.#options.log.error('a transfer failed', { reason: String(error) });
    });
  }

  /** [DEFS-19] A damaged object is never served: it is taken out of service, and the coordinator told. */
  async putAside(hash: Uint8Array): Promise<void> {
    const { store, log, onCorrupt } = this.#options;
    mark('damage-found');
    log.error('a stored object is damaged', { hash: toHex(hash) });
    onCorrupt(hash);
    await store.quarantine(hash).catch((failure: unknown) => {
      // A failing disk may not even let the file be moved. It is checked again at every read.
      log.error('a damaged object could not be moved away', { reason: String(failure) });
    });
  }

  // ---------------------------------------------------------------- STORE

  async #store(query: IncomingQuery): Promise<void> {
    const { store, receipts, onChanged } = this.#options;
    const message = readQuery(query, storeQuery);
    if (message === undefined) return;
    try {
      const { hash, bytes } = await this.#receiveObject(query, message);
      if (!this.#options.isReported(hash)) {
        throw new GramlineError('GRAMLINE_ABORTED', 'the damage of an earlier copy is not reported yet');
      }
      const receipt = receipts.make({ nodeId: store.nodeId, token: message.token, hash, bytes });
      query.reply(ResultCode.OK, encodeMessage(storeReply, { hash, receipt }));
    } catch (error) {
      this.#options.log.warn('a store failed', { reason: String(error) });
      const code = resultCodeOf(error);
      if (code === ResultCode.NO_SPACE) mark('store-no-space');
      const body =
        code === ResultCode.NO_SPACE
          ? encodeMessage(noSpaceReply, { freeBytes: store.freeBytes, nodesUp: 1 })
          : undefined;
      query.reply(code, body);
    }
    onChanged();
  }

  async #receiveObject(
    query: IncomingQuery,
    message: StoreQuery,
  ): Promise<{ readonly hash: Uint8Array; readonly bytes: number }> {
    const { store, compression } = this.#options;
    // [DEFS-20] The writer comes first: no credit is granted before there is space.
    const writer = await store.create(message.token, message.bytes);
    const flow = query.receive();
    let stalled = false;
    const watch = new StallWatch(this.#options.clock, STORE_STALL_MICROS, () => {
      stalled = true;
      flow.stop(ResultCode.ABORTED);
    });
    // Records are hashed and written while the next ones arrive.
    const writes = new Outstanding(WRITES_BYTES_MAX);
    try {
      for (;;) {
        watch.begin();
        const record = await flow.next();
        watch.end();
        if (stalled) throw stalledError();
        if (record === undefined) break;
        const plain = plainOf(record, compression);
        writes.add(writer.write(plain), plain.length, () => giveRecordBuffer(record.payload));
        if (!writes.hasRoom) await writes.room();
      }
      await writes.drained();
      return await writer.finish();
    } catch (error) {
      if (isGramlineError(error, 'GRAMLINE_NO_SPACE')) mark('disk-full-midway');
      flow.stop(resultCodeOf(error));
      await writer.abort();
      throw error;
    } finally {
      watch.stop();
    }
  }

  // ---------------------------------------------------------------- READ

  async #read(query: IncomingQuery): Promise<void> {
    const { store, log } = this.#options;
    const message = readQuery(query, readQueryCodec);
    if (message === undefined) return;
    const { hash, offset, creditBytes } = message;
    // [DEFS-13] Records of no bytes would bring nothing.
    if (message.recordBytes === 0) return query.reply(ResultCode.MALFORMED);
    // [REC-21] Not below a kilobyte, so that record numbers suffice for any object.
    const recordBytes = Math.max(RECORD_BYTES_MIN, Math.min(message.recordBytes, RECORD_BYTES_MAX));
    let reader: ObjectReader | undefined;
    let flow: SendFlow | undefined;
    try {
      reader = await store.open(hash);
      if (reader === undefined) return query.reply(ResultCode.NOT_FOUND);
      // [DEFS-13] A range starts inside the object or at its end, where it is empty.
      if (offset > reader.bytes) return query.reply(ResultCode.MALFORMED);
      const end = message.length === 0 ? reader.bytes : Math.min(offset + message.length, reader.bytes);
      // [DEFS-22] The first record is read before the answer: damage there is a plain answer.
      const first = await reader.read(offset, Math.min(recordBytes, end - offset));
      flow = query.send(creditBytes);
      query.reply(ResultCode.OK, encodeMessage(readReply, { bytes: reader.bytes }));
      await this.#sendObject(reader, flow, { first, offset, end, recordBytes });
    } catch (error) {
      if (isGramlineError(error, 'GRAMLINE_CORRUPT')) await this.putAside(hash);
      else if (!isGramlineError(error, 'GRAMLINE_ABORTED') && !isGramlineError(error, 'GRAMLINE_CLOSED')) {
        log.warn('a read failed', { reason: String(error) });
      }
      const code = resultCodeOf(error);
      if (flow === undefined) query.reply(code);
      else flow.reset(code);
    } finally {
      await reader?.close();
    }
  }

  async #sendObject(
    reader: ObjectReader,
    flow: SendFlow,
    range: {
      readonly first: Uint8Array;
      readonly offset: number;
      readonly end: number;
      readonly recordBytes: number;
    },
  ): Promise<void> {
    const packer = new RecordPacker(this.#options.compression, () => this.#options.clock.now());
    let plain = range.first;
    let at = range.offset;
    for (;;) {
      at += plain.length;
      const left = range.end - at;
      // The next record is read while this one is sent.
      const bytes = Math.min(range.recordBytes, flow.recordBytes, left);
      const next = left > 0 ? reader.read(at, bytes) : undefined;
      next?.catch(() => undefined);
      await flow.write(packer.pack(plain, left));
      if (next === undefined) break;
      plain = await next;
    }
    await flow.delivered();
  }
}

function stalledError(): GramlineError {
  return new GramlineError('GRAMLINE_ABORTED', 'the sender went silent: try again', { retryable: true });
}

/**
 * The plaintext of a record: its payload, or, decompressed, bytes of its own. Throws GRAMLINE_PROTOCOL
 * when it does not hold what it says.
 */
export function plainOf(record: FlowRecord, compression: Compression | undefined): Uint8Array {
  if (record.encoding === RecordEncoding.STORED) return record.payload;
  const plain = compression?.decompress(record.payload, record.plainBytes);
  if (plain === undefined) {
    throw new GramlineError('GRAMLINE_PROTOCOL', 'a compressed record does not hold what it says');
  }
  return plain;
}
