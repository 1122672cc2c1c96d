/** Section 2.9: the values of the page are those of the reference, and our own code comes to the same ones. */

import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { answer } from '../../../conformance/subject.ts';
import { hexOf } from '../../../spec/reference/json.ts';
import { exampleText, workedExample } from '../../../spec/reference/worked-example.ts';
import { SymmetricState } from '../../../src/crypto/index.ts';
import { nodeSuite } from '../../../src/crypto/node-suite.ts';

const PAGE = readFileSync(new URL('../../../spec/02-handshake.md', import.meta.url), 'utf8');
const values = new Map(workedExample());
const hex = (name: string): string => hexOf(values.get(name)!);

function ours(op: string, request: object): Record<string, unknown> {
  const reply = answer({ id: 0, op, ...request });
  expect(reply).toHaveProperty('ok');
  return (reply as { ok: Record<string, unknown> }).ok;
}

describe('the worked example of the handshake', () => {
  it('stands in the page as the reference computes it', () => {
    expect(PAGE).toContain(`\`\`\`text\n${exampleText()}\n\`\`\`\n`);
  });

  it('has the keys and packets that our code makes', () => {
    const clusterSecret = hex('cluster secret');
    const initiatorTag = hex('initiator tag');
    const keys = ours('key.cluster', { clusterSecret });
    expect(keys).toEqual({ secretId: hex('secret id'), psk: hex('psk'), helloKey: hex('hello key') });
    const packets = {
      'HELLO without a cookie': ours('handshake.ask', { clusterSecret, initiatorTag }),
      COOKIE: ours('handshake.cookie', {
        clusterSecret,
        initiatorTag,
        cookie: hex('cookie'),
        clusterId: hex('cluster id'),
      }),
      "initiator's PING, number 0": ours('sealed.seal', {
        trafficSecret: hex('traffic secret of the initiator'),
        epoch: 0,
        receiverTag: 'a1a2a3a4a5a6a7a8',
        packetNumber: 0,
        plaintext: '01',
      }),
    };
    for (const [name, { packet }] of Object.entries(packets))
      expect([name, packet]).toEqual([name, hex(name)]);
  });

  it('has the states that our Noise goes through', () => {
    const state = new SymmetricState(nodeSuite, 'Noise_NNpsk0_25519_AESGCM_SHA256');
    state.mixHash(values.get('prologue')!);
    state.mixKeyAndHash(values.get('psk')!);
    expect(hexOf(state.getHandshakeHash())).toBe(hex('h after psk'));
    const initiator = nodeSuite.keyPair(values.get("initiator's private key")!);
    const responder = nodeSuite.keyPair(values.get("responder's private key")!);
    expect(hexOf(initiator.publicKey)).toBe(hex("initiator's public key"));
    expect(hexOf(responder.publicKey)).toBe(hex("responder's public key"));
    const ee = nodeSuite.dh(initiator, responder.publicKey)!;
    expect(hexOf(ee)).toBe(hex('ee'));
    state.mixHash(initiator.publicKey);
    state.mixKey(initiator.publicKey);
    state.encryptAndHash(values.get("initiator's parameters")!);
    expect(hexOf(state.getHandshakeHash())).toBe(hex('h after message 1'));
    state.mixHash(responder.publicKey);
    state.mixKey(responder.publicKey);
    state.mixKey(ee);
    state.encryptAndHash(values.get("responder's parameters")!);
    expect(hexOf(state.getHandshakeHash())).toBe(hex('handshake hash'));
    const keys = state.split();
    for (const role of ['initiator', 'responder'] as const) {
      expect(hexOf(keys[role])).toBe(hex(`split key of the ${role}`));
      const traffic = ours('key.traffic', {
        handshakeHash: hex('handshake hash'),
        splitKey: hexOf(keys[role]),
      });
      expect(traffic.trafficSecret).toBe(hex(`traffic secret of the ${role}`));
      expect(ours('key.epoch', { trafficSecret: traffic.trafficSecret, epoch: 0 })).toMatchObject({
        controlKey: hex(`control key of the ${role}`),
        recordKey: hex(`record key of the ${role}`),
      });
    }
  });
});
