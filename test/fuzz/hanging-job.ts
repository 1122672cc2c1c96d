/** A program whose threads fuzz a target that never ends on some inputs. */

import { isMainThread, workerData } from 'node:worker_threads';
import { isAssignment, workOn } from '../../fuzz/engine/jobs.ts';
import { plainLayout } from '../../fuzz/engine/layout.ts';
import type { Target } from '../../fuzz/engine/target.ts';

export const hangingTarget: Target = {
  name: 'hanging',
  description: 'ends never on inputs of five bytes',
  weight: 1,
  inputBytesMax: 16,
  generate: (random) => random.bytes(1 + random.integer(10)),
  layout: plainLayout,
  run(input) {
    // Without work, so that others have the processor.
    if (input.length === 5) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    return 'held';
  },
};

if (!isMainThread && isAssignment(workerData)) void workOn(workerData, [hangingTarget]);
