/**
 * Marks: names of rare branches, by which a simulation shows that it has been there (model: TigerBeetle's
 * `marks.zig`). Outside a simulation nobody collects, and a mark is a call that does nothing.
 */

/** Every mark, and what it says has happened. */
export const MARKS = {
  'asked-again': 'a coordinator is asked again over a new session',
  'burst-capped': 'what may leave at once is less than the window',
  'catalog-commit-failed': 'a change of the catalog does not reach the disk',
  'commit-added': 'a commit finds the object in the catalog',
  'commit-lapsed': 'a commit whose lease has ended is refused',
  'commit-repeated': 'a commit that was done before is answered again',
  'commit-void': 'a commit of what was removed meanwhile is refused',
  'commit-young': 'a commit is honoured whose reservation a restart forgot',
  'coordinator-silent': 'a coordinator that says nothing any more is given up',
  'copy-next-source': 'a copy goes on at another source',
  'damage-found': 'a stored object fails its check when it is read',
  'damage-reported': 'a node reports a damaged object',
  'deletion-again': 'an order to delete is given again',
  'digest-differs': 'a node that joins sends the parts of its inventory that differ',
  'digest-equal': 'a node that joins need not send its inventory',
  'disk-full-midway': 'a disk grows full in the middle of a store',
  'early-end': 'the peer ended a flow before it was opened here',
  'flow-tampered': 'a flow ends because its records do not open',
  'get-new-round': 'a get begins anew at all replicas',
  'get-resumed': 'a get goes on at another replica, at the byte that it reached',
  'get-small-records': 'a get goes on with records of one datagram',
  'hello-again': 'a HELLO that was accepted arrives again',
  'hello-repeated': 'a HELLO is not answered in time',
  'inventory-deletes': 'a node that was away is told to delete what was removed',
  'inventory-in-part': 'a node sends a part of its inventory',
  'inventory-strikes': 'an inventory strikes replicas that a node lost',
  'key-update': 'the sending keys are updated',
  'keys-forgotten': 'the keys before an update are forgotten',
  'late-packet': 'a packet arrives at a session that is closing',
  'leader-awaits': 'a placement is put off until nodes have joined the new leader',
  'leader-lease-lost': 'a lease of the shared state has ended before it was renewed',
  'leader-lost': 'a coordinator leads no longer',
  'leader-new-epoch': 'a coordinator begins to lead after another',
  'leader-resumed': 'a leader renews its lease late, and goes on in the same epoch',
  'leader-suspended': 'a leader that cannot renew its lease puts a query off',
  'lease-expired': 'a reservation ends by time',
  'lease-renewed': 'a reservation that is held is renewed',
  'lock-expired': 'a lock that was held ends by time',
  'lock-given-back': 'a lock is asked for by a token that was given back before',
  'lock-lost': 'a client loses a lock that it held',
  'lock-renewed': 'a place in the queue of a lock is asked for again',
  'lock-wait-expired': 'somebody who waits for a lock is not heard of any more',
  'lock-waits': 'a lock is held by somebody else',
  'mtu-black-hole': 'large datagrams stop arriving, and the size falls back',
  'mtu-raised': 'a larger datagram size is proven',
  'mtu-too-large': 'probes of a datagram size are lost, and a smaller one is tried',
  'node-failed': 'a node that stays silent is given up',
  'node-incarnation': 'a node that was given up comes back under a new incarnation',
  'node-refused': 'a node that is up by its old session is refused a new one',
  'node-replaced': 'a node joins anew before its old session has ended',
  'not-leader': 'a coordinator that does not lead sends somebody to the leader',
  'persistent-congestion': 'everything is lost for three probe timeouts',
  'placement-conflict': 'space is asked for what is there',
  'placement-no-space': 'no nodes have room enough',
  'pto-doubled': 'a second probe timeout in a row',
  'put-again': 'a put starts over',
  'put-existed': 'a put is told that its object is there',
  'put-fewer-places': 'a put goes on without a node that failed',
  'put-other-places': 'a put asks for other places than a node that did not answer',
  'put-small-records': 'a put starts over with records of one datagram',
  'query-duplicate': 'a query that arrives again is not carried out again',
  'record-resent': 'a whole record is sent again',
  'record-spoiled': 'a record that does not open is asked for again',
  'record-unopened': 'a record is acknowledged and not opened for a second',
  'refused-busy': 'a front port refuses a session as busy',
  'remove-repeated': 'a removal that was done before is answered again',
  'repair-copied': 'an object has one replica more',
  'repair-drained': 'a node that leaves holds one object less',
  'repair-no-place': 'no node can take the replica that an object lacks',
  'repair-thinned': 'an object has one surplus replica less',
  'replay-refused': 'a control packet that arrives again is dropped',
  'seal-refused': 'a control packet whose seal does not hold is dropped',
  'session-denied': 'a user session is asked for with a wrong token',
  'session-expired': 'a user session ends by time',
  'session-idle': 'a session ends because nothing is heard from its peer',
  'session-pushed-again': 'a write of a user session waits for the shared state, and is pushed again',
  'session-refused': 'a session ends because the port at its peer is closed',
  'session-write-repeated': 'a user session is told again what it was told before',
  'settle-drop': 'a stored object will never be committed',
  'settle-keep': 'a stored object turns out to be committed',
  'settle-wait': 'a stored object may still be committed',
  'store-no-space': 'a node has no room for what it was to store',
  'too-many-queries': 'a session has as many queries under way as it may',
  'unlock-denied': 'a lock is given back by somebody who has no place',
  'unlock-stale': 'a lock is given back under another fencing token',
  'update-unconfirmed': 'a key update waits until the last one is acknowledged',
  'update-waits': 'a key update waits for records of an earlier epoch',
  'version-lower': 'a peer speaks an older version of the wire, and is asked in that',
  'window-at-buffer': "the window is as large as the peer's socket buffer",
} as const satisfies Readonly<Record<string, string>>;

export type Mark = keyof typeof MARKS;

let collector: ((mark: Mark) => void) | undefined;

/** The code under test has been at a rare branch. */
export function mark(name: Mark): void {
  collector?.(name);
}

/** {@link mark} where `value` is used. */
export function marked<const Value>(name: Mark, value: Value): Value {
  mark(name);
  return value;
}

/** From now on `collect` hears of every mark; undefined ends that. For tests and simulations only. */
export function collectMarks(collect: ((mark: Mark) => void) | undefined): void {
  collector = collect;
}
