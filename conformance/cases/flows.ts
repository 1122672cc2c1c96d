/** Flows of ours: records and segments, right, sloppy and hostile. STORE at a node, INVENTORY at a coordinator. */

import { concatBytes } from '../../src/base/bytes.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import { FrameType, ResultCode, Space } from '../../src/wire/index.ts';
import { type CaseText, section, type WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { glue } from '../handshake.ts';
import { PING } from '../peer.ts';
import { recordPlaintext, segmentBytes, type Upload } from '../upload.ts';

const ENTRY_BYTES = 39;
const ENTRIES = 100;
const SEALED_RECORD_BYTES_MAX = 65_571;
const SEGMENT_JUMP_MAX = 65_536;
const LZ4 = 1;
const LATE_MILLIS = 150;

/**
 * What an upload carries: entries of an inventory that a coordinator takes, all of them pending so that nothing of
 * them stays in the catalog; for a node they are bytes like any others.
 */
function entries(context: WireContext, count = ENTRIES): Uint8Array {
  const bytes = new Uint8Array(count * ENTRY_BYTES);
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    bytes.set(context.random(32), at);
    bytes[at + ENTRY_BYTES - 1] = 1;
  }
  return bytes;
}

/** A case of an upload that must come to a good end, however it travels. */
function taken(
  title: string,
  clauses: readonly string[],
  send: (upload: Upload, payload: Uint8Array, context: WireContext) => void | Promise<void>,
  count = ENTRIES,
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const payload = entries(context, count);
    const upload = await context.upload(payload.length);
    upload.clause = clauses[0]!;
    await send(upload, payload, context);
    const { code } = await upload.reply(clauses[0]);
    expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
    expectThat(upload.isComplete, 'CREDIT complete', () => upload.session.summary, 'FLOW-15');
  };
  return { title, clauses, run };
}

/** A case of a record that breaks the protocol. */
function breaks(title: string, clauses: readonly string[], send: (upload: Upload) => void): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const upload = await context.upload();
    send(upload);
    await upload.session.expectClose(clauses[0]!);
  };
  return { title, clauses, run };
}

/** A case of segments that must be dropped: not acknowledged, and without a trace. */
function dropped(
  title: string,
  clauses: readonly string[],
  packets: (
    upload: Upload,
    sealed: Uint8Array,
  ) => readonly { readonly number: number; readonly bytes: Uint8Array }[],
): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const payload = entries(context);
    const upload = await context.upload(payload.length);
    const { session } = upload;
    const sealed = upload.seal(0, payload);
    const wrong = packets(upload, sealed);
    for (const { bytes } of wrong) session.sendRaw(bytes);
    await session.checkAlive(clauses[0]);
    await session.idle(LATE_MILLIS);
    for (const { number } of wrong) {
      expectThat(!session.isAcked(number, Space.SEGMENT), `no ACK of segment ${number}`, 'one');
    }
    await upload.deliver(0, sealed, () => upload.isComplete, clauses[0]);
    const { code } = await upload.reply();
    expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
  };
  return { title, clauses, run };
}

/** A segment of record 0, with its number. */
function segment(
  upload: Upload,
  fields: {
    number?: number;
    offset?: number;
    sealedBytes: number;
    slice: Uint8Array;
    flags?: number;
    tag?: { high: number; low: number };
  },
): { readonly number: number; readonly bytes: Uint8Array } {
  const number = upload.session.takeSegmentNumber(fields.number);
  const { flags, tag } = fields;
  const bytes = segmentBytes(upload.session, {
    flowId: upload.id,
    record: 0,
    offset: fields.offset ?? 0,
    sealedBytes: fields.sealedBytes,
    slice: fields.slice,
    number,
    ...(flags === undefined ? {} : { flags }),
    ...(tag === undefined ? {} : { tag }),
  });
  return { number, bytes };
}

/** A record whose plaintext is given as it is. */
function sendPlain(upload: Upload, plaintext: Uint8Array, record = 0): void {
  upload.send(record, upload.session.sealRecord(upload.id, record, plaintext));
}

function sendRecord(
  upload: Upload,
  record: number,
  bytes: number,
  fields: Parameters<typeof recordPlaintext>[1],
): void {
  // Read as entries of an inventory these are pending ones: nothing of them stays.
  sendPlain(upload, recordPlaintext(new Uint8Array(bytes).fill(1), fields), record);
}

/** Records of one entry each, in one datagram: no reader gets in between. */
function sendTogether(upload: Upload, headers: readonly Parameters<typeof recordPlaintext>[1][]): void {
  const packets = headers.flatMap((fields, record) =>
    upload.cut(record, upload.seal(record, new Uint8Array(ENTRY_BYTES).fill(1), fields)),
  );
  upload.session.sendRaw(glue(...packets));
}

