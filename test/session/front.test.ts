import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Random } from '../../sim/random.ts';
import { type Micros, micros, millis, seconds } from '../../src/base/units.ts';
import { COOKIE_LIFETIME_MICROS, deriveClusterKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import {
  FRONT_ACCEPTED_MAX,
  Front,
  type FrontOutcome,
  type FrontSecret,
  HANDSHAKE_RETRY_MICROS,
  HANDSHAKE_TRIES_MAX,
  Initiator,
  type InitiatorOptions,
  type Session,
  signPacket,
} from '../../src/session/index.ts';
import {
  decodePacket,
  type HelloPacket,
  isFailure,
  type Packet,
  PacketType,
  ResultCode,
  Role,
  WIRE_VERSION,
} from '../../src/wire/index.ts';
import { PARAMETERS, START } from '../support/session-pair.ts';

const CLUSTER = new Uint8Array(16).fill(9);
const RIGHTS = { read: true, write: true, node: true, admin: true };
const READ_ONLY = { read: true, write: false, node: false, admin: false };
const SECRET = frontSecret(7);
const OTHER_SECRET = frontSecret(8, READ_ONLY);
const HOST = '10.0.0.5';
const PORT = 50_000;
const SESSION_PORT = 41_234;

function frontSecret(fill: number, rights = RIGHTS): FrontSecret {
  return { keys: deriveClusterKeys(nodeSuite, new Uint8Array(32).fill(fill)), rights };
}

function makeFront(secrets: readonly FrontSecret[] = [SECRET], seed = 1): Front {
  const random = new Random(seed);
  return new Front({
    suite: nodeSuite,
    secrets,
    entropy: (bytes) => random.bytes(bytes),
    clusterId: CLUSTER,
  });
}

function makeInitiator(options: Partial<InitiatorOptions> = {}, seed = 2): Initiator {
  const random = new Random(seed);
  return new Initiator({
    suite: nodeSuite,
    keys: SECRET.keys,
    entropy: (bytes) => random.bytes(bytes),
    now: START,
    role: Role.CLIENT,
    local: PARAMETERS,
    pool: new CreditPool(1e8),
    ...options,
  });
}

const buffer = new Uint8Array(65_536);

/** What the initiator has to say now. */
function poll(initiator: Initiator, now: number = START): Uint8Array | undefined {
  initiator.handleTimeout(micros(now));
  const transmit = initiator.pollTransmit(micros(now), buffer);
  return transmit === undefined ? undefined : buffer.slice(0, transmit.bytes);
}

function handle(
  front: Front,
  bytes: Uint8Array,
  now: number = START,
  host = HOST,
  port = PORT,
): FrontOutcome | undefined {
  return front.handleDatagram(micros(now), host, port, bytes);
}

function replyOf(outcome: FrontOutcome | undefined): Uint8Array {
  if (outcome?.kind !== 'reply') throw new Error(`no reply but ${outcome?.kind}`);
  return outcome.bytes;
}

function typeOf(bytes: Uint8Array): number {
  const packet = decodePacket(bytes);
  if (isFailure(packet)) throw new Error(packet);
  return packet.type;
}

function noiseOf(hello: Uint8Array): Uint8Array {
  const packet = decodePacket(hello);
  if (isFailure(packet) || packet.type !== PacketType.HELLO) throw new Error('no hello');
  return packet.noise;
}

/** The initiator's second HELLO, with a cookie and its Noise message. */
function provenHello(
  front: Front,
  initiator: Initiator,
  now: number = START,
  host = HOST,
  port = PORT,
): Uint8Array {
  const cookie = replyOf(handle(front, poll(initiator, now)!, now, host, port));
  initiator.handleDatagram(micros(now), cookie);
  return poll(initiator, now)!;
}

function welcome(
  outcome: FrontOutcome | undefined,
  now: number = START,
): { bytes: Uint8Array; session: Session } {
  if (outcome?.kind !== 'accept') throw new Error(`not accepted but ${outcome?.kind}`);
  return outcome.acceptance.welcome({
    now: now as Micros,
    port: SESSION_PORT,
    local: PARAMETERS,
    pool: new CreditPool(1e8),
  });
}

/** Whether the two ends can read one another. */
function understand(left: Session, right: Session): boolean {
  for (const [from, to] of [
    [left, right],
    [right, left],
  ] as const) {
    from.notify(1, Uint8Array.of(42));
    const transmit = from.pollTransmit(START, buffer);
    if (transmit !== undefined) to.handleDatagram(START, buffer.slice(0, transmit.bytes));
  }
  const heard = (session: Session): boolean => {
    for (let event = session.pollEvent(); event !== undefined; event = session.pollEvent()) {
      if (event.kind === 'notice') return true;
    }
    return false;
  };
  return heard(left) && heard(right);
}

/** A HELLO like the initiator's with something changed, and its MAC made anew under `secret`. */
function altered(hello: Uint8Array, change: Partial<HelloPacket>, secret: FrontSecret = SECRET): Uint8Array {
  const packet = decodePacket(hello);
  if (isFailure(packet) || packet.type !== PacketType.HELLO) throw new Error('no hello');
  return signPacket(nodeSuite, secret.keys, { ...packet, ...change } as Packet);
}

describe('the session of an initiator', () => {
  it('lives unheard for the whole idle time that the responder states [SES-12]', () => {
    const [front, initiator] = [makeFront(), makeInitiator()];
    initiator.handleDatagram(START, welcome(handle(front, provenHello(front, initiator))).bytes);
    const { outcome } = initiator;
    if (outcome?.kind !== 'established') throw new Error(`not established but ${outcome?.kind}`);
    const { session } = outcome;
    session.handleTimeout(micros(START + PARAMETERS.idleMicros - 1));
    expect(session.isOpen).toBe(true);
    session.handleTimeout(micros(START + PARAMETERS.idleMicros));
    expect(session.isOpen).toBe(false);
  });
});

describe('work ahead of its need', () => {
  it('makes the pair of the first handshake, once, and changes no byte', () => {
    const calls: number[] = [];
    const random = new Random(2);
    const entropy = (bytes: number) => {
      calls.push(bytes);
      return random.bytes(bytes);
    };
    const [prepared, plain] = [makeInitiator({ entropy }), makeInitiator()];
    poll(prepared);
    prepared.prepare();
    prepared.prepare();
    expect(calls).toEqual([8, 32]);
    const hello = provenHello(makeFront(), prepared, START + 100_000);
    expect(noiseOf(hello)).toEqual(noiseOf(provenHello(makeFront(), plain)));
    prepared.prepare();
    expect(calls).toEqual([8, 32]);
  });

  it('makes a fresh pair where another cluster answers [HS-1] [HS-21]', () => {
    const initiator = makeInitiator();
    poll(initiator);
    initiator.prepare();
    const first = noiseOf(provenHello(makeFront(), initiator, START + 100_000));
    const elsewhere = makeFront();
    elsewhere.clusterId = new Uint8Array(16).fill(99);
    const cookie = replyOf(handle(elsewhere, poll(makeInitiator())!, START + 200_000));
    initiator.handleDatagram(micros(START + 200_000), cookie);
    const second = noiseOf(poll(initiator, START + 200_000)!);
    expect(second.subarray(0, 32)).not.toEqual(first.subarray(0, 32));
  });
});

describe('a handshake', () => {
  it('takes HELLO, COOKIE, HELLO, WELCOME, and gives two sessions that understand one another', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const outcome = handle(front, provenHello(front, initiator));
    expect(outcome).toMatchObject({ kind: 'accept', acceptance: { role: Role.CLIENT, rights: RIGHTS } });
    const { bytes, session } = welcome(outcome);
    expect(typeOf(bytes)).toBe(PacketType.WELCOME);
    initiator.handleDatagram(START, bytes);
    const established = initiator.outcome;
    if (established?.kind !== 'established') throw new Error(established?.kind);
    expect(established.port).toBe(SESSION_PORT);
    expect(established.clusterId).toEqual(CLUSTER);
    expect(established.session.handshakeHash).toEqual(session.handshakeHash);
    expect(understand(established.session, session)).toBe(true);
    expect(initiator.nextTimeout()).toBeUndefined();
    expect(poll(initiator)).toBeUndefined();
  });

  it('has new keys every time', () => {
    const hashes = [3, 4].map((seed) => {
      const front = makeFront();
      return welcome(handle(front, provenHello(front, makeInitiator({}, seed)))).session.handshakeHash;
    });
    expect(hashes[0]).not.toEqual(hashes[1]);
  });

  it('sends no COOKIE that is three times as long as its HELLO [HS-24]', () => {
    const hello = poll(makeInitiator())!;
    const cookie = replyOf(handle(makeFront(), hello));
    expect(typeOf(cookie)).toBe(PacketType.COOKIE);
    expect(cookie.length).toBeLessThan(3 * hello.length);
  });

  it('ends though any one packet of it is lost', () => {
    for (let lost = 0; lost < 4; lost++) {
      const front = makeFront();
      const initiator = makeInitiator();
      let now: number = START;
      let count = 0;
      let made: Session | undefined;
      for (let steps = 0; steps < 50 && initiator.outcome === undefined; steps++) {
        const hello = poll(initiator, now);
        if (hello === undefined) {
          now = initiator.nextTimeout()!;
          continue;
        }
        if (count++ === lost) continue;
        const outcome = handle(front, hello, now);
        if (outcome === undefined) continue;
        let bytes: Uint8Array;
        if (outcome.kind === 'reply') bytes = outcome.bytes;
        else {
          expect(made, 'one session only').toBeUndefined();
          ({ bytes, session: made } = welcome(outcome, now));
        }
        if (count++ === lost) continue;
        initiator.handleDatagram(micros(now), bytes);
      }
      const { outcome } = initiator;
      if (outcome?.kind !== 'established') throw new Error(`packet ${lost} lost: ${outcome?.kind}`);
      expect(understand(outcome.session, made!)).toBe(true);
      expect(now - START).toBeLessThanOrEqual(HANDSHAKE_RETRY_MICROS * 2);
    }
  });
});

