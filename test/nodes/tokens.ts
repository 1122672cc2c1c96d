/** Tokens for tests that call the catalog: each is another. */

import { TOKEN_BYTES } from '../../src/wire/index.ts';

let made = 0;

export function freshToken(): Uint8Array {
  const token = new Uint8Array(TOKEN_BYTES);
  new DataView(token.buffer).setUint32(0, ++made);
  return token;
}

/** What a removal is told by, one like no other. */
export function removal(nowMillis: number): { readonly token: Uint8Array; readonly nowMillis: number } {
  return { token: freshToken(), nowMillis };
}
