/**
 * Our own code as the subject of a conformance run: answers the requests of page 08 of the specification, one
 * at a time, by what `src/` does. What is right is the reference's matter, in `spec/reference/`.
 */

import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { answerBy, type Operations, type Reply } from '../spec/reference/subject.ts';
import type { Suite } from '../src/crypto/index.ts';
import { nodeSuite } from '../src/crypto/node-suite.ts';
import { CODEC_OPERATIONS } from './subject/codec.ts';
import { handshakeOperations } from './subject/handshake.ts';
import { keyOperations } from './subject/keys.ts';
import { RELIABILITY_OPERATIONS } from './subject/reliability.ts';
import { sealingOperations } from './subject/sealing.ts';

export type { Reply } from '../spec/reference/subject.ts';

/** Longest line that a subject takes in, without its end [CONF-3]. */
export const LINE_BYTES_MAX: number = 4 * 1024 * 1024;

const NEWLINE = 0x0a;

/** Everything that our code can be asked, on one provider of algorithms. */
export function operationsBy(suite: Suite): Operations {
  return {
    ...CODEC_OPERATIONS,
    ...keyOperations(suite),
    ...handshakeOperations(suite),
    ...sealingOperations(suite),
    ...RELIABILITY_OPERATIONS,
  };
}

const OPERATIONS = operationsBy(nodeSuite);

/** Our reply to one request, which may be anything. */
export function answer(request: unknown): Reply {
  return answerBy(OPERATIONS, request);
}

/**
 * Answers each line of `input` by one line on `output`, in their order, until `input` ends. A line that is too
 * long is answered by an error, without being kept.
 */
export async function serveSubject(input: Readable, output: Writable): Promise<void> {
  let parts: Buffer[] = [];
  let bytes = 0;
  const reply = async (): Promise<void> => {
    const line = bytes > LINE_BYTES_MAX ? undefined : Buffer.concat(parts).toString('utf8');
    parts = [];
    bytes = 0;
    if (line?.trim() === '') return;
    if (!output.write(`${JSON.stringify(answerLine(line))}\n`)) await once(output, 'drain');
  };
  for await (const chunk of input as AsyncIterable<Buffer | string>) {
    let rest = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      bytes += end;
      if (bytes <= LINE_BYTES_MAX) parts.push(rest.subarray(0, end));
      await reply();
      rest = rest.subarray(end + 1);
    }
    bytes += rest.length;
    if (bytes <= LINE_BYTES_MAX) parts.push(rest);
    else parts = [];
  }
  if (bytes > 0) await reply();
}

function answerLine(line: string | undefined): Reply {
  if (line === undefined) return { id: null, error: `a line has ${LINE_BYTES_MAX} bytes at most` };
  let request: unknown;
  try {
    request = JSON.parse(line);
  } catch {
    return { id: null, error: 'not a line of JSON' };
  }
  return answer(request);
}
