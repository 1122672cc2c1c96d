import { writeFile } from 'node:fs/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { concatBytes, toHex } from '../../src/base/bytes.ts';
import type { PacketNumber } from '../../src/base/units.ts';
import { encodePacket, type Packet, PacketType, packetSize } from '../../src/wire/index.ts';
import { gramline, reason, scratch } from './support.ts';

const { path, remove } = await scratch();
afterAll(remove);

const TAG = { high: 0x01020304, low: 0x0a0b0c0d };
const HELLO: Packet = {
  type: PacketType.HELLO,
  version: 1,
  secretId: new Uint8Array(8).fill(0xaa),
  tag: TAG,
  cookie: undefined,
  noise: new Uint8Array(0),
  mac: new Uint8Array(16).fill(0xbb),
};
const SEGMENT: Packet = {
  type: PacketType.SEGMENT,
  tag: TAG,
  epochBits: 1,
  number: 77 as PacketNumber,
  flowId: 4,
  record: 2,
  offset: 100,
  sealedBytes: 5_000,
  payload: new Uint8Array(900).fill(0xcc),
};

function encode(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  return bytes;
}

function jsonLines(text: string): unknown[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

describe('gramline inspect', () => {
  it('shows a packet field by field, and what only keys open as a length', async () => {
    const finished = await gramline(['inspect', toHex(encode(SEGMENT))]);
    expect([finished.code, finished.stderr]).toEqual([0, '']);
    expect(finished.stdout).toBe(
      [
        'SEGMENT  934 bytes, byte 0',
        '  tag           010203040a0b0c0d',
        '  epochBits     1',
        '  number        77',
        '  flowId        4',
        '  record        2',
        '  offset        100',
        '  sealedBytes   5000',
        '  payloadBytes  900',
        '',
      ].join('\n'),
    );
  });

  it('shows every packet of a datagram', async () => {
    const finished = await gramline([
      'inspect',
      toHex(concatBytes(encode(HELLO), encode(SEGMENT))),
      '--json',
    ]);
    expect(jsonLines(finished.stdout)).toMatchObject([
      {
        datagram: 1,
        at: 0,
        packet: 'HELLO',
        refused: null,
        fields: { version: 1, secretId: 'aa'.repeat(8), cookie: null, noiseBytes: 0, mac: 'bb'.repeat(16) },
      },
      { datagram: 1, at: packetSize(HELLO), packet: 'SEGMENT', fields: { number: 77 } },
    ]);
  });

  it('reads a file with one datagram, and one with lines of hex', async () => {
    await writeFile(path('datagram'), encode(HELLO));
    const one = await gramline(['inspect', '--file', path('datagram'), '--json']);
    expect(jsonLines(one.stdout)).toMatchObject([{ packet: 'HELLO' }]);
    const spaced = toHex(encode(SEGMENT)).replaceAll(/(.{8})/g, '$1 ');
    await writeFile(path('lines'), `# two datagrams\n${toHex(encode(HELLO))}\n\n${spaced}\n`);
    const two = await gramline(['inspect', '--file', path('lines'), '--json']);
    expect(jsonLines(two.stdout)).toMatchObject([
      { datagram: 1, packet: 'HELLO' },
      { datagram: 2, packet: 'SEGMENT' },
    ]);
    expect((await gramline(['inspect', '--file', path('lines')])).stdout).toMatch(
      /^SEGMENT {2}934 bytes, datagram 2, byte 0$/m,
    );
  });

  it('gives the reason of a refusal, and goes on where the next packet begins', async () => {
    const wrongMagic = encode(HELLO);
    wrongMagic[4] = 0;
    const finished = await gramline(['inspect', toHex(concatBytes(wrongMagic, encode(SEGMENT))), '--json']);
    expect(finished.code).toBe(1);
    expect(reason(finished)).toBe('gramline: 1 of 2 packets refused: unknown');
    expect(jsonLines(finished.stdout)).toMatchObject([
      { refused: 'unknown', fields: {} },
      { packet: 'SEGMENT', refused: null },
    ]);
    const cut = await gramline(['inspect', toHex(encode(SEGMENT).subarray(0, 100))]);
    expect([cut.code, cut.stdout]).toEqual([1, 'SEGMENT  100 bytes, byte 0\n  refused: truncated\n']);
  });

  it('needs one datagram, in hex', async () => {
    for (const parameters of [
      ['inspect'],
      ['inspect', 'xyz'],
      ['inspect', 'abc'],
      ['inspect', 'ab', '--file', path('lines')],
    ]) {
      expect((await gramline(parameters)).code, parameters.join(' ')).toBe(2);
    }
    expect((await gramline(['inspect', ''])).code).toBe(1);
    expect((await gramline(['inspect', '--file', path('nowhere')])).code).toBe(1);
  });
});
