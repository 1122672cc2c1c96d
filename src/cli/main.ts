#!/usr/bin/env node
/** The `gramline` command. */

import { run } from './program.ts';

const LINGER_MILLIS_MAX = 500;

// A reader that went away (`gramline status | head -1`): nothing is left to say, and nobody to say it to.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(1);
  throw error;
});

const code = await run(process.argv);
process.exitCode = code;
// What is still open after a command is done may hold its process up for a moment, not for good.
setTimeout(() => process.exit(code), LINGER_MILLIS_MAX).unref();
