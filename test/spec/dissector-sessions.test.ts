/** The dissector on sessions that update their keys, on hostile frames, and its cipher on vectors. */

import { createCipheriv } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { Random } from '../../sim/random.ts';
import type { MessageName } from '../../spec/reference/messages.ts';
import { type PacketNumber, seconds } from '../../src/base/units.ts';
import { AEAD_TAG_BYTES } from '../../src/crypto/index.ts';
import { formatKeyLine } from '../../src/key-log.ts';
import * as wire from '../../src/wire/index.ts';
import {
  decodeFrames,
  encodeFrame,
  encodePacket,
  encodeSealedHeader,
  type Frame,
  FrameType,
  frameSize,
  isFailure,
  type Packet,
  PacketType,
  packetSize,
  QueryKind,
  ResultCode,
  SEALED_HEADER_BYTES,
  Writer,
} from '../../src/wire/index.ts';
import {
  DAMAGE,
  EVERYTHING,
  FAULTS,
  framesOf,
  hex,
  logging,
  PLAIN,
  packetsOf,
  picked,
  plainOf,
  valuesOf,
} from '../support/dissection.ts';
import type { CapturedDatagram } from '../support/pcap.ts';
import { FlowReader, FlowWriter, pattern, SessionPair } from '../support/session-pair.ts';
import { DISSECTOR, dissect, type Row, runTshark, tsharkTrouble } from '../support/tshark.ts';
import * as arbitraries from '../wire/arbitraries.ts';

/** What one packet holds, and more than any frame. */
const PLAINTEXT_BYTES_MAX = 65_000;
/** One of them says what the others do, most of the time. */
const SEEDS = process.env.GRAMLINE_CONFORMANCE === 'all' ? [1, 2, 3] : [1];
const trouble = tsharkTrouble();
const said = trouble === undefined ? '' : ` (skipped: ${trouble})`;
// Only a tshark that hangs takes that long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const root = await mkdtemp(join(tmpdir(), 'gramline-'));
afterAll(() => rm(root, { recursive: true, force: true }));

