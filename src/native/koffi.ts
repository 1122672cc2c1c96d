/**
 * Calls into the C libraries of this machine, through `koffi`: an optional package, prebuilt, loaded
 * when first asked for. Where it is missing, or this is not Linux on a 64-bit little-endian machine,
 * there is none, and callers take the path that Node itself offers.
 *
 * What is called: `libc.ts` (sockets), `libcrypto.ts` (the OpenSSL inside the node program).
 */

import { createRequire } from 'node:module';
import { endianness } from 'node:os';

/** A C function: takes numbers, bigints, byte arrays (as pointers to their bytes) and null. */
export type NativeFunction = (
  ...parameters: readonly (number | bigint | ArrayBufferView | null)[]
) => number | bigint;

export interface NativeLibrary {
  /**
   * Binds a function by its C prototype. Throws when the library has none of that name. Pointers that
   * are returned are addresses: write them as `uintptr_t`.
   */
  func(prototype: string): NativeFunction;
}

export interface Koffi {
  /** A shared library by path; null is the running program with all that it has loaded. */
  load(path: string | null): NativeLibrary;
  /** Address of the first byte. It stays the same while the array buffer lives, for buffers outside the heap. */
  address(bytes: ArrayBufferView): bigint;
  /** The thread's `errno` after the last call. */
  errno(): number;
  readonly os: { readonly errno: Readonly<Record<string, number>> };
}

let loaded: Koffi | undefined;
let tried = false;

/** The package, or undefined where it can't be used. Loads it once. */
export function loadKoffi(): Koffi | undefined {
  if (tried) return loaded;
  tried = true;
  if (process.platform !== 'linux' || endianness() !== 'LE') return undefined;
  // Addresses are written into structures as 64-bit words.
  if (process.arch !== 'x64' && process.arch !== 'arm64') return undefined;
  try {
    loaded = createRequire(import.meta.url)('koffi') as Koffi;
  } catch {
    // Not installed, or not built for this machine.
  }
  return loaded;
}
