/**
 * Datagrams that receive offload glued together: wherever a glued input is split, and wherever it is cut
 * off, its packets are taken or dropped, never misread, and nothing is lost for good.
 */

import { describe, expect, it } from 'vitest';
import { micros } from '../../src/base/units.ts';
import { packetLength } from '../../src/wire/index.ts';
import { FlowReader, FlowWriter, pattern, SessionPair, same } from '../support/session-pair.ts';

const OBJECT = pattern(1_200);

/** A session whose next datagrams carry a query, and a flow in records of several segments. */
function stage() {
  const pair = SessionPair.live();
  const { left, right } = pair;
  const id = left.session.query(7, pattern(20))!;
  left.session.openSend(id, 65_536);
  right.session.openReceive(id, false);
  const writer = new FlowWriter(left, id, OBJECT, 400);
  const reader = new FlowReader(right, id);
  left.onEvent = (event) => {
    if (event.kind === 'writable') writer.pump();
  };
  right.onEvent = () => reader.pump();
  writer.pump();
  const buffer = new Uint8Array(65_536);
  const parts: Uint8Array[] = [];
  for (;;) {
    const sent = left.session.pollTransmit(micros(pair.now), buffer);
    if (sent === undefined) break;
    parts.push(buffer.slice(0, sent.bytes));
  }
  return { pair, reader, glued: new Uint8Array(Buffer.concat(parts)) };
}

/** Where the packets of `bytes` begin, and its end. */
function boundaries(bytes: Uint8Array): number[] {
  const found = [0];
  for (let at = 0; at < bytes.length; found.push(at)) at += packetLength(bytes, at);
  return found;
}

/** Hands in the parts, lets both ends go on, and expects that all has arrived, once. */
function expectWhole({ pair, reader }: ReturnType<typeof stage>, parts: readonly Uint8Array[]): void {
  for (const part of parts) pair.right.session.handleDatagram(micros(pair.now), part);
  pair.runUntil(() => reader.done && pair.right.kinds().includes('query'));
  expect(pair.right.session.isOpen && pair.left.session.isOpen).toBe(true);
  const queries = pair.right.events.filter((event) => event.kind === 'query');
  expect(queries).toEqual([{ kind: 'query', id: 0, query: 7, body: pattern(20) }]);
  expect(same(reader.bytes, OBJECT)).toBe(true);
}

describe('glued input', () => {
  it('holds several packets', () => {
    const { glued } = stage();
    expect(boundaries(glued).length).toBeGreaterThan(3);
    expect(boundaries(glued).at(-1)).toBe(glued.length);
  });

  it('is taken whole', () => {
    const staged = stage();
    expectWhole(staged, [staged.glued]);
    expect(staged.pair.right.session.counts.dropped.size).toBe(0);
  });

  it('is taken whole when it is split between packets', () => {
    for (const at of boundaries(stage().glued).slice(1, -1)) {
      const staged = stage();
      expectWhole(staged, [staged.glued.slice(0, at), staged.glued.slice(at)]);
      expect(staged.pair.right.session.counts.dropped.size).toBe(0);
    }
  });

  it('is taken as far as it is whole when it is split anywhere', () => {
    const { length } = stage().glued;
    for (let at = 1; at < length; at += 1) {
      const staged = stage();
      expectWhole(staged, [staged.glued.slice(0, at), staged.glued.slice(at)]);
    }
  });

  it('is taken as far as it goes when it is cut off anywhere', () => {
    const { length } = stage().glued;
    for (let at = 0; at < length; at += 1) {
      const staged = stage();
      expectWhole(staged, [staged.glued.slice(0, at)]);
    }
  });

  it('of a stranger does not hide what is behind it', () => {
    const staged = stage();
    const [, second = 0] = boundaries(staged.glued);
    const foreign = staged.glued.slice(0, second);
    // Another session's tag.
    foreign[8] = foreign[8]! ^ 1;
    const parts = Buffer.concat([foreign, staged.glued]);
    expectWhole(staged, [parts]);
    expect(staged.pair.right.session.counts.dropped.get('tag')).toBe(1);
  });
});
