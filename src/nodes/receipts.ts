/**
 * Receipts: a node's proof to the coordinator that it stored certain bytes under a certain
 * reservation [DEFS-8]. The client carries it, but cannot make it: the key comes from the
 * admission secret. So a commit can be trusted, even right after a coordinator's restart.
 */

import { concatBytes, equalBytes, equalBytesConstantTime, utf8 } from '../base/bytes.ts';
import { hkdfExpand, hkdfExtract, type Suite } from '../crypto/index.ts';
import { type CommitQuery, RECEIPT_BYTES, Writer } from '../wire/index.ts';

const LABEL = utf8('gramline receipt v1');
const KEY_BYTES = 32;

/** What a receipt vouches for. */
export interface ReceiptSubject {
  readonly nodeId: Uint8Array;
  readonly token: Uint8Array;
  readonly hash: Uint8Array;
  readonly bytes: number;
}

export class Receipts {
  readonly #suite: Suite;
  readonly #key: Uint8Array;

  constructor(suite: Suite, admissionSecret: Uint8Array) {
    this.#suite = suite;
    this.#key = hkdfExpand(suite, hkdfExtract(suite, LABEL, admissionSecret), LABEL, KEY_BYTES);
  }

  make(subject: ReceiptSubject): Uint8Array {
    const bytes = new Writer(new Uint8Array(6));
    bytes.u48(subject.bytes);
    const input = concatBytes(subject.nodeId, subject.token, subject.hash, bytes.buffer);
    return this.#suite.hmacSha256(this.#key, input).slice(0, RECEIPT_BYTES);
  }

  /** The nodes whose receipts hold, joined or not; undefined when any receipt is false [DEFS-8]. */
  provenBy({ token, hash, bytes, receipts }: CommitQuery): Uint8Array[] | undefined {
    const proven: Uint8Array[] = [];
    for (const { nodeId, receipt } of receipts) {
      if (!this.check({ nodeId, token, hash, bytes }, receipt)) return undefined;
      if (!proven.some((other) => equalBytes(other, nodeId))) proven.push(nodeId);
    }
    return proven;
  }

  check(subject: ReceiptSubject, receipt: Uint8Array): boolean {
    return equalBytesConstantTime(this.make(subject), receipt);
  }
}
