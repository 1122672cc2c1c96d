/**
 * Stateless cookies: proof that an initiator receives at the address it claims, before any memory or
 * key agreement is spent on it.
 *
 * A cookie is 8 bytes of time and 16 bytes of MAC over time, address, port and context, under a secret
 * that only this process knows and that rotates. `session/` sends and checks them. Left out: single
 * use; a cookie may come back several times within its life.
 */

import { assert } from '../base/assert.ts';
import { equalBytesConstantTime, utf8 } from '../base/bytes.ts';
import { type Micros, millis, seconds } from '../base/units.ts';
import { HASH_BYTES, type Suite } from './suite.ts';
import { readUint64, writeUint32, writeUint64 } from './uint64.ts';

const TIME_BYTES = 8;
const MAC_BYTES = 16;
export const COOKIE_BYTES = TIME_BYTES + MAC_BYTES;
export const COOKIE_LIFETIME_MICROS: Micros = millis(5000);
export const COOKIE_ROTATE_MICROS: Micros = seconds(60);

const SECRET_BYTES = HASH_BYTES;
const PORT_MAX = 65_535;
const DOMAIN = utf8('gramline cookie v1');

export interface CookieJarOptions {
  /** The first secret: 32 random bytes, copied. */
  readonly secret: Uint8Array;
  /** Gives that many random bytes, for the secrets that follow. */
  readonly entropy: (bytes: number) => Uint8Array;
  /** How long a secret makes cookies. No shorter than the lifetime [COOKIE-3]. Default 60 s. */
  readonly rotateMicros?: Micros;
  /** How long a cookie is accepted. Default 5 s. */
  readonly lifetimeMicros?: Micros;
}

/** Makes and checks the cookies of one front port. */
export class CookieJar {
  readonly #suite: Suite;
  readonly #entropy: (bytes: number) => Uint8Array;
  readonly #rotateMicros: number;
  readonly #lifetimeMicros: number;
  #current: Uint8Array;
  #previous: Uint8Array | undefined;
  /** When the current secret came into use; `undefined` before the first call. */
  #rotatedAt: number | undefined;

  constructor(suite: Suite, options: CookieJarOptions) {
    this.#suite = suite;
    this.#entropy = options.entropy;
    this.#rotateMicros = options.rotateMicros ?? COOKIE_ROTATE_MICROS;
    this.#lifetimeMicros = options.lifetimeMicros ?? COOKIE_LIFETIME_MICROS;
    assert(options.secret.length === SECRET_BYTES, 'a cookie secret has 32 bytes');
    assert(this.#lifetimeMicros > 0, 'a cookie lives for some time');
    assert(this.#rotateMicros >= this.#lifetimeMicros, 'a cookie must not outlive two secrets'); // [COOKIE-3]
    this.#current = new Uint8Array(options.secret);
  }

  /**
   * A new cookie of {@link COOKIE_BYTES} for the initiator at `address` and `port`.
   *
   * @param now A non-negative time that never runs back, on the clock that {@link check} gets too.
   * @param context What else the cookie is bound to, such as the random bytes of `HELLO`. Borrowed.
   */
  make(now: Micros, address: string, port: number, context: Uint8Array): Uint8Array {
    this.#rotate(now);
    const cookie = new Uint8Array(COOKIE_BYTES);
    writeUint64(cookie, 0, now);
    cookie.set(this.#mac(this.#current, cookie, address, port, context), TIME_BYTES);
    return cookie;
  }

  /** Whether `cookie`, hostile bytes of any length, was made here for these values and still lives. */
  check(now: Micros, address: string, port: number, context: Uint8Array, cookie: Uint8Array): boolean {
    const rotatedAt = this.#rotate(now);
    if (cookie.length !== COOKIE_BYTES) return false; // [COOKIE-1]
    const madeAt = readUint64(cookie, 0);
    if (madeAt > now) return false; // [COOKIE-2]
    if (now - madeAt > this.#lifetimeMicros) return false; // [COOKIE-2]
    // The time says which secret made it, so a flood of forgeries costs one MAC each, not two.
    const secret = madeAt >= rotatedAt ? this.#current : this.#previous;
    if (secret === undefined) return false;
    const mac = this.#mac(secret, cookie, address, port, context);
    return equalBytesConstantTime(mac, cookie.subarray(TIME_BYTES)); // [COOKIE-1]
  }

  /** Brings a new secret into use when it is time, and returns since when the current one is. */
  #rotate(now: number): number {
    assert(Number.isSafeInteger(now) && now >= 0, 'a time is a non-negative safe integer');
    if (this.#rotatedAt === undefined) {
      this.#rotatedAt = now;
    } else if (now - this.#rotatedAt >= this.#rotateMicros) {
      this.#previous?.fill(0);
      this.#previous = this.#current;
      this.#current = new Uint8Array(this.#entropy(SECRET_BYTES));
      assert(this.#current.length === SECRET_BYTES, 'entropy gave another number of bytes');
      this.#rotatedAt = now;
    }
    return this.#rotatedAt;
  }

  /** The MAC of the cookie's time and the rest. Each part of varying length follows its length [COOKIE-4]. */
  #mac(
    secret: Uint8Array,
    cookie: Uint8Array,
    address: string,
    port: number,
    context: Uint8Array,
  ): Uint8Array {
    assert(Number.isInteger(port) && port >= 0 && port <= PORT_MAX, 'a port is 0 to 65,535');
    const addressBytes = utf8(address);
    const fixed = new Uint8Array(TIME_BYTES + 12);
    fixed.set(cookie.subarray(0, TIME_BYTES));
    writeUint32(fixed, TIME_BYTES, port);
    writeUint32(fixed, TIME_BYTES + 4, addressBytes.length);
    writeUint32(fixed, TIME_BYTES + 8, context.length);
    return this.#suite.hmacSha256(secret, DOMAIN, fixed, addressBytes, context).subarray(0, MAC_BYTES);
  }
}
