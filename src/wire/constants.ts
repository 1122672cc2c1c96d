/**
 * The numbers of the protocol, fixed by `spec/`. Limits that an implementation may choose stand
 * in `reliability/` and `session/`, not here.
 */

/** `GRML`, the first field of a HELLO after the packet prefix [PKT-6]. */
export const MAGIC = 0x47524d4c;

/** The wire version that this code speaks [PKT-7]. */
export const WIRE_VERSION = 1;

/** All versions that this code speaks, the highest last: one and the next, while a cluster is upgraded [VER-3]. */
export const WIRE_VERSIONS: readonly number[] = [WIRE_VERSION];

/** First byte of every packet [PKT-2]. */
export const PacketType = {
  HELLO: 0x01,
  COOKIE: 0x02,
  WELCOME: 0x03,
  REFUSED: 0x04,
  SEALED: 0x05,
  SEGMENT: 0x06,
} as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** First byte of every frame in a SEALED packet [FRM-1]. */
export const FrameType = {
  PADDING: 0x00,
  PING: 0x01,
  ACK: 0x02,
  CLOSE: 0x03,
  QUERY: 0x04,
  REPLY: 0x05,
  NOTICE: 0x06,
  CREDIT: 0x07,
  RESEND: 0x08,
  STOP: 0x09,
  RESET: 0x0a,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

/** What a query asks [MSG-1]. Below 32 the coordinator answers, from 32 on a node. */
export const QueryKind = {
  STATUS: 1,
  WHERE_TO: 2,
  WHERE_IS: 3,
  COMMIT: 4,
  RELEASE: 5,
  RENEW: 6,
  REMOVE: 7,
  JOIN: 8,
  ADMIT: 9,
  INVENTORY: 10,
  SETTLE: 11,
  CORRUPT: 12,
  WHERE_IS_MANY: 13,
  MEMBERS: 14,
  DIGEST: 15,
  LOCK: 16,
  UNLOCK: 17,
  SESSION_WRITE: 18,
  SESSION_READ: 19,
  SESSION_END: 20,
  STORE: 32,
  READ: 33,
  DELETE: 34,
  COPY: 35,
} as const;
export type QueryKind = (typeof QueryKind)[keyof typeof QueryKind];

/** What a notice says [MSG-2]. */
export const NoticeKind = { LOAD: 1 } as const;
export type NoticeKind = (typeof NoticeKind)[keyof typeof NoticeKind];

/** The code of a reply, and of STOP and RESET [DEFS-1]. 0 to 3 are the seed's table. */
export const ResultCode = {
  OK: 0,
  CONFLICT: 1,
  NO_SPACE: 2,
  NOT_FOUND: 3,
  NOT_LEADER: 4,
  DENIED: 5,
  STALE_EPOCH: 6,
  BUSY: 7,
  CORRUPT: 8,
  EXPIRED: 9,
  ABORTED: 10,
  MALFORMED: 11,
  UNSUPPORTED: 12,
  IO: 13,
  TAMPERED: 14,
} as const;
export type ResultCode = (typeof ResultCode)[keyof typeof ResultCode];

/** Why a session closed [SES-20]. */
export const CloseCode = {
  NORMAL: 0,
  PROTOCOL: 1,
  LIMIT: 2,
  SHUTDOWN: 3,
  DENIED: 4,
  INTERNAL: 5,
} as const;
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** The two packet-number spaces of a direction [PKT-11]. */
export const Space = { CONTROL: 0, SEGMENT: 1 } as const;
export type Space = (typeof Space)[keyof typeof Space];

export const PACKET_PREFIX_BYTES = 4;
export const SESSION_TAG_BYTES = 8;
export const SECRET_ID_BYTES = 8;
export const COOKIE_BYTES = 24;
export const CLUSTER_ID_BYTES = 16;
export const HELLO_MAC_BYTES = 16;
export const HASH_BYTES = 32;
export const NODE_ID_BYTES = 16;
export const TOKEN_BYTES = 8;
export const RECEIPT_BYTES = 16;
/** What a lock or a user session is held by: nobody guesses it [LOCK-1] [USR-1]. */
export const HOLDER_TOKEN_BYTES = 16;
export const USER_SESSION_ID_BYTES = 16;
/** Parts of an inventory that are compared by a digest each [DIG-1]. */
export const BUCKETS = 64;
/** One bit for each of them. */
export const BUCKET_MAP_BYTES = 8;
/** Digest of one of them. */
export const BUCKET_DIGEST_BYTES = 8;
export const ADMISSION_NONCE_BYTES = 32;
export const ADMISSION_PROOF_BYTES = 32;

/** Header of a SEALED packet: prefix, tag, packet number. It is the AEAD's associated data [SEAL-1]. */
export const SEALED_HEADER_BYTES = PACKET_PREFIX_BYTES + SESSION_TAG_BYTES + 6;
/** Header of a SEGMENT packet: the same, then flow, record, offset and length of the sealed record [SEG-1]. */
export const SEGMENT_HEADER_BYTES = SEALED_HEADER_BYTES + 16;
/** Header inside a sealed record: flags, offset, dataLeft, plain length [REC-14]. */
export const RECORD_HEADER_BYTES = 1 + 6 + 8 + 4;

/** Most plaintext bytes of one record [REC-11]. */
export const RECORD_BYTES_MAX = 65_536;
/** Most bytes of one sealed record: header, payload, tag. lz4 is used only where it shrinks [REC-12]. */
export const SEALED_RECORD_BYTES_MAX = RECORD_HEADER_BYTES + RECORD_BYTES_MAX + 16;
/** Most bytes of one packet: what a UDP payload can hold [PKT-3]. */
export const PACKET_BYTES_MAX = 65_507;
/** Every path carries this much UDP payload [MTU-1]. */
export const DATAGRAM_BYTES_MIN = 1_200;
/** Most bytes of a query's, reply's or notice's body: it fits any path [FRM-4]. */
export const BODY_BYTES_MAX = 1_024;
/** Most ranges of one ACK frame [ACK-4]. */
export const ACK_RANGES_MAX = 32;
/** Most bytes of the text in a CLOSE frame [FRM-7]. */
export const CLOSE_TEXT_BYTES_MAX = 200;
/** Packet numbers end here; the session closes before [PKT-12]. */
export const PACKET_NUMBER_MAX = 2 ** 48 - 1;
/** ACK delays are sent in units of this many microseconds [ACK-2]. */
export const ACK_DELAY_UNIT_MICROS = 8;