describe.skipIf(trouble !== undefined)(`the dissector, on sessions${said}`, () => {
  it('follows key updates in both directions, and records whose slices come in any order', async () => {
    const lines: string[] = [];
    const datagrams: CapturedDatagram[] = [];
    const pair = new SessionPair({
      seed: 5,
      faults: { loss: 0.05, reorder: 0.2, reorderMicros: 3_000, duplicate: 0.05 },
      initiator: { keySealingsMax: 20, keyLog: logging(lines) },
      responder: { keySealingsMax: 15 },
    });
    for (const end of pair.ends) {
      const [fromPort, toPort] = end === pair.left ? [5_001, 5_002] : [5_002, 5_001];
      end.filter = (bytes) => {
        datagrams.push({ fromPort, toPort, bytes: bytes.slice() });
        return true;
      };
    }
    const bytes = pattern(700_000);
    const id = pair.left.session.query(QueryKind.STORE, new Uint8Array(14))!;
    pair.left.session.openSend(id, 0);
    pair.right.session.openReceive(id, false);
    const writer = new FlowWriter(pair.left, id, bytes, 9_000);
    const reader = new FlowReader(pair.right, id);
    let isDelivered = false;
    pair.left.onEvent = (event) => {
      if (event.kind === 'writable') writer.pump();
      if (event.kind === 'delivered') isDelivered = true;
    };
    pair.right.onEvent = () => reader.pump();
    writer.pump();
    pair.runUntil(() => isDelivered, seconds(60));
    // A query opens what it asks for once a capture comes out of order, too.
    const random = new Random(11);
    for (let at = 1; at < datagrams.length; at++) {
      const other = Math.max(1, at - random.integer(6));
      [datagrams[at], datagrams[other]] = [datagrams[other]!, datagrams[at]!];
    }
    const fields = [...EVERYTHING, 'gramline.record_offset', 'gramline.record_frame'];
    const rows = await dissect(root, datagrams, { keyLog: lines.join(''), fields });
    expect(valuesOf(rows, [...FAULTS, ...DAMAGE])).toEqual([]);
    const frames = datagrams.map(({ bytes: datagram }) =>
      packetsOf(datagram)
        .filter((packet) => packet.type === PacketType.SEALED)
        .flatMap((packet) => framesOf(packet, lines.join('')).map(({ type }) => hex(type))),
    );
    expect(rows.map((row) => row['gramline.frame'])).toEqual(frames);
    expect(Math.max(...valuesOf(rows, ['gramline.epoch']).map(Number))).toBeGreaterThan(4);
    let covered = 0;
    for (const row of rows) {
      for (const [index, payload] of row['gramline.payload']!.entries()) {
        const at = Number(row['gramline.record_offset']![index]);
        expect(payload).toBe(Buffer.from(bytes.subarray(at, at + payload.length / 2)).toString('hex'));
        covered += payload.length / 2;
      }
    }
    expect(covered).toBe(bytes.length);
  });

  it('tells packets apart that were glued into one payload, and all kinds of front packets', async () => {
    const lines: string[] = [];
    const sealed: Uint8Array[] = [];
    const pair = new SessionPair({ initiator: { keyLog: logging(lines) } });
    pair.left.filter = (bytes) => {
      sealed.push(bytes.slice());
      return true;
    };
    for (let count = 0; count < 5; count++) {
      pair.left.session.notify(
        1,
        Uint8Array.from({ length: 13 }, (_, index) => (index < 12 ? index : 1)),
      );
      pair.run(seconds(0.01));
    }
    const glued = Buffer.concat(sealed);
    const refused = encoded({
      type: PacketType.REFUSED,
      tag: { high: 1, low: 2 },
      code: 7,
      retryMillis: 500,
      mac: new Uint8Array(16),
    });
    const datagrams = [glued, refused].map((bytes) => ({ fromPort: 5_001, toPort: 7_400, bytes }));
    const fields = [
      ...EVERYTHING,
      'gramline.notice',
      'gramline.msg.objects',
      'gramline.retry_ms',
      'gramline.code',
    ];
    const [first, second] = await dissect(root, datagrams, { keyLog: lines.join(''), fields });
    expect(picked(first!, PLAIN)).toEqual(plainOf(glued));
    expect(sealed.length).toBeGreaterThan(4);
    expect(first!['gramline.notice']).toEqual(['1', '1', '1', '1', '1']);
    expect(first!['gramline.msg.objects']).toEqual(Array(5).fill(String(0x060708090a0b)));
    expect(picked(second!, ['gramline.retry_ms', 'gramline.code'])).toEqual({
      'gramline.retry_ms': ['500'],
      'gramline.code': ['7'],
    });
    expect(valuesOf([first!, second!], [...FAULTS, ...DAMAGE])).toEqual([]);
  });
});

function encoded(packet: Packet): Uint8Array {
  const bytes = new Uint8Array(packetSize(packet));
  encodePacket(packet, bytes);
  return bytes;
}

interface AeadVectors {
  readonly testGroups: readonly {
    readonly tests: readonly {
      readonly tcId: number;
      readonly key: string;
      readonly iv: string;
      readonly aad: string;
      readonly msg: string;
      readonly ct: string;
      readonly tag: string;
      readonly result: string;
    }[];
  }[];
}

