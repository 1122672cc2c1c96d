/** What the cases of flows are made of: uploads that must come to a good end, break the protocol, or be dropped. */

import { FrameType, ResultCode, Space } from '../../src/wire/index.ts';
import type { CaseText, WireContext } from '../case.ts';
import { expectThat } from '../expectations.ts';
import { glue } from '../handshake.ts';
import { recordPlaintext, segmentBytes, type Upload } from '../upload.ts';

export const ENTRY_BYTES = 39;
export const ENTRIES = 100;
export const SEALED_RECORD_BYTES_MAX = 65_571;
export const SEGMENT_JUMP_MAX = 65_536;
export const LZ4 = 1;
export const LATE_MILLIS = 150;

/**
 * What an upload carries: entries of an inventory that a coordinator takes, all of them pending so that nothing of
 * them stays in the catalog; for a node they are bytes like any others.
 */
export function entries(context: WireContext, count = ENTRIES): Uint8Array {
  const bytes = new Uint8Array(count * ENTRY_BYTES);
  for (let at = 0; at < bytes.length; at += ENTRY_BYTES) {
    bytes.set(context.random(32), at);
    bytes[at + ENTRY_BYTES - 1] = 1;
  }
  return bytes;
}

/** A case of an upload that must come to a good end, however it travels. */
export function taken(
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
export function breaks(title: string, clauses: readonly string[], send: (upload: Upload) => void): CaseText {
  const run = async (context: WireContext): Promise<void> => {
    const upload = await context.upload();
    send(upload);
    await upload.session.expectClose(clauses[0]!);
  };
  return { title, clauses, run };
}

/** A case of segments that must be dropped: not acknowledged, and without a trace. */
export function dropped(
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
export function segment(
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
export function sendPlain(upload: Upload, plaintext: Uint8Array, record = 0): void {
  upload.send(record, upload.session.sealRecord(upload.id, record, plaintext));
}

export function sendRecord(
  upload: Upload,
  record: number,
  bytes: number,
  fields: Parameters<typeof recordPlaintext>[1],
): void {
  // Read as entries of an inventory these are pending ones: nothing of them stays.
  sendPlain(upload, recordPlaintext(new Uint8Array(bytes).fill(1), fields), record);
}

/** Records of one entry each, in one datagram: no reader gets in between. */
export function sendTogether(
  upload: Upload,
  headers: readonly Parameters<typeof recordPlaintext>[1][],
): void {
  const packets = headers.flatMap((fields, record) =>
    upload.cut(record, upload.seal(record, new Uint8Array(ENTRY_BYTES).fill(1), fields)),
  );
  upload.session.sendRaw(glue(...packets));
}

/** Waits for so many RESEND frames of record 0. */
export async function resends(upload: Upload, count: number, clause: string): Promise<void> {
  const look = (): true | undefined => upload.session.frames(FrameType.RESEND).length >= count || undefined;
  await upload.session.until(look, `RESEND number ${count}`, { clause });
}

/** Sends record 0 with one byte changed, in several segments. */
export function sendSpoiled(upload: Upload, sealed: Uint8Array): void {
  const spoiled = sealed.slice();
  spoiled[100]! ^= 1;
  upload.send(0, spoiled);
}
