/**
 * Runs wire cases against a peer: some at a time, each with a deadline, all of them with one. A case that
 * hangs is a case that failed.
 */

import { type Target, type WireCase, WireContext } from './case.ts';
import { CaseFailure, CaseSkipped } from './expectations.ts';
import type { Verdict } from './verdicts.ts';

/** Cases under way at once: most of their time they wait. */
export const CASES_AT_ONCE = 8;
export const CASE_MILLIS_MAX = 30_000;
export const RUN_MILLIS_MAX = 600_000;

export interface RunLimits {
  readonly atOnce: number;
  readonly caseMillis: number;
  readonly totalMillis: number;
}

export const RUN_LIMITS: RunLimits = {
  atOnce: CASES_AT_ONCE,
  caseMillis: CASE_MILLIS_MAX,
  totalMillis: RUN_MILLIS_MAX,
};

/** Something to run and to close, whether it has come to its end or not. */
export interface Runnable {
  run(): Promise<void>;
  /** What the peer broke beside what was looked at. */
  readonly breach: { readonly clause: string; readonly text: string } | undefined;
  close(): void;
}

/** What a verdict says of a case before it has run. */
export type CaseFacts = Pick<Verdict, 'id' | 'title' | 'group' | 'clauses'>;

/** Hears of each verdict; `enough` ends the run, with the verdicts that there are. */
export type VerdictListener = (verdict: Verdict) => 'enough' | undefined;

/** Runs `cases` against `target`; verdicts come in the order of the cases. */
export function runWireCases(
  target: Target,
  cases: readonly WireCase[],
  limits: RunLimits = RUN_LIMITS,
  onVerdict: VerdictListener = () => undefined,
): Promise<Verdict[]> {
  const jobs = cases.map((wireCase) => ({
    facts: wireCase,
    start: (): Runnable => {
      const context = new WireContext(target);
      return {
        run: () => {
          if (wireCase.role === undefined || wireCase.role === target.role) return wireCase.run(context);
          return Promise.reject(new CaseSkipped(`it asks a ${wireCase.role}`));
        },
        get breach() {
          return context.breach;
        },
        close: () => context.close(),
      };
    },
  }));
  return runJobs(jobs, limits, onVerdict);
}

/** Runs jobs, each with a deadline and all within the total; verdicts in their order. */
export async function runJobs(
  jobs: readonly { readonly facts: CaseFacts; readonly start: () => Runnable }[],
  limits: RunLimits,
  onVerdict: VerdictListener = () => undefined,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  const endAt = performance.now() + limits.totalMillis;
  let next = 0;
  let isEnough = false;
  // Set by a timer, which may be a little early: what is left then is no time for another case.
  let isOver = false;
  const running = new Set<Runnable>();
  const begin = (start: () => Runnable): Runnable => {
    const job = start();
    running.add(job);
    return job;
  };
  const work = async (): Promise<void> => {
    while (next < jobs.length && !isEnough) {
      const index = next++;
      const { facts, start } = jobs[index]!;
      const millis = Math.min(limits.caseMillis, endAt - performance.now());
      const verdict =
        millis > 0 && !isOver
          ? await runOne(facts, begin(start), millis, () => {
              isOver ||= millis < limits.caseMillis;
            })
          : verdictOf(facts, 'skipped', { detail: 'the time of the run was over', seconds: 0 });
      // What ends because others were enough is no verdict on the peer.
      if (isEnough) return;
      verdicts[index] = verdict;
      isEnough = onVerdict(verdict) === 'enough';
      if (isEnough) for (const job of running) job.close();
    }
  };
  await Promise.all(Array.from({ length: Math.min(limits.atOnce, jobs.length) }, work));
  return verdicts.filter((verdict) => verdict !== undefined);
}

async function runOne(facts: CaseFacts, job: Runnable, millis: number, onLate: () => void): Promise<Verdict> {
  const startedAt = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    const late = (): void => {
      onLate();
      reject(new CaseFailure(`an end within ${Math.round(millis)} ms`, 'none'));
    };
    timer = setTimeout(late, millis);
  });
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  try {
    const run = job.run();
    // After a deadline nobody waits for it any more.
    run.catch(() => undefined);
    await Promise.race([run, deadline]);
    const { breach } = job;
    if (breach !== undefined)
      throw new CaseFailure('every packet to keep the rules', breach.text, breach.clause);
    return verdictOf(facts, 'pass', { seconds: seconds() });
  } catch (error) {
    if (error instanceof CaseSkipped) {
      return verdictOf(facts, 'skipped', { detail: error.message, seconds: seconds() });
    }
    const { breach } = job;
    const clause = (error instanceof CaseFailure ? error.clause : undefined) ?? breach?.clause;
    const said = error instanceof CaseFailure ? error.message : `the case itself failed: ${String(error)}`;
    const detail = breach === undefined || said.includes(breach.text) ? said : `${breach.text}; ${said}`;
    const brokenClause = clause ?? facts.clauses[0]!;
    return verdictOf(facts, 'fail', { detail, brokenClause, seconds: seconds() });
  } finally {
    clearTimeout(timer);
    job.close();
  }
}

function verdictOf(
  { id, title, group, clauses }: CaseFacts,
  outcome: Verdict['outcome'],
  rest: { readonly detail?: string; readonly brokenClause?: string; readonly seconds: number },
): Verdict {
  return { id, title, group, clauses, outcome, ...rest };
}
