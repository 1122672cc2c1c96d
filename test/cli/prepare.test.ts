import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { ROOT, scratch } from './support.ts';

const { path, remove } = await scratch();
afterAll(remove);

/** A stand-in for npm: writes down how it was called, and puts what a build needs where it belongs. */
const NPM = `
const fs = require('node:fs');
fs.appendFileSync('npm-calls', process.argv.slice(2).join(' ') + '\\n');
if (fs.existsSync('npm-fails') || fs.existsSync(process.argv[2] + '-fails')) {
  console.error('npm error because');
  process.exit(7);
}
fs.rmSync('node_modules', { recursive: true, force: true });
fs.mkdirSync('node_modules/typescript/bin', { recursive: true });
fs.copyFileSync('${path('tsc')}', 'node_modules/typescript/bin/tsc');
fs.writeFileSync('node_modules/.package-lock.json', '{}');
console.log('added packages');
`;
/** A stand-in for tsc: copies, and refuses what is marked. */
const TSC = `
const fs = require('node:fs');
const out = process.argv[process.argv.indexOf('--outDir') + 1];
fs.cpSync('src', out, { recursive: true });
for (const file of fs.readdirSync(out, { recursive: true }).filter((name) => name.endsWith('.ts'))) {
  fs.renameSync(out + '/' + file, out + '/' + file.replace(/ts$/, 'js'));
}
if (fs.readFileSync('src/cli/main.ts', 'utf8').includes('wrong')) {
  console.log('src/cli/main.ts(1,1): error TS2322');
  process.exit(2);
}
`;
/** A stand-in for the bundler: of the test tools only. */
const BUNDLER = `
import { copyFileSync, mkdirSync } from 'node:fs';
mkdirSync(process.argv[2] + '/tools', { recursive: true });
copyFileSync(new URL('../sim/tool.ts', import.meta.url), process.argv[2] + '/tools/sim.js');
`;
const clone = (name: string): string => path(`clone/${name}`);

/** Runs prepare.mjs of the clone. */
async function prepare(
  ...words: readonly string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [clone('scripts/prepare.mjs'), ...words], {
    env: { ...process.env, npm_execpath: path('npm-cli.js') },
  });
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      said[stream] += text;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, ...said };
}

beforeEach(async () => {
  await rm(path('clone'), { recursive: true, force: true });
  for (const name of ['scripts', 'src/cli', 'sim']) await mkdir(clone(name), { recursive: true });
  await cp(`${ROOT}scripts/prepare.mjs`, clone('scripts/prepare.mjs'));
  await writeFile(clone('scripts/bundle.mjs'), BUNDLER);
  await writeFile(clone('sim/tool.ts'), 'export const tool = 1;\n');
  await writeFile(path('npm-cli.js'), NPM);
  await writeFile(path('tsc'), TSC);
  await writeFile(clone('package-lock.json'), '{"lock":1}');
  await writeFile(clone('package.json'), '{"type":"module"}');
  for (const name of ['tsconfig.json', 'tsconfig.build.json']) await writeFile(clone(name), '{}');
  await writeFile(clone('src/cli/main.ts'), 'export const answer = 42;\n');
});

const INSTALLING = 'gramline: installing packages (npm ci)\n';
const FALLING_BACK = 'gramline: npm ci failed: trying npm install\n';
const BUILDING = 'gramline: building dist/\n';

