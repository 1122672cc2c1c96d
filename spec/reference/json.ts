/**
 * The JSON of page 08: how values of the protocol are written in requests, replies and vector files.
 *
 * It knows no rule of the protocol. The reference and every subject of ours read requests with it; what is
 * asked for is their own matter.
 */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export type JsonObject = { readonly [name: string]: Json };

/** A field of a request is missing or of another kind: the asker's mistake, not the protocol's. */
export class BadRequest extends Error {}

/** Events of one trace, items of one list. */
export const ITEMS_MAX = 20_000;

const HEX_DIGITS = '0123456789abcdef';

/** Lowercase hex. */
export function hexOf(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => HEX_DIGITS[byte >> 4]! + HEX_DIGITS[byte & 15]!).join('');
}

/** The bytes of lowercase hex. */
export function bytesOf(hex: string): Uint8Array {
  if (hex.length % 2 !== 0 || !/^[0-9a-f]*$/.test(hex)) throw new BadRequest('bytes are lowercase hex');
  return Uint8Array.from({ length: hex.length / 2 }, (_, at) =>
    Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16),
  );
}

/** Reads the fields of one JSON object, each with the kind that it must have. */
export class Fields {
  readonly #object: JsonObject;
  readonly #path: string;

  constructor(value: unknown, path = 'request') {
    if (!isObject(value)) throw new BadRequest(`${path} is no object`);
    this.#object = value;
    this.#path = path;
  }

  /** The raw value; null when it is missing. */
  json(name: string): Json {
    return Object.hasOwn(this.#object, name) ? this.#object[name]! : null;
  }

  has(name: string): boolean {
    return this.json(name) !== null;
  }

  text(name: string): string {
    const value = this.json(name);
    return typeof value === 'string' ? value : this.#fail(name, 'is no text');
  }

  /** Bytes of hex, of exactly `length` where that is given. */
  bytes(name: string, length?: number): Uint8Array {
    const bytes = bytesOf(this.text(name));
    return length === undefined || bytes.length === length ? bytes : this.#fail(name, `has ${length} bytes`);
  }

  /** An unsigned number of at most `max`. */
  number(name: string, max = Number.MAX_SAFE_INTEGER, min = 0): number {
    const value = this.json(name);
    const holds = typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
    return holds ? value : this.#fail(name, `is no whole number of ${min} to ${max}`);
  }

  flag(name: string): boolean {
    const value = this.json(name);
    return typeof value === 'boolean' ? value : this.#fail(name, 'is neither true nor false');
  }

  object(name: string): Fields {
    return new Fields(this.json(name), `${this.#path}.${name}`);
  }

  list(name: string): readonly Json[] {
    const value = this.json(name);
    if (!Array.isArray(value) || value.length > ITEMS_MAX)
      return this.#fail(name, `is no list of ${ITEMS_MAX}`);
    return value;
  }

  objects(name: string): readonly Fields[] {
    return this.list(name).map((item, index) => new Fields(item, `${this.#path}.${name}[${index}]`));
  }

  #fail(name: string, what: string): never {
    throw new BadRequest(`${this.#path}.${name} ${what}`);
  }
}

/** Whether a value is an object with names, as opposed to a list or null. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A session tag as the codecs hold it: two halves. */
interface Tag {
  readonly high: number;
  readonly low: number;
}

export function tagOf(hex: string): Tag {
  const bytes = bytesOf(hex);
  if (bytes.length !== 8) throw new BadRequest('a tag has 8 bytes');
  const view = new DataView(bytes.buffer);
  return { high: view.getUint32(0), low: view.getUint32(4) };
}

export function hexOfTag({ high, low }: Tag): string {
  return (BigInt(high) * 2n ** 32n + BigInt(low)).toString(16).padStart(16, '0');
}

/** Names of fields in a codec, and the names of the same fields in the tables of the specification. */
export type Names = Readonly<Record<string, string>>;

/** Texts among the fields; every other string is hex. */
const TEXTS = ['name', 'address', 'text'];
const TAGS = ['initiatorTag', 'responderTag', 'receiverTag'];

/** What a codec returned, as JSON: bytes become hex, tags hex, undefined null, names those of the tables. */
export function toJson(value: unknown, names: Names): Json {
  if (value === undefined || value === null) return null;
  if (value instanceof Uint8Array) return hexOf(value);
  if (Array.isArray(value)) return value.map((item) => toJson(item, names));
  if (typeof value === 'object') {
    if ('high' in value && 'low' in value) return hexOfTag(value as Tag);
    return Object.fromEntries(
      Object.entries(value).map(([name, field]) => [names[name] ?? name, toJson(field, names)]),
    );
  }
  return value as Json;
}

/** The opposite of {@link toJson}: what a codec takes. */
export function fromJson(value: Json, names: Names): unknown {
  const back = Object.fromEntries(Object.entries(names).map(([codec, table]) => [table, codec]));
  return valueIn(value, back, '');
}

