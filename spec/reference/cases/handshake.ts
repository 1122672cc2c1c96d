/** Cases of sections 2.5 to 2.7: one whole handshake with fixed keys, and every way in which one is refused. */

import { bytesOf, hexOf, type JsonObject } from '../json.ts';
import { clusterKeys, frontMac } from '../keys.ts';
import { begin, readFirst, writeFirst, writeSecond } from '../noise.ts';
import { ascii, join } from '../primitives.ts';
import { CaseList, counting, fixedBytes, flipped, patched, type VectorFile } from '../vectors.ts';

const CLUSTER_SECRET = hexOf(counting(0x00, 32));
const OTHER_SECRET = hexOf(counting(0x01, 32));
const CLUSTER_ID = hexOf(counting(0x80, 16));
const INITIATOR_TAG = '1122334455667788';
const RESPONDER_TAG = 'a1a2a3a4a5a6a7a8';
const COOKIE = hexOf(counting(0x40, 24));
const INITIATOR_PARAMETERS = {
  role: 1,
  datagramBytesMax: 65_507,
  windowBytes: 4_194_304,
  idleTimeMs: 10_000,
};
const RESPONDER_PARAMETERS = {
  sessionPort: 40_123,
  responderTag: RESPONDER_TAG,
  datagramBytesMax: 62_000,
  windowBytes: 2_097_152,
  idleTimeMs: 30_000,
};

/** What the first exchange starts from, as section 2.9 shows it. */
export const EXAMPLE = {
  clusterSecret: CLUSTER_SECRET,
  clusterId: CLUSTER_ID,
  cookie: COOKIE,
  initiatorTag: INITIATOR_TAG,
  responderTag: RESPONDER_TAG,
  initiatorKey: hexOf(counting(0x20, 32)),
  responderKey: hexOf(counting(0x60, 32)),
  initiatorPayload: parameters(1),
  responderPayload: join(
    [0x9c, 0xbb],
    bytesOf(RESPONDER_TAG),
    [0xf2, 0x30],
    [0, 0x20, 0, 0],
    [0, 0, 0x75, 0x30],
  ),
};

const INITIATOR: JsonObject = {
  clusterSecret: CLUSTER_SECRET,
  initiatorTag: INITIATOR_TAG,
  ephemeralPrivateKey: EXAMPLE.initiatorKey,
  parameters: INITIATOR_PARAMETERS,
};
const RESPONDER: JsonObject = {
  clusterSecret: CLUSTER_SECRET,
  clusterId: CLUSTER_ID,
  ephemeralPrivateKey: EXAMPLE.responderKey,
  parameters: RESPONDER_PARAMETERS,
};

/** The four packets of one handshake, in hex. */
interface Exchange {
  readonly cookiePacket: string;
  readonly hello: string;
  readonly welcome: string;
}

export function handshakeFile(): VectorFile {
  const cases = new CaseList('The handshake');
  const exchange = addExchange(cases);
  addOtherExchanges(cases);
  addCookieRefusals(cases, exchange);
  addHelloRefusals(cases, exchange);
  addWelcomeRefusals(cases, exchange);
  addRefusedPackets(cases);
  return cases.file;
}

/** The exchange of section 2.9. */
function addExchange(cases: CaseList): Exchange {
  const asked = { clusterSecret: CLUSTER_SECRET, initiatorTag: INITIATOR_TAG };
  cases.takes('1. HELLO without a cookie', 'HS-12 HELLO-1', 'handshake.ask', asked);
  const cookie = cases.takes('2. COOKIE', 'HS-11 HELLO-1', 'handshake.cookie', {
    ...asked,
    cookie: COOKIE,
    clusterId: CLUSTER_ID,
  });
  const cookiePacket = cookie.packet as string;
  const hello = cases.takes('3. HELLO with the cookie', 'HS-8 HS-12 HS-13 HS-15', 'handshake.prove', {
    ...INITIATOR,
    cookiePacket,
  }).packet as string;
  const welcome = cases.takes(
    '4. WELCOME, and the secrets of the responder',
    'HS-8 HS-13 HS-16 KEY-3',
    'handshake.accept',
    {
      ...RESPONDER,
      packet: hello,
    },
  ).packet as string;
  cases.takes('5. the secrets of the initiator', 'HS-8 HS-25 KEY-3', 'handshake.finish', {
    ...INITIATOR,
    cookiePacket,
    packet: welcome,
  });
  return { cookiePacket, hello, welcome };
}

