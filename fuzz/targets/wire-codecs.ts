/** The codecs of `src/wire` by the name of their message. */

import { MESSAGES, type MessageName } from '../../spec/reference/messages.ts';
import * as wire from '../../src/wire/index.ts';

const EXPORTED = new Map<string, unknown>(Object.entries(wire));

/** All messages of the protocol, sorted. */
export const MESSAGE_NAMES: readonly MessageName[] = (Object.keys(MESSAGES) as MessageName[]).sort();

export function codecOf(name: MessageName): wire.Codec<unknown> {
  return EXPORTED.get(name) as wire.Codec<unknown>;
}

export function isMessageName(name: string): name is MessageName {
  return Object.hasOwn(MESSAGES, name);
}
