/** Cases of sections 3.1, 3.2 and 3.5: SEALED packets, the replay window, and all transitions of the epochs. */

import { bytesOf, hexOf, type Json, type JsonObject, tagOf } from '../json.ts';
import { join } from '../primitives.ts';
import { sealPacket, sealRecord } from '../sealing.ts';
import { CaseList, counting, fixedBytes, flipped, patched, type VectorFile } from '../vectors.ts';

export const TRAFFIC = hexOf(fixedBytes('traffic secret', 32));
export const RECEIVER_TAG = 'a1a2a3a4a5a6a7a8';
const PING = '01';

export function sealingFile(): VectorFile {
  const cases = new CaseList('SEALED packets, records under keys, and key update');
  addSeals(cases);
  addForgeries(cases);
  addEpochs(cases);
  addRecordEpochs(cases);
  return cases.file;
}

function addSeals(cases: CaseList): void {
  const seal = (name: string, epoch: number, packetNumber: number, plaintext: string): void => {
    const fields = { trafficSecret: TRAFFIC, receiverTag: RECEIVER_TAG };
    const { packet } = cases.takes(`seal ${name}`, 'SEAL-1 SEAL-2 KEY-4', 'sealed.seal', {
      ...fields,
      epoch,
      packetNumber,
      plaintext,
    });
    if (epoch > 1) return;
    cases.takes(`open ${name}`, 'SEAL-1 SEAL-2 KEY-4', 'receive.trace', {
      ...fields,
      events: [datagram(packet!)],
    });
  };
  seal('a PING', 0, 0, PING);
  seal('number 1', 0, 1, PING);
  seal('a number above 2^32', 0, 2 ** 32 + 5, PING);
  seal('the last number', 0, 2 ** 48 - 1, PING);
  seal('a QUERY', 0, 7, '04000000000100040000000a');
  seal('a packet of 1,200 bytes', 0, 8, hexOf(join([1], new Uint8Array(1_165))));
  seal('epoch 1', 1, 9, PING);
  for (const epoch of [2, 3, 4, 5, 7]) seal(`epoch ${epoch}`, epoch, 10 + epoch, PING);
  for (const [flowId, recordNumber, epoch] of [
    [0, 0, 0],
    [2 ** 32 - 1, 0, 0],
    [0, 2 ** 32 - 1, 0],
    [6, 1, 1],
    [6, 1, 5],
  ] as const) {
    cases.takes(`seal record ${recordNumber} of flow ${flowId}, epoch ${epoch}`, 'REC-1', 'record.seal', {
      trafficSecret: TRAFFIC,
      epoch,
      flowId,
      recordNumber,
      encoding: 0,
      offset: 0,
      dataLeft: 0,
      plainLength: 5,
      payload: '68656c6c6f',
    });
  }
  cases.refuses('seal a stored record of another length', 'REC-15', 'record.seal', {
    trafficSecret: TRAFFIC,
    epoch: 0,
    flowId: 0,
    recordNumber: 0,
    encoding: 0,
    offset: 0,
    dataLeft: 0,
    plainLength: 6,
    payload: '68656c6c6f',
  });
}

/** Bits turned in every field, and what else arrives that nobody sealed. */
function addForgeries(cases: CaseList): void {
  const good = bytesOf(sealed(0, 20));
  const next = datagram(sealed(0, 21));
  const forged: Readonly<Record<string, Uint8Array>> = {
    'the epoch turned': flipped(good, 1),
    'the tag turned': flipped(good, 4),
    'the last byte of the tag turned': flipped(good, 11),
    'the number raised': flipped(good, 12),
    'the last bit of the number turned': flipped(good, 17),
    'the ciphertext turned': flipped(good, 18),
    'the last byte turned': flipped(good, good.length - 1),
    'a byte less': patched(good.slice(0, -1), 3, good.length - 1),
    'a byte more': patched(join(good, [0]), 3, good.length + 1),
    'no ciphertext at all': patched(good.slice(0, 34), 3, 34),
  };
  for (const [name, bytes] of Object.entries(forged)) {
    // The forgery leaves no trace: the genuine packet and the next one still open.
    trace(cases, `forged: ${name}`, 'SEAL-3 REPLAY-1', [datagram(hexOf(bytes)), datagram(hexOf(good)), next]);
  }
  const far = bytesOf(sealed(0, 2 ** 40));
  trace(cases, 'a forged number far ahead does not move the window', 'REPLAY-1', [
    datagram(hexOf(flipped(far, 30))),
    datagram(hexOf(good)),
  ]);
  trace(cases, 'the same packet again', 'REPLAY-3', [
    datagram(hexOf(good)),
    datagram(hexOf(good)),
    next,
    next,
  ]);
  trace(cases, 'the same packet twice in a datagram', 'REPLAY-3 PKT-1', [datagram(hexOf(join(good, good)))]);
  trace(cases, 'packets in another order', 'REPLAY-1', [next, datagram(hexOf(good)), datagram(sealed(0, 3))]);
  trace(cases, 'a packet at the end of the window, and one behind', 'REPLAY-2', [
    datagram(sealed(0, 10_000)),
    datagram(sealed(0, 10_000 - 8_192)),
    datagram(sealed(0, 10_000 - 8_193)),
  ]);
  trace(cases, 'three packets in a datagram, one of them forged', 'PKT-1 SEAL-3', [
    datagram(hexOf(join(bytesOf(sealed(0, 1)), flipped(good, 25), bytesOf(sealed(0, 2))))),
  ]);
}

