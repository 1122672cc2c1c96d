/** This room's named maxima and times [LIM-1]. What the protocol itself fixes is in `wire/constants.ts`. */

import { KIB, MIB, type Micros, millis, seconds } from '../base/units.ts';

export { FLOW_WINDOW_BYTES, FLOW_WINDOW_BYTES_MIN } from '../reliability/index.ts';

/** Queries of one direction without a reply; one more is refused as busy [QRY-6]. */
export const QUERIES_OUTSTANDING_MAX = 1_024;
/** Queries below the newest id that have not been seen, at most [QRY-7]. */
export const QUERY_IDS_AHEAD_MAX = 4_096;
/** Control frames that wait to be sent; one more notice is dropped, one more query refused. */
export const CONTROL_FRAMES_QUEUED_MAX = 8_192;
/** Flows of one direction at once [FLOW-8]. */
export const FLOWS_MAX = 256;
/** Records of one flow that are being reassembled at once: one more segment is dropped, not acked. */
export const ASSEMBLIES_MAX = 1_024;
/** Sealed bytes of unfinished records may exceed the granted plaintext by this much. */
export const ASSEMBLY_SLACK_BYTES: number = 128 * KIB;
/** Records of one flow that fail to open before the flow ends as tampered [REC-18]. */
export const RECORD_FAILURES_MAX = 3;
/** Records of one flow that are kept open, early or unread: one more is dropped, not acked [FLOW-9]. */
export const RECORDS_HELD_MAX = 4_096;
/** CREDIT reports what was opened at least this often, however large the window [FLOW-4]. */
export const CREDIT_BYTES_MAX: number = 256 * KIB;
/** Plaintext bytes of one flow that are sealed and not known to be open, whatever the credit [FLOW-13]. */
export const SEND_FLOW_BYTES_MAX: number = 4 * MIB;
/** STOP and RESET frames that came before their flow was opened, and are remembered [FLOW-12]. */
export const EARLY_ENDS_MAX = 256;
/** A record acknowledged whole, and not known to be open this long, is sent again [REC-20]. */
export const UNOPENED_MICROS: Micros = seconds(1);
/** Records written to a flow and not yet sealed, for lack of credit. */
export const RECORDS_QUEUED_MAX = 2;
/** Events that wait for the driver: bounded by the limits above, asserted here. */
export const EVENTS_QUEUED_MAX = 65_536;

/** Without an authenticated packet for this long, the peer is gone [SES-10]. */
export const IDLE_MICROS: Micros = seconds(10);
/** Least idle time that a peer may ask for. */
export const IDLE_MICROS_MIN: Micros = seconds(1);
/** Whoever heard nothing for this share of the idle time pings [SES-11]. */
export const KEEPALIVE_DIVISOR = 4;
/** A responder's session that saw no valid sealed packet for this long is dropped [SES-4]. */
export const HALF_OPEN_MICROS: Micros = seconds(3);
/** ICMP refusals in a row, without an authenticated packet between, before the peer counts as gone [SES-13]. */
export const REFUSALS_MAX = 3;
/** Keys are updated at least this often [KEY-5]. */
export const KEY_MICROS_MAX: Micros = seconds(3_600);
/** A closing session answers late packets for this many PTOs [SES-17]. */
export const CLOSING_PTOS = 3;
/** Control datagrams that may leave beyond a full congestion window [CC-3]. */
export const CONTROL_HEADROOM_DATAGRAMS = 4;
/** Datagrams that one `pollTransmit` call writes at most: one offloaded send. */
export const TRANSMIT_SEGMENTS_MAX = 44;
/** Records are made to fit one datagram where that leaves them at least this large: sealing is paid by the record. */
export const WHOLE_RECORD_BYTES_MIN: number = 32 * KIB;
/** A segment packet is put into a started datagram only when this much payload fits. */
export const SEGMENT_PAYLOAD_MIN = 64;

/** Tries of the initiator, each twice as far from the last [HS-18]. */
export const HANDSHAKE_TRIES_MAX = 6;
export const HANDSHAKE_RETRY_MICROS: Micros = millis(100);
/** Accepted handshakes that the front remembers, so that a repeated HELLO opens nothing [HS-17]. */
export const FRONT_ACCEPTED_MAX = 65_536;
/** Sessions that a front port keeps open; more are refused as busy [SES-5]. */
export const FRONT_SESSIONS_MAX = 16_384;
/** What a refused initiator is told to wait. */
export const BUSY_RETRY_MILLIS = 500;
/** The body of a reply that says so [MSG-10]. */
export const BUSY_BODY: Uint8Array = Uint8Array.of(0, 0, BUSY_RETRY_MILLIS >>> 8, BUSY_RETRY_MILLIS & 0xff);
/** Datagram sizes that are tried, smallest first [MTU-2]: every path; Ethernet; jumbo; loopback. */
export const DATAGRAM_SIZES: readonly number[] = [1_200, 1_472, 8_972, 62_000];

/** Packet numbers that are kept for the end of a session: for its CLOSE, and for each repeated one [PKT-17]. */
export const CLOSING_PACKETS = 2 ** 19;
