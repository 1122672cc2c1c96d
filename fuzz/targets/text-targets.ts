/** Text that comes from outside: the DEFS text gateway, and what people and scripts write as arguments. */

import type { Random } from '../../sim/random.ts';
import { formatAddress, tryParseAddress } from '../../src/base/address.ts';
import { fromHex, fromUtf8, toHex, utf8 } from '../../src/base/bytes.ts';
import { parseCoordinators, parseCount, parseHashArgument, parseSize } from '../../src/cli/arguments.ts';
import { UsageError } from '../../src/cli/failures.ts';
import {
  DefsTextGateway,
  type DefsTextRequest,
  parseDefsTextRequest,
  REQUEST_BYTES_MAX,
} from '../../src/gateways/defs-text.ts';
import type { DatagramHost } from '../../src/udp/host.ts';
import { ResultCode } from '../../src/wire/index.ts';
import { decodeInside } from '../engine/comparison.ts';
import { type Layout, LayoutBuilder } from '../engine/layout.ts';
import { check, type Target } from '../engine/target.ts';

const SIZE_MAX = 2 ** 48 - 1;
const SIZES = ['0', '1', '120', '1024', '268435456', '274877906944', '9007199254740993', '9'.repeat(400)];

/** Words, and what stands between them. */
function wordsLayout(input: Uint8Array): Layout {
  const layout = new LayoutBuilder();
  let start = 0;
  for (let at = 0; at <= input.length; at++) {
    if (at < input.length && !SEPARATORS.has(input[at]!)) continue;
    layout.bytes(start, at - start);
    layout.item(start, Math.min(at + 1, input.length) - start);
    start = at + 1;
  }
  return layout;
}

const SEPARATORS: ReadonlySet<number> = new Set(utf8(' ,:\r\n'));

// ---------------------------------------------------------------- the gateway

function request(random: Random): Uint8Array {
  const name = random.pick([toHex(random.bytes(32)), 'index', 'A'.repeat(64), 'x']);
  const size = random.pick([...SIZES, String(random.integer(2 ** 48))]);
  const text = random.pick([`0 ${size}`, `0 ${name} ${size}`, `1 ${name}`]);
  return utf8(text + random.pick(['', '\n', '\r\n', '\r']));
}

/** The grammar of [TXT-1] once more, by hand: what a datagram asks for. */
function requestByHand(bytes: Uint8Array): DefsTextRequest | undefined {
  if (bytes.length > 256) return undefined;
  let end = bytes.length;
  if (bytes[end - 1] === 0x0a) end -= 1;
  if (bytes[end - 1] === 0x0d) end -= 1;
  const words: string[] = [''];
  for (const byte of bytes.subarray(0, end)) {
    if (byte === 0x20) words.push('');
    else if (!isLetterOrDigit(byte)) return undefined;
    else words[words.length - 1] += String.fromCharCode(byte);
  }
  const isName = (word: string): boolean => word.length >= 1 && word.length <= 64;
  const isSize = (word: string): boolean =>
    word !== '' && [...word].every((digit) => digit >= '0' && digit <= '9');
  const [verb, second, third] = words;
  if (verb === '1' && words.length === 2 && isName(second!)) return { kind: 'where-is', name: second! };
  if (verb !== '0') return undefined;
  if (words.length === 2 && isSize(second!)) {
    return { kind: 'where-to', name: undefined, sizeKib: Number(second) };
  }
  if (words.length !== 3 || !isName(second!) || !isSize(third!)) return undefined;
  return { kind: 'where-to', name: second, sizeKib: Number(third) };
}

