/** What code under test says of rare branches. */

import { collectMarks, type Mark } from '../../src/base/marks.ts';

/** The marks that `run` leaves, in order. */
export function marksOf(run: () => void): Mark[] {
  const seen: Mark[] = [];
  collectMarks((name) => seen.push(name));
  try {
    run();
  } finally {
    collectMarks(undefined);
  }
  return seen;
}
