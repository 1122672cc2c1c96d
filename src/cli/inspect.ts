/** `gramline inspect`: what do these bytes say, as far as one can tell without keys? */

import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { fromHex, fromUtf8, toHex } from '../base/bytes.ts';
import {
  type DecodeFailure,
  decodePacket,
  isFailure,
  type Packet,
  PacketType,
  packetLength,
  type SessionTag,
} from '../wire/index.ts';
import { refused, UsageError } from './failures.ts';
import { type OutputOptions, withOutput } from './options.ts';
import { paint, print, printJson } from './output.ts';

/** Largest file that is looked at. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;
const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PacketType).map(([name, value]) => [value, name]),
);
/** Fields that only keys make readable, or that repeat others: their length is all there is to say. */
const OPAQUE_FIELDS: ReadonlySet<string> = new Set(['noise', 'sealed', 'payload']);
const SKIPPED_FIELDS: ReadonlySet<string> = new Set(['type', 'header']);

interface InspectOptions extends OutputOptions {
  readonly file?: string;
}

/** One packet of a datagram, or what stands where one should begin. */
interface Finding {
  readonly datagram: number;
  readonly at: number;
  readonly bytes: number;
  readonly packet: string | null;
  readonly fields: Readonly<Record<string, string | number | null>>;
  readonly refused: DecodeFailure | null;
}

export function addInspectCommand(program: Command): void {
  withOutput(program.command('inspect').description('show the packets of datagrams, field by field'))
    .argument('[HEX]', 'one datagram in hex')
    .option('--file <FILE>', 'a file with one datagram, or with lines of hex')
    .action(inspect);
}

async function inspect(hex: string | undefined, options: InspectOptions): Promise<void> {
  if ((hex === undefined) === (options.file === undefined)) {
    throw new UsageError('give one datagram in hex, or --file FILE');
  }
  const datagrams = hex === undefined ? await readDatagrams(options.file!) : [parseHex(hex)];
  const findings = datagrams.flatMap((bytes, index) => [...inspectDatagram(bytes, index + 1)]);
  for (const finding of findings) {
    if (options.json === true) printJson(finding);
    else print(formatFinding(finding, datagrams.length > 1));
  }
  const refusals = findings.filter((finding) => finding.refused !== null);
  if (refusals.length > 0) {
    throw refused(`${refusals.length} of ${findings.length} packets refused: ${refusals[0]!.refused}`);
  }
}

function* inspectDatagram(bytes: Uint8Array, datagram: number): Generator<Finding> {
  if (bytes.length === 0) yield { datagram, at: 0, bytes: 0, packet: null, fields: {}, refused: 'truncated' };
  for (let at = 0; at < bytes.length; ) {
    const length = packetLength(bytes, at);
    const packet = decodePacket(bytes, at);
    const isRefused = isFailure(packet);
    yield {
      datagram,
      at,
      bytes: length === 0 ? bytes.length - at : length,
      packet: TYPE_NAMES.get(isRefused ? bytes[at]! : packet.type) ?? null,
      fields: isRefused ? {} : fieldsOf(packet),
      refused: isRefused ? packet : null,
    };
    // Without a length there is no next packet.
    if (length === 0) return;
    at += length;
  }
}

function fieldsOf(packet: Packet): Finding['fields'] {
  const fields: Record<string, string | number | null> = {};
  for (const [name, value] of Object.entries(packet) as [string, unknown][]) {
    if (SKIPPED_FIELDS.has(name)) continue;
    if (value instanceof Uint8Array) {
      if (OPAQUE_FIELDS.has(name)) fields[`${name}Bytes`] = value.length;
      else fields[name] = toHex(value);
    } else if (name === 'tag') fields[name] = formatTag(value as SessionTag);
    else fields[name] = typeof value === 'number' ? value : null;
  }
  return fields;
}

function formatTag(tag: SessionTag): string {
  return [tag.high, tag.low].map((half) => half.toString(16).padStart(8, '0')).join('');
}

function formatFinding(finding: Finding, hasSeveral: boolean): string {
  const place = `${hasSeveral ? `datagram ${finding.datagram}, ` : ''}byte ${finding.at}`;
  const title = `${paint('bold', finding.packet ?? 'unknown packet')}  ${finding.bytes} bytes, ${place}`;
  if (finding.refused !== null) return `${title}\n  ${paint('red', `refused: ${finding.refused}`)}`;
  const width = Math.max(...Object.keys(finding.fields).map((name) => name.length));
  const lines = Object.entries(finding.fields).map(
    ([name, value]) => `  ${name.padEnd(width)}  ${value ?? 'none'}`,
  );
  return [title, ...lines].join('\n');
}

async function readDatagrams(path: string): Promise<readonly Uint8Array[]> {
  const bytes = await readFile(path);
  if (bytes.length > FILE_BYTES_MAX) throw refused(`${path} is larger than ${FILE_BYTES_MAX} bytes`);
  const lines = (fromUtf8(bytes) ?? '').split(/\r?\n/).map((line) => line.trim());
  const written = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const datagrams = written.map((line) => fromHex(line.replaceAll(' ', '')));
  const isHex = datagrams.length > 0 && datagrams.every((datagram) => datagram !== undefined);
  return isHex ? datagrams : [new Uint8Array(bytes)];
}

function parseHex(text: string): Uint8Array {
  const bytes = fromHex(text.replaceAll(/\s/g, ''));
  if (bytes === undefined) throw new UsageError('that is no hex: write two digits a byte');
  return bytes;
}
