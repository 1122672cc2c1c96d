/** Reads what stands on the command line; whatever it refuses is wrong usage. */

import { tryParseAddress } from '../base/address.ts';
import { REPLICAS_MAX } from '../wire/index.ts';
import { UsageError } from './failures.ts';

/** What a length field of the protocol can say. */
const SIZE_MAX = 2 ** 48 - 1;
const SIZE_PATTERN = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i;
const SIZE_FACTORS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['k', 1e3],
  ['kb', 1e3],
  ['m', 1e6],
  ['mb', 1e6],
  ['g', 1e9],
  ['gb', 1e9],
  ['t', 1e12],
  ['tb', 1e12],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40],
]);

/** Bytes of `120`, `10GB` or `1.5GiB`, rounded up. */
export function parseSize(text: string): number {
  const match = SIZE_PATTERN.exec(text);
  const factor = SIZE_FACTORS.get(match?.[2]?.toLowerCase() ?? 'none');
  if (match === null || factor === undefined) {
    throw new UsageError(`'${text}' is no size: write bytes, or a number with kB, MB, GB, KiB, MiB or GiB`);
  }
  const bytes = Math.ceil(Number(match[1]) * factor);
  if (bytes > SIZE_MAX) throw new UsageError(`${text} is too large: at most ${SIZE_MAX} bytes`);
  return bytes;
}

/** A hash in lower case. */
export function parseHashArgument(text: string): string {
  if (!/^[0-9a-fA-F]{64}$/.test(text)) {
    throw new UsageError(`'${text}' is no hash: it has 64 hex digits (SHA-256)`);
  }
  return text.toLowerCase();
}

export function parseAddressArgument(text: string): string {
  if (tryParseAddress(text) === undefined) {
    throw new UsageError(`'${text}' is no address: write HOST:PORT, such as 10.0.0.5:7400`);
  }
  return text;
}

/** Addresses with commas between them. */
export function parseCoordinators(text: string): readonly string[] {
  const addresses = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (addresses.length === 0) throw new UsageError('name at least one coordinator, as HOST:PORT');
  return addresses.map(parseAddressArgument);
}

export function parseReplicas(text: string): number {
  return parseCount(text, '--replicas', REPLICAS_MAX);
}

/** The whole number from 1 to `max` that stands behind `option`. */
export function parseCount(text: string, option: string, max: number): number {
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > max) throw new UsageError(`${option} ${text}: write a number from 1 to ${max}`);
  return count;
}

/** The seconds, from `min` to `max`, that stand behind `option`. */
export function parseSeconds(text: string, option: string, min: number, max: number): number {
  const seconds = /^\d{1,9}(?:\.\d{1,3})?$/.test(text) ? Number(text) : -1;
  if (seconds >= min && seconds <= max) return seconds;
  throw new UsageError(`${option} ${text}: write seconds, ${min} to ${max}`);
}
