/**
 * Reading an object from one node, as a client does: what a get and a copy [REP-4] have in common. Who
 * goes on at another node, and who checks the whole, is the caller's matter.
 */

import { GramlineError, isGramlineError } from '../base/errors.ts';
import { type Micros, seconds } from '../base/units.ts';
import { giveRecordBuffer } from '../reliability/index.ts';
import {
  encodeMessage,
  QueryKind,
  ResultCode,
  Role,
  readQuery,
  readReply as readReplyCodec,
} from '../wire/index.ts';
import type { ConnectionCache } from './connection-cache.ts';
import { plainOf } from './object-service.ts';
import type { Clock, Compression } from './ports.ts';
import { resultError } from './results.ts';
import { readReply, StallWatch } from './roles.ts';

/** A replica that sends nothing for this long is left for another. */
export const STALL_MICROS: Micros = seconds(3);

/** How far a reader has come; a replica that takes over goes on from here. */
export interface Cursor {
  at: number;
  recordBytes: number;
}

export interface ReplicaReading {
  readonly clock: Clock;
  readonly nodes: ConnectionCache;
  readonly compression: Compression;
  readonly hash: Uint8Array;
  /** Size of the whole object. */
  readonly bytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The rest of the object from the node at `address`: from `cursor` on, which the caller moves as it takes the
 * pieces, whose memory is the caller's. Throws a GramlineError when it fails there.
 */
export async function* readReplica(
  reading: ReplicaReading,
  address: string,
  cursor: Readonly<Cursor>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { hash, nodes, clock, signal } = reading;
  const lease = await nodes.connect({
    address,
    role: Role.CLIENT,
    signal,
    timeoutMicros: STALL_MICROS,
  });
  const { connection } = lease;
  const start = cursor.at;
  const creditBytes = connection.firstWindowBytes;
  if (creditBytes === 0) {
    lease[Symbol.dispose]();
    throw resultError(ResultCode.BUSY, 'too many transfers at once');
  }
  const body = encodeMessage(readQuery, {
    hash,
    offset: start,
    length: 0,
    creditBytes,
    recordBytes: cursor.recordBytes,
  });
  const call = connection.call(QueryKind.READ, body, {
    receives: creditBytes,
    signal,
    timeoutMicros: STALL_MICROS,
  });
  let finished = false;
  let gaveUp: unknown;
  const giveUp = (reason: unknown): void => {
    gaveUp ??= reason;
    // Wakes whoever waits for a record.
    call.receive.stop(ResultCode.ABORTED);
  };
  const onAbort = (): void => giveUp(signal!.reason);
  const watch = new StallWatch(clock, STALL_MICROS, () => giveUp(silentError()));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const { bytes } = readReply(await call.reply, readReplyCodec, `reading from ${address}`);
    // Pieces of different versions never mix: the size is part of what the hash names.
    if (bytes !== reading.bytes) throw new GramlineError('GRAMLINE_CORRUPT', 'the replica has another size');
    for (;;) {
      watch.begin();
      const record = await call.receive.next();
      watch.end();
      if (gaveUp !== undefined) throw gaveUp;
      if (record === undefined) break;
      const plain = plainOf(record, reading.compression);
      if (plain !== record.payload) giveRecordBuffer(record.payload);
      if (start + record.offset !== cursor.at)
        throw new GramlineError('GRAMLINE_PROTOCOL', 'records out of order');
      yield plain;
    }
    finished = true;
  } catch (error) {
    // A node that went silent is not asked again on this session.
    if (isGramlineError(error, 'GRAMLINE_TIMEOUT')) nodes.drop(address, connection);
    throw error;
  } finally {
    watch.stop();
    signal?.removeEventListener('abort', onAbort);
    if (!finished) call.receive.stop(ResultCode.ABORTED);
    lease[Symbol.dispose]();
  }
  if (cursor.at !== reading.bytes) {
    throw new GramlineError('GRAMLINE_ABORTED', 'the replica sent less than the object', { retryable: true });
  }
}

function silentError(): GramlineError {
  return new GramlineError('GRAMLINE_TIMEOUT', 'the replica went silent', { retryable: true });
}