describe('a stranger at the front port', () => {
  it('gets no byte for a HELLO with a wrong MAC, whichever bit is wrong [HELLO-2]', () => {
    const front = makeFront();
    for (const hello of [poll(makeInitiator())!, provenHello(makeFront(), makeInitiator())]) {
      for (let bit = 0; bit < hello.length * 8; bit++) {
        const wrong = hello.slice();
        wrong[bit >>> 3]! ^= 1 << (bit & 7);
        expect(handle(front, wrong)).toBeUndefined();
      }
    }
    expect(front.dropped.get('mac')).toBeGreaterThan(0);
  });

  it('gets no byte for any truncation, nor for bytes behind a good HELLO [PKT-15] [PKT-4]', () => {
    const front = makeFront();
    const hello = poll(makeInitiator())!;
    for (let length = 0; length < hello.length; length++)
      expect(handle(front, hello.slice(0, length))).toBeUndefined();
    expect(handle(front, Uint8Array.from([...hello, 0]))).toBeUndefined();
    expect(front.dropped.get('trailing')).toBe(1);
    expect(handle(front, hello)?.kind).toBe('reply');
  });

  it('gets no byte for random bytes, and the front does not throw', () => {
    const front = makeFront();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(7), (bytes, type) => {
        if (bytes.length > 3) {
          bytes[0] = type;
          bytes[1] = 0;
          bytes[2] = bytes.length >>> 8;
          bytes[3] = bytes.length;
        }
        expect(handle(front, bytes)).toBeUndefined();
      }),
      { numRuns: 1_000 },
    );
  });

  it('gets no byte for a secret that is not known here [HELLO-3]', () => {
    const front = makeFront();
    expect(handle(front, poll(makeInitiator({ keys: OTHER_SECRET.keys }))!)).toBeUndefined();
    expect(front.dropped.get('secret id')).toBe(1);
  });

  it('gets no byte for the id of one secret and the MAC of another', () => {
    const front = makeFront([SECRET, OTHER_SECRET]);
    const mixed = altered(poll(makeInitiator())!, {}, OTHER_SECRET);
    expect(handle(front, mixed)).toBeUndefined();
    expect(front.dropped.get('mac')).toBe(1);
  });

  it('gets no byte for packets of other kinds', () => {
    const front = makeFront();
    const cookie = replyOf(handle(front, poll(makeInitiator())!));
    const proven = handle(front, provenHello(front, makeInitiator({}, 5)));
    for (const bytes of [cookie, welcome(proven).bytes]) expect(handle(front, bytes)).toBeUndefined();
    expect(front.dropped.get('not a hello')).toBe(2);
  });
});

