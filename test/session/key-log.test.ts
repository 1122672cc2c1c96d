import { createDecipheriv } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../src/base/bytes.ts';
import { seconds } from '../../src/base/units.ts';
import type { KeyLog } from '../../src/session/index.ts';
import { decodeFrames, decodePacket, isFailure, PacketType } from '../../src/wire/index.ts';
import { SessionPair } from '../support/session-pair.ts';

interface Logged {
  readonly tag: string;
  readonly epoch: number;
  readonly control: string;
  readonly record: string;
}

/** A key log that keeps copies of the keys in `entries`, and the borrowed arrays in `borrowed`. */
function keeping(entries: Logged[], borrowed: Uint8Array[] = []): KeyLog {
  return (tag, epoch, control, record) => {
    borrowed.push(control, record);
    entries.push({ tag: `${tag.high}:${tag.low}`, epoch, control: toHex(control), record: toHex(record) });
  };
}

const nameOf = ({ tag, epoch }: Logged): string => `${tag}/${epoch}`;

/** Asks and answers `count` times, so that both ends seal, and update their keys. */
function talk(pair: SessionPair, count: number): void {
  pair.right.onEvent = (event) => {
    if (event.kind === 'query') pair.right.session.reply(event.id, 0, new Uint8Array(3));
  };
  for (let index = 0; index < count; index++) {
    pair.left.session.query(1, new Uint8Array(4));
    pair.run(seconds(0.01));
  }
}

describe('the key log of a session', () => {
  it('has both directions of every epoch from either end alone, and the ends agree', () => {
    const [left, right]: [Logged[], Logged[]] = [[], []];
    const pair = SessionPair.live({
      initiator: { keySealingsMax: 7, keyLog: keeping(left) },
      responder: { keySealingsMax: 5, keyLog: keeping(right) },
    });
    talk(pair, 60);
    const keysOf = (entries: Logged[]) => new Map(entries.map((entry) => [nameOf(entry), entry]));
    const [mine, theirs] = [keysOf(left), keysOf(right)];
    expect(mine.size).toBe(left.length);
    for (const [name, entry] of theirs) if (mine.has(name)) expect(mine.get(name)).toEqual(entry);
    // A receiver may not have seen the newest epoch of its peer yet, and lacks nothing else.
    const lastOf = (tag: string, entries: Logged[]) =>
      Math.max(...entries.filter((entry) => entry.tag === tag).map(({ epoch }) => epoch));
    for (const tag of new Set(left.map((entry) => entry.tag))) {
      const last = Math.min(lastOf(tag, left), lastOf(tag, right));
      expect(last).toBeGreaterThanOrEqual(4);
      for (let epoch = 0; epoch <= last; epoch++) {
        expect(mine.has(`${tag}/${epoch}`) && theirs.has(`${tag}/${epoch}`)).toBe(true);
      }
    }
    expect(new Set([...left, ...right].flatMap(({ control, record }) => [control, record])).size).toBe(
      2 * new Set([...mine.keys(), ...theirs.keys()]).size,
    );
  });

  it('opens the packets of the session, with no other key', () => {
    const entries: Logged[] = [];
    const sealed: Uint8Array[] = [];
    const pair = new SessionPair({ initiator: { keySealingsMax: 7, keyLog: keeping(entries) } });
    for (const end of pair.ends) {
      end.filter = (bytes) => {
        sealed.push(bytes.slice());
        return true;
      };
    }
    pair.run(seconds(0.1));
    talk(pair, 30);
    let opened = 0;
    for (const bytes of sealed) {
      const packet = decodePacket(bytes);
      if (isFailure(packet) || packet.type !== PacketType.SEALED) throw new Error('no sealed packet');
      const tag = `${packet.tag.high}:${packet.tag.low}`;
      const candidates = entries.filter((entry) => entry.tag === tag && entry.epoch % 4 === packet.epochBits);
      const nonce = Buffer.alloc(12);
      nonce.writeBigUInt64BE(BigInt(packet.number), 4);
      opened += candidates.filter(({ control }) => {
        const cipher = createDecipheriv('aes-256-gcm', Buffer.from(control, 'hex'), nonce);
        cipher.setAAD(packet.header).setAuthTag(packet.sealed.subarray(-16));
        try {
          const plain = Buffer.concat([cipher.update(packet.sealed.subarray(0, -16)), cipher.final()]);
          return !isFailure(decodeFrames(plain));
        } catch {
          return false;
        }
      }).length;
    }
    expect(sealed.length).toBeGreaterThan(60);
    expect(opened).toBe(sealed.length);
  });

  it('only lends the keys, and wipes them when the log returns', () => {
    const borrowed: Uint8Array[] = [];
    const entries: Logged[] = [];
    talk(SessionPair.live({ initiator: { keySealingsMax: 7, keyLog: keeping(entries, borrowed) } }), 20);
    expect(borrowed.length).toBeGreaterThan(6);
    expect(borrowed.every((key) => key.every((byte) => byte === 0))).toBe(true);
    expect(entries.every(({ control }) => !/^0+$/.test(control))).toBe(true);
  });

  it('changes nothing of what the session sends', () => {
    const run = (keyLog: KeyLog | undefined): string[] => {
      const sent: string[] = [];
      const pair = new SessionPair({ initiator: { keySealingsMax: 7, keyLog } });
      for (const end of pair.ends) {
        end.filter = (bytes) => {
          sent.push(toHex(bytes));
          return true;
        };
      }
      pair.run(seconds(0.1));
      talk(pair, 30);
      return sent;
    };
    expect(run(keeping([]))).toEqual(run(undefined));
  });
});