function isLetterOrDigit(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/** A gateway whose network is the fuzzer, in front of a coordinator that knows one place. */
async function gatewayOn(replies: Uint8Array[]) {
  let arrive: (bytes: Uint8Array) => void = () => undefined;
  const host: DatagramHost = {
    open: async ({ onDatagram }: Parameters<DatagramHost['open']>[0]) => {
      arrive = (bytes) => onDatagram(bytes, '10.0.0.2', 5_000);
      return {
        host: '127.0.0.1',
        port: 7_403,
        send: (bytes: Uint8Array, length: number, _segment: number, _to: object, done: () => void) => {
          replies.push(bytes.slice(0, length));
          done();
        },
        close: async () => undefined,
      } as unknown as Awaited<ReturnType<DatagramHost['open']>>;
    },
  } as DatagramHost;
  const locations = [{ nodeId: new Uint8Array(16), address: '10.0.0.7:41234' }];
  const gateway = await DefsTextGateway.open({
    host,
    entropy: { bytes: (count) => new Uint8Array(count), fraction: () => 0 },
    coordinator: {
      whereTo({ bytes, hash }) {
        check(Number.isSafeInteger(bytes) && bytes <= SIZE_MAX, `the gateway asks for ${bytes} bytes`);
        if (hash !== undefined && hash[0] === 0) return { code: ResultCode.CONFLICT };
        if (bytes > 2 ** 40) return { code: ResultCode.NO_SPACE, freeBytes: 0, nodesUp: 1 };
        return { code: ResultCode.OK, locations };
      },
      whereIs: (hash) => (hash[0] === 0 ? { bytes: 1, locations } : undefined),
    },
    listen: '127.0.0.1:7403',
    resolve: async (name) => name,
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  });
  return { gateway, arrive };
}

const REPLY = /^(?:0 10\.0\.0\.7|1|2|3)$/;

const defsText: Target = {
  name: 'defs-text',
  description: 'requests of the DEFS text gateway',
  weight: 6,
  inputBytesMax: 600,
  generate: request,
  layout: wordsLayout,
  async run(input) {
    const parsed = decodeInside(input, parseDefsTextRequest);
    const expected = requestByHand(input);
    check(JSON.stringify(parsed) === JSON.stringify(expected), 'the request is read otherwise than by hand');
    const replies: Uint8Array[] = [];
    const { gateway, arrive } = await gatewayOn(replies);
    arrive(input);
    const isAnswered = parsed !== undefined;
    check(isAnswered || input.length > REQUEST_BYTES_MAX || gateway.counts.malformed === 1, 'not counted');
    // [TXT-2] No answer to what is no request.
    check(replies.length === (isAnswered ? 1 : 0), `${replies.length} replies`);
    const reply = replies.map((bytes) => fromUtf8(bytes) ?? '?').join();
    check(!isAnswered || REPLY.test(reply), `the reply is '${reply}'`);
    await gateway.close();
    return parsed === undefined ? 'no request' : `${parsed.kind}: ${reply.slice(0, 1)}`;
  },
};

// ---------------------------------------------------------------- arguments

/** What people write where a size, a hash or an address is asked for. */
const ARGUMENTS = [
  '10GB',
  '1.5 kiB',
  '0',
  '281474976710655',
  '99999999999999999999TB',
  '127.0.0.1:7400',
  '[::1]:65535',
  'host.example:0',
  'a:1,b:2 , c:3',
  'ab'.repeat(32),
  '64',
];

const argumentTexts: Target = {
  name: 'arguments',
  description: 'sizes, counts, hashes, hex and addresses as people write them',
  weight: 3,
  inputBytesMax: 1_024,
  generate: (random) => utf8(random.pick(ARGUMENTS)),
  layout: wordsLayout,
  run(input) {
    const text = fromUtf8(input) ?? String.fromCharCode(...input);
    const read: string[] = [];
    const size = unlessUsage(() => parseSize(text));
    if (size !== undefined) {
      check(Number.isSafeInteger(size) && size >= 0 && size <= SIZE_MAX, `a size of ${size}`);
      read.push('size');
    }
    const hash = unlessUsage(() => parseHashArgument(text));
    const hex = fromHex(text);
    if (hex !== undefined) {
      check(toHex(hex) === text.toLowerCase(), 'hex comes back as another text');
      read.push('hex');
    }
    check(hash === undefined || (hex?.length === 32 && toHex(hex) === hash), 'a hash that is no hex');
    const count = unlessUsage(() => parseCount(text, '--count', 1_000));
    check(
      count === undefined || (Number.isInteger(count) && count >= 1 && count <= 1_000),
      `${count} things`,
    );
    const address = tryParseAddress(text);
    if (address !== undefined) {
      const { host, port } = address;
      check(port >= 0 && port <= 65_535 && host !== '', 'an address out of range');
      const again = tryParseAddress(formatAddress(host, port));
      check(again?.host === host && again.port === port, 'an address comes back as another one');
      read.push('address');
    }
    const several = unlessUsage(() => parseCoordinators(text));
    check(several === undefined || several.length > 0, 'no coordinator at all');
    return read.join(' ') || 'refused';
  },
};

/** What `parse` returns, or undefined when it says what is wrong with the text. */
function unlessUsage<Value>(parse: () => Value): Value | undefined {
  try {
    return parse();
  } catch (error) {
    if (error instanceof UsageError) {
      check(error.message !== '', 'refused without a word');
      return undefined;
    }
    throw error;
  }
}

export const textTargets: readonly Target[] = [defsText, argumentTexts];
