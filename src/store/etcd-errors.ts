/** What etcd refuses, what it leaves open, and how callers hear of it. */

import { GramlineError } from '../base/errors.ts';
import { isOwnBug, systemCode } from './store-errors.ts';

/** etcd answered, and the answer is no. */
export class EtcdRefusal extends Error {
  override readonly name = 'EtcdRefusal';
  /** The gRPC status code. */
  readonly grpcCode: number;

  constructor(message: string, grpcCode: number) {
    super(message);
    this.grpcCode = grpcCode;
  }
}

/** Nobody answered in time. */
export class EtcdSilence extends Error {
  override readonly name = 'EtcdSilence';
}

const GRPC_INVALID_ARGUMENT = 3;
const GRPC_UNAUTHENTICATED = 16;

/** Errors of a connection that never stood: nothing was sent over it. */
const UNSENT_CODES =
  /^(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT)$/;
/** One end did not believe the other who it is. */
const TLS_CODES = /^(?:ERR_(?:TLS|SSL)|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/;

/** Refusals before etcd tried: the transaction has had no effect, and will have none. */
const DEFINITE =
  /space exceeded|lease not found|too many requests|too many operations|too large|permission denied|authentication|user name is empty|invalid auth token|auth store is old|duplicate key/;
/** Refusals because of who asks. */
const DENIED = /permission denied|authentication failed|user name is empty|invalid auth token/;
const LIMITS = /too many operations|too large/;

/** Whether nothing of the request can have reached etcd. */
export function isUnsent(error: unknown): boolean {
  const code = systemCode(error) ?? '';
  return UNSENT_CODES.test(code) || TLS_CODES.test(code);
}

/** Whether etcd refused it for good: another member would refuse it as well. */
export function isDefiniteRefusal(error: unknown): boolean {
  return error instanceof EtcdRefusal && (DEFINITE.test(error.message) || isCompacted(error));
}

/** Whether the token that came with the request is known no more: a new one is needed. */
export function isTokenRefusal(error: unknown): boolean {
  if (!(error instanceof EtcdRefusal)) return false;
  return (
    error.grpcCode === GRPC_UNAUTHENTICATED || /invalid auth token|auth store is old/.test(error.message)
  );
}

/** Whether etcd has forgotten the revision that was asked for. */
export function isCompacted(error: unknown): boolean {
  return error instanceof EtcdRefusal && error.message.includes('has been compacted');
}

export function isNoSpace(error: unknown): boolean {
  return error instanceof EtcdRefusal && error.message.includes('space exceeded');
}

/**
 * `error` as an error for callers; a GramlineError passes unchanged, and so does a bug of ours.
 *
 * @param attempt what was tried, as in "commit to the state": it completes "Cannot ...".
 * @param changes whether what was tried changes something, so that it may have taken effect unanswered.
 */
export function etcdError(error: unknown, attempt: string, where: string, changes: boolean): Error {
  if (error instanceof GramlineError || isOwnBug(error)) return error;
  const reason = reasonOf(error);
  const cause = { cause: error };
  if (error instanceof EtcdRefusal) {
    const { message } = error;
    if (isNoSpace(error)) {
      return new GramlineError(
        'GRAMLINE_NO_SPACE',
        `Cannot ${attempt}: etcd at ${where} is out of space. Compact and defragment it or raise its quota, then disarm the alarm.`,
        cause,
      );
    }
    if (message.includes('lease not found')) {
      return new GramlineError('GRAMLINE_EXPIRED', 'the lease has ended: take a new one', {
        ...cause,
        retryable: true,
      });
    }
    if (message.includes('too many requests')) {
      return new GramlineError('GRAMLINE_BUSY', `Cannot ${attempt}: etcd at ${where} is busy. Retry later.`, {
        ...cause,
        retryable: true,
      });
    }
    if (DENIED.test(message)) {
      return new GramlineError(
        'GRAMLINE_DENIED',
        `Cannot ${attempt}: etcd at ${where} says: ${reason}. Check the user, its password and its role.`,
        cause,
      );
    }
    if (LIMITS.test(message)) {
      return new GramlineError(
        'GRAMLINE_INVALID',
        `Cannot ${attempt}: etcd at ${where} says: ${reason}. Start it with its default --max-txn-ops and --max-request-bytes, or higher ones.`,
        cause,
      );
    }
    if (error.grpcCode === GRPC_INVALID_ARGUMENT || message.includes('not enabled')) {
      return new GramlineError(
        'GRAMLINE_INVALID',
        `Cannot ${attempt}: etcd at ${where} says: ${reason}.`,
        cause,
      );
    }
  }
  if (TLS_CODES.test(systemCode(error) ?? '')) {
    return new GramlineError(
      'GRAMLINE_DENIED',
      `Cannot ${attempt}: ${reason} (etcd at ${where}). Check the certificates: whom both ends believe, and whether it asks for ours.`,
      cause,
    );
  }
  const doubt = changes && !isUnsent(error) ? ' It may have taken effect all the same.' : '';
  return new GramlineError(
    'GRAMLINE_IO',
    `Cannot ${attempt}: ${reason} (etcd at ${where}).${doubt} Check etcd and the network, and retry.`,
    { ...cause, retryable: true },
  );
}

/** Why, in a few words. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = systemCode(error);
  const message = error.message.replace(/^etcdserver: /, '');
  if (code === undefined) return message;
  return message === '' || message.includes(code) ? message || code : `${message} (${code})`;
}