function addOtherExchanges(cases: CaseList): void {
  for (let count = 1; count <= 6; count++) {
    const name = `exchange ${count}`;
    const shared = { clusterSecret: hexOf(fixedBytes(`${name} secret`, 32)) };
    const initiator = {
      ...INITIATOR,
      ...shared,
      initiatorTag: hexOf(fixedBytes(`${name} tag`, 8)),
      ephemeralPrivateKey: hexOf(fixedBytes(`${name} initiator`, 32)),
      parameters: { ...INITIATOR_PARAMETERS, role: 1 + (count % 3), idleTimeMs: 1_000 * count },
    };
    // A node that has not been admitted yet shows 16 zero bytes.
    const clusterId = count === 1 ? '00'.repeat(16) : hexOf(fixedBytes(`${name} cluster`, 16));
    const { packet: cookiePacket } = cases.takes(`${name}, COOKIE`, 'HS-11', 'handshake.cookie', {
      ...shared,
      initiatorTag: initiator.initiatorTag,
      cookie: hexOf(fixedBytes(`${name} cookie`, 24)),
      clusterId,
    });
    const { packet: hello } = cases.takes(`${name}, HELLO`, 'HS-8 HS-13', 'handshake.prove', {
      ...initiator,
      cookiePacket: cookiePacket!,
    });
    const { packet } = cases.takes(`${name}, WELCOME`, 'HS-8 KEY-3', 'handshake.accept', {
      ...RESPONDER,
      ...shared,
      clusterId,
      ephemeralPrivateKey: hexOf(fixedBytes(`${name} responder`, 32)),
      packet: hello!,
    });
    cases.takes(`${name}, end`, 'HS-8 KEY-3', 'handshake.finish', {
      ...initiator,
      cookiePacket: cookiePacket!,
      packet: packet!,
    });
  }
}

/** What an initiator drops where it waits for COOKIE [HS-14]. */
function addCookieRefusals(cases: CaseList, { cookiePacket, welcome }: Exchange): void {
  const bytes = bytesOf(cookiePacket);
  const prove = (name: string, clauses: string, packet: Uint8Array, changes: JsonObject = {}): void =>
    cases.refuses(`COOKIE ${name}`, clauses, 'handshake.prove', {
      ...INITIATOR,
      ...changes,
      cookiePacket: hexOf(packet),
    });
  for (const at of [1, 4, 11, 12, 35, 36, 51, 52, 67]) {
    prove(`with a bit of byte ${at} turned`, 'HELLO-1 HS-14', flipped(bytes, at));
  }
  prove('under another secret', 'HELLO-1 HS-14', bytes, { clusterSecret: OTHER_SECRET });
  prove('for another tag', 'HS-14', bytes, { initiatorTag: RESPONDER_TAG });
  prove('with a byte behind it', 'PKT-15', join(bytes, [0]));
  prove('twice in a datagram', 'PKT-15', join(bytes, bytes));
  prove('that is cut', 'PKT-3', bytes.slice(0, -1));
  prove('that is a WELCOME', 'HS-14', bytesOf(welcome));
  prove('of no byte', 'PKT-3', new Uint8Array(0));
}

