/** Jobs in threads: one that hangs is ended, and what it hung on is known. */

import { rmSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { runJobs } from '../../fuzz/engine/jobs.ts';
import { bundleModule } from '../support/bundle.ts';
import { hangingTarget } from './hanging-job.ts';

it('ends a thread that hangs, and says on which input', async () => {
  const program = await bundleModule('test/fuzz/hanging-job.ts');
  try {
    const report = await runJobs({
      script: pathToFileURL(program),
      targets: [hangingTarget],
      seed: 1,
      inputs: 10_000,
      millis: undefined,
      corpus: new Map(),
      jobs: 1,
      // Threads of a machine that is busy start slowly; an input of five bytes takes for ever.
      hangMillis: 5_000,
      onProgress: () => undefined,
    });
    expect(report.crashes.map(({ target, sentence }) => [target, sentence])).toEqual([
      ['hanging', 'hangs: its thread was ended'],
    ]);
    expect(report.crashes[0]!.input).toHaveLength(5);
  } finally {
    rmSync(program);
  }
}, 180_000);
