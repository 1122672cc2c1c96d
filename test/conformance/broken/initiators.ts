/** Broken initiators: our own client, with one line changed each, for the runner's other role. */

import type { BrokenPeer } from './peers.ts';

export const brokenInitiators: readonly Omit<BrokenPeer, 'role'>[] = [
  {
    name: 'takes answers with a wrong MAC',
    caughtBy: 'HS-14',
    file: 'src/session/initiator.ts',
    find: 'return checkHelloMac(this.#options.suite, this.#options.keys.helloKey, signed, packet.mac);',
    replace: 'return signed.length > 0;',
  },
  {
    name: 'takes answers to others',
    caughtBy: 'HS-14',
    file: 'src/session/initiator.ts',
    find: 'if (packet.tag.high !== this.#tag.high || packet.tag.low !== this.#tag.low) return false;',
    replace: '',
  },
  {
    name: 'asks again and again',
    caughtBy: 'HS-18',
    file: 'src/session/limits.ts',
    find: 'export const HANDSHAKE_RETRY_MICROS: Micros = millis(100);',
    replace: 'export const HANDSHAKE_RETRY_MICROS: Micros = millis(5);',
  },
  {
    name: 'makes a new Noise message for each cookie',
    caughtBy: 'HS-21',
    file: 'src/session/initiator.ts',
    find: 'if (this.#clusterId === undefined || !equalBytes(this.#clusterId, clusterId)) {',
    replace: 'if (clusterId !== undefined) {',
  },
  {
    name: 'brings another cookie back',
    caughtBy: 'HS-12',
    file: 'src/session/initiator.ts',
    find: 'this.#cookie = cookie;',
    replace: 'this.#cookie = cookie.map((byte) => byte ^ 1);',
  },
  {
    name: 'goes on after REFUSED',
    caughtBy: 'HS-20',
    file: 'src/session/initiator.ts',
    find: "this.#outcome = { kind: 'refused', code: packet.code, retryMillis: packet.retryMillis };",
    replace: '',
  },
  {
    name: 'uses one key pair for ever',
    caughtBy: 'HS-1',
    file: 'src/session/initiator.ts',
    find: 'return this.#options.suite.keyPair(this.#options.entropy(EPHEMERAL_BYTES));',
    replace: 'return this.#options.suite.keyPair(new Uint8Array(EPHEMERAL_BYTES).fill(7));',
  },
  {
    name: 'begins its query ids elsewhere',
    caughtBy: 'QRY-1',
    file: 'src/session/queries.ts',
    find: 'this.#nextId = this.#parity;',
    replace: 'this.#nextId = this.#parity + 2;',
  },
  {
    name: 'says nothing to queries that it does not expect',
    caughtBy: 'QRY-9',
    file: 'src/udp/connection.ts',
    find: 'if (onQuery === undefined) return reply(ResultCode.UNSUPPORTED);',
    replace: 'if (onQuery === undefined) return;',
  },
];
