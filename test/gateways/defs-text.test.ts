import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex, utf8 } from '../../src/base/bytes.ts';
import { KIB } from '../../src/base/units.ts';
import {
  DefsTextGateway,
  parseDefsTextRequest,
  REPLIES_UNSENT_MAX,
  REQUEST_BYTES_MAX,
} from '../../src/gateways/defs-text.ts';
import type { Placement } from '../../src/nodes/leader-term.ts';
import { RESERVATION_LEASE_MICROS } from '../../src/nodes/reservations.ts';
import type { DatagramHost, DatagramSocketOptions } from '../../src/udp/host.ts';
import { plainHost } from '../../src/udp/sockets.ts';
import { SILENT } from '../support/transport.ts';
import { NODE_IP, openTextCluster } from './support.ts';

const SEED = 7403;
const NO_HASH = 'ab'.repeat(32);

describe('the exchanges of the seed', () => {
  it('answers as the seed writes them, with not found as 3 [TXT-5]', async () => {
    await using cluster = await openTextCluster(SEED, 1_000 * KIB);
    const { hash } = await cluster.settle(cluster.client.put(utf8('an object')));
    expect(await cluster.ask([`1 ${hash}`])).toEqual([`0 ${NODE_IP}`]);
    expect(await cluster.ask(['1 1def4334adsdhkj3'])).toEqual(['3']);
    expect(await cluster.ask(['0 120'])).toEqual([`0 ${NODE_IP}`]);
    expect(await cluster.ask(['0 120000'])).toEqual(['2']);
  });

  it('answers 3 for a whole hash that nothing has, and 1 only for a conflict [TXT-3] [DEFS-3]', async () => {
    await using cluster = await openTextCluster(SEED, 1_000 * KIB);
    const { hash } = await cluster.settle(cluster.client.put(utf8('an object')));
    expect(await cluster.ask([`1 ${NO_HASH}`])).toEqual(['3']);
    expect(await cluster.ask([`0 ${hash} 120`, `0 ${hash.toUpperCase()} 120`])).toEqual(['1', '1']);
    expect(cluster.coordinator.reservations, 'a conflict reserves nothing').toBe(0);
    expect(await cluster.ask([`0 ${NO_HASH} 120`, '0 1def4334adsdhkj3 120'])).toEqual([
      `0 ${NODE_IP}`,
      `0 ${NODE_IP}`,
    ]);
  });

  it('forgets an object that was removed', async () => {
    await using cluster = await openTextCluster(SEED, 1_000 * KIB);
    const { hash } = await cluster.settle(cluster.client.put(utf8('an object')));
    await cluster.settle(cluster.client.rm(hash));
    expect(await cluster.ask([`1 ${hash}`])).toEqual(['3']);
  });
});

describe('reservations through the gateway', () => {
  it('grants exactly 100 of 1,000 concurrent requests where 100 fit, and answers 2 to the rest', async () => {
    await using cluster = await openTextCluster(SEED, 100 * 64 * KIB);
    const replies = await cluster.ask(Array.from({ length: 1_000 }, () => '0 64'));
    expect(replies.filter((reply) => reply === `0 ${NODE_IP}`)).toHaveLength(100);
    expect(replies.filter((reply) => reply === '2')).toHaveLength(900);
    expect(cluster.coordinator.reservations).toBe(100);
  });

  it('gives unclaimed space back when its lease ends, not before [TXT-7]', async () => {
    await using cluster = await openTextCluster(SEED, 64 * KIB);
    expect(await cluster.ask(['0 64'])).toEqual([`0 ${NODE_IP}`]);
    await cluster.pass(RESERVATION_LEASE_MICROS - 1_000_000);
    expect(await cluster.ask(['0 64'])).toEqual(['2']);
    await cluster.pass(2_500_000);
    expect(cluster.coordinator.reservations).toBe(0);
    expect(await cluster.ask(['0 64'])).toEqual([`0 ${NODE_IP}`]);
  });

  it('counts sizes in KiB [DEFS-7]', async () => {
    await using cluster = await openTextCluster(SEED, 64 * KIB);
    expect(await cluster.ask(['0 65'])).toEqual(['2']);
    expect(await cluster.ask(['0 64'])).toEqual([`0 ${NODE_IP}`]);
  });
});

