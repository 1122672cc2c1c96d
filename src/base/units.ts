/** Branded numbers: values of different meaning that must not be mixed. */

declare const brand: unique symbol;
type Brand<Name extends string> = { readonly [brand]: Name };

/** Microseconds on a monotonic clock with an arbitrary origin, or a span of them. A safe integer. */
export type Micros = number & Brand<'Micros'>;

/** A packet number of one packet-number space of one direction: 0 to 2^48 - 1. */
export type PacketNumber = number & Brand<'PacketNumber'>;

/** Reads a plain number as microseconds. */
export function micros(value: number): Micros {
  return value as Micros;
}

/** Whole milliseconds as microseconds. */
export function millis(value: number): Micros {
  return (value * 1000) as Micros;
}

/** Seconds as microseconds. */
export function seconds(value: number): Micros {
  return (value * 1_000_000) as Micros;
}

export const KIB = 1024;
export const MIB = 1024 * 1024;
