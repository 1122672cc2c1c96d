/** Round-trip time: RFC 9002 section 5, on one screen. */

import { type Micros, micros } from '../base/units.ts';
import { GRANULARITY_MICROS, INITIAL_RTT_MICROS, MAX_ACK_DELAY_MICROS } from './limits.ts';

export class RttEstimator {
  #sampled = false;
  smoothedMicros: Micros = INITIAL_RTT_MICROS;
  varianceMicros: Micros = micros(INITIAL_RTT_MICROS / 2);
  minMicros: Micros = micros(0);
  latestMicros: Micros = micros(0);

  get sampled(): boolean {
    return this.#sampled;
  }

  /** Takes a sample of the newest acknowledged packet; `ackDelayMicros` is the peer's own delay. */
  update(sampleMicros: Micros, ackDelayMicros: Micros): void {
    this.latestMicros = sampleMicros;
    if (!this.#sampled) {
      this.#sampled = true;
      this.minMicros = sampleMicros;
      this.smoothedMicros = sampleMicros;
      this.varianceMicros = micros(sampleMicros / 2);
      return;
    }
    this.minMicros = micros(Math.min(this.minMicros, sampleMicros));
    const delay = Math.min(ackDelayMicros, MAX_ACK_DELAY_MICROS);
    const adjusted = sampleMicros >= this.minMicros + delay ? sampleMicros - delay : sampleMicros;
    // The deviation is taken from the smoothed RTT before it moves (RFC 9002 A.7, erratum 7539) [REL-3].
    this.varianceMicros = micros((3 * this.varianceMicros + Math.abs(this.smoothedMicros - adjusted)) / 4);
    this.smoothedMicros = micros((7 * this.smoothedMicros + adjusted) / 8);
  }

  /** Probe timeout without back-off, in whole microseconds (RFC 9002 6.2.1) [REL-9]. */
  get ptoMicros(): Micros {
    const spread = Math.max(4 * this.varianceMicros, GRANULARITY_MICROS);
    return micros(Math.ceil(this.smoothedMicros + spread) + MAX_ACK_DELAY_MICROS);
  }
}
