/** .ci/run, with stand-ins for what it calls: what it installs, when it goes on without, how it closes. */
import { afterAll, expect, test } from 'bun:test';
import { mkdtempSync } from 'node:fs';
import { chmod, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TOP } from '../support/process.ts';

const folder = mkdtempSync(join(tmpdir(), 'kassa-ci-'));
afterAll(() => rm(folder, { recursive: true }));

const STANDINS = {
  // A run of the tests, as its report has it.
  bun: `for last; do :; done; echo "<testsuites $REPORT>" > "\${last#*=}"; exit "$STATUS"`,
  id: 'echo 1000',
  sudo: `echo "$*" >> "$CALLS"; case "$*" in *" tee "*) cat ;; *"$REFUSED"*) exit 1 ;; esac`,
};
const REAL = ['bash', 'cat', 'dirname', 'env', 'grep', 'mktemp', 'rm', 'timeout'];
const TOOLS = ['nginx', 'haproxy', 'promtool', 'shellcheck', 'python3', 'locust'];
const REPORT = 'name="bun test" tests="9" assertions="20" failures="1" skipped="2" time="1"';

/** @param has programs that are on PATH beside those that any machine has */
async function ci(has: string[], env: Record<string, string> = {}) {
  const bin = mkdtempSync(join(folder, 'bin-'));
  const calls = join(bin, 'calls');
  await writeFile(calls, '');
  for (const name of REAL) await symlink(Bun.which(name) ?? '', join(bin, name));
  for (const name of ['bun', 'id', ...has]) {
    const does = STANDINS[name as keyof typeof STANDINS] ?? 'exit 0';
    await writeFile(join(bin, name), `#!/bin/sh\n${does}\n`);
    await chmod(join(bin, name), 0o755);
  }
  const child = Bun.spawn(['bash', join(TOP, '.ci/run')], {
    env: { PATH: bin, CALLS: calls, REPORT, STATUS: '0', REFUSED: 'nothing', ...env },
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const out = await new Response(child.stdout).text();
  const code = await child.exited;
  const said = (await readFile(calls, 'utf8')).trim();
  const installed = [...said.matchAll(/ install .* (\S+)$/gm)].map(([, name]) => name);
  return { code, last: out.trim().split('\n').at(-1), said, installed };
}

test('it closes with what passed, failed and was skipped, and fails if anything did', async () => {
  expect(await ci(TOOLS)).toMatchObject({ code: 1, last: '6 passed, 1 failed, 2 skipped' });
  const green = REPORT.replace('failures="1"', 'failures="0"');
  const whole = green.replace('skipped="2"', 'skipped="0"');
  expect(await ci(TOOLS, { REPORT: green })).toMatchObject({
    code: 0,
    last: '7 passed, 0 failed, 2 skipped',
  });
  expect(await ci(TOOLS, { REPORT: whole })).toMatchObject({
    code: 0,
    last: '9 passed, 0 failed, 0 skipped',
  });
  const nothing = { code: 3, last: '0 passed, 0 failed, 0 skipped' };
  expect(await ci(TOOLS, { REPORT: '', STATUS: '3' })).toMatchObject(nothing);
});

test('programs that the machine lacks come from Debian, each by itself', async () => {
  const some = await ci(['nginx', 'haproxy', 'python3', 'apt-get', 'sudo']);
  expect(some.installed).toEqual(['prometheus', 'shellcheck', 'python3-locust']);
  const all = await ci([...TOOLS, 'apt-get', 'sudo']);
  expect(all.said).toBe('');
});

test('without apt-get, sudo or a network it goes on with what there is', async () => {
  const last = '6 passed, 1 failed, 2 skipped';
  expect(await ci([])).toMatchObject({ last, said: '' });
  expect(await ci(['apt-get'])).toMatchObject({ last, said: '' });
  const offline = await ci(['nginx', 'haproxy', 'apt-get', 'sudo'], { REFUSED: 'apt-get' });
  expect(offline).toMatchObject({ last });
  expect(offline.installed.length).toBe(4);
});
