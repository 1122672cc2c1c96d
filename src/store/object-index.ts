/** What an object store holds, in memory: sizes and markers by hash. */

import { fromHex } from '../base/bytes.ts';
import type { InventoryEntry, PendingObject } from '../nodes/ports.ts';
import type { Marker } from './store-directory.ts';

/** The visible objects. Whoever adds keeps it below its maximum. */
export class ObjectIndex {
  /** Payload bytes by key: a string of one character a byte, half the size of hex. */
  readonly #bytes = new Map<string, number>();
  /** A subset of the objects. */
  readonly #markers = new Map<string, Marker>();

  get size(): number {
    return this.#bytes.size;
  }

  get pendingCount(): number {
    return this.#markers.size;
  }

  has(hash: Uint8Array): boolean {
    return this.#bytes.has(keyOf(hash));
  }

  hasName(name: string): boolean {
    return this.has(fromHex(name) ?? new Uint8Array());
  }

  /** Payload bytes of an object, or undefined. */
  bytesOf(hash: Uint8Array): number | undefined {
    return this.#bytes.get(keyOf(hash));
  }

  isPending(hash: Uint8Array): boolean {
    return this.#markers.has(keyOf(hash));
  }

  add(hash: Uint8Array, bytes: number): void {
    this.#bytes.set(keyOf(hash), bytes);
  }

  setMarker(hash: Uint8Array, marker: Marker): void {
    this.#markers.set(keyOf(hash), marker);
  }

  dropMarker(hash: Uint8Array): void {
    this.#markers.delete(keyOf(hash));
  }

  delete(hash: Uint8Array): void {
    this.#bytes.delete(keyOf(hash));
    this.#markers.delete(keyOf(hash));
  }

  *inventory(): Iterable<InventoryEntry> {
    for (const [key, bytes] of this.#bytes) yield { hash: hashOf(key), bytes };
  }

  pending(): readonly PendingObject[] {
    return Array.from(this.#markers, ([key, { token, storedMillis }]) => ({
      token: token.slice(),
      hash: hashOf(key),
      storedMillis,
    }));
  }
}

function keyOf(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.length).toString('latin1');
}

function hashOf(key: string): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'latin1'));
}
