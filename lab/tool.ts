/**
 * `gramline lab`: hosts of a network on one machine, from the command line.
 *
 *   gramline lab up [--name NAME] [--hosts 4] [--mtu 1500] [--loss 1%] [--rate 1gbit] [--offload off]
 *   gramline lab run [--name NAME] HOST -- COMMAND...     stdio and exit code are the command's
 *   gramline lab list
 *   gramline lab down [--name NAME | --all]
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { newCommand, runCommandLine } from '../src/cli/command-line.ts';
import { ExitCode, refused, UsageError } from '../src/cli/failures.ts';
import { Interruption } from '../src/cli/interruption.ts';
import { formatCount, formatTable, print, printJson } from '../src/cli/output.ts';
import {
  LAB_HOSTS_MAX,
  LAB_MTU_MAX,
  LAB_MTU_MIN,
  type LabHost,
  labTrouble,
  listLabs,
  nameTrouble,
  openLab,
  processesOf,
  removeLab,
  type StandingLab,
  settingsOf,
} from './lab.ts';

const NAME_DEFAULT = 'default';
const HOSTS_DEFAULT = 4;
const MTU_DEFAULT = 1_500;
const RATE_UNITS: ReadonlyMap<string, number> = new Map([
  ['kbit', 1e3],
  ['mbit', 1e6],
  ['gbit', 1e9],
]);
const RATE_BITS_MIN = 8_000;
const RATE_BITS_MAX = 100e9;
/** Processes of a lab that goes down have this long to end well, and this long once they are killed. */
const END_MILLIS_MAX = 2_000;
const KILL_MILLIS_MAX = 2_000;
const END_POLL_MILLIS = 20;
const FORWARDED_SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
/** As shells say it: a command that a signal ended. */
const SIGNAL_EXIT = 128;

interface Named {
  readonly name: string;
  readonly json?: boolean;
}

interface UpOptions extends Named {
  readonly hosts: number;
  readonly mtu: number;
  readonly loss: number;
  readonly rate?: number;
  readonly offload: 'on' | 'off';
}

export async function run(parameters: readonly string[]): Promise<ExitCode> {
  let commandExit = 0;
  const program = newCommand('gramline lab')
    .description('a network of hosts on this machine: network namespaces, with loss and rates as you like')
    .enablePositionalOptions();
  program
    .command('up')
    .description('make a lab, and say how to reach its hosts')
    .option('--name <NAME>', 'what it is called', labName, NAME_DEFAULT)
    .option('--hosts <N>', `how many hosts, 1 to ${LAB_HOSTS_MAX}`, hostCount, HOSTS_DEFAULT)
    .option('--mtu <BYTES>', `MTU of every device, ${LAB_MTU_MIN} to ${LAB_MTU_MAX}`, mtu, MTU_DEFAULT)
    .option('--loss <PERCENT>', 'packets dropped as they come to a host, such as 1% or 0.05%', percent, 0)
    .option('--rate <RATE>', 'of every cable in each direction, such as 100mbit or 1gbit', rate)
    .option('--offload <on|off>', 'segmentation offload of the devices', onOff, 'on')
    .option('--json', 'print one JSON object')
    .action(up);
  program
    .command('run')
    .usage('[--name NAME] HOST -- COMMAND...')
    .description('run a command on host number HOST')
    .option('--name <NAME>', 'the lab', labName, NAME_DEFAULT)
    .argument('<HOST>', 'number of the host', hostNumber)
    .argument('<COMMAND...>')
    .passThroughOptions()
    .action(async (host: number, command: readonly string[], options: Named) => {
      commandExit = await runOn(host, command, options);
    });
  program
    .command('list')
    .description('list the labs that stand')
    .option('--json', 'print one JSON object')
    .action(list);
  program
    .command('down')
    .description('remove a lab, and end what runs in it')
    .option('--name <NAME>', `the lab (default: "${NAME_DEFAULT}")`, labName)
    .option('--all', 'all labs')
    .option('--json', 'print one JSON object')
    .action(down);
  const code = await runCommandLine(program, parameters);
  return code === ExitCode.DONE ? (commandExit as ExitCode) : code;
}

// ---------------------------------------------------------------- commands

async function up({ name, hosts, mtu: mtuBytes, loss, rate: bits, offload, json }: UpOptions): Promise<void> {
  const interruption = new Interruption(ExitCode.FAILED);
  const lab = openLab({
    name,
    hosts,
    mtuBytes,
    lossPercent: loss,
    offload,
    rate: bits === undefined ? undefined : { bitsPerSecond: bits },
  });
  // Signals that came meanwhile are heard now: a lab that nobody waits for is not to stand. The first turn
  // may be what is left of this one, before the loop looks for signals.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  if (interruption.signal.aborted) {
    lab.close();
    throw interruption.signal.reason;
  }
  if (json === true) return printJson(jsonOf(lab.name, lab.hosts));
  const words = name === NAME_DEFAULT ? '' : `--name ${name} `;
  print(`The lab '${name}' stands: ${formatCount(hosts, 'host')}, ${settingsOf(lab.hosts[0]!)}.\n`);
  print(tableOf(lab.hosts.map((host) => [`${host.number}`, host.address, host.namespace])));
  print(`\ngramline lab run ${words}1 -- ping -c 1 ${lab.hosts.at(-1)!.address}`);
  print(`gramline lab down ${words}`.trimEnd());
}

