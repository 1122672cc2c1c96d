/** Constants of RFC 9002 with LAN values [REL-1], and this room's named maxima. */

import { KIB, MIB, type Micros, millis, seconds } from '../base/units.ts';

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
/** Growth of the round trip beyond the least one that does not count as a queue [CC-7]. */
export const QUEUE_MICROS_TOLERATED: Micros = millis(1);
/** On long paths, the share of the least round trip that does not count either [CC-7]. */
export const QUEUE_RTT_DIVISOR = 4;
/** Share of packets beyond which loss is never tolerated for long [CC-8]. */
export const LOSS_CEILING = 0.07;
/** Standard deviations above what is tolerated at which loss is no chance any more [CC-8]. */
export const LOSS_DEVIATIONS = 3;
/** Loss rates are taken from about so many packets, the latest ones [CC-8]. */
export const LOSS_SAMPLE_PACKETS = 1_024;
/** A window below this share of the one at the last reduction cannot have filled the path [CC-8]. */
export const LOW_WINDOW_SHARE = 0.85;
/** A least round trip that was not met for this long is looked for anew [CC-9]. */
export const BASE_RTT_MICROS_MAX_AGE: Micros = seconds(2);
/** Window of a flow where few are open, and the one that a query announces [FLOW-2]. */
export const FLOW_WINDOW_BYTES: number = MIB;
/** Least window of a flow, its own for as long as it is open: one record [FLOW-16]. */
export const FLOW_WINDOW_BYTES_MIN: number = 64 * KIB;
/** Largest window, of one of few flows whose reader keeps up [FLOW-16]. */
export const FLOW_WINDOW_BYTES_MAX: number = 4 * MIB;
/** So many flows of an endpoint are few. */
export const CREDIT_FLOWS_FEW = 4;
/** This share of an endpoint's receive memory is kept for flows that open, at their least window. */
export const CREDIT_RESERVE_DIVISOR = 4;
/** Bytes that may leave at once however small half of the window is: two offloaded sends [CC-5]. */
export const BURST_BYTES_MIN: number = 128 * KIB;
/** Bytes that may leave at once however large the window is [CC-5]. */
export const BURST_BYTES_MAX: number = MIB;
/** Without an acknowledgement, the next burst may follow after this long [CC-5]. */
export const BURST_MICROS: Micros = millis(1);
