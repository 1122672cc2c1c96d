/** What the cases of the front port are made of: datagrams that must be passed over without a word, and cookies. */

import { toHex } from '../../src/base/bytes.ts';
import { PacketType } from '../../src/wire/index.ts';
import type { CaseText, WireContext } from '../case.ts';
import { CaseFailure, expectThat } from '../expectations.ts';
import { frontAnswer, helloBytes, nameOf, type RawInitiator, randomTag } from '../handshake.ts';

/** A cookie lives 5 s [COOKIE-2]; after a little more it is surely too old. */
export const COOKIE_DEAD_MILLIS = 5_600;
export const HAS_COOKIE = 1;
export const WAITS_MILLIS = [300, 600, 1_200, 2_400];

export type Made = readonly Uint8Array[] | Promise<readonly Uint8Array[]>;

/** A case of datagrams that a front port must pass over without a word. */
export function silent(
  title: string,
  clauses: readonly string[],
  make: (initiator: RawInitiator, context: WireContext) => Made,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const initiator = await context.initiator();
    const datagrams = await make(initiator, context);
    await expectSilence(context, initiator, datagrams, clauses[0]!);
  };
  return { title, clauses, run };
}

/**
 * Sends what must not be answered, and then a HELLO under another tag that must be, from the same port: whatever
 * comes before that one's answer is an answer too many.
 */
export async function expectSilence(
  context: WireContext,
  { port, front }: RawInitiator,
  datagrams: readonly Uint8Array[],
  clause: string,
): Promise<void> {
  const tag = randomTag();
  for (const bytes of datagrams) port.send(bytes, front);
  for (const wait of WAITS_MILLIS) {
    port.send(helloBytes(context.target, { tag }), front);
    const datagram = await port.receive(wait);
    if (datagram === undefined) continue;
    if (frontAnswer(context.target, tag, datagram.bytes) !== undefined) return;
    const { bytes } = datagram;
    throw new CaseFailure('no answer', `${bytes.length} bytes: ${toHex(bytes.subarray(0, 12))}...`, clause);
  }
  throw new CaseFailure('COOKIE to a HELLO that is right', 'no answer', 'HS-11');
}

/** A HELLO with a cookie that holds, and Noise message 1; `change` makes it wrong. */
export async function proven(
  initiator: RawInitiator,
  make: (cookie: Uint8Array, clusterId: Uint8Array) => Uint8Array,
): Promise<Uint8Array[]> {
  const { cookie, clusterId } = await initiator.cookie();
  return [make(cookie, clusterId)];
}

export function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 0x40;
  return copy;
}

/** Asks with a cookie that does not count: a COOKIE must come back, and nothing else. */
export async function expectCookie(
  initiator: RawInitiator,
  hello: Uint8Array,
  clause: string,
): Promise<void> {
  const answer = await initiator.ask(hello, PacketType.COOKIE);
  expectThat(answer?.type === PacketType.COOKIE, 'a new COOKIE', nameOf(answer), clause);
}
