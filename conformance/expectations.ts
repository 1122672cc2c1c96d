/** How a case ends early: it found a clause broken, or can't be run here. */

import { toHex } from '../src/base/bytes.ts';
import { type Frame, FrameType } from '../src/wire/index.ts';

/** A peer did otherwise than a clause says. */
export class CaseFailure extends Error {
  override readonly name = 'CaseFailure';
  /** The clause that is broken; undefined when the case itself says which. */
  readonly clause: string | undefined;

  constructor(expected: string, seen: string, clause?: string) {
    super(`expected ${expected}; saw ${seen}`);
    this.clause = clause;
  }
}

/** The case needs what this run lacks. */
export class CaseSkipped extends Error {
  override readonly name = 'CaseSkipped';
}

/** Fails the case unless `condition` holds. `clause` names the clause when it is not the case's first. */
export function expectThat(
  condition: boolean,
  expected: string,
  seen: string | (() => string),
  clause?: string,
): asserts condition {
  if (condition) return;
  throw new CaseFailure(expected, typeof seen === 'string' ? seen : seen(), clause);
}

/** Fails the case unless two byte strings are equal. */
export function expectBytes(seen: Uint8Array, expected: Uint8Array, what: string, clause?: string): void {
  const [seenHex, expectedHex] = [toHex(seen), toHex(expected)];
  expectThat(seenHex === expectedHex, `${what} ${expectedHex}`, seenHex, clause);
}

const FRAME_NAMES = new Map(Object.entries(FrameType).map(([name, type]) => [type as number, name]));

/** A frame in a few words, for a verdict. */
export function describeFrame(frame: Frame): string {
  const name = FRAME_NAMES.get(frame.type) ?? '?';
  switch (frame.type) {
    case FrameType.ACK:
      return `ACK of space ${frame.space}: ${frame.ranges.map(({ first, last }) => `${first}-${last}`).join(' ')}`;
    case FrameType.CLOSE:
      return `CLOSE ${frame.code} '${frame.text}'`;
    case FrameType.REPLY:
      return `REPLY ${frame.code} to ${frame.id}`;
    case FrameType.QUERY:
      return `QUERY ${frame.id} of kind ${frame.kind}`;
    case FrameType.CREDIT:
      return `CREDIT of flow ${frame.flowId}: ${frame.limitBytes}, opened ${frame.openedBytes}${frame.complete ? ', complete' : ''}`;
    case FrameType.STOP:
    case FrameType.RESET:
      return `${name} ${frame.code} of flow ${frame.flowId}`;
    case FrameType.RESEND:
      return `RESEND ${frame.record} of flow ${frame.flowId}`;
    default:
      return name;
  }
}
