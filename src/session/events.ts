/** What a session tells its driver, and what the driver hands to the roles. */

export type CloseKind = 'local' | 'peer' | 'idle' | 'refused' | 'protocol';

export type SessionEvent =
  /** The first valid sealed packet arrived: the peer is really there. */
  | { readonly kind: 'live' }
  | { readonly kind: 'query'; readonly id: number; readonly query: number; readonly body: Uint8Array }
  | { readonly kind: 'reply'; readonly id: number; readonly code: number; readonly body: Uint8Array }
  | { readonly kind: 'notice'; readonly notice: number; readonly body: Uint8Array }
  /** Records can be read from this flow, or it is complete. */
  | { readonly kind: 'readable'; readonly flowId: number }
  /** This flow has room for another record. */
  | { readonly kind: 'writable'; readonly flowId: number }
  /** The peer has opened all of this flow. */
  | { readonly kind: 'delivered'; readonly flowId: number }
  /** The peer ended a flow early. `sending` says which direction it was, seen from here. */
  | { readonly kind: 'flow-ended'; readonly flowId: number; readonly sending: boolean; readonly code: number }
  | { readonly kind: 'closed'; readonly reason: CloseKind; readonly code: number; readonly text: string };

/** A rule that an authenticated peer broke, with the clause: the session closes with it. */
export interface Violation {
  readonly clause: string;
  readonly text: string;
}

export function violation(clause: string, text: string): Violation {
  return { clause, text };
}
