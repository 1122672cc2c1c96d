/**
 * One put: reserve, send to all places at once, compare hashes [DEFS-21], commit.
 *
 *   reserved -- all bytes sent, node's hash equals ours --> stored -- COMMIT durable --> done
 *   any place fails --> the others go on;  none left --> released, tried again if it may be
 */

import { equalBytes, fromHex, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';
import {
  type CommitQuery,
  commitQuery,
  encodeMessage,
  QueryKind,
  RECORD_BYTES_MAX,
  type Receipt,
  ResultCode,
  Role,
  storeQuery,
  storeReply,
  tokenQuery,
} from '../wire/index.ts';
import {
  type Client,
  type ClientOptions,
  checkBytes,
  checkReplicas,
  noSpaceError,
  type ObjectSource,
  type PutOptions,
  type PutResult,
  REPLICAS_DEFAULT,
  type Replica,
  type ReservedPlaces,
} from './client.ts';
import type { ConnectionCache } from './connection-cache.ts';
import { abortable, cut, open, sized } from './object-source.ts';
import type { Call, FlowRecord, Reply } from './ports.ts';
import { RecordPacker, SMALL_RECORD_BYTES } from './records.ts';
import { resultError } from './results.ts';
import { every, readReply, StallWatch, within } from './roles.ts';

/** Tries of one put, where its source can be opened again. */
const PUT_TRIES_MAX = 3;
/** A reservation is renewed when a third of its lease is over, never more often than this. */
const RENEW_MICROS_MIN: Micros = millis(100);
/** How long a node may take to answer a HELLO before the put goes on without it. */
const NODE_CONNECT_MICROS: Micros = seconds(2);
/** Tries to get space at nodes of whom none was lost a moment ago; then whoever is named will do. */
const RESERVE_TRIES_MAX = 8;
/** A node that gives room for no record for this long is left; the put goes on without it. */
export const STORE_STALL_MICROS: Micros = seconds(60);
/** So is one that has not answered this long after the last byte: it hashes on the way, and syncs its disk. */
export const STORE_ANSWER_MICROS: Micros = seconds(60);
/** A store may take as long as its source, at most this long. */
const STORE_MICROS_MAX: Micros = seconds(24 * 3_600);

export interface PutContext extends ClientOptions {
  readonly client: Client;
  readonly nodes: ConnectionCache;
  readonly source: ObjectSource;
  readonly options: PutOptions;
}

/** A node that is being sent the object. */
interface Place {
  readonly replica: Replica;
  readonly call: Call;
  /** Ends the call and its flow. */
  readonly stop: AbortController;
  /** Ends it when it gives no room for too long. */
  readonly watch: StallWatch;
  /** Whether the last record was handed over, which its node may then answer at any time. */
  isSent: boolean;
  failure: unknown;
}

export async function putObject(context: PutContext): Promise<PutResult> {
  const { options } = context;
  checkReplicas(options.replicas);
  if (options.bytes !== undefined) checkBytes(options.bytes);
  const { source, bytes } = await sized(context.source, options.bytes, options.signal);
  const restartable = typeof source === 'function' || source instanceof Uint8Array;
  let recordBytes = RECORD_BYTES_MAX;
  for (let attempt = 1; ; attempt++) {
    try {
      return await putOnce(context, open(source), bytes, recordBytes);
    } catch (error) {
      options.signal?.throwIfAborted();
      const again = mayTryAgain(error) && restartable && attempt < PUT_TRIES_MAX;
      if (!again) throw error;
      mark('put-again');
      if (error.wireCode !== ResultCode.TAMPERED) continue;
      mark('put-small-records');
      recordBytes = SMALL_RECORD_BYTES;
    }
  }
}

/** Not where no coordinator answered: the client has tried them all, and a user is waiting. */
function mayTryAgain(error: unknown): error is GramlineError {
  return isGramlineError(error) && error.retryable && error.code !== 'GRAMLINE_NO_COORDINATOR';
}

async function putOnce(
  context: PutContext,
  source: AsyncIterable<Uint8Array>,
  bytes: number,
  recordBytes: number,
): Promise<PutResult> {
  const { client, clock, options } = context;
  const wanted = options.replicas ?? REPLICAS_DEFAULT;
  const reserved = await reserve(context, bytes, wanted);
  const token = fromHex(reserved.token)!;
  const renewal = new AbortController();
  const renew = async (): Promise<void> => {
    await client.ask(QueryKind.RENEW, tokenQuery, { token });
  };
  const renewMicros = micros(Math.max(RENEW_MICROS_MIN, Math.floor((reserved.leaseMillis * 1000) / 3)));
  void every(clock, renewMicros, renewal.signal, renew, () => undefined);
  try {
    if (options.replicas !== undefined && reserved.replicas.length < options.replicas) {
      throw new GramlineError(
        'GRAMLINE_NO_SPACE',
        `${options.replicas} replicas need as many nodes, and ${reserved.replicas.length} can take them: ask for fewer or start more nodes`,
      );
    }
    const places = await openPlaces(context, reserved.replicas, token, bytes);
    const hash = await send(context, places, source, bytes, recordBytes);
    const receipts = await collectReceipts(context, places, hash);
    return await commit(context, { token, hash, bytes, replicas: wanted, receipts });
  } catch (error) {
    // The space is given back at once; if that fails too, the lease ends by itself.
    client.release(reserved.token).catch(() => undefined);
    throw error;
  } finally {
    renewal.abort();
  }
}

/** Space for the object. A coordinator does not know at once that a node went, and names it: others are asked for then. */
async function reserve(context: PutContext, bytes: number, replicas: number): Promise<ReservedPlaces> {
  const { client, nodes, options } = context;
  for (let tries = 1; ; tries++) {
    const reserved = await client.whereTo(bytes, { signal: options.signal, replicas });
    const isDoubtful = reserved.replicas.some(({ address }) => nodes.isDoubtful(address));
    if (!isDoubtful || tries >= RESERVE_TRIES_MAX) return reserved;
    mark('put-other-places');
    await client.release(reserved.token).catch(() => undefined);
  }
}

async function openPlaces(
  context: PutContext,
  replicas: readonly Replica[],
  token: Uint8Array,
  bytes: number,
): Promise<Place[]> {
  const { signal } = context.options;
  const body = encodeMessage(storeQuery, { token, bytes });
  const opened = await Promise.allSettled(
    replicas.map(async (replica): Promise<Place> => {
      const lease = await context.nodes.connect({
        address: replica.address,
        role: Role.CLIENT,
        signal,
        timeoutMicros: NODE_CONNECT_MICROS,
      });
      const stop = new AbortController();
      const onAbort = (): void => stop.abort(signal!.reason);
      if (signal?.aborted === true) onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      const call = lease.connection.call(QueryKind.STORE, body, {
        sends: true,
        signal: stop.signal,
        timeoutMicros: STORE_MICROS_MAX,
      });
      const watch = new StallWatch(context.clock, STORE_STALL_MICROS, () => leave(place, silentError()));
      const finish = (): void => {
        watch.stop();
        signal?.removeEventListener('abort', onAbort);
        lease[Symbol.dispose]();
      };
      call.reply.then(finish, finish);
      const place: Place = { replica, call, stop, watch, isSent: false, failure: undefined };
      // A refusal before the last byte ends this place's sending.
      call.reply.then(
        (reply) => {
          if (reply.code === ResultCode.OK && place.isSent) return;
          place.failure ??= storeError(reply, bytes);
          call.send.reset(ResultCode.ABORTED);
        },
        (error: unknown) => {
          place.failure ??= error;
        },
      );
      return place;
    }),
  );
  signal?.throwIfAborted();
  const places = opened.filter((result) => result.status === 'fulfilled').map((result) => result.value);
  if (places.length >= leastPlaces(context)) return places;
  for (const place of places) leave(place, new GramlineError('GRAMLINE_ABORTED', 'too few nodes answer'));
  throw connectError(opened.find((result) => result.status === 'rejected')!.reason);
}

/** That a node does not answer may be another matter at the next try, with other nodes. */
function connectError(error: unknown): unknown {
  if (!isGramlineError(error, 'GRAMLINE_NO_COORDINATOR')) return error;
  return new GramlineError('GRAMLINE_TIMEOUT', `storing: ${error.message}`, {
    retryable: true,
    cause: error,
  });
}

/** Why a node that answered so does not store the object. */
function storeError(reply: Reply, bytes: number): GramlineError {
  if (reply.code === ResultCode.NO_SPACE) return noSpaceError(reply, bytes);
  if (reply.code !== ResultCode.OK) return resultError(reply.code, 'storing');
  // Nobody would watch it any more, and it may never take the rest.
  return new GramlineError('GRAMLINE_PROTOCOL', 'storing: the node answered before it had the whole object');
}

/** Places that must work to the end: all that the caller asked for, or any where it did not say. */
function leastPlaces({ options }: PutContext): number {
  return options.replicas ?? 1;
}

/** Sends the source to all places; returns its hash. */
async function send(
  context: PutContext,
  places: readonly Place[],
  source: AsyncIterable<Uint8Array>,
  bytes: number,
  recordBytes: number,
): Promise<Uint8Array> {
  const { hashing, compression, options } = context;
  const hash = hashing.sha256();
  const packer = new RecordPacker(compression, () => context.clock.now());
  let doneBytes = 0;
  try {
    const pieceBytes = (): number => {
      const working = places.filter((place) => place.failure === undefined);
      return Math.min(recordBytes, ...working.map(({ call }) => call.send.recordBytes));
    };
    for await (const plain of cut(abortable(source, options.signal), bytes, pieceBytes)) {
      options.signal?.throwIfAborted();
      // The record leaves before it is hashed: the node works on it meanwhile.
      const sent = sendRecord(context, places, packer.pack(plain, bytes - doneBytes - plain.length));
      hash.update(plain);
      doneBytes += plain.length;
      await sent;
      options.onProgress?.({ doneBytes, totalBytes: bytes });
    }
  } catch (error) {
    for (const place of places) leave(place, error);
    throw error;
  }
  return hash.digest();
}

/** Writes one record to every place that still works. Throws when too few do. */
async function sendRecord(
  context: PutContext,
  places: readonly Place[],
  record: Omit<FlowRecord, 'offset'>,
): Promise<void> {
  if (places.length === 1) await writeTo(places[0]!, record);
  else await Promise.all(places.map((place) => writeTo(place, record)));
  const failed = places.filter((place) => place.failure !== undefined);
  if (places.length - failed.length < leastPlaces(context)) throw failed[0]!.failure;
}

async function writeTo(place: Place, record: Omit<FlowRecord, 'offset'>): Promise<void> {
  if (place.failure !== undefined) return;
  try {
    place.watch.begin();
    const isLast = record.dataLeft === 0;
    if (isLast) place.isSent = true;
    const written = place.call.send.write(record);
    // A node that has answered perhaps takes no more.
    await (isLast ? Promise.race([written, place.call.reply]) : written);
    place.watch.end();
  } catch (error) {
    leave(place, error);
  }
}

/** The receipts of all places that stored the object. Throws when they are too few. */
async function collectReceipts(
  context: PutContext,
  places: readonly Place[],
  hash: Uint8Array,
): Promise<Receipt[]> {
  const receipts = await Promise.all(
    places.map(async (place): Promise<Receipt | undefined> => {
      if (place.failure !== undefined) return undefined;
      try {
        const reply = await within(context.clock, STORE_ANSWER_MICROS, place.call.reply, silentError);
        const stored = readReply(reply, storeReply, 'storing');
        if (equalBytes(stored.hash, hash)) {
          return { nodeId: fromHex(place.replica.nodeId)!, receipt: stored.receipt };
        }
        throw new GramlineError('GRAMLINE_CORRUPT', 'the node stored other bytes than were sent: try again', {
          retryable: true,
        });
      } catch (error) {
        leave(place, error);
        return undefined;
      }
    }),
  );
  context.options.signal?.throwIfAborted();
  const stored = receipts.filter((receipt) => receipt !== undefined);
  if (stored.length > 0 && stored.length < places.length) mark('put-fewer-places');
  if (stored.length < leastPlaces(context))
    throw places.find((place) => place.failure !== undefined)!.failure;
  return stored;
}

/** Goes on without a place: what it still does for this put ends. */
function leave(place: Place, error: unknown): void {
  place.failure ??= error;
  place.stop.abort(error);
}

function silentError(): GramlineError {
  return new GramlineError('GRAMLINE_TIMEOUT', 'the node went silent: try again', { retryable: true });
}

async function commit(context: PutContext, message: CommitQuery): Promise<PutResult> {
  const { client, options } = context;
  const { hash, bytes, receipts } = message;
  const reply = await client.ask(QueryKind.COMMIT, commitQuery, message, { signal: options.signal });
  const result = { hash: toHex(hash), bytes };
  if (reply.code === ResultCode.OK) return { ...result, replicas: receipts.length, existed: false };
  if (reply.code !== ResultCode.CONFLICT) throw resultError(reply.code, 'committing');
  mark('put-existed');
  // Another put had stored the same bytes.
  try {
    const places = await client.whereIs(hash, { signal: options.signal });
    return { ...result, replicas: places.replicas.length, existed: true };
  } catch (error) {
    // Removed since: what was stored may be gone with it.
    if (isGramlineError(error, 'GRAMLINE_NOT_FOUND')) throw resultError(ResultCode.ABORTED, 'committing');
    options.signal?.throwIfAborted();
    if (!isGramlineError(error)) throw error;
    return { ...result, replicas: receipts.length, existed: true };
  }
}
