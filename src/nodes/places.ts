/** Where objects are, as a client is told: made from replies, and read in them only when somebody looks. */

import { toHex } from '../base/bytes.ts';
import { HASH_BYTES, type Location, type WhereIsManyView, type WhereIsReply } from '../wire/index.ts';

/** A node that holds, or is to hold, an object. */
export interface Replica {
  /** 16 bytes in hex. */
  readonly nodeId: string;
  /** `host:port` of the node. */
  readonly address: string;
}

/** What a reply says of its objects. */
export interface PlacesSource {
  readonly revision: number;
  readonly stale: boolean;
  /** The replicas of the object that stands at `index` of the reply, best first. */
  replicas(index: number): readonly Replica[];
}

/** Where an object is; iterates over its replicas, best first. */
export class ObjectPlaces implements Iterable<Replica> {
  readonly bytes: number;
  readonly #source: PlacesSource;
  readonly #index: number;
  readonly #asked: Uint8Array;
  readonly #askedAt: number;
  #replicas: readonly Replica[] | undefined;

  /** @internal The hash stands in `asked`, which is borrowed for good, at `askedAt`. */
  constructor(bytes: number, source: PlacesSource, index: number, asked: Uint8Array, askedAt: number) {
    this.bytes = bytes;
    this.#source = source;
    this.#index = index;
    this.#asked = asked;
    this.#askedAt = askedAt;
  }

  /** SHA-256 in hex. */
  get hash(): string {
    return toHex(this.#asked.subarray(this.#askedAt, this.#askedAt + HASH_BYTES));
  }

  get replicas(): readonly Replica[] {
    this.#replicas ??= this.#source.replicas(this.#index);
    return this.#replicas;
  }

  /** Revision of the catalog that this was read from. */
  get revision(): number {
    return this.#source.revision;
  }

  /** Whether this may be old: the shared state was out of the coordinator's reach. */
  get stale(): boolean {
    return this.#source.stale;
  }

  [Symbol.iterator](): Iterator<Replica> {
    return this.replicas[Symbol.iterator]();
  }

  /** Its fields, which are read from the reply only here. */
  toJSON(): {
    readonly hash: string;
    readonly bytes: number;
    readonly replicas: readonly Replica[];
    readonly revision: number;
    readonly stale: boolean;
  } {
    const { hash, bytes, replicas, revision, stale } = this;
    return { hash, bytes, replicas, revision, stale };
  }
}

/** The one object of a WHERE_IS reply. */
export class OneFound implements PlacesSource {
  readonly revision: number;
  readonly stale: boolean;
  readonly #locations: readonly Location[];

  constructor({ revision, stale, locations }: WhereIsReply) {
    this.revision = revision;
    this.stale = stale;
    this.#locations = locations;
  }

  replicas(): readonly Replica[] {
    return this.#locations.map(replicaOf);
  }
}

/** The objects of a WHERE_IS_MANY reply; what is read of a location is read once. */
export class ManyFound implements PlacesSource {
  readonly #view: WhereIsManyView;
  readonly #known: (Replica | undefined)[] = [];

  constructor(view: WhereIsManyView) {
    this.#view = view;
  }

  get revision(): number {
    return this.#view.revision;
  }

  get stale(): boolean {
    return this.#view.stale;
  }

  replicas(index: number): readonly Replica[] {
    const view = this.#view;
    const replicas: Replica[] = [];
    for (let rank = 0; rank < view.replicas(index); rank++) {
      replicas.push(this.#replica(view.replica(index, rank)));
    }
    return replicas;
  }

  #replica(location: number): Replica {
    const view = this.#view;
    while (this.#known.length <= location) this.#known.push(undefined);
    this.#known[location] ??= { nodeId: toHex(view.nodeId(location)), address: view.address(location) };
    return this.#known[location];
  }
}

export function replicaOf(location: Location): Replica {
  return { nodeId: toHex(location.nodeId), address: location.address };
}
