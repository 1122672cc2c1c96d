/** The first job of `gramline up`: put, where-is, get, compare; and what there is to say about it. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '../nodes/client.ts';
import type { Source } from './object-source.ts';
import { openObjectTarget } from './object-target.ts';
import {
  formatBytes,
  formatCount,
  formatRate,
  formatSeconds,
  formatTable,
  paint,
  secondsSince,
} from './output.ts';
import { openProgressBar } from './progress.ts';

/** Queries whose median is told. */
const WHERE_IS_QUERIES = 2_000;
/** Columns of the report. */
const SECONDS_WIDTH = 7;
const RATE_WIDTH = 9;

export interface JobOptions {
  readonly client: Client;
  readonly source: Source;
  /** What people call the source. */
  readonly path: string;
  /** For the fetched copy, which is removed when it has been hashed. */
  readonly directory: string;
  readonly signal: AbortSignal;
}

/** What `gramline up --json` prints. */
export interface JobReport {
  readonly file: string;
  readonly bytes: number;
  readonly replicas: number;
  /** Of the file, by node:crypto, apart from the transfer. */
  readonly sha256Put: string;
  /** Of the fetched copy on the disk, likewise. */
  readonly sha256Got: string;
  /** Whether both, and the name under which the object was stored, are one. */
  readonly identical: boolean;
  readonly putSeconds: number;
  readonly getSeconds: number;
  /** Of the client's sessions: the nodes' own are not counted here. */
  readonly datagramsSent: number;
  readonly datagramsReceived: number;
  readonly segmentsSent: number;
  readonly segmentsResent: number;
  readonly whereIsQueries: number;
  readonly whereIsP50Micros: number;
}

export async function runFirstJob(options: JobOptions): Promise<JobReport> {
  const { client, source, signal } = options;
  const sha256Put = await sha256Of(source.open());
  const put = await timed(async () => {
    using bar = await openProgressBar('put');
    return client.put(source.open, { bytes: source.bytes, signal, onProgress: bar.onProgress });
  });
  const { hash, bytes, replicas } = put.result;
  const whereIsP50Micros = await measureWhereIs(client, hash, signal);
  const copy = join(options.directory, 'copy');
  const get = await timed(async () => {
    await using target = await openObjectTarget(copy);
    using bar = await openProgressBar('get');
    for await (const piece of client.get(hash, { signal, onProgress: bar.onProgress }))
      await target.write(piece);
    await target.finish();
  });
  const sha256Got = await sha256Of(createReadStream(copy));
  await rm(copy);
  const { datagramsSent, datagramsReceived, segmentsSent, segmentsResent } = client.counts;
  return {
    file: options.path,
    bytes,
    replicas,
    sha256Put,
    sha256Got,
    identical: sha256Put === sha256Got && sha256Put === hash,
    putSeconds: put.seconds,
    getSeconds: get.seconds,
    datagramsSent,
    datagramsReceived,
    segmentsSent,
    segmentsResent,
    whereIsQueries: WHERE_IS_QUERIES,
    whereIsP50Micros,
  };
}

/** The report as people read it. */
export function formatJobReport(report: JobReport): string {
  const { bytes, putSeconds, getSeconds } = report;
  const moved = (seconds: number, what: string): string =>
    `${formatSeconds(seconds).padEnd(SECONDS_WIDTH)} ${formatRate(bytes, seconds).padEnd(RATE_WIDTH)}  ${what}`;
  const rows = [
    ['file', `${report.file}, ${formatBytes(bytes)} (${bytes.toLocaleString('en-US')} bytes)`],
    ['put', moved(putSeconds, `to ${formatCount(report.replicas, 'replica')}, on the disk`)],
    ['get', moved(getSeconds, 'from the nodes, on the disk, checked')],
    [
      'where-is',
      `${`${report.whereIsP50Micros} us`.padEnd(SECONDS_WIDTH)} ${' '.repeat(RATE_WIDTH)}  median of ${report.whereIsQueries} queries`,
    ],
    [
      'datagrams',
      `${report.datagramsSent.toLocaleString('en-US')} sent, ${report.datagramsReceived.toLocaleString('en-US')} received, ${formatCount(report.segmentsResent, 'segment')} resent`,
    ],
    ['SHA-256 put', report.sha256Put],
    ['SHA-256 got', report.sha256Got],
  ];
  const verdict = report.identical
    ? paint('green', 'Identical: what came back is what was stored.')
    : paint('red', 'DIFFERENT: what came back is not what was stored.');
  return `${formatTable([{ title: '' }, { title: '' }], rows)}\n\n${verdict}`;
}

async function timed<Result>(work: () => Promise<Result>): Promise<{ result: Result; seconds: number }> {
  const startedAt = performance.now();
  const result = await work();
  return { result, seconds: secondsSince(startedAt) };
}

async function measureWhereIs(client: Client, hash: string, signal: AbortSignal): Promise<number> {
  const spans: number[] = [];
  for (let query = 0; query < WHERE_IS_QUERIES; query++) {
    const startedAt = performance.now();
    await client.whereIs(hash, { signal });
    spans.push((performance.now() - startedAt) * 1000);
  }
  spans.sort((left, right) => left - right);
  return Math.round(spans[spans.length >>> 1]!);
}

async function sha256Of(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of source) hash.update(piece);
  return hash.digest('hex');
}
