/** Records and segments that break the protocol, that are dropped, or that do not open. */

import { concatBytes } from '../../src/base/bytes.ts';
import { FrameType, ResultCode, Space } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { segmentBytes } from '../upload.ts';
import {
  breaks,
  dropped,
  ENTRY_BYTES,
  entries,
  LZ4,
  resends,
  SEALED_RECORD_BYTES_MAX,
  SEGMENT_JUMP_MAX,
  segment,
  sendPlain,
  sendRecord,
  sendSpoiled,
  sendTogether,
  taken,
} from './flow-steps.ts';

const texts: readonly CaseText[] = [
  breaks('a record beyond the credit', ['FLOW-3', 'SES-14'], (upload) =>
    sendRecord(upload, 1, ENTRY_BYTES, { offset: upload.limitBytes, dataLeft: -1 }),
  ),
  breaks('a record that ends one byte beyond the credit', ['FLOW-3'], (upload) =>
    sendRecord(upload, 1, ENTRY_BYTES, { offset: upload.limitBytes - ENTRY_BYTES + 1, dataLeft: -1 }),
  ),
  ...[2, 3, 255].map((encoding) =>
    breaks(`a record of the unknown encoding ${encoding}`, ['REC-14', 'SES-14'], (upload) =>
      sendRecord(upload, 0, ENTRY_BYTES, { encoding, plainBytes: 100, dataLeft: -1 }),
    ),
  ),
  ...[0, 1, 18].map((bytes) =>
    breaks(`a record whose plaintext has ${bytes} bytes`, ['REC-14', 'PKT-4'], (upload) =>
      sendPlain(upload, new Uint8Array(bytes)),
    ),
  ),
  breaks('a stored record that is longer than it says', ['REC-15', 'REC-14'], (upload) =>
    sendRecord(upload, 0, 40, { plainBytes: 39, dataLeft: -1 }),
  ),
  breaks('a stored record that is shorter than it says', ['REC-15', 'REC-14'], (upload) =>
    sendRecord(upload, 0, 38, { plainBytes: 39, dataLeft: -1 }),
  ),
  breaks('an LZ4 record that is no shorter than its content', ['REC-15', 'REC-14'], (upload) =>
    sendRecord(upload, 0, 39, { encoding: LZ4, plainBytes: 39, dataLeft: -1 }),
  ),
  breaks('a record of more than 65,536 bytes', ['REC-11', 'REC-14'], (upload) =>
    sendRecord(upload, 0, 100, { encoding: LZ4, plainBytes: 65_537, dataLeft: -1 }),
  ),
  breaks('a plain length of 2^32 - 1', ['REC-11', 'PKT-16'], (upload) =>
    sendRecord(upload, 0, 100, { encoding: LZ4, plainBytes: 0xffff_ffff, dataLeft: -1 }),
  ),
  ...[-2, -3].map((dataLeft) =>
    breaks(`a dataLeft of ${dataLeft}`, ['REC-16', 'SES-14'], (upload) =>
      sendRecord(upload, 0, ENTRY_BYTES, { dataLeft }),
    ),
  ),
  ...[2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)].map((dataLeft) =>
    breaks(`a dataLeft of ${dataLeft}`, ['PKT-9', 'REC-14'], (upload) =>
      sendRecord(upload, 0, ENTRY_BYTES, { dataLeft }),
    ),
  ),
  breaks('two records that disagree about the end', ['REC-16', 'SES-14'], (upload) =>
    sendTogether(upload, [{ dataLeft: 100 }, { offset: ENTRY_BYTES, dataLeft: 100 }]),
  ),
  breaks('a record behind the end', ['REC-16'], (upload) =>
    sendTogether(upload, [{ dataLeft: 10 }, { offset: ENTRY_BYTES, dataLeft: -1 }]),
  ),
  breaks('a gap between two records', ['REC-19', 'SES-14'], (upload) =>
    sendTogether(upload, [{ dataLeft: -1 }, { offset: ENTRY_BYTES + 1, dataLeft: -1 }]),
  ),
  breaks('two records that overlap', ['REC-19'], (upload) =>
    sendTogether(upload, [{ dataLeft: -1 }, { offset: ENTRY_BYTES - 1, dataLeft: -1 }]),
  ),
  breaks('a first record that does not start at 0', ['REC-19'], (upload) =>
    sendRecord(upload, 0, ENTRY_BYTES, { offset: 1, dataLeft: -1 }),
  ),
  breaks('an empty record in the middle', ['REC-19'], (upload) => sendRecord(upload, 0, 0, { dataLeft: -1 })),
  {
    title: 'an LZ4 block that does not hold what it says fails the transfer',
    clauses: ['REC-5'],
    run: async (context) => {
      const upload = await context.upload(10_000);
      const sealed = upload.seal(0, new Uint8Array(50).fill(0x0f), { encoding: LZ4, plainBytes: 10_000 });
      const isDone = (): boolean => upload.session.frames(FrameType.REPLY).some(({ id }) => id === upload.id);
      await upload.deliver(0, sealed, isDone, 'REC-5');
      const { code } = await upload.reply();
      expectThat(code !== ResultCode.OK, 'a failure', 'OK');
    },
  },
  dropped('a forged segment that is a whole record', ['REC-17', 'ACK-1'], (upload, sealed) =>
    [0, 18, sealed.length - 1].map((at) => {
      const slice = sealed.slice();
      slice[at]! ^= 1;
      return segment(upload, { sealedBytes: slice.length, slice });
    }),
  ),
  dropped('a whole record that is shorter than a seal', ['REC-17'], (upload) =>
    [1, 15, 16].map((bytes) => segment(upload, { sealedBytes: bytes, slice: new Uint8Array(bytes) })),
  ),
  dropped('a segment with a forged tag', ['PKT-8'], (upload, sealed) => [
    segment(upload, {
      sealedBytes: sealed.length,
      slice: sealed.subarray(0, 50),
      tag: upload.session.localTag,
    }),
  ]),
  dropped('a segment with unknown flag bits', ['PKT-10'], (upload, sealed) =>
    [4, 8, 16, 32, 64, 128].map((flags) =>
      segment(upload, { sealedBytes: sealed.length, slice: sealed.subarray(0, 50), flags }),
    ),
  ),
  dropped('a segment without a byte', ['SEG-3'], (upload, sealed) => [
    segment(upload, { sealedBytes: sealed.length, slice: new Uint8Array(0) }),
  ]),
  dropped('a segment outside its record', ['SEG-3', 'PKT-16'], (upload, sealed) => [
    segment(upload, { sealedBytes: sealed.length, offset: sealed.length, slice: new Uint8Array(1) }),
    segment(upload, { sealedBytes: sealed.length, offset: sealed.length - 10, slice: new Uint8Array(11) }),
    segment(upload, { sealedBytes: sealed.length, offset: 0xffff_ffff, slice: new Uint8Array(11) }),
    segment(upload, { sealedBytes: 0, slice: new Uint8Array(1) }),
  ]),
  dropped('a sealed record that is too long', ['SEG-3', 'REC-12'], (upload) => [
    segment(upload, { sealedBytes: SEALED_RECORD_BYTES_MAX + 1, slice: new Uint8Array(100) }),
    segment(upload, { sealedBytes: 0xffff_ffff, slice: new Uint8Array(100) }),
  ]),
  dropped('a segment number too far ahead', ['SEG-5'], (upload, sealed) => {
    const { session } = upload;
    const next = session.nextNumber(Space.SEGMENT);
    const slice = sealed.subarray(0, 50);
    const far = [next + SEGMENT_JUMP_MAX + 1, 2 ** 40, 2 ** 48 - 1].map((number) =>
      segment(upload, { number, sealedBytes: sealed.length, slice }),
    );
    session.skipTo(next, Space.SEGMENT);
    return far;
  }),
  taken('a segment number as far ahead as may be', ['SEG-5'], async (upload, payload) => {
    const { session } = upload;
    session.skipTo(session.nextNumber(Space.SEGMENT) + SEGMENT_JUMP_MAX - 1, Space.SEGMENT);
    await upload.deliverAll(payload);
  }),
  {
    title: 'a segment of a flow that is not open is acknowledged',
    clauses: ['SEG-6'],
    run: async (context) => {
      const session = await context.connect();
      await session.checkAlive();
      const send = (): number => {
        const number = session.takeSegmentNumber();
        const slice = new Uint8Array(20);
        session.sendRaw(
          segmentBytes(session, { flowId: 4_000, record: 0, offset: 0, sealedBytes: 99, slice, number }),
        );
        return number;
      };
      const first = send();
      await session.expectAck(first, Space.SEGMENT, 'SEG-6', send);
      await session.checkAlive('SEG-6');
    },
  },
  {
    title: 'a record that does not open is asked for again, and taken then',
    clauses: ['REC-18'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      const sealed = upload.seal(0, payload);
      for (const count of [1, 2]) {
        sendSpoiled(upload, sealed);
        await resends(upload, count, 'REC-18');
      }
      const [first] = upload.session.frames(FrameType.RESEND);
      expectThat(
        first!.flowId === upload.id && first!.record === 0,
        'RESEND of record 0',
        () => upload.session.summary,
      );
      await upload.deliver(0, sealed, () => upload.isComplete, 'REC-18');
      const { code } = await upload.reply();
      expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
    },
  },
  {
    title: 'the third record that does not open ends the flow as TAMPERED, and not the session',
    clauses: ['REC-18'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      const { session } = upload;
      const sealed = upload.seal(0, payload);
      for (const count of [1, 2]) {
        sendSpoiled(upload, sealed);
        await resends(upload, count, 'REC-18');
      }
      sendSpoiled(upload, sealed);
      const look = (): { code: number } | undefined =>
        session.frames(FrameType.STOP).find(({ flowId }) => flowId === upload.id);
      const stop = await session.until(look, 'STOP', { clause: 'REC-18' });
      expectThat(stop.code === ResultCode.TAMPERED, 'TAMPERED (14)', `code ${stop.code}`);
      const { code } = await upload.reply();
      expectThat(code !== ResultCode.OK, 'a failure', 'OK');
      await session.checkAlive('REC-18');
    },
  },
  {
    title: 'two segments that state different lengths of a record are a failure of it',
    clauses: ['SEG-8', 'REC-18'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      const sealed = upload.seal(0, payload);
      upload.session.sendRaw(
        segment(upload, { sealedBytes: sealed.length, slice: sealed.subarray(0, 100) }).bytes,
      );
      upload.session.sendRaw(
        segment(upload, { sealedBytes: sealed.length + 1, offset: 200, slice: sealed.subarray(200, 300) })
          .bytes,
      );
      await resends(upload, 1, 'SEG-8');
      await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-8');
    },
  },
  {
    title: 'forged pieces of high records do not keep the next one out',
    clauses: ['FLOW-9', 'LIM-1'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      const { session } = upload;
      for (let record = 5; record < 300; record++) {
        const slice = context.random(60);
        const fields = { record, offset: 0, sealedBytes: 60_000, slice };
        session.sendRaw(upload.segment(fields));
        if (record % 50 === 0) await session.checkAlive('FLOW-9');
      }
      await session.checkAlive('FLOW-9');
      await upload.deliver(0, upload.seal(0, payload), () => upload.isComplete, 'FLOW-9');
    },
  },
  {
    title: 'a flow that we reset is not taken for complete',
    clauses: ['FLOW-11'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      const { session } = upload;
      upload.send(0, upload.seal(0, payload.subarray(0, 780), { dataLeft: payload.length - 780 }));
      const reset = { type: FrameType.RESET, flowId: upload.id, code: ResultCode.ABORTED } as const;
      session.send([reset]);
      const { code } = await session.reply(upload.id, {
        clause: 'FLOW-11',
        again: () => session.send([reset]),
      });
      expectThat(code !== ResultCode.OK, 'a failure', 'OK');
      await session.checkAlive();
    },
  },
  {
    title: 'a RESET that comes before its query ends the flow when it opens',
    clauses: ['FLOW-12'],
    run: async (context) => {
      const isNode = context.target.role === 'node';
      const session = isNode ? await context.connect() : (await context.joined()).session;
      await session.checkAlive();
      const next = session.queryId() + 2;
      const reset = { type: FrameType.RESET, flowId: next, code: ResultCode.ABORTED } as const;
      const number = session.send([reset]);
      await session.expectAck(number, Space.CONTROL, 'ACK-1', () => session.send([reset]));
      const id = session.query(
        isNode ? 32 : 10,
        // STORE of 9 bytes; INVENTORY of 9 entries in all buckets.
        isNode
          ? concatBytes(new Uint8Array(13), new Uint8Array([9]))
          : concatBytes(new Uint8Array(5), new Uint8Array([9]), new Uint8Array(8).fill(255)),
      );
      expectThat(id === next, `query ${next}`, `${id}`);
      const { code } = await session.reply(id, { clause: 'FLOW-12' });
      expectThat(code !== ResultCode.OK, 'a failure', 'OK');
    },
  },
  {
    title: 'a query without its flow waits, and others are answered meanwhile',
    clauses: ['QRY-9', 'FLOW-8'],
    run: async (context) => {
      const payload = entries(context);
      const upload = await context.upload(payload.length);
      for (let round = 0; round < 3; round++) await upload.session.checkAlive();
      const early = upload.session.frames(FrameType.REPLY).some(({ id }) => id === upload.id);
      expectThat(!early, 'no REPLY before the flow has come', () => upload.session.summary);
      await upload.deliverAll(payload);
      await upload.reply();
    },
  },
];

export const recordCases = section('records', 431, texts);
