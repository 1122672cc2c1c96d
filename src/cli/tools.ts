/**
 * The test tools. Each is a program of its own outside `src/`, bundled into `dist/tools/`, with a command
 * line of its own; here stands only that it exists. It is loaded when it is asked for.
 */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { ExitCode } from './failures.ts';
import { remark } from './output.ts';

/** Every tool with what `gramline --help` says of it. The bundles have these names, too. */
const TOOLS = {
  sim: 'simulate whole clusters under faults, by seed',
  fuzz: 'feed mutated bytes to decoders and sessions',
  conformance: 'hold an implementation against the specification',
  lab: 'run commands between hosts in network namespaces',
} as const;

type ToolName = keyof typeof TOOLS;

/** What the bundle of a tool exports. */
interface Tool {
  /** Runs the tool on the words behind its name; resolves to the exit code. */
  run(parameters: readonly string[]): Promise<ExitCode>;
}

export function toolOf(name: string): ToolName | undefined {
  return Object.hasOwn(TOOLS, name) ? (name as ToolName) : undefined;
}

/** Lists the tools in the help of `gramline`. */
export function addToolCommands(program: Command): void {
  for (const [name, description] of Object.entries(TOOLS)) program.command(name).description(description);
}

export async function runTool(name: ToolName, parameters: readonly string[]): Promise<ExitCode> {
  const bundle = new URL(`../tools/${name}.js`, import.meta.url);
  if (!existsSync(fileURLToPath(bundle))) {
    remark(`the tool '${name}' is not part of this build: run npm run build`);
    return ExitCode.FAILED;
  }
  const tool = (await import(bundle.href)) as Tool;
  return tool.run(parameters);
}