describe('a HELLO with a cookie', () => {
  it('gets only a COOKIE from another address or port [HS-11] [COOKIE-1]', () => {
    const front = makeFront();
    const hello = provenHello(front, makeInitiator());
    expect(typeOf(replyOf(handle(front, hello, START, '10.0.0.6', PORT)))).toBe(PacketType.COOKIE);
    expect(typeOf(replyOf(handle(front, hello, START, HOST, PORT + 1)))).toBe(PacketType.COOKIE);
    expect(handle(front, hello)?.kind).toBe('accept');
  });

  it('gets only a COOKIE when the cookie is of another tag, another front or too old [HS-11] [COOKIE-2]', () => {
    const front = makeFront();
    const hello = provenHello(front, makeInitiator());
    expect(typeOf(replyOf(handle(front, altered(hello, { tag: { high: 1, low: 2 } }))))).toBe(
      PacketType.COOKIE,
    );
    expect(typeOf(replyOf(handle(makeFront([SECRET], 99), hello)))).toBe(PacketType.COOKIE);
    const late = START + COOKIE_LIFETIME_MICROS + 1;
    expect(typeOf(replyOf(handle(front, hello, late)))).toBe(PacketType.COOKIE);
  });

  it('and the same Noise message gets the same WELCOME, and is accepted once [HS-17]', () => {
    const front = makeFront();
    const hello = provenHello(front, makeInitiator());
    const first = handle(front, hello);
    // While the session's port is being opened, a copy gets nothing.
    expect(handle(front, hello)).toBeUndefined();
    const { bytes } = welcome(first);
    for (let copy = 0; copy < 5; copy++)
      expect(replyOf(handle(front, hello, START + copy * 1_000))).toEqual(bytes);
  });

  it('is accepted anew after it was refused [HS-20]', () => {
    const front = makeFront();
    const hello = provenHello(front, makeInitiator());
    const outcome = handle(front, hello);
    if (outcome?.kind !== 'accept') throw new Error('not accepted');
    expect(typeOf(outcome.acceptance.refuse(ResultCode.BUSY))).toBe(PacketType.REFUSED);
    expect(handle(front, hello)?.kind).toBe('accept');
  });

  it('of another version is told so: REFUSED, but a COOKIE before the address is proven [HS-19] [PKT-7]', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const hello = provenHello(front, initiator);
    const unproven = altered(poll(makeInitiator({}, 6))!, { version: WIRE_VERSION + 1 });
    expect(typeOf(replyOf(handle(front, unproven)))).toBe(PacketType.COOKIE);
    const refused = replyOf(handle(front, altered(hello, { version: WIRE_VERSION + 1 })));
    expect(typeOf(refused)).toBe(PacketType.REFUSED);
    initiator.handleDatagram(START, refused);
    expect(initiator.outcome).toMatchObject({ kind: 'refused', code: ResultCode.UNSUPPORTED });
  });

  it('whose Noise message was made under another prologue or psk is dropped [HS-3] [HS-13]', () => {
    const front = makeFront();
    const elsewhere = makeFront();
    elsewhere.clusterId = new Uint8Array(16).fill(1);
    const initiator = makeInitiator();
    const foreign = decodePacket(provenHello(elsewhere, makeInitiator({}, 8)));
    const hello = provenHello(front, initiator);
    if (isFailure(foreign) || foreign.type !== PacketType.HELLO) throw new Error('no hello');
    expect(handle(front, altered(hello, { noise: foreign.noise }))).toBeUndefined();
    expect(front.dropped.get('noise')).toBe(1);
    // And the true one is not harmed by it.
    expect(handle(front, hello)?.kind).toBe('accept');
  });
});

