/**
 * Assertions about our own code, on in production.
 *
 * An assertion that fails is a bug of ours: never assert on what a stranger or a peer sent
 * (`wire/` returns reasons, `session/` closes with a protocol error).
 */

/** Thrown when an invariant of this program does not hold. Report it as a bug. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
  readonly code = 'GRAMLINE_ASSERTION';
}

/** Throws {@link AssertionError} unless `condition` holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the type checker proves unreachable. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value: ${String(value)}`);
}
