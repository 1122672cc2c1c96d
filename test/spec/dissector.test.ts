import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Random } from '../../sim/random.ts';
import { FrameType, PacketType, QueryKind } from '../../src/wire/index.ts';
import {
  captureCluster,
  DAMAGE,
  DEEP,
  EVERYTHING,
  FAULTS,
  framesOf,
  hex,
  mutated,
  OBJECT,
  PLAIN,
  packetsOf,
  picked,
  plainOf,
  valuesOf,
} from '../support/dissection.ts';
import { type CapturedDatagram, pcapOf } from '../support/pcap.ts';
import { DISSECTOR, dissect, type Row, runTshark, tsharkTrouble } from '../support/tshark.ts';

const trouble = tsharkTrouble();
const said = trouble === undefined ? '' : ` (skipped: ${trouble})`;
// Only a tshark that hangs takes that long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const root = await mkdtemp(join(tmpdir(), 'gramline-'));
afterAll(() => rm(root, { recursive: true, force: true }));

describe.skipIf(trouble !== undefined)(`the dissector, on the capture of a cluster${said}`, () => {
  let datagrams: CapturedDatagram[];
  let keyLog: string;
  let hash: string;
  beforeAll(async () => {
    ({ datagrams, keyLog, hash } = await captureCluster());
  });

  it('names every packet and shows its plaintext without keys, and nothing of what is sealed', async () => {
    const rows = await dissect(root, datagrams, { fields: EVERYTHING });
    expect(rows.map((row) => picked(row, PLAIN))).toEqual(datagrams.map(({ bytes }) => plainOf(bytes)));
    expect(valuesOf(rows, [...FAULTS, ...DAMAGE, ...DEEP])).toEqual([]);
    const types = new Set(valuesOf(rows, ['gramline.type']));
    expect([...types].sort()).toEqual(['0x01', '0x02', '0x03', '0x05', '0x06']);
  });

  it('opens every sealed packet with the key log, and names its frames and kinds', async () => {
    const fields = [...EVERYTHING, 'gramline.query', 'gramline.reply_to', 'gramline.notice', 'gramline.code'];
    const rows = await dissect(root, datagrams, { keyLog, fields });
    expect(valuesOf(rows, [...FAULTS, ...DAMAGE])).toEqual([]);
    const expected = datagrams.map(({ bytes }) => {
      const sealed = packetsOf(bytes).filter((packet) => packet.type === PacketType.SEALED);
      const frames = sealed.flatMap((packet) => framesOf(packet, keyLog));
      const coded = frames.flatMap((frame) =>
        frame.type === FrameType.REPLY || frame.type === FrameType.RESET || frame.type === FrameType.STOP
          ? [String(frame.code)]
          : [],
      );
      return {
        'gramline.frame': frames.map(({ type }) => hex(type)),
        'gramline.query': frames.flatMap((frame) =>
          frame.type === FrameType.QUERY ? [String(frame.kind)] : [],
        ),
        'gramline.notice': frames.flatMap((frame) =>
          frame.type === FrameType.NOTICE ? [String(frame.kind)] : [],
        ),
        'gramline.code': coded,
      };
    });
    expect(rows.map((row) => picked(row, Object.keys(expected[0]!)))).toEqual(expected);
    const kinds = new Set(valuesOf(rows, ['gramline.query']).map(Number));
    for (const kind of [
      'STATUS',
      'WHERE_TO',
      'WHERE_IS',
      'COMMIT',
      'JOIN',
      'ADMIT',
      'STORE',
      'READ',
    ] as const) {
      expect(kinds.has(QueryKind[kind]), kind).toBe(true);
      expect(valuesOf(rows, ['gramline.reply_to'])).toContain(kind);
    }
    expect(valuesOf(rows, ['gramline.msg.hash'])).toContain(hash);
  });

  it('puts the records of flows together and shows what they carry', async () => {
    const fields = ['gramline.query_of_flow', 'gramline.record_offset', 'gramline.payload'];
    const rows = await dissect(root, datagrams, { keyLog, fields });
    const covered: Record<string, number> = { STORE: 0, READ: 0 };
    for (const row of rows) {
      const [offsets, payloads] = [row['gramline.record_offset']!, row['gramline.payload']!];
      const kind = row['gramline.query_of_flow']![0];
      if (kind === undefined || !(kind in covered)) continue;
      expect(payloads).toHaveLength(offsets.length);
      for (const [index, payload] of payloads.entries()) {
        const at = Number(offsets[index]);
        expect(payload).toBe(OBJECT.subarray(at, at + payload.length / 2).toString('hex'));
        covered[kind]! += payload.length / 2;
      }
    }
    // Two replicas and one read, or more where the machine was so slow that something was tried again.
    expect(covered.STORE).toBeGreaterThanOrEqual(2 * OBJECT.length);
    expect(covered.READ).toBeGreaterThanOrEqual(OBJECT.length);
  });

  it('opens headers of records only, or none, where it is told so', async () => {
    const fields = ['gramline.plain_length', 'gramline.payload', ...DAMAGE, ...FAULTS];
    const [header, closed] = [
      await dissect(root, datagrams, { keyLog, fields, settings: ['gramline.records:header (unchecked)'] }),
      await dissect(root, datagrams, { keyLog, fields, settings: ['gramline.records:closed'] }),
    ];
    const lengths = valuesOf(header, ['gramline.plain_length']).map(Number);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThanOrEqual(3 * OBJECT.length);
    expect(valuesOf(closed, ['gramline.plain_length'])).toEqual([]);
    expect(valuesOf([...header, ...closed], ['gramline.payload', ...DAMAGE, ...FAULTS])).toEqual([]);
  });

  it('keeps of records what it may for a second look, and shows all of them at the first', async () => {
    const fields = ['gramline.plain_length', 'gramline.payload', ...DAMAGE, ...FAULTS];
    const settings = ['gramline.kept:0'];
    const first = await dissect(root, datagrams, { keyLog, fields, settings });
    const second = await dissect(root, datagrams, { keyLog, fields, settings, twice: true });
    const lengths = valuesOf(first, ['gramline.plain_length']);
    expect(valuesOf(first, ['gramline.payload']).length).toBeGreaterThanOrEqual(9);
    expect(valuesOf(second, ['gramline.plain_length'])).toEqual(lengths);
    expect(valuesOf(second, ['gramline.payload'])).toEqual([]);
    expect(valuesOf([...first, ...second], [...DAMAGE, ...FAULTS])).toEqual([]);
  });

  it('says that the key is not in the log where it is not', async () => {
    const foreign = keyLog.replaceAll(/(?<=KEYS )[0-9a-f]{16}/g, 'ffffffffffffffff');
    const rows = await dissect(root, datagrams, {
      keyLog: foreign,
      fields: [...EVERYTHING, 'gramline.no_key'],
    });
    expect(valuesOf(rows, [...FAULTS, ...DAMAGE, ...DEEP])).toEqual([]);
    const sealed = valuesOf(rows, ['gramline.type']).filter((type) => type === '0x05');
    expect(valuesOf(rows, ['gramline.no_key'])).toHaveLength(sealed.length);
  });

  it('shows a key that is wrong as a seal that does not hold', async () => {
    const wrong = keyLog.replaceAll(/(?<= )[0-9a-f]{64}/g, 'ab'.repeat(32));
    const rows = await dissect(root, datagrams, { keyLog: wrong, fields: EVERYTHING });
    const sealed = valuesOf(rows, ['gramline.type']).filter((type) => type === '0x05');
    expect(valuesOf(rows, ['gramline.unsealed']).length).toBeGreaterThan(sealed.length);
    expect(valuesOf(rows, [...FAULTS, ...DEEP])).toEqual([]);
  });

  it('marks a damaged packet and reads on as if it were not there', async () => {
    // In a session of which something stands before it: a port that is unknown yet could be anybody's.
    const victim = datagrams.findIndex(
      ({ fromPort, toPort, bytes }, index) =>
        bytes[0] === PacketType.SEALED &&
        datagrams.slice(0, index).some((other) => other.fromPort === toPort && other.toPort === fromPort),
    );
    const clean = await dissect(root, datagrams, { keyLog, fields: EVERYTHING });
    const changes: readonly [name: string, change: (bytes: Buffer) => Uint8Array, fault: string][] = [
      ['a bit of the ciphertext', (bytes) => flip(bytes, 20), 'gramline.unsealed'],
      ['a bit of the packet number', (bytes) => flip(bytes, 17), 'gramline.unsealed'],
      ['a bit of the tag of the seal', (bytes) => flip(bytes, bytes.length - 1), 'gramline.unsealed'],
      ['a length too great', (bytes) => flip(bytes, 2), 'gramline.damaged'],
      ['another type', (bytes) => flip(bytes, 0, 0x80), 'gramline.damaged'],
      ['reserved flags', (bytes) => flip(bytes, 1, 0x80), 'gramline.damaged'],
      ['its end cut off', (bytes) => bytes.subarray(0, -3), 'gramline.damaged'],
      ['bytes behind it', (bytes) => Buffer.concat([bytes, Buffer.from([0])]), 'gramline.damaged'],
    ];
    // Each beside the whole packet, which shows that one does not spoil the other.
    const spoiled = changes.map(([, change]) => ({
      ...datagrams[victim]!,
      bytes: change(Buffer.from(datagrams[victim]!.bytes)),
    }));
    const rows = await dissect(root, datagrams.toSpliced(victim, 0, ...spoiled), {
      keyLog,
      fields: EVERYTHING,
    });
    for (const [index, [name, , fault]] of changes.entries()) {
      expect(rows[victim + index]![fault], name).toHaveLength(1);
      if (name !== 'bytes behind it') expect(rows[victim + index]!['gramline.frame'], name).toEqual([]);
    }
    expect(valuesOf(rows, FAULTS)).toEqual([]);
    expect(rows.toSpliced(victim, changes.length)).toEqual(clean);
  });

  it('survives whatever stands in the datagrams of a session', async () => {
    const random = new Random(7);
    const hostile = datagrams
      .filter(({ bytes }) => bytes.length < 1_500)
      .slice(0, 400)
      .flatMap((datagram) => [datagram, { ...datagram, bytes: mutated(datagram.bytes, random) }]);
    const fields = [...EVERYTHING, 'frame.number'];
    const rows = await dissect(root, hostile, { keyLog, fields });
    expect(rows).toHaveLength(hostile.length);
    expect(valuesOf(rows, FAULTS)).toEqual([]);
    expect(valuesOf(rows, DAMAGE).length).toBeGreaterThan(20);
    // What is whole between them is read as ever.
    const whole = hostile.filter((_, index) => index % 2 === 0);
    const clean = await dissect(root, whole, { keyLog, fields });
    const framesIn = (list: readonly Row[]) => list.map((row) => row['gramline.frame']);
    expect(framesIn(rows.filter((_, index) => index % 2 === 0))).toEqual(framesIn(clean));
    expect(valuesOf(clean, ['gramline.frame']).length).toBeGreaterThan(50);
  });

  it('shows what a capture has kept of a packet, without calling it damaged', async () => {
    const cut = datagrams.map((datagram) => ({ ...datagram, keptBytes: 70 }));
    const rows = await dissect(root, cut, { keyLog, fields: [...EVERYTHING, 'gramline.cut'] });
    expect(valuesOf(rows, [...FAULTS, ...DAMAGE])).toEqual([]);
    expect(rows.every((row) => row['gramline.type']!.length === 1)).toBe(true);
    expect(valuesOf(rows, ['gramline.cut']).length).toBeGreaterThan(datagrams.length / 2);
  });

  it('leaves datagrams of other protocols alone', async () => {
    const random = new Random(3);
    const others = Array.from({ length: 200 }, (_, index) => ({
      fromPort: 20_000 + index,
      toPort: 9_999,
      bytes: Uint8Array.from({ length: 40 + index }, () => random.integer(256)),
    }));
    const rows = await dissect(root, others, { fields: ['frame.protocols', 'gramline.type'] });
    expect(valuesOf(rows, ['gramline.type'])).toEqual([]);
    expect(rows).toHaveLength(others.length);
  });

  it('reads a second time what it read the first time', async () => {
    const capture = join(root, 'twice.pcap');
    const keys = join(root, 'twice.log');
    await writeFile(capture, pcapOf(datagrams.slice(0, datagrams.length / 2)));
    await writeFile(keys, keyLog);
    const common = ['-r', capture, '-X', `lua_script:${DISSECTOR}`, '-o', `gramline.keylog:${keys}`];
    const once = await runTshark(root, common);
    const twice = await runTshark(root, ['-2', ...common]);
    expect(once.stdout).toContain('QUERY 0 STORE');
    expect(twice.stdout).toBe(once.stdout);
  });

  it('takes keys in that are logged while it reads, into a file that was not there at first', async () => {
    const keys = join(root, 'growing.log');
    const lua = ['-X', `lua_script:${DISSECTOR}`, '-o', `gramline.keylog:${keys}`];
    const env = { ...process.env, HOME: root, XDG_CONFIG_HOME: root };
    // It wants a pipe, and what Node gives a child is a socket.
    const tshark = spawn('sh', ['-c', 'cat | tshark "$@"', 'sh', '-l', '-r', '-', ...lua], { env });
    let stdout = '';
    tshark.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    const ended = once(tshark, 'close');
    const half = Math.floor(datagrams.length / 2);
    const capture = pcapOf(datagrams);
    const start = pcapOf(datagrams.slice(0, half));
    tshark.stdin.write(start);
    // It looks ahead by a buffer, and prints what it has understood.
    await vi.waitFor(() => expect(stdout).toContain('WELCOME'), 100_000);
    const before = stdout;
    await writeFile(keys, keyLog);
    tshark.stdin.end(capture.subarray(start.length));
    await ended;
    expect(before).not.toMatch(/QUERY|NOTICE/);
    expect(stdout.slice(before.length)).toMatch(/SEALED \d+: .*QUERY \d+ STATUS/);
  });

  it('works from a folder of plugins, too', async () => {
    const home = join(root, 'home');
    // Where tshark looks under either of the variables that `runTshark` sets.
    const folder = join(home, 'wireshark', 'plugins');
    await mkdir(folder, { recursive: true });
    await cp(DISSECTOR, join(folder, 'gramline.lua'));
    await cp(join(dirname(DISSECTOR), 'gramline'), join(folder, 'gramline'), { recursive: true });
    const capture = join(root, 'plugin.pcap');
    await writeFile(capture, pcapOf(datagrams.slice(0, 30)));
    const { stdout, stderr } = await runTshark(home, ['-r', capture]);
    expect(stdout).toMatch(/Gramline .* HELLO version 1/);
    expect(stderr).not.toMatch(/Lua|Error/);
  });

  it('says in a line that a key log cannot be read', async () => {
    const capture = join(root, 'nokeys.pcap');
    await writeFile(capture, pcapOf(datagrams.slice(0, 5)));
    const parameters = ['-r', capture, '-X', `lua_script:${DISSECTOR}`, '-o', `gramline.keylog:${root}/none`];
    const { stdout, stderr } = await runTshark(root, parameters);
    expect(stderr).toContain('key log cannot be read');
    expect(stdout).toContain('HELLO version 1');
  });
});

function flip(bytes: Buffer, at: number, mask = 1): Buffer {
  bytes[at]! ^= mask;
  return bytes;
}
