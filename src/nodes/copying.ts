/**
 * COPY, at the node: reads an object from other nodes, as a client does, and keeps it; or reads what it
 * holds through once [REP-4] [REP-5].
 *
 *   not held -- sources --> read from the first that gives it, the next going on --> stored, receipt
 *   not held -- no sources --> NOT_FOUND
 *   held -- every chunk checked --> receipt, or put aside: CORRUPT
 *   held, and not yet settled -- sources --> as not held
 *
 * Which object is to be where, and that the receipt becomes a replica, is the leader's matter (`repair.ts`).
 */

import { equalBytes } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { MIB } from '../base/units.ts';
import { giveRecordBuffer } from '../reliability/index.ts';
import {
  type CopyQuery,
  copyQuery,
  encodeMessage,
  noSpaceReply,
  RECORD_BYTES_MAX,
  ResultCode,
  storeReply,
} from '../wire/index.ts';
import { ConnectionCache } from './connection-cache.ts';
import { type ObjectServiceOptions, WRITES_BYTES_MAX } from './object-service.ts';
import { Outstanding } from './outstanding.ts';
import type { IncomingQuery, ObjectReader, Transport } from './ports.ts';
import { SMALL_RECORD_BYTES } from './records.ts';
import { type Cursor, readReplica } from './replica-reading.ts';
import { resultCodeOf } from './results.ts';
import { readQuery, replyBusy } from './roles.ts';

/** Copies and checks of one node at once; one more is refused as busy. */
export const COPIES_MAX = 8;
/** Bytes that a check reads in one go at most. */
const CHECK_BYTES_MAX: number = MIB;

export interface CopierOptions extends Omit<ObjectServiceOptions, 'onCorrupt'> {
  readonly transport: Transport;
  /** Takes a damaged object out of service, and tells of it. */
  readonly putAside: (hash: Uint8Array) => Promise<void>;
}

export class Copier {
  readonly #options: CopierOptions;
  readonly #nodes: ConnectionCache;
  readonly #running = new Set<Promise<void>>();

  constructor(options: CopierOptions) {
    this.#options = options;
    this.#nodes = new ConnectionCache(options.transport, options);
  }

  /** Answers COPY; what it began ends when `session` aborts. */
  handle(query: IncomingQuery, session: AbortSignal): void {
    if (this.#running.size >= COPIES_MAX) return replyBusy(query);
    // A signal of its own, so that the session's has one listener a copy.
    const own = new AbortController();
    const end = (): void => own.abort(session.reason);
    if (session.aborted) end();
    session.addEventListener('abort', end, { once: true });
    const run = this.#copy(query, own.signal);
    this.#running.add(run);
    const forget = (): void => {
      session.removeEventListener('abort', end);
      this.#running.delete(run);
    };
    run.then(forget, (error: unknown) => {
      forget();
      this.#options.log.error('a copy failed', { reason: String(error) });
    });
  }

  /** Resolves when no copy is under way; to be called when the coordinator's session has ended. */
  async close(): Promise<void> {
    await this.#nodes.close();
    while (this.#running.size > 0) await Promise.allSettled([...this.#running]);
  }

  async #copy(query: IncomingQuery, session: AbortSignal): Promise<void> {
    const { store, receipts, isReported, log, onChanged } = this.#options;
    const message = readQuery(query, copyQuery);
    if (message === undefined) return;
    const { token, hash, bytes } = message;
    try {
      if (!(await this.#isHeld(message, session))) await this.#fetch(message, session);
      if (!isReported(hash)) {
        throw new GramlineError('GRAMLINE_ABORTED', 'the damage of an earlier copy is not reported yet');
      }
      const receipt = receipts.make({ nodeId: store.nodeId, token, hash, bytes });
      query.reply(ResultCode.OK, encodeMessage(storeReply, { hash, receipt }));
    } catch (error) {
      if (!session.aborted) log.warn('a copy failed', { reason: String(error) });
      const code = resultCodeOf(error);
      const body =
        code === ResultCode.NO_SPACE
          ? encodeMessage(noSpaceReply, { freeBytes: store.freeBytes, nodesUp: 1 })
          : undefined;
      query.reply(code, body);
    }
    onChanged();
  }

  /** Whether the object is here and whole. Throws GRAMLINE_CORRUPT when it is damaged: then it is put aside. */
  async #isHeld({ hash, bytes, sources }: CopyQuery, session: AbortSignal): Promise<boolean> {
    const { store, putAside } = this.#options;
    const reader = await store.open(hash);
    if (reader === undefined) return false;
    try {
      // What waits to be settled under another token may yet be dropped: it is stored anew under this one.
      const isPending = store.pending().some((pending) => equalBytes(pending.hash, hash));
      if (isPending && sources.length > 0) return false;
      if (reader.bytes !== bytes) throw new GramlineError('GRAMLINE_INVALID', 'the object has another size');
      await readThrough(reader, session);
      return true;
    } catch (error) {
      if (isGramlineError(error, 'GRAMLINE_CORRUPT')) await putAside(hash);
      throw error;
    } finally {
      await reader.close();
    }
  }

  /** Stores the object under the token: the space first, and nothing that is not exactly it. */
  async #fetch(message: CopyQuery, session: AbortSignal): Promise<void> {
    const { token, hash, bytes, sources } = message;
    if (sources.length === 0) throw notFound();
    const writer = await this.#options.store.create(token, bytes);
    const writes = new Outstanding(WRITES_BYTES_MAX);
    try {
      for await (const plain of this.#pieces(message, session)) {
        writes.add(writer.write(plain), plain.length, () => giveRecordBuffer(plain));
        if (!writes.hasRoom) await writes.room();
      }
      await writes.drained();
      await writer.finish(hash);
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  /** The object from the first source that gives it; when one fails, the next goes on where it was. */
  async *#pieces(message: CopyQuery, session: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    const { clock, compression, log } = this.#options;
    const { hash, bytes, sources } = message;
    const reading = { clock, compression, nodes: this.#nodes, hash, bytes, signal: session };
    const cursor: Cursor = { at: 0, recordBytes: RECORD_BYTES_MAX };
    let failure: unknown;
    for (const { address } of sources) {
      if (failure !== undefined) mark('copy-next-source');
      try {
        for await (const plain of readReplica(reading, address, cursor)) {
          cursor.at += plain.length;
          yield plain;
        }
        return;
      } catch (error) {
        session.throwIfAborted();
        if (!isGramlineError(error)) throw error;
        // Why somebody could not give what he has says more than that another has it not.
        if (failure === undefined || !isGramlineError(error, 'GRAMLINE_NOT_FOUND')) failure = error;
        if (error.wireCode === ResultCode.TAMPERED) cursor.recordBytes = SMALL_RECORD_BYTES;
        log.warn('a source failed', { address, at: cursor.at, reason: error.message });
      }
    }
    throw failure;
  }
}

async function readThrough(reader: ObjectReader, session: AbortSignal): Promise<void> {
  let at = 0;
  do {
    const { length } = await reader.read(at, CHECK_BYTES_MAX);
    session.throwIfAborted();
    at += length;
  } while (at < reader.bytes);
}

function notFound(): GramlineError {
  return new GramlineError('GRAMLINE_NOT_FOUND', 'the object is not here, and no source was named');
}
