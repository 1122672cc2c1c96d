/** What clients were promised: which objects must be readable, and which must be gone. */

/** What is known of one object from what clients asked and were answered. */
interface Promised {
  readonly bytes: Uint8Array;
  /** When the newest acknowledged put began. */
  putBeganMicros: number;
  putsUnderWay: number;
  /** The only copies may have gone with their nodes, at this time or earlier. */
  lostMicros: number;
  /** A put failed at its client: it may have stored something all the same. */
  putUnknown: boolean;
  removalEndedMicros: number;
  removalsUnderWay: number;
  /** A removal failed at its client: it may take effect at any time. */
  removalUnknown: boolean;
  /** Whether the last thing that happened was a removal, with no put under way. */
  removed: boolean;
}

/** Judges `Invariant.READABLE`: remembers what must be there, and what must be gone. */
export class PromiseBook {
  readonly #objects = new Map<string, Promised>();

  /** Whether an object must be readable now: put and acknowledged after every removal was over. */
  mustBeReadable(hash: string): boolean {
    const object = this.#objects.get(hash);
    if (object === undefined || this.mayBeLost(hash) || object.removalUnknown || object.removalsUnderWay > 0)
      return false;
    return object.putBeganMicros > object.removalEndedMicros;
  }

  /** Whether all copies of an object may have gone with their nodes, and it was not put again since. */
  mayBeLost(hash: string): boolean {
    const object = this.#objects.get(hash);
    return object !== undefined && object.lostMicros >= object.putBeganMicros && object.lostMicros > 0;
  }

  isBeingPut(hash: string): boolean {
    return (this.#objects.get(hash)?.putsUnderWay ?? 0) > 0;
  }

  /** Nodes are gone that held the only copies of an object, or may have got them. */
  onLost(hash: string, nowMicros: number): void {
    const object = this.#objects.get(hash);
    if (object !== undefined) object.lostMicros = nowMicros;
  }

  /** Whether an object must be gone now: removed, with no put under way during that or since. */
  mustBeGone(hash: string): boolean {
    const object = this.#objects.get(hash);
    return object?.removed === true && !object.putUnknown && object.removalsUnderWay === 0;
  }

  /** All objects that clients tried to put. */
  get known(): readonly string[] {
    return [...this.#objects.keys()];
  }

  bytesOf(hash: string): Uint8Array | undefined {
    return this.#objects.get(hash)?.bytes;
  }

  onPutBegins(hash: string, bytes: Uint8Array): void {
    let object = this.#objects.get(hash);
    if (object === undefined) {
      object = {
        bytes,
        putBeganMicros: Number.NEGATIVE_INFINITY,
        putsUnderWay: 0,
        lostMicros: Number.NEGATIVE_INFINITY,
        putUnknown: false,
        removalEndedMicros: Number.NEGATIVE_INFINITY,
        removalsUnderWay: 0,
        removalUnknown: false,
        removed: false,
      };
      this.#objects.set(hash, object);
    }
    object.putsUnderWay += 1;
    object.removed = false;
  }

  onPutEnds(hash: string, beganMicros: number, acknowledged: boolean): void {
    const object = this.#objects.get(hash)!;
    object.putsUnderWay -= 1;
    if (acknowledged) object.putBeganMicros = Math.max(object.putBeganMicros, beganMicros);
    else object.putUnknown = true;
  }

  onRemovalBegins(hash: string): void {
    const object = this.#objects.get(hash);
    if (object !== undefined) object.removalsUnderWay += 1;
  }

  /** `beganMicros` of a later put must be later than `nowMicros` to count as put after the removal. */
  onRemovalEnds(hash: string, nowMicros: number, outcome: 'removed' | 'absent' | 'unknown'): void {
    const object = this.#objects.get(hash);
    if (object === undefined) return;
    object.removalsUnderWay -= 1;
    object.removalEndedMicros = nowMicros;
    if (outcome === 'unknown') object.removalUnknown = true;
    if (outcome === 'removed') object.removed = object.putsUnderWay === 0;
  }
}
