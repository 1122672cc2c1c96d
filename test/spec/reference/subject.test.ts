/** The program loop of a subject: one line of JSON in, one out, whatever the line. */

import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { answer, LINE_BYTES_MAX, serveSubject } from '../../../conformance/subject.ts';

/** What is answered to these chunks of input, line by line. */
async function served(...chunks: readonly (string | Buffer)[]): Promise<unknown[]> {
  const output = new PassThrough({ highWaterMark: 64 });
  const [, answered] = await Promise.all([
    serveSubject(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), output).then(() => output.end()),
    text(output),
  ]);
  return answered
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown);
}

const PING = { id: 7, op: 'frames.decode', bytes: '01' };
const PING_REPLY = { id: 7, ok: { frames: [{ type: 'PING' }] } };

describe('a subject', () => {
  it('answers lines in their order, however they are cut', async () => {
    const line = `${JSON.stringify(PING)}\n`;
    const other = '{"id":8,"op":"frames.decode","bytes":""}\n';
    const all = line + other + line;
    expect(await served(...all)).toEqual([PING_REPLY, { id: 8, refused: true }, PING_REPLY]);
    expect(await served(all)).toEqual([PING_REPLY, { id: 8, refused: true }, PING_REPLY]);
  });

  it('answers a last line without an end, and passes over empty ones', async () => {
    expect(await served('\n\r\n  \n', JSON.stringify(PING))).toEqual([PING_REPLY]);
  });

  it('says that it does not know an op', () => {
    expect(answer({ id: 1, op: 'fly' })).toEqual({ id: 1, unsupported: true });
    expect(answer({ id: 1, op: 'toString' })).toEqual({ id: 1, unsupported: true });
  });

  it('answers what is no request by an error, and goes on', async () => {
    const bad = [
      '{',
      'null',
      '[]',
      '5',
      '"x"',
      '{}',
      '{"id":1}',
      '{"id":"1","op":"frames.decode","bytes":"01"}',
    ];
    const replies = await served(bad.map((line) => `${line}\n`).join(''), JSON.stringify(PING));
    expect(replies).toHaveLength(bad.length + 1);
    for (const reply of replies.slice(0, -1)) expect(reply).toHaveProperty('error', expect.any(String));
    expect(replies.at(-1)).toEqual(PING_REPLY);
  });

  it('answers fields of a wrong kind by an error with the id of the request', () => {
    const wrong: object[] = [
      { op: 'frames.decode' },
      { op: 'frames.decode', bytes: 1 },
      { op: 'frames.decode', bytes: '0' },
      { op: 'frames.decode', bytes: 'FF' },
      { op: 'frames.encode', frames: {} },
      { op: 'frames.encode', frames: [3] },
      { op: 'frames.encode', frames: [{ type: 'NONE' }] },
      { op: 'packet.encode', packet: null },
      { op: 'message.decode', message: 'WHO_IS query', bytes: '' },
      { op: 'key.epoch', trafficSecret: '00', epoch: 0 },
      { op: 'key.epoch', trafficSecret: '00'.repeat(32), epoch: 1e9 },
      { op: 'replay.trace', events: [{ packetNumber: -1, opens: true }] },
      { op: 'recovery.trace', datagramBytes: 1_200, windowBytes: 1, events: [{ at: 0, event: 'jump' }] },
    ];
    for (const request of wrong) {
      expect([request, answer({ id: 3, ...request })]).toEqual([
        request,
        { id: 3, error: expect.any(String) as string },
      ]);
    }
  });

  it('refuses to write what no bytes can say', () => {
    const frames: object[] = [
      { type: 'PADDING', bytes: 1e15 },
      { type: 'PADDING', bytes: '00' },
      { type: 'QUERY', queryId: 'aa', kind: 1, body: '' },
      { type: 'QUERY', queryId: 1, kind: 1 },
      { type: 'STOP', flowId: -1, code: 0 },
    ];
    for (const frame of frames) {
      expect([frame, answer({ id: 3, op: 'frames.encode', frames: [frame] })]).toEqual([
        frame,
        { id: 3, refused: true },
      ]);
    }
  });

  it('does not keep a line that is longer than the maximum, and answers it by an error', async () => {
    const fits = `${' '.repeat(LINE_BYTES_MAX - JSON.stringify(PING).length)}${JSON.stringify(PING)}\n`;
    expect(Buffer.byteLength(fits)).toBe(LINE_BYTES_MAX + 1);
    const tooLong = ` ${fits}`;
    const replies = await served(fits, tooLong, fits);
    expect(replies).toEqual([PING_REPLY, { id: null, error: expect.any(String) as string }, PING_REPLY]);
  });
});
