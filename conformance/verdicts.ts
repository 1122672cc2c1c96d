/** What the cases of a run came to, and what that says of the clauses. */

export type Outcome = 'pass' | 'fail' | 'skipped';

/** The verdict on one case. */
export interface Verdict {
  /** `W-001`, or the name of a vector's case. */
  readonly id: string;
  readonly title: string;
  /** What the case belongs to: a section of the wire cases, or a vector file. */
  readonly group: string;
  readonly clauses: readonly string[];
  readonly outcome: Outcome;
  /** The clause that was broken; where the case could not tell, its first one. */
  readonly brokenClause?: string;
  /** What was expected and what was seen, or why it was skipped. */
  readonly detail?: string;
  readonly seconds: number;
}

export interface ClauseVerdict {
  readonly clause: string;
  readonly outcome: Outcome;
  readonly cases: number;
  readonly failed: readonly string[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export function totalsOf(verdicts: readonly Verdict[]): Totals {
  const count = (outcome: Outcome): number =>
    verdicts.filter((verdict) => verdict.outcome === outcome).length;
  return { passed: count('pass'), failed: count('fail'), skipped: count('skipped') };
}

/**
 * One verdict for each clause that a case names, in the order of their numbers. A case that fails speaks
 * against the clause that it found broken, and says nothing of its others.
 */
export function clauseVerdicts(verdicts: readonly Verdict[]): ClauseVerdict[] {
  const clauses = new Set(verdicts.flatMap((verdict) => [...verdict.clauses, verdict.brokenClause ?? '']));
  clauses.delete('');
  return [...clauses].sort(byClause).map((clause) => {
    const failed = verdicts.filter((verdict) => verdict.brokenClause === clause).map((verdict) => verdict.id);
    const passed = verdicts.filter(
      (verdict) => verdict.outcome === 'pass' && verdict.clauses.includes(clause),
    );
    const outcome = failed.length > 0 ? 'fail' : passed.length > 0 ? 'pass' : 'skipped';
    return { clause, outcome, cases: failed.length + passed.length, failed };
  });
}

function byClause(left: string, right: string): number {
  const [leftName, leftNumber] = left.split('-');
  const [rightName, rightNumber] = right.split('-');
  if (leftName !== rightName) return leftName! < rightName! ? -1 : 1;
  return Number(leftNumber) - Number(rightNumber);
}
