/** Reads all entries of a state in etcd, page by page, as they were at one revision. */

import { MIB } from '../base/units.ts';
import type { AskOptions, EtcdClient } from './etcd-client.ts';
import { decodeRange, type EtcdKeys, encodeRange } from './etcd-messages.ts';
import { keyBehind } from './state-mirror.ts';

/** Entries of the first page; pages grow while they are small. */
const PAGE_ENTRIES_FIRST = 64;
/** Most entries of a page. etcd counts all that follow for each one, so few large pages are best. */
const PAGE_ENTRIES_MAX = 16_384;
/** A page this large is followed by a smaller one, bytes of keys and values. */
const PAGE_BYTES_MAX = 4 * MIB;
/** A page that is slow may be large: the next endpoint is asked late. */
const PAGE_LIMITS: AskOptions = { millis: 20_000, nextMillis: 5_000 };

export interface StatePage {
  readonly revision: number;
  readonly entries: readonly (readonly [Uint8Array, Uint8Array])[];
  /** All entries from here to `end` are in the page. */
  readonly start: Uint8Array;
  /** Where the next page starts; undefined behind the last. */
  readonly end: Uint8Array | undefined;
}

/** @throws what the client throws; EtcdRefusal when the revision is compacted away meanwhile */
export async function* readPages(client: EtcdClient, keys: EtcdKeys): AsyncGenerator<StatePage> {
  let revision: number | undefined;
  let start: Uint8Array = new Uint8Array();
  for (let limit = PAGE_ENTRIES_FIRST; ; ) {
    const answer = await client.ask('/v3/kv/range', encodeRange(keys, start, limit, revision), PAGE_LIMITS);
    const { entries, more, revision: now } = decodeRange(keys, answer);
    revision ??= now;
    const end = more ? keyBehind(entries.at(-1)![0]) : undefined;
    yield { revision, entries, start, end };
    if (end === undefined) return;
    start = end;
    const bytes = entries.reduce((total, [key, value]) => total + key.length + value.length, 0);
    limit = bytes > PAGE_BYTES_MAX / 2 ? Math.ceil(limit / 2) : Math.min(PAGE_ENTRIES_MAX, limit * 2);
  }
}
