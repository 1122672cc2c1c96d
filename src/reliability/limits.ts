/** Constants of RFC 9002 with LAN values [REL-1], and this room's named maxima. */

import { type Micros, millis, seconds } from '../base/units.ts';

/** Packets that overtake a packet before it counts as lost (RFC 9002 6.1.1) [REL-6]. */
export const PACKET_THRESHOLD = 3;
/** Share of the RTT after which an overtaken packet counts as lost (RFC 9002 6.1.2) [REL-7]. */
export const TIME_THRESHOLD_NUMERATOR = 9;
export const TIME_THRESHOLD_DENOMINATOR = 8;
/** Least time that a timer is set ahead: Node's timers tick at 1 ms. */
export const GRANULARITY_MICROS: Micros = millis(1);
/** RTT before the first sample. */
export const INITIAL_RTT_MICROS: Micros = millis(10);
/** Longest time that a receiver holds an acknowledgement back [ACK-5]. */
export const MAX_ACK_DELAY_MICROS: Micros = millis(2);
/** Longest span between two probes, whatever the back-off [REL-10]. */
export const PTO_MICROS_MAX: Micros = seconds(2);
/** Back-off doublings of the PTO at most. */
export const PTO_COUNT_MAX = 10;
/** Ack-eliciting packets that arrive before an acknowledgement is due [ACK-5]. */
export const ACK_EVERY = 2;
/** Packets in flight at once, of both spaces together: bounds the sent-packet maps. */
export const SENT_PACKETS_MAX = 16_384;
/** Congestion window at the start, in datagrams (RFC 9002 7.2: at most 10, at least 14,720 bytes). */
export const INITIAL_WINDOW_DATAGRAMS = 10;
/** Least congestion window, in datagrams. */
export const MINIMUM_WINDOW_DATAGRAMS = 2;
/** A segment number may run ahead of the highest seen by this much; more is dropped as forged [SEG-5]. */
export const SEGMENT_NUMBER_JUMP_MAX = 65_536;