/** The table of section 3.5, for control packets. */
function addEpochs(cases: CaseList): void {
  let number = 0;
  const at = (epoch: number): JsonObject => datagram(sealed(epoch, number++));
  const forget: JsonObject = { event: 'forget' };
  trace(cases, 'the same epoch', 'KEY-8', [at(0), at(0)]);
  trace(cases, 'the next epoch', 'KEY-8', [at(0), at(1), at(1)]);
  trace(cases, 'the next epoch as the first packet', 'KEY-8', [at(1)]);
  trace(cases, 'the previous epoch, before it is forgotten', 'KEY-8 KEY-11', [at(0), at(1), at(0), at(1)]);
  trace(cases, 'the previous epoch, after it is forgotten', 'KEY-11', [at(0), at(1), forget, at(0), at(1)]);
  trace(cases, 'the epoch after the next', 'KEY-10', [at(0), at(2), at(0)]);
  trace(cases, 'epoch 3 while epoch 0 is current', 'KEY-10', [at(0), at(3), at(0)]);
  trace(cases, 'two epochs back', 'KEY-10', [at(1), at(2), at(0), at(1), at(2)]);
  trace(cases, 'six epochs in a row', 'KEY-7 KEY-8', [at(0), at(1), at(2), at(3), at(4), at(5), at(4)]);
  trace(cases, 'epoch 4 has the bits of epoch 0, not its keys', 'KEY-8', [
    at(4),
    at(0),
    at(1),
    at(2),
    at(3),
    at(0),
    at(4),
  ]);
  trace(cases, 'forgetting twice, with an update between', 'KEY-11', [
    at(1),
    forget,
    at(2),
    at(1),
    forget,
    at(1),
    at(2),
  ]);
  const empty = sealPacket(bytesOf(TRAFFIC), 1, tagOf(RECEIVER_TAG), number++, new Uint8Array(0));
  trace(cases, 'a packet without a frame updates, too', 'KEY-8', [at(0), datagram(hexOf(empty)), at(1)]);
  trace(cases, 'forgetting before any update', 'KEY-11', [at(0), forget, at(0)]);
  const real = bytesOf(sealed(1, number++));
  trace(cases, 'a forged packet of the next epoch changes nothing', 'KEY-8 KEY-9', [
    at(0),
    datagram(hexOf(flipped(real, 25))),
    at(0),
    datagram(hexOf(real)),
    at(0),
  ]);
  trace(cases, 'many forged packets of the next epoch', 'KEY-9', [
    ...Array.from({ length: 20 }, (_, index) => datagram(hexOf(flipped(real, 20 + (index % 12), index % 8)))),
    datagram(hexOf(real)),
  ]);
  trace(cases, 'numbers go on through an update', 'REPLAY-3', [
    datagram(sealed(0, 50_000)),
    datagram(sealed(1, 50_000)),
    datagram(sealed(1, 50_001)),
    datagram(sealed(0, 50_001)),
  ]);
}

/** The same table for records [REC-3]. */
function addRecordEpochs(cases: CaseList): void {
  let number = 60_000;
  const packet = (epoch: number): JsonObject => datagram(sealed(epoch, number++));
  const record = (epoch: number, recordNumber: number): JsonObject => recordEvent(epoch, recordNumber);
  const forget: JsonObject = { event: 'forget' };
  trace(cases, 'a record of the same epoch', 'REC-1', [record(0, 0), record(0, 1)]);
  trace(cases, 'a record of the next epoch updates', 'KEY-8', [
    record(1, 0),
    packet(1),
    packet(0),
    record(0, 1),
  ]);
  trace(cases, 'a record of the previous epoch stays open to the next update', 'REC-3', [
    packet(1),
    forget,
    record(0, 0),
    packet(0),
    packet(2),
    record(0, 1),
    record(1, 2),
  ]);
  trace(cases, 'a record of the epoch after the next', 'KEY-10', [record(2, 0), record(3, 0), record(0, 0)]);
  const forged = { ...record(1, 0), sealed: hexOf(flipped(bytesOf(String(record(1, 0).sealed)), 3)) };
  trace(cases, 'a forged record of the next epoch', 'KEY-8 KEY-9', [forged, packet(0), record(1, 0)]);
  trace(cases, 'a record under the number of another', 'REC-1', [{ ...record(0, 1), recordNumber: 2 }]);
  trace(cases, 'a record under another flow', 'REC-1', [{ ...record(0, 1), flowId: 8 }]);
  trace(cases, 'a record opens as often as it comes', 'REC-1', [record(0, 1), record(0, 1)]);
}

