/**
 * All flows of one session, both directions: opens and ends them, routes segments and flow frames,
 * and says which control frames are due. A flow has the id of the query that it belongs to.
 */

import { mark } from '../base/marks.ts';
import type { CreditPool } from '../reliability/index.ts';
import { type Frame, FrameType, ResultCode, type SegmentPacket } from '../wire/index.ts';
import { type SessionEvent, type Violation, violation } from './events.ts';
import { EARLY_ENDS_MAX, FLOW_WINDOW_BYTES, FLOWS_MAX } from './limits.ts';
import { type IncomingRecord, ReceiveFlow, type RecordOpener } from './receive-flow.ts';
import { type OutgoingRecord, type RecordSealer, type Segment, SendFlow } from './send-flow.ts';

export interface FlowTableOptions {
  readonly seal: RecordSealer;
  readonly open: RecordOpener;
  readonly pool: CreditPool;
  readonly emit: (event: SessionEvent) => void;
  /** Queues a control frame. */
  readonly send: (frame: Frame) => void;
}

/** Whether a segment packet is to be acknowledged (`stale`: it brought nothing new), or which rule it breaks. */
export type SegmentVerdict = 'ack' | 'stale' | 'drop' | 'proves-life' | Violation;

type EndFrame = Extract<Frame, { type: typeof FrameType.STOP | typeof FrameType.RESET }>;

export class FlowTable {
  readonly #options: FlowTableOptions;
  readonly #sending = new Map<number, SendFlow>();
  readonly #receiving = new Map<number, ReceiveFlow>();
  /** Receiving flows whose CREDIT frame is due. */
  readonly #creditDue = new Set<number>();
  /** STOP and RESET that came before their flow was opened here [FLOW-12]. Ids are never used again. */
  readonly #earlyStops = new Map<number, EndFrame>();
  readonly #earlyResets = new Map<number, EndFrame>();

  constructor(options: FlowTableOptions) {
    this.#options = options;
  }

  get sending(): ReadonlyMap<number, SendFlow> {
    return this.#sending;
  }

  get receiving(): ReadonlyMap<number, ReceiveFlow> {
    return this.#receiving;
  }

