/** The values of section 2.9, computed anew: the first exchange of the handshake's vectors, with all that lies between. */

import { EXAMPLE } from './cases/handshake.ts';
import { ask, cookiePacket, signedPacket } from './handshake.ts';
import { bytesOf, hexOf, tagOf } from './json.ts';
import { clusterKeys, epochKeys, trafficSecret } from './keys.ts';
import { begin, readFirst, split, writeFirst, writeSecond } from './noise.ts';
import { agree, ascii, extract, join, publicKeyOf } from './primitives.ts';
import { sealPacket } from './sealing.ts';

const BYTES_A_LINE = 32;
const PING = Uint8Array.of(1);

/** Names and values, in the order of the page. */
export function workedExample(): readonly (readonly [string, Uint8Array])[] {
  const secret = bytesOf(EXAMPLE.clusterSecret);
  const [initiatorKey, responderKey] = [bytesOf(EXAMPLE.initiatorKey), bytesOf(EXAMPLE.responderKey)];
  const [tag, responderTag] = [tagOf(EXAMPLE.initiatorTag), tagOf(EXAMPLE.responderTag)];
  const [cookie, clusterId] = [bytesOf(EXAMPLE.cookie), bytesOf(EXAMPLE.clusterId)];
  const { secretId, psk, helloKey } = clusterKeys(secret);
  const prologue = join(ascii('GRML'), [1], clusterId);
  const initiator = begin(prologue, psk, initiatorKey);
  const responder = begin(prologue, psk, responderKey);
  const afterPsk = { h: initiator.h, ck: initiator.ck };
  const first = writeFirst(initiator, EXAMPLE.initiatorPayload);
  readFirst(responder, first);
  const afterFirst = initiator.h;
  const second = writeSecond(responder, EXAMPLE.responderPayload)!;
  const keys = split(responder);
  const traffic = {
    initiator: trafficSecret(responder.h, keys.initiator),
    responder: trafficSecret(responder.h, keys.responder),
  };
  const version = 1;
  const hello = signedPacket(secret, { type: 1, version, secretId, tag, cookie, noise: first });
  const values: [string, Uint8Array][] = [
    ['cluster secret', secret],
    ['root', extract(ascii('gramline cluster v1'), secret)],
    ['secret id', secretId],
    ['psk', psk],
    ['hello key', helloKey],
    ['initiator tag', bytesOf(EXAMPLE.initiatorTag)],
    ['HELLO without a cookie', ask(secret, tag)],
    ['cookie', cookie],
    ['cluster id', clusterId],
    ['COOKIE', cookiePacket(secret, tag, cookie, clusterId)],
    ['prologue', prologue],
    ['h after psk', afterPsk.h],
    ['ck after psk', afterPsk.ck],
    ["initiator's private key", initiatorKey],
    ["initiator's public key", publicKeyOf(initiatorKey)],
    ["initiator's parameters", EXAMPLE.initiatorPayload],
    ['Noise message 1', first],
    ['h after message 1', afterFirst],
    ['HELLO with the cookie', hello],
    ["responder's private key", responderKey],
    ["responder's public key", publicKeyOf(responderKey)],
    ['ee', agree(initiatorKey, publicKeyOf(responderKey))!],
    ["responder's parameters", EXAMPLE.responderPayload],
    ['Noise message 2', second],
    ['WELCOME', signedPacket(secret, { type: 3, tag, noise: second })],
    ['handshake hash', responder.h],
  ];
  for (const role of ['initiator', 'responder'] as const) {
    const { controlKey, recordKey } = epochKeys(traffic[role], 0);
    values.push(
      [`split key of the ${role}`, keys[role]],
      [`traffic secret of the ${role}`, traffic[role]],
      [`control key of the ${role}`, controlKey],
      [`record key of the ${role}`, recordKey],
    );
  }
  values.push(["initiator's PING, number 0", sealPacket(traffic.initiator, 0, responderTag, 0, PING)]);
  return values;
}

/** The same as lines of the page. */
export function exampleText(): string {
  const values = workedExample();
  const width = Math.max(...values.map(([name]) => name.length)) + 2;
  return values
    .flatMap(([name, value]) => {
      const lines: string[] = [];
      for (let at = 0; at < value.length; at += BYTES_A_LINE) {
        lines.push((at === 0 ? name : '').padEnd(width) + hexOf(value.slice(at, at + BYTES_A_LINE)));
      }
      return lines;
    })
    .join('\n');
}