describe.skipIf(trouble !== undefined)(`the frames that the dissector reads${said}`, () => {
  /** What tshark says of packets with these plaintexts. */
  async function rowsOf(plaintexts: readonly Uint8Array[]): Promise<readonly Row[]> {
    const key = new Uint8Array(32).fill(9);
    const keyLog = formatKeyLine({ high: 5, low: 6 }, 0, key, key);
    const datagrams = plaintexts.map((plain, number) => ({
      fromPort: 5_001,
      toPort: 5_002,
      bytes: sealedPacket(plain, number, key),
    }));
    const rows = await dissect(root, datagrams, {
      keyLog,
      fields: [...EVERYTHING, 'gramline.bad_body', '_ws.expert.message'],
    });
    const failed = rows.filter((row) => valuesOf([row], FAULTS).length > 0);
    expect(valuesOf(failed, ['_ws.expert.message'])).toEqual([]);
    expect(valuesOf(rows, ['gramline.damaged', 'gramline.unsealed'])).toEqual([]);
    return rows;
  }

  it.each(SEEDS)(
    'are those that the codec reads, and refused where it refuses them (seed %i)',
    async (seed) => {
      const sampled = fc.sample(fc.tuple(arbitraries.frame, arbitraries.damage), { seed, numRuns: 800 });
      const plaintexts = sampled.flatMap(([frame, changes]) => {
        const bytes = encodedFrame(frame);
        return [bytes, arbitraries.damaged(bytes, changes).subarray(0, PLAINTEXT_BYTES_MAX)];
      });
      const rows = await rowsOf(plaintexts);
      const decoded = plaintexts.map((plain) => decodeFrames(plain));
      const refused = decoded.map((frames) => isFailure(frames) || frames.length === 0);
      expect(rows.map((row) => row['gramline.bad_frames']!.length > 0)).toEqual(refused);
      for (const [index, frames] of decoded.entries()) {
        if (isFailure(frames)) continue;
        expect(rows[index]!['gramline.frame']).toEqual(frames.map(({ type }) => hex(type)));
      }
      expect(refused.filter((is) => is).length).toBeGreaterThan(100);
    },
  );

  it('knows every kind of query', () => {
    expect(MESSAGES.map(([kind]) => kind)).toEqual(Object.values(QueryKind));
  });

  it('show the fields of every message, and what is too short or too long', async () => {
    const plaintexts: Uint8Array[] = [];
    const expected: boolean[] = [];
    for (const [index, [kind, asked, answered]] of MESSAGES.entries()) {
      const id = index * 2;
      const bodies = (name: MessageName, make: (body: Uint8Array) => Frame): void => {
        for (const message of fc.sample(arbitraries.messages[name], { seed: kind, numRuns: 20 })) {
          const body = wire.encodeMessage(codecs.get(name) as wire.Codec<unknown>, message);
          for (const bytes of [body, body.subarray(0, -1), Uint8Array.of(...body, 0)]) {
            if (bytes !== body && (body.length === 0 || body.length === wire.BODY_BYTES_MAX)) continue;
            plaintexts.push(encodedFrame(make(bytes)));
            expected.push(bytes !== body);
          }
        }
      };
      bodies(asked, (body) => ({ type: FrameType.QUERY, id, kind, body }));
      bodies(answered, (body) => ({ type: FrameType.REPLY, id, code: ResultCode.OK, body }));
    }
    for (const [code, name, mayBeMissing] of FAILURES) {
      const refusal = (body: Uint8Array): Frame => ({ type: FrameType.REPLY, id: 0, code, body });
      for (const message of fc.sample(arbitraries.messages[name], { seed: code, numRuns: 20 })) {
        const body = wire.encodeMessage(codecs.get(name) as wire.Codec<unknown>, message);
        for (const bytes of [body, body.subarray(0, -1), Uint8Array.of(...body, 0)]) {
          plaintexts.push(encodedFrame(refusal(bytes)));
          expected.push(bytes !== body);
        }
      }
      plaintexts.push(encodedFrame(refusal(new Uint8Array(0))));
      expected.push(!mayBeMissing);
    }
    const rows = await rowsOf(plaintexts);
    expect(rows.map((row) => row['gramline.bad_body']!.length > 0)).toEqual(expected);
    expect(valuesOf(rows, ['gramline.bad_frames'])).toEqual([]);
    expect(plaintexts.length).toBeGreaterThan(1_000);
  });
});

const codecs = new Map<string, unknown>(Object.entries(wire));

/** What failures carry, and whether they may carry nothing. */
const FAILURES: readonly (readonly [code: ResultCode, body: MessageName, mayBeMissing: boolean])[] = [
  [ResultCode.NO_SPACE, 'noSpaceReply', false],
  [ResultCode.NOT_LEADER, 'notLeaderReply', true],
  [ResultCode.BUSY, 'busyReply', true],
];