  /** Opens a sending flow; false at the maximum: then the peer, which may wait for it, is told. */
  openSend(id: number, limitBytes: number): boolean {
    if (this.#sending.has(id)) return false;
    if (this.#sending.size >= FLOWS_MAX) {
      this.#options.send({ type: FrameType.RESET, flowId: id, code: ResultCode.BUSY });
      return false;
    }
    this.#sending.set(id, new SendFlow(id, limitBytes, this.#options.seal));
    this.#endEarly(this.#earlyStops, id);
    return true;
  }

  /** The window that a query may announce now for the flow that answers it [FLOW-2]; 0 when there is no room. */
  get firstWindowBytes(): number {
    return this.#receiving.size < FLOWS_MAX ? this.#options.pool.firstWindowBytes : 0;
  }

  /**
   * Opens a receiving flow; returns its window, or 0 when there is no room for one: then the peer,
   * which may be sending it, is told. `announced` is the window that the query promised, exactly,
   * true for {@link FLOW_WINDOW_BYTES}; false where the flow starts with a CREDIT.
   */
  openReceive(id: number, announced: boolean | number): number {
    if (this.#receiving.has(id)) return 0;
    const promisedBytes =
      announced === true ? FLOW_WINDOW_BYTES : announced === false ? undefined : announced;
    const hasPlace = this.#receiving.size < FLOWS_MAX;
    const credit = hasPlace ? this.#options.pool.open(promisedBytes) : undefined;
    if (credit === undefined) {
      this.#options.send({ type: FrameType.STOP, flowId: id, code: ResultCode.BUSY });
      return 0;
    }
    const { windowBytes } = credit;
    const flow = new ReceiveFlow(id, credit, announced !== false, this.#options.open);
    this.#receiving.set(id, flow);
    if (announced === false) this.#creditDue.add(id);
    this.#endEarly(this.#earlyResets, id);
    return windowBytes;
  }

  /** Writes a record; whether the flow has room for another. A flow that has ended has none. */
  write(id: number, record: OutgoingRecord): boolean {
    const flow = this.#sending.get(id);
    if (flow === undefined) return false;
    flow.write(record);
    return !flow.full;
  }

  read(id: number): IncomingRecord | undefined {
    const flow = this.#receiving.get(id);
    if (flow === undefined) return undefined;
    const record = flow.take();
    if (flow.drained) this.#endReceive(id);
    else if (flow.creditDue) this.#creditDue.add(id);
    return record;
  }

  /** We end a flow that we receive [FLOW-10]. */
  stop(id: number, code: number): void {
    const flow = this.#receiving.get(id);
    if (flow === undefined) return;
    this.#endReceive(id);
    if (!flow.complete) this.#options.send({ type: FrameType.STOP, flowId: id, code });
  }

  /** We end a flow that we send [FLOW-11]. */
  reset(id: number, code: number): void {
    if (this.#sending.delete(id)) this.#options.send({ type: FrameType.RESET, flowId: id, code });
  }

  onSegment(packet: SegmentPacket): SegmentVerdict {
    const flow = this.#receiving.get(packet.flowId);
    // [SEG-6] A flow that has ended here: acknowledged, so that the sender's recovery rests.
    if (flow === undefined) return 'stale';
    const { readable } = flow;
    const outcome = flow.onSegment(packet);
    switch (outcome) {
      case 'kept':
        return 'ack';
      case 'stale':
        // The sender still keeps what has been opened: it is told, unless it was told before [REC-20].
        if (flow.hasNews) this.#creditDue.add(flow.id);
        return 'stale';
      case 'dropped':
        return 'drop';
      case 'opened':
        this.#onProgress(flow, readable);
        return 'proves-life';
      case 'spoiled':
        mark('record-spoiled');
        this.#options.send({ type: FrameType.RESEND, flowId: flow.id, record: packet.record });
        return 'ack';
      case 'tampered':
        mark('flow-tampered');
        this.stop(flow.id, ResultCode.TAMPERED);
        this.#options.emit({
          kind: 'flow-ended',
          flowId: flow.id,
          sending: false,
          code: ResultCode.TAMPERED,
        });
        return 'ack';
      default:
        return outcome;
    }
  }

  /** Handles CREDIT, RESEND, STOP and RESET. Frames of flows that have ended say nothing new. */
  onFrame(frame: Frame): Violation | undefined {
    switch (frame.type) {
      case FrameType.CREDIT: {
        const outcome = this.#sending
          .get(frame.flowId)
          ?.onCredit(frame.limitBytes, frame.openedBytes, frame.complete);
        if (outcome === undefined || outcome === 'nothing') return undefined;
        if (typeof outcome === 'object') return outcome;
        if (outcome === 'delivered') this.#sending.delete(frame.flowId);
        this.#options.emit({ kind: outcome, flowId: frame.flowId });
        return undefined;
      }
      case FrameType.RESEND:
        this.#sending.get(frame.flowId)?.onResend(frame.record);
        return undefined;
      case FrameType.STOP:
        if (this.#sending.delete(frame.flowId)) {
          this.#options.emit({ kind: 'flow-ended', flowId: frame.flowId, sending: true, code: frame.code });
        } else rememberEnd(this.#earlyStops, frame);
        return undefined;
      case FrameType.RESET:
        if (this.#receiving.has(frame.flowId)) {
          this.#endReceive(frame.flowId);
          this.#options.emit({ kind: 'flow-ended', flowId: frame.flowId, sending: false, code: frame.code });
        } else rememberEnd(this.#earlyResets, frame);
        return undefined;
      default:
        return violation('FRM-1', 'not a flow frame');
    }
  }

  get hasCreditDue(): boolean {
    return this.#creditDue.size > 0;
  }

  /** The CREDIT frames that are due, with the values of now. */
  takeCredits(most: number): Frame[] {
    const frames: Frame[] = [];
    for (const id of this.#creditDue) {
      if (frames.length >= most) break;
      this.#creditDue.delete(id);
      const flow = this.#receiving.get(id);
      if (flow !== undefined) frames.push({ type: FrameType.CREDIT, flowId: id, ...flow.takeCredit() });
    }
    return frames;
  }

  /** A CREDIT frame was lost: newer values go out, or, when the flow has ended here, the same again. */
  onCreditLost(frame: Extract<Frame, { type: typeof FrameType.CREDIT }>): void {
    if (this.#receiving.has(frame.flowId)) this.#creditDue.add(frame.flowId);
    else this.#options.send(frame);
  }

  /** The next segment to send: of the flow with the least backlog [CC-4]. */
  takeSegment(bytesMax: number): Segment | undefined {
    for (;;) {
      const flow = this.#nextFlow();
      if (flow === undefined) return undefined;
      // A flow whose lost slices have all arrived meanwhile has nothing after all: look further. One
      // whose next record does not fit waits for the next datagram.
      const segment = flow.takeSegment(bytesMax);
      if (segment !== undefined || flow.hasSegment) return segment;
    }
  }

  get hasSegment(): boolean {
    return this.#nextFlow() !== undefined;
  }

  /** Whether a record sealed under another epoch than `epochBits` may still be resent [REC-4]. */
  hasRecordsOutside(epochBits: number): boolean {
    for (const flow of this.#sending.values()) {
      if (flow.oldestEpochBits !== undefined && flow.oldestEpochBits !== epochBits) return true;
    }
    return false;
  }

  /** Sends again what was acknowledged long ago and is still not known to be open [REC-20]. */
  resendUnopened(): void {
    for (const flow of this.#sending.values()) flow.resendUnopened();
  }

  /** Sealed bytes that have not been sent once. */
  get unsentBytes(): number {
    let sum = 0;
    for (const flow of this.#sending.values()) sum += flow.unsentBytes;
    return sum;
  }

  get heldBytes(): number {
    let sum = 0;
    for (const flow of this.#receiving.values()) sum += flow.heldBytes;
    return sum;
  }

  get keptBytes(): number {
    let sum = 0;
    for (const flow of this.#sending.values()) sum += flow.keptBytes;
    return sum;
  }

  /** The session ended: gives all windows back. */
  clear(): void {
    for (const id of [...this.#receiving.keys()]) this.#endReceive(id);
    this.#sending.clear();
  }

  #nextFlow(): SendFlow | undefined {
    let next: SendFlow | undefined;
    for (const flow of this.#sending.values()) {
      if (flow.hasSegment && (next === undefined || flow.remainingBytes < next.remainingBytes)) next = flow;
    }
    return next;
  }

  /** `wasReadable` says that the reader has been told already and has not come to the end. */
  #onProgress(flow: ReceiveFlow, wasReadable: boolean): void {
    if (flow.complete) {
      // [FLOW-15] The last word on this flow leaves even when the reader is slow.
      this.#creditDue.delete(flow.id);
      this.#options.send({ type: FrameType.CREDIT, flowId: flow.id, ...flow.takeCredit() });
    } else if (flow.creditDue) {
      this.#creditDue.add(flow.id);
    }
    if (flow.readable && !wasReadable) this.#options.emit({ kind: 'readable', flowId: flow.id });
  }

  /** The peer ended this flow before it was opened here: it ends now. */
  #endEarly(ends: Map<number, EndFrame>, id: number): void {
    const frame = ends.get(id);
    if (frame === undefined) return;
    ends.delete(id);
    mark('early-end');
    this.onFrame(frame);
  }

  #endReceive(id: number): void {
    const flow = this.#receiving.get(id);
    if (flow === undefined) return;
    this.#receiving.delete(id);
    this.#creditDue.delete(id);
    flow.credit.close();
  }
}

function rememberEnd(ends: Map<number, EndFrame>, frame: EndFrame): void {
  ends.set(frame.flowId, frame);
  if (ends.size <= EARLY_ENDS_MAX) return;
  for (const oldest of ends.keys()) {
    ends.delete(oldest);
    return;
  }
}