/** Waits for so many RESEND frames of record 0. */
async function resends(upload: Upload, count: number, clause: string): Promise<void> {
  const look = (): true | undefined => upload.session.frames(FrameType.RESEND).length >= count || undefined;
  await upload.session.until(look, `RESEND number ${count}`, { clause });
}

/** Sends record 0 with one byte changed, in several segments. */
function sendSpoiled(upload: Upload, sealed: Uint8Array): void {
  const spoiled = sealed.slice();
  spoiled[100]! ^= 1;
  upload.send(0, spoiled);
}

const texts: readonly CaseText[] = [
  taken('a record in segments', ['FLOW-15', 'REC-1', 'SEG-1', 'KEY-3'], async (upload, payload) => {
    await upload.deliverAll(payload);
  }),
  taken(
    'a record in one segment',
    ['REC-1', 'REC-22'],
    async (upload, payload) => {
      await upload.deliverAll(payload);
    },
    20,
  ),
  ...[1, 7, 37, 64, 999].map((bytes) =>
    taken(
      `slices of ${bytes} bytes`,
      ['SEG-2'],
      async (upload, payload) => {
        const sealed = upload.seal(0, payload);
        const packets = upload.cut(0, sealed, bytes);
        for (let at = 0; at < packets.length; at += 12) {
          upload.session.sendRaw(glue(...packets.slice(at, at + 12)));
        }
        await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-2');
      },
      bytes === 1 ? 10 : ENTRIES,
    ),
  ),
  taken('slices in reverse order', ['SEG-2'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    for (const packet of upload.cut(0, sealed, 200).toReversed()) upload.session.sendRaw(packet);
    await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-2');
  }),
  taken('slices that overlap', ['SEG-2'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    const sealedBytes = sealed.length;
    for (let offset = 0; offset < sealedBytes; offset += 100) {
      const slice = sealed.subarray(offset, offset + 333);
      upload.session.sendRaw(upload.segment({ record: 0, offset, sealedBytes, slice }));
    }
    await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-2');
  }),
  taken('slices that are cut anew when they are sent again', ['SEG-2', 'SEG-4'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    const [first] = upload.cut(0, sealed, 500);
    upload.session.sendRaw(first!);
    for (const packet of upload.cut(0, sealed, 333)) upload.session.sendRaw(packet);
    await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-2');
  }),
  taken('every segment twice under new numbers', ['SEG-4', 'SEG-7'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    const packets = [...upload.cut(0, sealed, 300), ...upload.cut(0, sealed, 300)];
    for (const packet of packets) upload.session.sendRaw(packet);
    await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-7');
  }),
  taken('every segment five times under its own number', ['SEG-7'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    const packets = upload.cut(0, sealed, 300);
    for (let round = 0; round < 5; round++) for (const packet of packets) upload.session.sendRaw(packet);
    await upload.deliver(0, sealed, () => upload.isComplete, 'SEG-7');
  }),
  taken('new bytes under a number that a forger used first', ['SEG-7'], async (upload, payload, context) => {
    const sealed = upload.seal(0, payload);
    const { session } = upload;
    const number = session.nextNumber(Space.SEGMENT);
    // Of a flow that nobody has opened: it is acknowledged, and its number is used up.
    const forged = {
      flowId: upload.id + 1_000,
      record: 0,
      offset: 0,
      sealedBytes: 50,
      slice: context.random(20),
    };
    session.sendRaw(segmentBytes(session, { ...forged, number }));
    const real = upload.segment({
      number,
      record: 0,
      offset: 0,
      sealedBytes: sealed.length,
      slice: sealed.subarray(0, 500),
    });
    session.sendRaw(real);
    await session.checkAlive();
    const rest = sealed.subarray(500);
    for (let offset = 500; offset < sealed.length; offset += 1_000) {
      const slice = rest.subarray(offset - 500, offset + 500);
      session.sendRaw(upload.segment({ record: 0, offset, sealedBytes: sealed.length, slice }));
    }
    const look = (): true | undefined => upload.isComplete || undefined;
    await session.until(look, 'CREDIT complete', { clause: 'SEG-7' });
  }),
  taken('segments and SEALED packets in one datagram', ['SES-8', 'PKT-1'], async (upload, payload) => {
    const sealed = upload.seal(0, payload);
    const { session } = upload;
    const packets = upload.cut(0, sealed, 250).flatMap((packet) => [packet, session.packet([PING])]);
    for (let at = 0; at < packets.length; at += 6) session.sendRaw(glue(...packets.slice(at, at + 6)));
    await upload.deliver(0, sealed, () => upload.isComplete, 'PKT-1');
  }),
  taken('records in reverse order', ['REC-19', 'FLOW-9'], async (upload, payload) => {
    const parts = [0, 1, 2, 3, 4].map((record) => {
      const offset = record * 20 * ENTRY_BYTES;
      const part = payload.subarray(offset, offset + 20 * ENTRY_BYTES);
      return {
        record,
        sealed: upload.seal(record, part, { offset, dataLeft: payload.length - offset - part.length }),
      };
    });
    const send = (): void => {
      for (const { record, sealed } of parts.toReversed()) upload.send(record, sealed);
    };
    send();
    const look = (): true | undefined => upload.isComplete || undefined;
    await upload.session.until(look, 'CREDIT complete', { clause: 'REC-19', again: send });
  }),
  taken(
    'records that cut the content anywhere, and tell their end late',
    ['REC-16', 'MSG-8'],
    async (upload, payload) => {
      await upload.session.checkAlive();
      const cuts = [0, 1, 40, 777, 778, payload.length];
      for (const [record, offset] of cuts.slice(0, -1).entries()) {
        const end = cuts[record + 1]!;
        const dataLeft = end === payload.length ? 0 : -1;
        const sealed = upload.seal(record, payload.subarray(offset, end), { offset, dataLeft });
        const number = upload.session.nextNumber(Space.SEGMENT);
        const isTaken = (): boolean => upload.isComplete || upload.session.isAcked(number, Space.SEGMENT);
        await upload.deliver(record, sealed, isTaken);
      }
    },
  ),
  taken('an empty record at the end', ['REC-19', 'FLOW-14'], async (upload, payload) => {
    const first = upload.seal(0, payload, { dataLeft: -1 });
    const last = upload.seal(1, new Uint8Array(0), { offset: payload.length, dataLeft: 0 });
    upload.send(0, first);
    upload.send(1, last);
    const send = (): void => {
      upload.send(0, first);
      upload.send(1, last);
    };
    const look = (): true | undefined => upload.isComplete || undefined;
    await upload.session.until(look, 'CREDIT complete', { clause: 'REC-19', again: send });
  }),
  taken('a record that LZ4 has shrunk', ['REC-14', 'REC-5', 'REC-15'], async (upload, payload) => {
    // Entries whose hashes hold many zeros, so that there is something to shrink.
    for (let at = 0; at < payload.length; at += ENTRY_BYTES) payload.fill(0, at + 8, at + 38);
    const packed = lz4Compression.compress(payload);
    expectThat(packed !== undefined, 'a payload that shrinks', 'none');
    const sealed = upload.seal(0, packed, { encoding: LZ4, plainBytes: payload.length });
    await upload.deliver(0, sealed, () => upload.isComplete, 'REC-14');
  }),
  {
    title: 'credit grows as what was sent is taken',
    clauses: ['FLOW-4', 'FLOW-16', 'FLOW-3'],
    run: async (context) => {
      const count = Math.ceil((3 * 1_048_576) / ENTRY_BYTES);
      const payload = entries(context, count);
      const upload = await context.upload(payload.length);
      expectThat(
        upload.limitBytes >= 65_536,
        'a first limit of at least 64 KiB',
        `${upload.limitBytes}`,
        'FLOW-16',
      );
      await upload.stream(payload, 1_600 * ENTRY_BYTES);
      const { code } = await upload.reply('FLOW-4');
      expectThat(code === ResultCode.OK, 'OK', `code ${code}`);
    },
  },
  {
    title: 'credit never falls, and never says more opened than sent',
    clauses: ['FLOW-4', 'FLOW-5'],
    run: async (context) => {
      const payload = entries(context, 12_000);
      const upload = await context.upload(payload.length);
      await upload.stream(payload, 500 * ENTRY_BYTES);
      await upload.reply('FLOW-4');
      const credits = upload.session.packets
        .toSorted((left, right) => left.number - right.number)
        .flatMap(({ frames }) => frames.filter((frame) => frame.type === FrameType.CREDIT));
      let [limit, opened] = [0, 0];
      for (const credit of credits) {
        if (credit.flowId !== upload.id) continue;
        expectThat(credit.limitBytes >= limit, `a limit of at least ${limit}`, `${credit.limitBytes}`);
        expectThat(
          credit.openedBytes >= opened,
          `at least ${opened} opened`,
          `${credit.openedBytes}`,
          'FLOW-5',
        );
        expectThat(
          credit.openedBytes <= payload.length,
          `at most ${payload.length}`,
          `${credit.openedBytes}`,
          'FLOW-5',
        );
        [limit, opened] = [credit.limitBytes, credit.openedBytes];
      }
    },
  },
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
        concatBytes(new Uint8Array(isNode ? 13 : 5), new Uint8Array([9])),
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

export const flowCases = section('flows', 401, texts);