function valueIn(value: Json, back: Names, name: string): unknown {
  if (value === null) return undefined;
  if (typeof value === 'string') {
    if (TEXTS.includes(name)) return value;
    return TAGS.includes(name) ? tagOf(value) : bytesOf(value);
  }
  if (Array.isArray(value)) return value.map((item) => valueIn(item, back, name));
  if (isObject(value)) {
    return Object.fromEntries(
      Object.entries(value).map(([inner, field]) => [back[inner] ?? inner, valueIn(field, back, inner)]),
    );
  }
  return value;
}

/** The names of front packets; the tag in them is the initiator's. */
export const FRONT_NAMES: Names = { tag: 'initiatorTag', retryMillis: 'retryMs' };
/** SEALED packets, with the receiver's tag. */
export const SEALED_NAMES: Names = { tag: 'receiverTag', number: 'packetNumber' };
export const SEGMENT_NAMES: Names = {
  tag: 'receiverTag',
  number: 'segmentNumber',
  record: 'recordNumber',
  payload: 'slice',
};
export const FRAME_NAMES: Names = {
  delayUnits: 'delay',
  id: 'queryId',
  limitBytes: 'limit',
  openedBytes: 'opened',
  record: 'recordNumber',
};
/** Parameters and bodies. In STATUS `bytes` is a field of the table and keeps its name. */
export const STATUS_NAMES: Names = { nodesTotal: 'nodesInAll' };
export const MESSAGE_NAMES: Names = {
  bytes: 'size',
  tag: 'responderTag',
  port: 'sessionPort',
  idleMillis: 'idleTimeMs',
  leaseMillis: 'leaseMs',
  retryMillis: 'retryAfterMs',
  waitMillis: 'waitMs',
  fencing: 'fencingToken',
  lifetimeSeconds: 'lifetimeS',
  remainingSeconds: 'remainingS',
};

/** Packet types by number. */
export const PACKET_TYPES = ['', 'HELLO', 'COOKIE', 'WELCOME', 'REFUSED', 'SEALED', 'SEGMENT'] as const;
/** Frame types by number. */
export const FRAME_TYPES = [
  'PADDING',
  'PING',
  'ACK',
  'CLOSE',
  'QUERY',
  'REPLY',
  'NOTICE',
  'CREDIT',
  'RESEND',
  'STOP',
  'RESET',
] as const;

/** What each message of the tables of section 6 and 2.7 is called, and the codec that it shares. */
export const MESSAGE_CODECS = {
  'initiator parameters': 'initiatorParameters',
  'responder parameters': 'responderParameters',
  'STATUS query': 'statusQuery',
  'STATUS reply': 'statusReply',
  'WHERE_TO query': 'whereToQuery',
  'WHERE_TO reply': 'whereToReply',
  'WHERE_IS query': 'hashQuery',
  'WHERE_IS reply': 'whereIsReply',
  'WHERE_IS_MANY query': 'whereIsManyQuery',
  'WHERE_IS_MANY reply': 'whereIsManyReply',
  'COMMIT query': 'commitQuery',
  'COMMIT reply': 'revisionReply',
  'RELEASE query': 'tokenQuery',
  'RELEASE reply': 'emptyMessage',
  'RENEW query': 'tokenQuery',
  'RENEW reply': 'emptyMessage',
  'REMOVE query': 'removeQuery',
  'REMOVE reply': 'emptyMessage',
  'JOIN query': 'joinQuery',
  'JOIN reply': 'joinReply',
  'ADMIT query': 'admitQuery',
  'ADMIT reply': 'admitReply',
  'INVENTORY query': 'inventoryQuery',
  'INVENTORY reply': 'emptyMessage',
  'SETTLE query': 'settleQuery',
  'SETTLE reply': 'settleReply',
  'CORRUPT query': 'hashQuery',
  'CORRUPT reply': 'emptyMessage',
  'MEMBERS query': 'membersQuery',
  'MEMBERS reply': 'membersReply',
  'DIGEST query': 'digestQuery',
  'DIGEST reply': 'digestReply',
  'LOCK query': 'lockQuery',
  'LOCK reply': 'lockReply',
  'UNLOCK query': 'unlockQuery',
  'UNLOCK reply': 'emptyMessage',
  'SESSION_WRITE query': 'sessionWriteQuery',
  'SESSION_WRITE reply': 'emptyMessage',
  'SESSION_READ query': 'sessionQuery',
  'SESSION_READ reply': 'sessionReply',
  'SESSION_END query': 'sessionQuery',
  'SESSION_END reply': 'emptyMessage',
  'STORE query': 'storeQuery',
  'STORE reply': 'storeReply',
  'READ query': 'readQuery',
  'READ reply': 'readReply',
  'DELETE query': 'hashQuery',
  'DELETE reply': 'emptyMessage',
  'COPY query': 'copyQuery',
  'COPY reply': 'storeReply',
  'LOAD notice': 'loadNotice',
  'BUSY body': 'busyReply',
  'NO_SPACE body': 'noSpaceReply',
  'NOT_LEADER body': 'notLeaderReply',
} as const;
export type MessageTitle = keyof typeof MESSAGE_CODECS;

/** The names of a message's fields. */
export function messageNames(title: MessageTitle): Names {
  return title.startsWith('STATUS') ? STATUS_NAMES : MESSAGE_NAMES;
}
