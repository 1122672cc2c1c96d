/** Flows of ours, right and sloppy, and their credit. STORE at a node, INVENTORY at a coordinator. */

import { lz4Compression } from '../../src/store/compression.ts';
import { FrameType, ResultCode, Space } from '../../src/wire/index.ts';
import { type CaseText, section } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { glue } from '../handshake.ts';
import { PING } from '../peer.ts';
import { segmentBytes } from '../upload.ts';
import { ENTRIES, ENTRY_BYTES, entries, LZ4, taken } from './flow-steps.ts';

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
];

export const flowCases = section('flows', 401, texts);