/** Every kind of query with its message and that of its reply. */
const MESSAGES: readonly (readonly [kind: QueryKind, query: MessageName, reply: MessageName])[] = [
  [QueryKind.STATUS, 'statusQuery', 'statusReply'],
  [QueryKind.WHERE_TO, 'whereToQuery', 'whereToReply'],
  [QueryKind.WHERE_IS, 'hashQuery', 'whereIsReply'],
  [QueryKind.COMMIT, 'commitQuery', 'revisionReply'],
  [QueryKind.RELEASE, 'tokenQuery', 'emptyMessage'],
  [QueryKind.RENEW, 'tokenQuery', 'emptyMessage'],
  [QueryKind.REMOVE, 'removeQuery', 'emptyMessage'],
  [QueryKind.JOIN, 'joinQuery', 'joinReply'],
  [QueryKind.ADMIT, 'admitQuery', 'admitReply'],
  [QueryKind.INVENTORY, 'inventoryQuery', 'emptyMessage'],
  [QueryKind.SETTLE, 'settleQuery', 'settleReply'],
  [QueryKind.CORRUPT, 'hashQuery', 'emptyMessage'],
  [QueryKind.WHERE_IS_MANY, 'whereIsManyQuery', 'whereIsManyReply'],
  [QueryKind.MEMBERS, 'membersQuery', 'membersReply'],
  [QueryKind.DIGEST, 'digestQuery', 'digestReply'],
  [QueryKind.LOCK, 'lockQuery', 'lockReply'],
  [QueryKind.UNLOCK, 'unlockQuery', 'emptyMessage'],
  [QueryKind.SESSION_WRITE, 'sessionWriteQuery', 'emptyMessage'],
  [QueryKind.SESSION_READ, 'sessionQuery', 'sessionReply'],
  [QueryKind.SESSION_END, 'sessionQuery', 'emptyMessage'],
  [QueryKind.STORE, 'storeQuery', 'storeReply'],
  [QueryKind.READ, 'readQuery', 'readReply'],
  [QueryKind.DELETE, 'hashQuery', 'emptyMessage'],
  [QueryKind.COPY, 'copyQuery', 'storeReply'],
];

function encodedFrame(frame: Frame): Uint8Array {
  const writer = new Writer(new Uint8Array(frameSize(frame)));
  encodeFrame(frame, writer);
  return writer.buffer;
}

/** A SEALED packet for tag 5:6 in epoch 0. */
function sealedPacket(plain: Uint8Array, number: number, key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SEALED_HEADER_BYTES + plain.length + AEAD_TAG_BYTES);
  encodeSealedHeader(bytes, 0, bytes.length, 0, { high: 5, low: 6 }, number as PacketNumber);
  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64BE(BigInt(number), 4);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(bytes.subarray(0, SEALED_HEADER_BYTES));
  const text = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  bytes.set(text, SEALED_HEADER_BYTES);
  return bytes;
}

describe.skipIf(trouble !== undefined)(`the cipher of the dissector${said}`, () => {
  it('agrees with the Wycheproof vectors', async () => {
    const path = fileURLToPath(new URL('../vectors/wycheproof-aes256gcm-iv96.json', import.meta.url));
    const { testGroups } = JSON.parse(await readFile(path, 'utf8')) as AeadVectors;
    const tests = testGroups.flatMap((group) => group.tests);
    const calls = tests.map(
      ({ key, iv, aad, ct, tag }) => `open('${key}', '${iv}', '${aad}', '${ct}${tag}')`,
    );
    const script = join(root, 'vectors.lua');
    await writeFile(
      script,
      `local gcm = dofile('${join(dirname(DISSECTOR), 'gramline', 'aesgcm.lua')}')
       local function unhex(text)
         return (text:gsub('..', function(digits) return string.char(tonumber(digits, 16)) end))
       end
       local function hex(text)
         return (text:gsub('.', function(one) return ('%02x'):format(one:byte()) end))
       end
       local function open(key, nonce, aad, sealed)
         local plain = gcm.open(gcm.new(unhex(key)), unhex(nonce), unhex(aad), unhex(sealed))
         io.stdout:write('vector ', plain and hex(plain) or 'refused', '\\n')
       end
       ${calls.join('\n')}`,
    );
    const { stdout } = await runTshark(root, ['-X', `lua_script:${script}`, '--version']);
    const opened = [...stdout.matchAll(/^vector (.*)$/gm)].map((match) => match[1]);
    expect(opened).toEqual(tests.map(({ msg, result }) => (result === 'valid' ? msg : 'refused')));
    expect(tests.length).toBeGreaterThan(60);
  });
});
