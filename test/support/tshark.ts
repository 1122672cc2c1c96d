/** Runs tshark with the dissector of `spec/` on captures that a test wrote. */

import { execFile, execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CapturedDatagram, pcapOf } from './pcap.ts';

export const DISSECTOR = fileURLToPath(new URL('../../spec/gramline.lua', import.meta.url));
/** Only a tshark that hangs takes that long. */
const RUN_MILLIS_MAX = 110_000;
const OUTPUT_BYTES_MAX = 256 * 2 ** 20;

/** Why tshark can't be used here, or undefined. */
export function tsharkTrouble(): string | undefined {
  let version: string;
  try {
    version = execFileSync('tshark', ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  } catch {
    return 'tshark is not installed';
  }
  return /with Lua/.test(version.replaceAll(/\s+/g, ' ')) ? undefined : 'this tshark has no Lua';
}

export interface Dissection {
  readonly keyLog?: string;
  /** Further `-o` settings. */
  readonly settings?: readonly string[];
  readonly fields: readonly string[];
  /** Reads the capture twice, and shows what the second look gives. */
  readonly twice?: boolean;
}

/** Values of each field in one frame of the capture, in their order. */
export type Row = Readonly<Record<string, readonly string[]>>;

/** tshark with `parameters`; its settings, home and plugins are those of `directory`. */
export function runTshark(
  directory: string,
  parameters: readonly string[],
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const env = { ...process.env, HOME: directory, XDG_CONFIG_HOME: directory, TZ: 'UTC' };
  const options = { env, timeout: RUN_MILLIS_MAX, maxBuffer: OUTPUT_BYTES_MAX, encoding: 'utf8' } as const;
  return new Promise((resolve, reject) => {
    execFile('tshark', [...parameters], options, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`tshark failed: ${error.message}\n${stderr}`));
      else resolve({ stdout, stderr });
    });
  });
}

/** What the dissector says of each datagram. */
export async function dissect(
  directory: string,
  datagrams: readonly CapturedDatagram[],
  { keyLog, settings = [], fields, twice = false }: Dissection,
): Promise<readonly Row[]> {
  const capture = join(directory, 'capture.pcap');
  await writeFile(capture, pcapOf(datagrams));
  const options = [...settings];
  if (keyLog !== undefined) {
    const path = join(directory, 'keys.log');
    await writeFile(path, keyLog);
    options.push(`gramline.keylog:${path}`);
  }
  const { stdout } = await runTshark(directory, [
    ...['-r', capture, '-X', `lua_script:${DISSECTOR}`, '-T', 'fields', '-E', 'aggregator=|'],
    ...(twice ? ['-2'] : []),
    ...options.flatMap((option) => ['-o', option]),
    ...fields.flatMap((field) => ['-e', field]),
  ]);
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const cells = line.split('\t');
      return Object.fromEntries(
        fields.map((field, index) => [field, cells[index] === '' ? [] : cells[index]!.split('|')]),
      );
    });
}
