/**
 * Errors that reach callers of the library. Each has a stable `code`, says whether a retry can
 * help, and its message says what to do. What goes to the peer is only the wire code.
 */

export type GramlineErrorCode =
  | 'GRAMLINE_NO_COORDINATOR'
  | 'GRAMLINE_CONFLICT'
  | 'GRAMLINE_NO_SPACE'
  | 'GRAMLINE_NOT_FOUND'
  | 'GRAMLINE_NOT_LEADER'
  | 'GRAMLINE_DENIED'
  | 'GRAMLINE_STALE_EPOCH'
  | 'GRAMLINE_BUSY'
  | 'GRAMLINE_CORRUPT'
  | 'GRAMLINE_EXPIRED'
  | 'GRAMLINE_ABORTED'
  | 'GRAMLINE_TIMEOUT'
  | 'GRAMLINE_PROTOCOL'
  | 'GRAMLINE_CLOSED'
  | 'GRAMLINE_IN_USE'
  | 'GRAMLINE_INVALID'
  | 'GRAMLINE_IO';

export interface GramlineErrorOptions {
  /** Whether the same call may succeed later without a change by the caller. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
  /** Milliseconds to wait before a retry, where the peer named them. */
  readonly retryAfterMillis?: number;
  /** The result code that the peer sent, where one did. */
  readonly wireCode?: number;
  /** `host:port` of the coordinator that leads, where one that does not has named it. */
  readonly leader?: string;
}

/** An error for callers: match on `code`, show `message`. */
export class GramlineError extends Error {
  override readonly name = 'GramlineError';
  readonly code: GramlineErrorCode;
  readonly retryable: boolean;
  readonly retryAfterMillis: number | undefined;
  readonly wireCode: number | undefined;
  readonly leader: string | undefined;

  constructor(code: GramlineErrorCode, message: string, options: GramlineErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.retryAfterMillis = options.retryAfterMillis;
    this.wireCode = options.wireCode;
    this.leader = options.leader;
  }
}

/** Whether `error` is a {@link GramlineError}, of the given code where one is named. */
export function isGramlineError(error: unknown, code?: GramlineErrorCode): error is GramlineError {
  return error instanceof GramlineError && (code === undefined || error.code === code);
}