export function replayFile(): VectorFile {
  const cases = new CaseList('The replay window');
  const add = (name: string, clauses: string, ...numbers: readonly number[]): void => {
    cases.takes(name, clauses, 'replay.trace', {
      events: numbers.map((packetNumber) => ({
        packetNumber: Math.abs(packetNumber),
        opens: packetNumber >= 0,
      })),
    });
  };
  add('in order', 'REPLAY-1', 0, 1, 2, 3, 4);
  add('each twice', 'REPLAY-3', 0, 0, 1, 1, 2, 2, 0, 1, 2);
  add('backwards', 'REPLAY-1 REPLAY-3', 9, 8, 7, 6, 5, 5, 6, 9);
  // A number below 0 stands for a packet of its absolute value that does not open.
  add('a number that does not open stays fresh', 'REPLAY-1', 1, -5, 5, 5);
  add('a forged number far ahead moves nothing', 'REPLAY-1', 1, -(2 ** 40), 2, 3, 2);
  add('the border of the window', 'REPLAY-2', 8_192, 0, 0, 8_193, 1, 0, 2, 8_194, 1, 2);
  add('one behind the border', 'REPLAY-2', 8_193, 0, 1);
  add('a jump of the whole window', 'REPLAY-2', 5, 6, 5 + 8_193, 6, 7, 5, 5 + 8_193);
  add('a jump far ahead', 'REPLAY-2', 5, 2 ** 47, 2 ** 47 - 8_192, 2 ** 47 - 8_193, 5, 6, 2 ** 47);
  add('the last numbers', 'REPLAY-1', 2 ** 48 - 1, 2 ** 48 - 2, 2 ** 48 - 1, 0);
  add('words of 32 and 64', 'REPLAY-3', 31, 32, 63, 64, 31, 32, 63, 64, 30, 33, 62, 65, 30, 65);
  add(
    'numbers a window apart share a place in a ring',
    'REPLAY-3',
    100,
    100 + 8_192,
    100,
    101 + 8_192,
    101,
    100 + 16_384,
  );
  for (const seed of [1, 2, 3]) {
    const bytes = fixedBytes(`replay ${seed}`, 600);
    let base = 20_000;
    const numbers = Array.from({ length: 300 }, (_, index) => {
      base += [0, 1, 3, 40, 700][bytes[2 * index]! % 5]!;
      const back = [0, 1, 2, 100, 8_191, 8_192, 8_193, 9_000][bytes[2 * index + 1]! % 8]!;
      return (bytes[2 * index]! % 7 === 0 ? -1 : 1) * (base - back);
    });
    add(`a mixture, ${seed}`, 'REPLAY-1 REPLAY-2 REPLAY-3', ...numbers);
  }
  return cases.file;
}

function trace(cases: CaseList, name: string, clauses: string, events: readonly JsonObject[]): void {
  cases.takes(name, clauses, 'receive.trace', { trafficSecret: TRAFFIC, receiverTag: RECEIVER_TAG, events });
}

function datagram(bytes: Json): JsonObject {
  return { event: 'datagram', bytes };
}

/** A SEALED packet of one PING. */
function sealed(epoch: number, packetNumber: number): string {
  const scratch = new CaseList('scratch');
  const fields = { trafficSecret: TRAFFIC, receiverTag: RECEIVER_TAG, epoch, packetNumber, plaintext: PING };
  return scratch.takes('x', 'SEAL-1', 'sealed.seal', fields).packet as string;
}

function recordEvent(epoch: number, recordNumber: number): JsonObject {
  const header = { encoding: 0, offset: 0, dataLeft: -1, plainBytes: 16 } as const;
  const bytes = sealRecord(bytesOf(TRAFFIC), epoch, 6, recordNumber, header, counting(recordNumber, 16));
  return { event: 'record', epochBits: epoch % 4, flowId: 6, recordNumber, sealed: hexOf(bytes) };
}