async function runOn(number: number, words: readonly string[], { name }: Named): Promise<number> {
  // Behind HOST all words are the command's: an option there would silently be its name.
  const command = words[0] === '--' ? words.slice(1) : words;
  if (command.length === 0) throw new UsageError('name a command: gramline lab run HOST -- COMMAND...');
  if (command[0]!.startsWith('-') && words[0] !== '--') {
    throw new UsageError(
      `write ${command[0]} before HOST: gramline lab run [--name NAME] HOST -- COMMAND...`,
    );
  }
  const lab = labNamed(name);
  const host = lab.hosts.find((each) => each.number === number);
  if (host === undefined)
    throw refused(`the lab '${name}' has hosts 1 to ${lab.hosts.length}, not ${number}`);
  const [program, ...rest] = [...host.prefix, ...command];
  const child = spawn(program!, rest, { stdio: 'inherit' });
  // The command decides what a signal means; Ctrl-C has reached it by the terminal, once already.
  for (const signal of FORWARDED_SIGNALS) {
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)));
  }
  return exitOf(child);
}

async function exitOf(child: ChildProcess): Promise<number> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? SIGNAL_EXIT + constants.signals[signal!];
}

function list({ json }: { readonly json?: boolean }): void {
  needRights();
  const labs = listLabs();
  if (json === true) {
    return printJson({ labs: labs.map(({ name, hosts }) => jsonOf(name, hosts)) });
  }
  if (labs.length === 0) return print('no lab stands');
  for (const [index, lab] of labs.entries()) {
    const settings = lab.hosts[0] === undefined ? '' : settingsOf(lab.hosts[0]);
    const count = processesOf(lab).length;
    const running = count === 1 ? '1 process' : `${count} processes`;
    print(`${index === 0 ? '' : '\n'}${lab.name}: ${settings || 'being made or removed'}; ${running}`);
    print(tableOf(lab.hosts.map((host) => [`${host.number}`, host.address, host.namespace])));
  }
}

async function down(options: Partial<Named> & { readonly all?: boolean }): Promise<void> {
  if (options.all === true && options.name !== undefined) throw new UsageError('--name or --all, not both');
  needRights();
  const labs = options.all === true ? listLabs() : [labNamed(options.name ?? NAME_DEFAULT)];
  for (const lab of labs) {
    await endProcesses(lab);
    removeLab(lab);
  }
  const names = labs.map(({ name }) => name);
  if (options.json === true) return printJson({ removed: names });
  print(names.length === 0 ? 'no lab stands' : names.map((name) => `removed the lab '${name}'`).join('\n'));
}

/** Ends what runs in a lab, politely and then not: its network goes away. */
async function endProcesses(lab: StandingLab): Promise<void> {
  for (const [signal, millis] of [
    ['SIGTERM', END_MILLIS_MAX],
    ['SIGKILL', KILL_MILLIS_MAX],
  ] as const) {
    const deadline = performance.now() + millis;
    for (const pid of processesOf(lab)) signalTo(pid, signal);
    while (processesOf(lab).length > 0 && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, END_POLL_MILLIS));
    }
  }
  const left = processesOf(lab);
  if (left.length > 0) throw refused(`processes of the lab '${lab.name}' do not end: ${left.join(', ')}`);
}

function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

function labNamed(name: string): StandingLab {
  needRights();
  const lab = listLabs().find((each) => each.name === name);
  if (lab !== undefined) return lab;
  const words = name === NAME_DEFAULT ? '' : ` --name ${name}`;
  throw refused(`no lab '${name}' stands: make one with gramline lab up${words}`);
}

function needRights(): void {
  const trouble = labTrouble();
  if (trouble !== undefined) throw refused(trouble);
}

// ---------------------------------------------------------------- output

function tableOf(rows: readonly (readonly string[])[]): string {
  return formatTable([{ title: 'host' }, { title: 'address' }, { title: 'namespace' }], rows);
}

function jsonOf(name: string, hosts: readonly LabHost[]): unknown {
  return {
    name,
    settings: hosts[0] === undefined ? '' : settingsOf(hosts[0]),
    hosts: hosts.map(({ number, address, namespace }) => ({ number, address, namespace })),
  };
}

// ---------------------------------------------------------------- what stands on the command line

function labName(text: string): string {
  const trouble = nameTrouble(text);
  if (trouble !== undefined) throw new UsageError(trouble);
  return text;
}

/** A reader of whole numbers from `min` to `max`. */
function wholeNumber(what: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new UsageError(`'${text}' is no ${what}: write a number from ${min} to ${max}`);
  };
}

function hostCount(text: string): number {
  return wholeNumber('number of hosts', 1, LAB_HOSTS_MAX)(text);
}

function hostNumber(text: string): number {
  return wholeNumber('number of a host', 1, LAB_HOSTS_MAX)(text);
}

function mtu(text: string): number {
  return wholeNumber('MTU', LAB_MTU_MIN, LAB_MTU_MAX)(text);
}

function percent(text: string): number {
  const value = Number(/^(\d+(?:\.\d+)?)%?$/.exec(text)?.[1] ?? Number.NaN);
  if (value <= 100) return value;
  throw new UsageError(`'${text}' is no loss: write a share from 0% to 100%, such as 1% or 0.05%`);
}

function rate(text: string): number {
  const [, value, unit] = /^(\d+(?:\.\d+)?)(kbit|mbit|gbit)$/i.exec(text) ?? [];
  const bits = Math.round(Number(value) * (RATE_UNITS.get(unit?.toLowerCase() ?? '') ?? Number.NaN));
  if (bits >= RATE_BITS_MIN && bits <= RATE_BITS_MAX) return bits;
  throw new UsageError(`'${text}' is no rate: write 8kbit to 100gbit, such as 100mbit or 1gbit`);
}

function onOff(text: string): 'on' | 'off' {
  if (text === 'on' || text === 'off') return text;
  throw new UsageError(`--offload is on or off, not '${text}'`);
}
