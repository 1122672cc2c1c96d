/** What the codecs of messages share: lists, texts, flags, locations. */

import { assert } from '../base/assert.ts';
import { NODE_ID_BYTES } from './constants.ts';
import type { Reader } from './reader.ts';
import { text8Size, Writer } from './writer.ts';

/** How one message becomes bytes and back. */
export interface Codec<Message> {
  size(message: Message): number;
  encode(message: Message, writer: Writer): void;
  decode(reader: Reader): Message;
}

/** Most replicas of one object, and most locations in one reply [DEFS-6]. */
export const REPLICAS_MAX = 8;
/** Most bytes of an address `host:port` or of a node's name, as UTF-8 [MSG-4]. */
export const ADDRESS_BYTES_MAX = 80;

export interface Location {
  readonly nodeId: Uint8Array;
  /** `host:port` of the node's front port. */
  readonly address: string;
}

export function encodeList<Item>(
  items: readonly Item[],
  max: number,
  writer: Writer,
  encode: (item: Item) => void,
): void {
  assert(items.length <= max, 'list too long');
  writer.u8(items.length);
  for (const item of items) encode(item);
}

/** A list behind a one-byte count, of at most `max` items [MSG-7]. */
export function decodeList<Item>(reader: Reader, max: number, decode: () => Item): Item[] {
  const count = reader.u8();
  if (count > max) reader.refuse('range');
  const items: Item[] = [];
  for (let index = 0; index < count && reader.failure === undefined; index++) items.push(decode());
  return items;
}

export function locationsSize(locations: readonly Location[]): number {
  return locations.reduce((sum, location) => sum + NODE_ID_BYTES + text8Size(location.address), 1);
}

/** The bytes of one location as it stands in a list, newly allocated. */
export function encodeLocation(location: Location): Uint8Array {
  const bytes = new Uint8Array(locationsSize([location]) - 1);
  const writer = new Writer(bytes);
  writer.fixed(location.nodeId, NODE_ID_BYTES);
  encodeAddress(location.address, writer);
  return bytes;
}

export function encodeLocations(
  locations: readonly Location[],
  writer: Writer,
  max: number = REPLICAS_MAX,
): void {
  encodeList(locations, max, writer, (location) => {
    writer.fixed(location.nodeId, NODE_ID_BYTES);
    encodeAddress(location.address, writer);
  });
}

export function decodeLocations(reader: Reader, max: number = REPLICAS_MAX): Location[] {
  return decodeList(reader, max, () => ({
    nodeId: reader.bytes(NODE_ID_BYTES),
    address: address(reader),
  }));
}

export function encodeAddress(text: string, writer: Writer): void {
  assert(text8Size(text) <= ADDRESS_BYTES_MAX + 1, 'name or address too long');
  writer.text8(text);
}

export function address(reader: Reader): string {
  const start = reader.at;
  const text = reader.text8();
  if (reader.failure === undefined && reader.at - start - 1 > ADDRESS_BYTES_MAX) reader.refuse('length');
  return text;
}

/** A byte that is 0 or 1 [MSG-3]. */
export function flag(reader: Reader): boolean {
  const value = reader.u8();
  if (value > 1) reader.refuse('range');
  return value === 1;
}

export function encodeOneOf(value: number, names: Readonly<Record<string, number>>, writer: Writer): void {
  assert(Object.values(names).includes(value), 'a number without a name');
  writer.u8(value);
}

/** A byte that is one of the named numbers [MSG-3]. */
export function oneOf<Names extends Record<string, number>>(
  reader: Reader,
  names: Names,
): Names[keyof Names] {
  const value = reader.u8();
  if (!Object.values(names).includes(value)) reader.refuse('unknown');
  return value as Names[keyof Names];
}
