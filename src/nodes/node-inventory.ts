/**
 * What a node tells of its objects when it joins: a digest of each of 64 parts, then the parts that differ
 * from what the catalog says, object by object [DIG-3].
 */

import { concatBytes, toHex } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import { type Micros, seconds } from '../base/units.ts';
import {
  digestQuery,
  digestReply,
  emptyMessage,
  encodeMessage,
  INVENTORY_ENTRY_BYTES,
  inventoryQuery,
  QueryKind,
  RECORD_BYTES_MAX,
  RecordEncoding,
  ResultCode,
  Writer,
} from '../wire/index.ts';
import { Holdings, isInBuckets, isNoBucket } from './holdings.ts';
import type { Connection, InventoryEntry, ObjectStore, Reply } from './ports.ts';
import { resultError } from './results.ts';
import { ask, readReply } from './roles.ts';

/** A coordinator that takes in many inventories takes its time. */
const INVENTORY_TIMEOUT_MICROS: Micros = seconds(600);

/** Tells the coordinator what `store` holds, as far as it does not know. Rejects with what it answers. */
export async function sendInventory(
  connection: Connection,
  store: ObjectStore,
  signal: AbortSignal,
): Promise<void> {
  const holdings = new Holdings();
  const all = [...store.inventory()];
  for (const { hash } of all) holdings.toggle(hash);
  const { differs } = await ask(
    connection,
    QueryKind.DIGEST,
    { codec: digestQuery, message: { entries: all.length, digests: holdings.digests } },
    digestReply,
    'comparing what this node holds',
    { signal },
  );
  if (isNoBucket(differs)) return;
  const entries = all.filter(({ hash }) => isInBuckets(differs, hash));
  if (entries.length < all.length) mark('inventory-in-part');
  await sendEntries(connection, store, entries, differs, signal);
}

async function sendEntries(
  connection: Connection,
  store: ObjectStore,
  entries: readonly InventoryEntry[],
  buckets: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const pending = new Set(store.pending().map(({ hash }) => toHex(hash)));
  const call = connection.call(
    QueryKind.INVENTORY,
    encodeMessage(inventoryQuery, { entries: entries.length, buckets }),
    { sends: true, signal, timeoutMicros: INVENTORY_TIMEOUT_MICROS },
  );
  let refusal: Reply | undefined;
  call.reply.then(
    (reply) => {
      if (reply.code === ResultCode.OK) return;
      // Nobody reads on, and no credit would come.
      refusal = reply;
      call.send.reset(ResultCode.ABORTED);
    },
    () => undefined,
  );
  const perRecord = Math.floor(RECORD_BYTES_MAX / INVENTORY_ENTRY_BYTES);
  let at = 0;
  do {
    const page = entries.slice(at, at + perRecord);
    at += page.length;
    const payload = concatBytes(
      ...page.map(({ hash, bytes }) => {
        const writer = new Writer(new Uint8Array(INVENTORY_ENTRY_BYTES));
        writer.bytes(hash);
        writer.u48(bytes);
        writer.u8(pending.has(toHex(hash)) ? 1 : 0);
        return writer.buffer;
      }),
    );
    const record = {
      encoding: RecordEncoding.STORED,
      plainBytes: payload.length,
      dataLeft: (entries.length - at) * INVENTORY_ENTRY_BYTES,
      payload,
    };
    await call.send.write(record).catch((error: unknown) => {
      throw refusal === undefined ? error : resultError(refusal.code, 'sending the inventory');
    });
  } while (at < entries.length);
  readReply(await call.reply, emptyMessage, 'sending the inventory');
}
