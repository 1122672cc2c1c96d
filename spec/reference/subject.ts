/** Requests and replies of page 08, whoever answers them. */

import { BadRequest, Fields, isObject, type JsonObject } from './json.ts';

/** What a subject answers to one request. */
export type Reply = { readonly id: number | null } & (
  | { readonly ok: JsonObject }
  | { readonly refused: true }
  | { readonly unsupported: true }
  | { readonly error: string }
);

/** Answers one kind of request; undefined where the protocol refuses. Throws {@link BadRequest}. */
export type Operation = (request: Fields) => JsonObject | undefined;
export type Operations = Readonly<Record<string, Operation>>;

/** The reply of a subject that knows `operations`. Never throws on a bad request. */
export function answerBy(operations: Operations, request: unknown): Reply {
  const id = isObject(request) && Number.isSafeInteger(request.id) ? (request.id as number) : null;
  try {
    const fields = new Fields(request);
    const op = fields.text('op');
    if (id === null) throw new BadRequest('request.id is no whole number');
    if (!Object.hasOwn(operations, op)) return { id, unsupported: true };
    const ok = operations[op]!(fields);
    return ok === undefined ? { id, refused: true } : { id, ok };
  } catch (error) {
    if (error instanceof BadRequest) return { id, error: error.message };
    throw error;
  }
}