function addHelloRefusals(cases: CaseList, { hello }: Exchange): void {
  const bytes = bytesOf(hello);
  const accept = (name: string, clauses: string, packet: Uint8Array, changes: JsonObject = {}): void =>
    cases.refuses(`HELLO ${name}`, clauses, 'handshake.accept', {
      ...RESPONDER,
      ...changes,
      packet: hexOf(packet),
    });
  for (const at of [1, 4, 8, 9, 16, 17, 24, 25, 48, 49, 80, 81, 107, 108, 123]) {
    accept(`with a bit of byte ${at} turned`, 'HELLO-1 HELLO-2', flipped(bytes, at));
  }
  accept('of another secret', 'HELLO-2 HELLO-3', bytes, { clusterSecret: OTHER_SECRET });
  accept('made for another cluster', 'HS-3 HS-13', bytes, { clusterId: hexOf(counting(0x81, 16)) });
  accept('with a byte behind it', 'PKT-15', join(bytes, [0]));
  // From here on whoever makes the packet knows the secret: the MAC holds.
  const noise = bytes.slice(49, 108);
  const withNoise = (message: Uint8Array): Uint8Array => {
    const body = join(bytes.slice(0, 49), message);
    return signed(patched(body, 2, 0, body.length + 16));
  };
  for (const at of [0, 31, 32, 42, 43, 58]) {
    accept(`whose Noise message has a bit of byte ${at} turned`, 'HS-3', withNoise(flipped(noise, at)));
  }
  accept('whose Noise message is one byte short', 'HS-3 HS-4', withNoise(noise.slice(0, -1)));
  accept('whose Noise message is one byte long', 'HS-3 HS-4', withNoise(join(noise, [0])));
  accept('whose Noise message is a key alone', 'HS-4', withNoise(noise.slice(0, 32)));
  accept('whose Noise message is shorter than a key', 'HS-4', withNoise(noise.slice(0, 31)));
  const secretId = clusterKeys(bytesOf(OTHER_SECRET)).secretId;
  accept(
    'with the id of another secret, signed by this one',
    'HELLO-3',
    signed(patched(bytes.slice(0, -16), 9, ...secretId)),
  );
  accept('of version 2', 'HS-19', signed(patched(bytes.slice(0, -16), 8, 2)));
  const psk = bytesOf(OTHER_SECRET);
  accept('made under another psk', 'HS-2 HS-3', withNoise(firstMessage(psk, CLUSTER_ID, parameters(1))));
  const own = clusterKeys(bytesOf(CLUSTER_SECRET)).psk;
  accept('of role 0', 'HS-15', withNoise(firstMessage(own, CLUSTER_ID, parameters(0))));
  accept('of role 4', 'HS-15', withNoise(firstMessage(own, CLUSTER_ID, parameters(4))));
  accept(
    'with parameters one byte short',
    'HS-15',
    withNoise(firstMessage(own, CLUSTER_ID, parameters(1).slice(1))),
  );
  accept(
    'with parameters one byte long',
    'HS-15',
    withNoise(firstMessage(own, CLUSTER_ID, join(parameters(1), [0]))),
  );
  accept('without parameters', 'HS-15', withNoise(firstMessage(own, CLUSTER_ID, new Uint8Array(0))));
  for (const [name, key] of Object.entries(LOW_ORDER)) {
    const message = firstMessage(own, CLUSTER_ID, parameters(1), bytesOf(key));
    accept(`whose ephemeral key is ${name}`, 'HS-6', withNoise(message));
  }
  cases.takes('HELLO made anew from the same parts', 'HS-8 HS-12', 'handshake.accept', {
    ...RESPONDER,
    packet: hexOf(withNoise(firstMessage(own, CLUSTER_ID, parameters(1)))),
  });
}