describe('the memory of accepted handshakes', () => {
  it('is bounded: one more initiator is told that the front is busy, until cookies have died [HS-20]', () => {
    // Each entry costs a real handshake, so three stand for 65,536.
    expect(FRONT_ACCEPTED_MAX).toBe(65_536);
    const random = new Random(1);
    const limited = new Front({
      suite: nodeSuite,
      secrets: [SECRET],
      entropy: (bytes) => random.bytes(bytes),
      clusterId: CLUSTER,
      acceptedMax: 3,
    });
    for (let seed = 0; seed < 3; seed++) {
      expect(handle(limited, provenHello(limited, makeInitiator({}, 100 + seed)))?.kind).toBe('accept');
    }
    const fourth = makeInitiator({}, 200);
    const refused = replyOf(handle(limited, provenHello(limited, fourth)));
    fourth.handleDatagram(START, refused);
    expect(fourth.outcome).toMatchObject({ kind: 'refused', code: ResultCode.BUSY, retryMillis: 500 });
    const later = START + COOKIE_LIFETIME_MICROS + 1;
    const fifth = makeInitiator({ now: micros(later) }, 300);
    expect(handle(limited, provenHello(limited, fifth, later), later)?.kind).toBe('accept');
  });
});

describe('secrets', () => {
  it('may be two at once, each with its own rights [SECRET-3]', () => {
    const front = makeFront([SECRET, OTHER_SECRET]);
    const rights = [SECRET, OTHER_SECRET].map(({ keys }, index) => {
      const outcome = handle(front, provenHello(front, makeInitiator({ keys }, 20 + index)));
      if (outcome?.kind !== 'accept') throw new Error('not accepted');
      return outcome.acceptance.rights;
    });
    expect(rights).toEqual([RIGHTS, READ_ONLY]);
  });

  it('are bound into the handshake: a cookie and a tag of one do not help the other', () => {
    const front = makeFront([SECRET, OTHER_SECRET]);
    const hello = provenHello(front, makeInitiator());
    const crossed = altered(hello, { secretId: OTHER_SECRET.keys.secretId }, OTHER_SECRET);
    // Right MAC, right cookie, but the Noise message holds the other psk.
    expect(handle(front, crossed)).toBeUndefined();
    expect(front.dropped.get('noise')).toBe(1);
  });
});

