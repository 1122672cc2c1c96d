/** Progress bars: on stderr, and only where that is a terminal. */

import type { Progress } from '../nodes/client.ts';
import { formatBytes, formatRate } from './output.ts';

const REDRAWS_PER_SECOND = 10;

export interface ProgressBar extends Disposable {
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** A bar that starts at the first progress and vanishes when it is disposed. */
export async function openProgressBar(title: string, isWanted = true): Promise<ProgressBar> {
  if (!isWanted || process.stderr.isTTY !== true) {
    return { onProgress: undefined, [Symbol.dispose]: () => undefined };
  }
  // Loaded where it shows: commands in scripts start sooner without.
  const { SingleBar } = await import('cli-progress');
  const startedAt = performance.now();
  let isStarted = false;
  const bar = new SingleBar({
    stream: process.stderr,
    fps: REDRAWS_PER_SECOND,
    clearOnComplete: true,
    hideCursor: false,
    barsize: 30,
    barCompleteChar: '#',
    barIncompleteChar: '.',
    format: `${title} [{bar}] {percentage}%  {done} of {all}  {rate}`,
  });
  const payload = ({ doneBytes, totalBytes }: Progress) => ({
    done: formatBytes(doneBytes),
    all: formatBytes(totalBytes),
    rate: formatRate(doneBytes, (performance.now() - startedAt) / 1000),
  });
  return {
    onProgress(progress) {
      if (!isStarted) bar.start(Math.max(1, progress.totalBytes), 0, payload(progress));
      isStarted = true;
      bar.update(progress.doneBytes, payload(progress));
    },
    [Symbol.dispose]: () => {
      if (isStarted) bar.stop();
    },
  };
}
