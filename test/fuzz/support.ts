/** Targets with planted faults, for tests of the fuzzer itself. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { LayoutBuilder, numberAt, plainLayout } from '../../fuzz/engine/layout.ts';
import type { Target } from '../../fuzz/engine/target.ts';

/** A directory that is gone when the test is over. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'gramline-fuzz-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A target of bytes without structure. */
export function plainTarget(run: Target['run'], name = 'planted'): Target {
  return {
    name,
    description: 'a target of a test',
    weight: 1,
    inputBytesMax: 256,
    generate: (random) => random.bytes(1 + random.integer(40)),
    layout: plainLayout,
    run,
  };
}

/** Entries behind a one-byte count, each a one-byte length and bytes: a valid one never breaks `decode`. */
export function listTarget(decode: (input: Uint8Array) => string): Target {
  return {
    ...plainTarget(decode),
    generate(random) {
      const entries = Array.from({ length: random.integer(4) }, () => [...random.bytes(random.integer(6))]);
      return Uint8Array.from([entries.length, ...entries.flatMap((entry) => [entry.length, ...entry])]);
    },
    layout(input) {
      const layout = new LayoutBuilder();
      layout.number(0, 1);
      for (let at = 1; at < input.length && !layout.full; ) {
        const length = numberAt(input, at, 1);
        layout.length(at, 1, at + 1, at + 1 + length);
        layout.item(at, Math.min(1 + length, input.length - at), 0);
        at += 1 + length;
      }
      return layout;
    },
  };
}
