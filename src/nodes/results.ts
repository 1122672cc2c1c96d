/** Result codes of the wire as errors for callers: the code decides, the sentence says what to do. */

import { GramlineError, type GramlineErrorCode, type GramlineErrorOptions } from '../base/errors.ts';
import { ResultCode } from '../wire/index.ts';

interface Meaning {
  readonly code: GramlineErrorCode;
  readonly text: string;
  readonly retryable: boolean;
}

const MEANINGS: Readonly<Record<number, Meaning>> = {
  [ResultCode.CONFLICT]: {
    code: 'GRAMLINE_CONFLICT',
    text: 'an object with this hash exists already',
    retryable: false,
  },
  [ResultCode.NO_SPACE]: {
    code: 'GRAMLINE_NO_SPACE',
    text: 'no node has enough free space: add a node or remove objects',
    retryable: false,
  },
  [ResultCode.NOT_FOUND]: { code: 'GRAMLINE_NOT_FOUND', text: 'no object with this hash', retryable: false },
  [ResultCode.NOT_LEADER]: {
    code: 'GRAMLINE_NOT_LEADER',
    text: 'this coordinator does not lead: ask the one that does',
    retryable: true,
  },
  [ResultCode.DENIED]: {
    code: 'GRAMLINE_DENIED',
    text: 'the secret does not allow this: use one with the right',
    retryable: false,
  },
  [ResultCode.STALE_EPOCH]: { code: 'GRAMLINE_STALE_EPOCH', text: 'stale epoch: ask again', retryable: true },
  [ResultCode.BUSY]: { code: 'GRAMLINE_BUSY', text: 'busy: try again in a moment', retryable: true },
  [ResultCode.CORRUPT]: { code: 'GRAMLINE_CORRUPT', text: 'the stored object is damaged', retryable: true },
  [ResultCode.EXPIRED]: {
    code: 'GRAMLINE_EXPIRED',
    text: 'the reservation has expired: place the object again',
    retryable: true,
  },
  [ResultCode.ABORTED]: {
    code: 'GRAMLINE_ABORTED',
    text: 'the other end gave up: try again',
    retryable: true,
  },
  [ResultCode.MALFORMED]: {
    code: 'GRAMLINE_PROTOCOL',
    text: 'the other end could not read the query: check that versions match',
    retryable: false,
  },
  [ResultCode.UNSUPPORTED]: {
    code: 'GRAMLINE_PROTOCOL',
    text: 'the other end does not know this query: check that versions match',
    retryable: false,
  },
  [ResultCode.IO]: {
    code: 'GRAMLINE_IO',
    text: 'the disk or the shared state of the other end failed: see its log',
    retryable: true,
  },
  [ResultCode.TAMPERED]: {
    code: 'GRAMLINE_ABORTED',
    text: 'records arrived damaged, by a broken network or an attacker: try again',
    retryable: true,
  },
};

/** The error that stands for `code`; `what` says what was tried, as the start of a sentence. */
export function resultError(
  code: number,
  what: string,
  details: Pick<GramlineErrorOptions, 'retryAfterMillis' | 'leader'> = {},
): GramlineError {
  const meaning = MEANINGS[code];
  if (meaning === undefined) {
    return new GramlineError(
      'GRAMLINE_PROTOCOL',
      `${what}: unknown answer ${code}: check that versions match`,
    );
  }
  return new GramlineError(meaning.code, `${what}: ${meaning.text}`, {
    retryable: meaning.retryable,
    wireCode: code,
    ...details,
  });
}

const CODES: Readonly<Partial<Record<GramlineErrorCode, ResultCode>>> = {
  GRAMLINE_CONFLICT: ResultCode.CONFLICT,
  GRAMLINE_NO_SPACE: ResultCode.NO_SPACE,
  GRAMLINE_NOT_FOUND: ResultCode.NOT_FOUND,
  GRAMLINE_DENIED: ResultCode.DENIED,
  GRAMLINE_NOT_LEADER: ResultCode.NOT_LEADER,
  GRAMLINE_STALE_EPOCH: ResultCode.STALE_EPOCH,
  GRAMLINE_BUSY: ResultCode.BUSY,
  GRAMLINE_CORRUPT: ResultCode.CORRUPT,
  GRAMLINE_EXPIRED: ResultCode.EXPIRED,
  GRAMLINE_ABORTED: ResultCode.ABORTED,
  GRAMLINE_CLOSED: ResultCode.ABORTED,
  GRAMLINE_TIMEOUT: ResultCode.ABORTED,
  GRAMLINE_IO: ResultCode.IO,
  GRAMLINE_INVALID: ResultCode.MALFORMED,
  GRAMLINE_PROTOCOL: ResultCode.MALFORMED,
};

/** The wire code that tells a peer of `error`, and nothing more than that. */
export function resultCodeOf(error: unknown): ResultCode {
  if (!(error instanceof GramlineError)) return ResultCode.IO;
  // [REC-18] Whoever sends must learn that small records are called for.
  if (error.wireCode === ResultCode.TAMPERED) return ResultCode.TAMPERED;
  return CODES[error.code] ?? ResultCode.IO;
}