describe('prepare.mjs', () => {
  it('installs and builds in a fresh clone, then has nothing to do, and says so by silence', async () => {
    expect(await prepare()).toEqual({ code: 0, stdout: '', stderr: INSTALLING + BUILDING });
    expect(await readFile(clone('npm-calls'), 'utf8')).toMatch(/^ci --ignore-scripts --include=dev /);
    expect(await readFile(clone('dist/cli/main.js'), 'utf8')).toMatch(/answer = 42/);
    expect(await prepare()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await readdir(clone('.'))).filter((name) => name.startsWith('dist'))).toEqual(['dist']);
  });

  it('becomes the command that is named behind it', async () => {
    await writeFile(clone('src/cli/main.ts'), 'console.log(process.argv.slice(1).join(" "));\n');
    const finished = await prepare('up', '--once');
    expect([finished.code, finished.stdout]).toEqual([0, `${clone('dist/cli/main.js')} up --once\n`]);
  });

  it('builds again when a source has changed, come or gone', async () => {
    await prepare();
    await writeFile(clone('src/cli/main.ts'), 'export const answer = 43;\n');
    expect((await prepare()).stderr).toBe(BUILDING);
    expect(await readFile(clone('dist/cli/main.js'), 'utf8')).toMatch(/answer = 43/);
    await writeFile(clone('src/more.ts'), 'export {};\n');
    expect((await prepare()).stderr).toBe(BUILDING);
    expect(existsSync(clone('dist/more.js'))).toBe(true);
    await rm(clone('src/more.ts'));
    expect((await prepare()).stderr).toBe(BUILDING);
    expect(existsSync(clone('dist/more.js'))).toBe(false);
  });

  it('bundles the test tools, and again when one of them has changed', async () => {
    await prepare();
    expect(await readFile(clone('dist/tools/sim.js'), 'utf8')).toMatch(/tool = 1/);
    await writeFile(clone('sim/tool.ts'), 'export const tool = 22;\n');
    expect((await prepare()).stderr).toBe(BUILDING);
    expect(await readFile(clone('dist/tools/sim.js'), 'utf8')).toMatch(/tool = 22/);
  });

  it('installs again when the lock has changed', async () => {
    await prepare();
    await writeFile(clone('package-lock.json'), '{"lock":2}');
    await utimes(clone('package-lock.json'), new Date(), new Date(Date.now() + 5_000));
    expect((await prepare()).stderr).toBe(INSTALLING + BUILDING);
    expect((await prepare()).stderr).toBe('');
  });

  it('trusts what npm installed by hand after the lock was written', async () => {
    await mkdir(clone('node_modules/typescript/bin'), { recursive: true });
    await cp(path('tsc'), clone('node_modules/typescript/bin/tsc'));
    await writeFile(clone('node_modules/.package-lock.json'), '{}');
    expect((await prepare()).stderr).toBe(BUILDING);
  });

  it('falls back to npm install where npm ci refuses the lock, and leaves the lock alone', async () => {
    await writeFile(clone('ci-fails'), '');
    expect(await prepare()).toEqual({ code: 0, stdout: '', stderr: INSTALLING + FALLING_BACK + BUILDING });
    expect(await readFile(clone('npm-calls'), 'utf8')).toMatch(/^ci .*\ninstall --no-save --ignore-scripts /);
    expect((await prepare()).stderr).toBe('');
  });

  it('fails when npm does, and tries again the next time', async () => {
    await writeFile(clone('npm-fails'), '');
    const said = `${INSTALLING}${FALLING_BACK}npm error because\ngramline: that failed: exit code 7\n`;
    expect(await prepare()).toEqual({ code: 7, stdout: '', stderr: said });
    await rm(clone('npm-fails'));
    expect((await prepare()).code).toBe(0);
  });

  it('keeps the last good build when the next one fails', async () => {
    await prepare();
    await writeFile(clone('src/cli/main.ts'), "export const answer = 'wrong';\n");
    const failed = await prepare();
    expect(failed.code).not.toBe(0);
    expect(failed.stderr).toMatch(/TS2322/);
    expect(await readFile(clone('dist/cli/main.js'), 'utf8')).toMatch(/answer = 42/);
    expect((await prepare()).code).not.toBe(0);
  });

  it('may run several times at once', async () => {
    await prepare();
    await writeFile(clone('src/cli/main.ts'), 'export const answer = 44;\n');
    const all = await Promise.all([prepare(), prepare(), prepare()]);
    expect(all.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(await readFile(clone('dist/cli/main.js'), 'utf8')).toMatch(/answer = 44/);
    expect((await readdir(clone('.'))).filter((name) => name.startsWith('dist'))).toEqual(['dist']);
  });
});