function addWelcomeRefusals(cases: CaseList, exchange: Exchange): void {
  const { cookiePacket, welcome, hello } = exchange;
  const bytes = bytesOf(welcome);
  const finish = (name: string, clauses: string, packet: Uint8Array, changes: JsonObject = {}): void =>
    cases.refuses(`WELCOME ${name}`, clauses, 'handshake.finish', {
      ...INITIATOR,
      cookiePacket,
      ...changes,
      packet: hexOf(packet),
    });
  for (const at of [1, 4, 11, 12, 43, 44, 63, 64, 79, 80, 95]) {
    finish(`with a bit of byte ${at} turned`, 'HELLO-1 HS-14', flipped(bytes, at));
  }
  finish('for another tag', 'HS-14', signed(patched(bytes.slice(0, -16), 4, 0)));
  finish('with a byte behind it', 'PKT-15', join(bytes, [0]));
  finish('that is the COOKIE', 'HS-14', bytesOf(cookiePacket));
  finish('that is the HELLO', 'HS-14', bytesOf(hello));
  finish('for another ephemeral key', 'HS-3 HS-22', bytes, {
    ephemeralPrivateKey: hexOf(counting(0x21, 32)),
  });
  const noise = bytes.slice(12, 80);
  const withNoise = (message: Uint8Array): Uint8Array => {
    const body = join(bytes.slice(0, 12), message);
    return signed(patched(body, 2, 0, body.length + 16));
  };
  for (const at of [0, 31, 32, 51, 52, 67]) {
    finish(`whose Noise message has a bit of byte ${at} turned`, 'HS-3 HS-22', withNoise(flipped(noise, at)));
  }
  finish('whose Noise message is one byte short', 'HS-3 HS-4', withNoise(noise.slice(0, -1)));
  finish('whose Noise message is a key alone', 'HS-4', withNoise(noise.slice(0, 32)));
  for (const [name, key] of Object.entries(LOW_ORDER)) {
    finish(`whose ephemeral key is ${name}`, 'HS-6', withNoise(patched(noise, 0, ...bytesOf(key))));
  }
  const answered = (payload: Uint8Array): Uint8Array => {
    const prologue = join(ascii('GRML'), [1], bytesOf(CLUSTER_ID));
    const psk = clusterKeys(bytesOf(CLUSTER_SECRET)).psk;
    const state = begin(prologue, psk, counting(0x60, 32));
    readFirst(state, bytesOf(hello).slice(49, 108));
    return withNoise(writeSecond(state, payload)!);
  };
  const payload = join(
    [0x9c, 0xbb],
    bytesOf(RESPONDER_TAG),
    [0xf2, 0x30],
    [0, 0x20, 0, 0],
    [0, 0, 0x75, 0x30],
  );
  finish('with parameters one byte short', 'HS-16 HS-22', answered(payload.slice(1)));
  finish('with parameters one byte long', 'HS-16 HS-22', answered(join(payload, [0])));
  cases.takes('WELCOME made anew from the same parts', 'HS-8 HS-16', 'handshake.finish', {
    ...INITIATOR,
    cookiePacket,
    packet: hexOf(answered(payload)),
  });
}

function addRefusedPackets(cases: CaseList): void {
  for (const [code, retryMs] of [
    [5, 0],
    [7, 500],
    [12, 65_535],
  ] as const) {
    cases.takes(`REFUSED with code ${code}`, 'HS-19 HS-20', 'handshake.refuse', {
      clusterSecret: CLUSTER_SECRET,
      initiatorTag: INITIATOR_TAG,
      code,
      retryMs,
    });
  }
}

/** Public keys with which X25519 gives zeros, whatever the private key (RFC 7748 section 6.1). */
const LOW_ORDER = {
  zero: '00'.repeat(32),
  one: `01${'00'.repeat(31)}`,
  'a point of order 8': 'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  'the other point of order 8': '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'p - 1': `ec${'ff'.repeat(30)}7f`,
  p: `ed${'ff'.repeat(30)}7f`,
  'p + 1': `ee${'ff'.repeat(30)}7f`,
};

function parameters(role: number): Uint8Array {
  return join([role], [0xff, 0xe3], [0, 0x40, 0, 0], [0, 0, 0x27, 0x10]);
}

/** Noise message 1, under another public key than the private one's where that is given. */
function firstMessage(
  psk: Uint8Array,
  clusterId: string,
  payload: Uint8Array,
  publicKey?: Uint8Array,
): Uint8Array {
  const prologue = join(ascii('GRML'), [1], bytesOf(clusterId));
  const state = begin(prologue, psk, counting(0x20, 32));
  return writeFirst(state, payload, publicKey);
}

/** A packet with the MAC of this cluster. */
function signed(body: Uint8Array): Uint8Array {
  return join(body, frontMac(clusterKeys(bytesOf(CLUSTER_SECRET)).helloKey, body));
}
