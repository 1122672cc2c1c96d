/**
 * One get: ask where the object is, read it from the best replica, go on at the next one, at the
 * byte that was reached, when a node fails. Never ends early without an error [DEFS-23].
 */

import { equalBytes, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { MIB, type Micros, micros, millis } from '../base/units.ts';
import { giveRecordBuffer } from '../reliability/index.ts';
import { RECORD_BYTES_MAX, ResultCode } from '../wire/index.ts';
import type { Client, ClientOptions, GetOptions, ObjectPlaces, Replica } from './client.ts';
import type { ConnectionCache } from './connection-cache.ts';
import { Outstanding } from './outstanding.ts';
import { SMALL_RECORD_BYTES } from './records.ts';
import { type Cursor, readReplica } from './replica-reading.ts';
import { sleep } from './roles.ts';

/** Rounds over all replicas, with the places asked for anew before each. */
const GET_ROUNDS_MAX = 5;
/** Wait before the second round, doubled for each further one: reports and nodes need a moment to arrive. */
const GET_ROUND_MICROS: Micros = millis(100);
/** How often a busy coordinator is asked again, and after what time where it names none. */
const BUSY_TRIES_MAX = 10;
const BUSY_WAIT_MILLIS = 500;

export interface GetContext extends ClientOptions {
  readonly client: Client;
  readonly nodes: ConnectionCache;
  readonly hash: Uint8Array;
  readonly options: GetOptions;
}

/** Bytes of one get that its sink may hold on to at once. */
const SINK_BYTES_MAX: number = 4 * MIB;

/** Takes the next bytes of an object, which are borrowed until the promise resolves. */
export type ObjectSink = (bytes: Uint8Array) => Promise<void>;

/** Hands the object to `sink`, several pieces at once, in order; their memory is used again. */
export async function getObjectInto(context: GetContext, sink: ObjectSink): Promise<void> {
  const taken = new Outstanding(SINK_BYTES_MAX);
  try {
    for await (const plain of getObject(context)) {
      taken.add(sink(plain), plain.length, () => giveRecordBuffer(plain));
      if (!taken.hasRoom) await taken.room();
    }
  } finally {
    await taken.drained();
  }
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
    if (round > 0) mark('get-new-round');
    const { bytes, replicas } = await placesOf(context);
    const isDoubtful = ({ address }: Replica): boolean => context.nodes.isDoubtful(address);
    const inOrder = [...replicas.filter((one) => !isDoubtful(one)), ...replicas.filter(isDoubtful)];
    const reading = { ...context, bytes, signal: options.signal };
    for (const replica of inOrder) {
      if (cursor.at > 0) mark('get-resumed');
      try {
        for await (const plain of readReplica(reading, replica.address, cursor)) {
          digest.update(plain);
          cursor.at += plain.length;
          yield plain;
          options.onProgress?.({ doneBytes: cursor.at, totalBytes: bytes });
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!isGramlineError(error)) throw error;
        // A damaged replica is soon gone, and NOT_FOUND there: the damage is what to tell.
        if (failure === undefined || !isGramlineError(error, 'GRAMLINE_NOT_FOUND')) failure = error;
        if (error.wireCode === ResultCode.TAMPERED) mark('get-small-records');
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