describe('what the gateway accepts', () => {
  it('reads the three requests, with or without a line end', () => {
    const whereTo = { kind: 'where-to', name: undefined, sizeKib: 120 };
    for (const text of ['0 120', '0 120\n', '0 120\r\n', '0 0120']) {
      expect(parseDefsTextRequest(utf8(text)), JSON.stringify(text)).toEqual(whereTo);
    }
    expect(parseDefsTextRequest(utf8('0 Ab9 120'))).toEqual({ kind: 'where-to', name: 'Ab9', sizeKib: 120 });
    expect(parseDefsTextRequest(utf8(`1 ${NO_HASH}`))).toEqual({ kind: 'where-is', name: NO_HASH });
    expect(parseDefsTextRequest(utf8('1 7'))).toEqual({ kind: 'where-is', name: '7' });
  });

  it('refuses everything else [TXT-2]', () => {
    const others = [
      '',
      '0',
      '1',
      '0 ',
      '0  120',
      ' 0 120',
      '0 120 ',
      '0 -1',
      '0 1.5',
      '0 1e3',
      '0 0x10',
      '0 a',
      '0 a b',
      '0 a 1 2',
    ];
    others.push(
      '1  a',
      '1 a ',
      '1 a b',
      '1 ä',
      '2 a',
      '00 120',
      '0\t120',
      '0 120\n\n',
      '0 120\0',
      `1 ${'a'.repeat(65)}`,
      '1 a-b',
    );
    for (const text of others) expect(parseDefsTextRequest(utf8(text)), JSON.stringify(text)).toBeUndefined();
  });

  it('takes a request of the most bytes, and none of one more [TXT-1]', () => {
    const longest = `0 ${'0'.repeat(REQUEST_BYTES_MAX - 3)}7`;
    expect(parseDefsTextRequest(utf8(longest))).toMatchObject({ sizeKib: 7 });
    expect(parseDefsTextRequest(utf8(`${longest}7`))).toBeUndefined();
  });

  it('answers 2 to sizes beyond all numbers', async () => {
    await using cluster = await openTextCluster(SEED, 64 * KIB);
    const sizes = [2 ** 38, 2 ** 53, '9'.repeat(200)];
    expect(await cluster.ask(sizes.map((size) => `0 ${size}`))).toEqual(['2', '2', '2']);
  });

  it('neither throws nor answers, whatever bytes come [TXT-2]', async () => {
    await using cluster = await openTextCluster(SEED, 64 * KIB);
    const texts = ['0 120', `1 ${NO_HASH}`, '0 abc 120'].map(utf8);
    const mutant = fc
      .tuple(
        fc.constantFrom(...texts),
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      )
      .map(([text, changes]) => {
        const bytes = text.slice();
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes;
      });
    const hostile = fc.sample(fc.oneof(fc.uint8Array({ maxLength: 1_400 }), mutant), {
      numRuns: 3_000,
      seed: SEED,
    });
    const before = cluster.gateway.counts;
    const replies = await cluster.ask(hostile);
    const after = cluster.gateway.counts;
    expect(after.requests - before.requests).toBe(hostile.length);
    for (const [index, bytes] of hostile.entries()) {
      const isRequest = parseDefsTextRequest(bytes) !== undefined;
      expect(replies[index] !== undefined, `seed ${SEED}, bytes ${toHex(bytes)}`).toBe(isRequest);
      if (isRequest) expect(replies[index]).toMatch(/^(?:0 10\.10\.10\.1|2|3)$/);
    }
    expect(after.replies + after.malformed).toBe(after.requests);
    expect(after.malformed).toBeGreaterThan(1_000);
  });
});

describe('the gateway on its own', () => {
  const entropy = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0 };
  const resolve = async (host: string): Promise<string> => host;

  /** A gateway whose coordinator answers as told, on a host that the test plays. */
  async function openAlone(placement: Placement, address = '10.0.0.7:7500') {
    let options: DatagramSocketOptions | undefined;
    const sent: { text: string; onSent: (() => void) | undefined }[] = [];
    const host: DatagramHost = {
      offload: false,
      async open(opened) {
        options = opened;
        return {
          host: opened.host,
          port: 7403,
          connect: async () => undefined,
          send: (buffer, bytes, _segment, _to, onSent) => {
            sent.push({ text: new TextDecoder().decode(buffer.subarray(0, bytes)), onSent });
          },
          close: async () => undefined,
        };
      },
    };
    const warnings: string[] = [];
    const gateway = await DefsTextGateway.open({
      host,
      entropy,
      resolve,
      listen: '10.0.0.1:7403',
      log: { ...SILENT, warn: (message) => warnings.push(message) },
      coordinator: {
        whereTo: () => placement,
        whereIs: () => ({ bytes: 1, replicas: 1, locations: [{ nodeId: new Uint8Array(16), address }] }),
      },
    });
    return {
      gateway,
      sent,
      warnings,
      receive: (text: string) => options!.onDatagram(utf8(text), '10.0.0.2', 5_000),
    };
  }

  it('names a node without its port, IPv6 without brackets', async () => {
    for (const [address, host] of [
      ['10.0.0.7:7500', '10.0.0.7'],
      ['[fd00::7]:7500', 'fd00::7'],
      ['disk-7.lan:7500', 'disk-7.lan'],
    ] as const) {
      const { sent, receive } = await openAlone({ code: 7 }, address);
      receive(`1 ${NO_HASH}`);
      expect(sent.map(({ text }) => text)).toEqual([`0 ${host}`]);
    }
  });

  it('answers 2 when no more reservations can be held: the seed has no word for busy [TXT-4]', async () => {
    const { sent, receive } = await openAlone({ code: 7 });
    receive('0 120');
    expect(sent.map(({ text }) => text)).toEqual(['2']);
  });

  it('drops the reply behind the most that may wait, and answers again when they have left', async () => {
    const { gateway, sent, receive } = await openAlone({ code: 7 });
    for (let request = 0; request <= REPLIES_UNSENT_MAX; request++) receive('0 1');
    expect(sent).toHaveLength(REPLIES_UNSENT_MAX);
    expect(gateway.counts.dropped).toBe(1);
    sent[0]!.onSent!();
    receive('0 1');
    expect(sent).toHaveLength(REPLIES_UNSENT_MAX + 1);
  });

  it('warns where it is not on loopback [TXT-6]', async () => {
    const { warnings } = await openAlone({ code: 7 });
    expect(warnings).toHaveLength(1);
  });

  it('refuses a port that is taken, and frees its own when it is closed', async () => {
    const coordinator = { whereTo: (): Placement => ({ code: 7 }), whereIs: () => undefined };
    const open = (listen: string) =>
      DefsTextGateway.open({ host: plainHost, entropy, resolve, coordinator, log: SILENT, listen });
    const first = await open('127.0.0.1:0');
    await expect(open(first.address)).rejects.toMatchObject({ code: 'GRAMLINE_IN_USE' });
    await first.close();
    await (await open(first.address)).close();
  });
});