describe('an initiator', () => {
  it('gives up after its tries, each twice as far from the last [HS-18]', () => {
    const initiator = makeInitiator();
    const sentAt: number[] = [];
    for (let now: number = START; initiator.outcome === undefined; now = initiator.nextTimeout() ?? now) {
      if (poll(initiator, now) !== undefined) sentAt.push(now - START);
    }
    expect(sentAt).toHaveLength(HANDSHAKE_TRIES_MAX);
    expect(sentAt).toEqual([0, 100, 300, 700, 1_500, 3_100].map((at) => millis(at)));
    expect(initiator.outcome).toEqual({ kind: 'unanswered' });
  });

  it('has all its tries again once a cookie came [HS-18]', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    let cookie: Uint8Array | undefined;
    let sent = 0;
    for (let now: number = START; initiator.outcome === undefined; now = initiator.nextTimeout() ?? now) {
      const hello = poll(initiator, now);
      if (hello === undefined) continue;
      sent += 1;
      // The answer to the fourth HELLO is the first that arrives.
      if (sent !== 4) continue;
      cookie = replyOf(handle(front, hello, now));
      initiator.handleDatagram(micros(now), cookie);
    }
    expect(sent).toBe(4 + HANDSHAKE_TRIES_MAX);
  });

  it('takes nothing from strangers: packets without the secret, or for another tag [HS-14]', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    poll(initiator);
    const other = makeInitiator({}, 44);
    const cookie = replyOf(handle(front, poll(other)!));
    initiator.handleDatagram(START, cookie);
    expect(poll(initiator)).toBeUndefined();
    const own = makeInitiator();
    const good = replyOf(handle(front, poll(own)!));
    for (let bit = 0; bit < good.length * 8; bit++) {
      const wrong = good.slice();
      wrong[bit >>> 3]! ^= 1 << (bit & 7);
      own.handleDatagram(START, wrong);
      expect(poll(own)).toBeUndefined();
    }
    for (let length = 0; length < good.length; length++) own.handleDatagram(START, good.slice(0, length));
    expect(own.outcome).toBeUndefined();
    own.handleDatagram(START, good);
    expect(poll(own)).toBeDefined();
  });

  it('is told which cluster answers, and may insist on its own [HS-23]', () => {
    const front = makeFront();
    const initiator = makeInitiator({ clusterId: new Uint8Array(16).fill(1) });
    initiator.handleDatagram(START, replyOf(handle(front, poll(initiator)!)));
    expect(initiator.outcome).toEqual({ kind: 'other-cluster', clusterId: CLUSTER });
  });

  it('takes a new cookie for the one that grew old, with the same Noise message [HS-21]', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const first = decodePacket(provenHello(front, initiator));
    const late = START + seconds(6);
    const cookie = replyOf(handle(front, poll(initiator, late)!, late));
    expect(typeOf(cookie)).toBe(PacketType.COOKIE);
    initiator.handleDatagram(micros(late), cookie);
    const hello = poll(initiator, late)!;
    const second = decodePacket(hello);
    expect((second as HelloPacket).noise).toEqual((first as HelloPacket).noise);
    expect((second as HelloPacket).cookie).not.toEqual((first as HelloPacket).cookie);
    const { bytes } = welcome(handle(front, hello, late), late);
    initiator.handleDatagram(micros(late), bytes);
    expect(initiator.outcome?.kind).toBe('established');
  });

  it('asks once for the same cookie, however often a copy of it comes', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const cookie = replyOf(handle(front, poll(initiator)!));
    for (let copy = 0; copy < 5; copy++) initiator.handleDatagram(START, cookie);
    expect(poll(initiator)).toBeDefined();
    for (let copy = 0; copy < 5; copy++) initiator.handleDatagram(START, cookie);
    expect(poll(initiator)).toBeUndefined();
  });

  it('takes no second outcome', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const { bytes } = welcome(handle(front, provenHello(front, initiator)));
    initiator.handleDatagram(START, bytes);
    const established = initiator.outcome;
    initiator.handleDatagram(START, bytes);
    expect(initiator.outcome).toBe(established);
  });
});

