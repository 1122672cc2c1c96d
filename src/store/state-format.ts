/** Which version of its keys and values a state has, and whose it is: refusals that all stores share. */

import { toHex } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';

/** Name of the file of a state on lmdb, in its directory. */
export const STATE_FILE = 'state.mdb';

/** Version of the keys and values that Gramline keeps in a state. */
export const STATE_FORMAT = 3;

/** @param where as in "/data/state" or "etcd at http://a:2379" */
export function newerFormat(where: string, format: number): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `The state in ${where} has format ${format}, and this Gramline knows formats up to ${STATE_FORMAT}. Start a newer Gramline.`,
  );
}

export function olderFormat(where: string, format: number): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `The state in ${where} has format ${format}, and this Gramline reads format ${STATE_FORMAT} only. Start with an empty state: nodes tell which objects they hold. What was put a minute before, how many replicas each object was to have, locks and user sessions are not known there.`,
  );
}

export function otherCluster(where: string, found: Uint8Array, wanted: Uint8Array): GramlineError {
  return new GramlineError(
    'GRAMLINE_INVALID',
    `The state in ${where} belongs to cluster ${toHex(found)}, not ${toHex(wanted)}. Choose another state, or the right cluster id.`,
  );
}
