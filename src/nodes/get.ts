/**
 * One get: ask where the object is, read it from the best replica, go on at the next one, at the
 * byte that was reached, when a node fails. Never ends early without an error [DEFS-23].
 */

import { equalBytes, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import { FLOW_WINDOW_BYTES } from '../session/index.ts';
import {
  encodeMessage,
  QueryKind,
  RECORD_BYTES_MAX,
  ResultCode,
  Role,
  readQuery,
  readReply as readReplyCodec,
} from '../wire/index.ts';
import type { Client, ClientOptions, GetOptions, ObjectPlaces, Replica } from './client.ts';
import type { ConnectionCache } from './connection-cache.ts';
import { plainOf } from './object-service.ts';
import type { Call, Clock, FlowRecord } from './ports.ts';
import { SMALL_RECORD_BYTES } from './put.ts';
import { readReply, sleep } from './roles.ts';

/** Rounds over all replicas, with the places asked for anew before each. */
const GET_ROUNDS_MAX = 5;
/** Wait before the second round, doubled for each further one: reports and nodes need a moment to arrive. */
const GET_ROUND_MICROS: Micros = millis(100);
/** How often a busy coordinator is asked again, and after what time where it names none. */
const BUSY_TRIES_MAX = 10;
const BUSY_WAIT_MILLIS = 500;
/** A replica that sends nothing for this long is left for another. */
const STALL_MICROS: Micros = seconds(3);

export interface GetContext extends ClientOptions {
  readonly client: Client;
  readonly nodes: ConnectionCache;
  readonly hash: Uint8Array;
  readonly options: GetOptions;
}

/** How far a get has come; a replica that takes over goes on from here. */
interface Cursor {
  at: number;
  recordBytes: number;
}

export async function* getObject(context: GetContext): AsyncGenerator<Uint8Array, void, undefined> {
  const { hash, hashing, options } = context;
  const digest = hashing.sha256();
  const cursor: Cursor = { at: 0, recordBytes: RECORD_BYTES_MAX };
  let failure: unknown;
  for (let round = 0; round < GET_ROUNDS_MAX; round++) {
    if (round > 0) {
      await sleep(context.clock, micros(GET_ROUND_MICROS * 2 ** (round - 1)), options.signal);
      options.signal?.throwIfAborted();
    }
    const places = await placesOf(context);
    for (const replica of places) {
      try {
        for await (const plain of readFrom(context, replica, places, cursor)) {
          digest.update(plain);
          cursor.at += plain.length;
          yield plain;
          options.onProgress?.({ doneBytes: cursor.at, totalBytes: places.bytes });
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!isGramlineError(error)) throw error;
        // A damaged replica is soon gone, and NOT_FOUND there: the damage is what to tell.
        if (failure === undefined || !isGramlineError(error, 'GRAMLINE_NOT_FOUND')) failure = error;
        if (error.wireCode === ResultCode.TAMPERED) cursor.recordBytes = SMALL_RECORD_BYTES;
        context.log.warn('a replica failed', {
          address: replica.address,
          at: cursor.at,
          reason: error.message,
        });
        continue;
      }
      if (!equalBytes(digest.digest(), hash)) {
        throw new GramlineError('GRAMLINE_CORRUPT', `what arrived is not ${toHex(hash)}: do not use it`);
      }
      return;
    }
  }
  throw failure ?? new GramlineError('GRAMLINE_NOT_FOUND', `no replica of ${toHex(hash)} is reachable`);
}

/** Where the object is. Waits while its nodes have not joined again after a coordinator's restart. */
async function placesOf(context: GetContext): Promise<ObjectPlaces> {
  const { client, clock, hash, options } = context;
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.whereIs(hash, { signal: options.signal });
    } catch (error) {
      if (!isGramlineError(error, 'GRAMLINE_BUSY') || attempt >= BUSY_TRIES_MAX) throw error;
      await sleep(clock, millis(error.retryAfterMillis ?? BUSY_WAIT_MILLIS), options.signal);
      options.signal?.throwIfAborted();
    }
  }
}

/** The rest of the object from one replica. Throws a GramlineError when it fails there. */
async function* readFrom(
  context: GetContext,
  replica: Replica,
  places: ObjectPlaces,
  cursor: Cursor,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { hash, nodes, clock, options } = context;
  const lease = await nodes.connect({
    address: replica.address,
    role: Role.CLIENT,
    signal: options.signal,
    timeoutMicros: STALL_MICROS,
  });
  const { connection } = lease;
  const start = cursor.at;
  const body = encodeMessage(readQuery, {
    hash,
    offset: start,
    length: 0,
    creditBytes: FLOW_WINDOW_BYTES,
    recordBytes: cursor.recordBytes,
  });
  const call = connection.call(QueryKind.READ, body, {
    receives: true,
    signal: options.signal,
    timeoutMicros: STALL_MICROS,
  });
  let finished = false;
  try {
    const { bytes } = readReply(await call.reply, readReplyCodec, `reading from ${replica.address}`);
    // Pieces of different versions never mix: the size is part of what the hash names.
    if (bytes !== places.bytes) throw new GramlineError('GRAMLINE_CORRUPT', 'the replica has another size');
    for (;;) {
      const record = await nextRecord(call, clock, options.signal);
      if (record === undefined) break;
      const plain = plainOf(record, context.compression);
      if (start + record.offset !== cursor.at)
        throw new GramlineError('GRAMLINE_PROTOCOL', 'records out of order');
      yield plain;
    }
    finished = true;
  } catch (error) {
    // A node that went silent is not asked again on this session.
    if (isGramlineError(error, 'GRAMLINE_TIMEOUT')) nodes.drop(replica.address, connection);
    throw error;
  } finally {
    if (!finished) call.receive.stop(ResultCode.ABORTED);
    lease[Symbol.dispose]();
  }
  if (cursor.at !== places.bytes) {
    throw new GramlineError('GRAMLINE_ABORTED', 'the replica sent less than the object', { retryable: true });
  }
}

/** The next record, or an error when nothing comes for too long or the caller gives up. */
async function nextRecord(
  call: Call,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<FlowRecord | undefined> {
  // Aborted while the consumer had the last record: no event will say so any more.
  signal?.throwIfAborted();
  let cancel = (): void => undefined;
  const gaveUp = new Promise<never>((_resolve, reject) => {
    const timer = clock.setTimer(micros(clock.now() + STALL_MICROS), () => {
      reject(new GramlineError('GRAMLINE_TIMEOUT', 'the replica went silent', { retryable: true }));
    });
    const onAbort = (): void => reject(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    cancel = () => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
  });
  try {
    return await Promise.race([call.receive.next(), gaveUp]);
  } finally {
    cancel();
  }
}