describe('a machine in the middle without the secret', () => {
  it('cannot put its own key into either message [HS-3] [HS-22]', () => {
    const front = makeFront();
    const initiator = makeInitiator();
    const hello = decodePacket(provenHello(front, initiator));
    if (isFailure(hello) || hello.type !== PacketType.HELLO) throw new Error('no hello');
    const own = nodeSuite.keyPair(new Uint8Array(32).fill(66)).publicKey;
    const noise = hello.noise.slice();
    noise.set(own);
    // Without the secret it cannot even sign the packet; and if it could, the handshake fails.
    const unsigned = { ...hello, noise };
    expect(handle(front, signPacket(nodeSuite, OTHER_SECRET.keys, unsigned))).toBeUndefined();
    expect(handle(front, signPacket(nodeSuite, SECRET.keys, unsigned))).toBeUndefined();
    expect([front.dropped.get('mac'), front.dropped.get('noise')]).toEqual([1, 1]);
    const { bytes } = welcome(handle(front, signPacket(nodeSuite, SECRET.keys, hello)));
    const answer = decodePacket(bytes);
    if (isFailure(answer) || answer.type !== PacketType.WELCOME) throw new Error('no welcome');
    const relayed = answer.noise.slice();
    relayed.set(own);
    initiator.handleDatagram(START, signPacket(nodeSuite, OTHER_SECRET.keys, { ...answer, noise: relayed }));
    expect(initiator.outcome).toBeUndefined();
    initiator.handleDatagram(START, signPacket(nodeSuite, SECRET.keys, { ...answer, noise: relayed }));
    expect(initiator.outcome?.kind).not.toBe('established');
  });

  it('reads nothing of what it relays: neither port nor tag of the session stand in clear', () => {
    const front = makeFront();
    const { bytes, session } = welcome(handle(front, provenHello(front, makeInitiator())));
    const text = Buffer.from(bytes).toString('hex');
    const tag = Buffer.alloc(8);
    tag.writeUInt32BE(session.localTag.high, 0);
    tag.writeUInt32BE(session.localTag.low, 4);
    expect(text).not.toContain(tag.toString('hex'));
    expect(text).not.toContain(Buffer.from(session.handshakeHash).toString('hex'));
  });
});
