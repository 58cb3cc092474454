/**
 * .ci/run, with stand-ins for what it calls: what it installs, when it goes on without, how it
 * closes.
 */
import { afterAll, expect, test } from 'bun:test';
import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openStage, TOP } from '../support/process.ts';

const stage = openStage();
afterAll(stage.clear);

const STANDINS: Record<string, string> = {
  // A run of the tests, as its report has it.
  bun: `for last; do :; done; echo "<testsuites $REPORT>" > "\${last#*=}"; exit "$STATUS"`,
  id: 'echo 1000',
  sudo: `echo "$*" >> "$CALLS"; case "$*" in *" tee "*) cat ;; *"$REFUSED"*) exit 1 ;; esac`,
};
const REAL = ['bash', 'cat', 'dirname', 'env', 'grep', 'mktemp', 'rm', 'timeout'];
const TOOLS = ['nginx', 'haproxy', 'promtool', 'shellcheck', 'python3', 'locust', 'chromium'];
const REPORT = 'name="bun test" tests="9" assertions="20" failures="1" skipped="2" time="1"';

/** @param has programs that are on PATH beside those that any machine has */
async function ci(has: string[], env: Record<string, string> = {}) {
  const bin = await stage.folder();
  const calls = Bun.file(join(bin, 'calls'));
  await calls.write('');
  for (const name of REAL) await symlink(Bun.which(name) ?? '', join(bin, name));
  for (const name of ['bun', 'id', ...has]) {
    const text = `#!/bin/sh\n${STANDINS[name] ?? 'exit 0'}\n`;
    await writeFile(join(bin, name), text, { mode: 0o755 });
  }
  const { exitCode: code, stdout } = Bun.spawnSync(['bash', join(TOP, '.ci/run')], {
    env: { PATH: bin, CALLS: calls.name ?? '', REPORT, STATUS: '0', REFUSED: 'nothing', ...env },
  });
  const said = (await calls.text()).trim();
  const installed = [...said.matchAll(/ install .* (\S+)$/gm)].map(([, name]) => name);
  return { code, last: stdout.toString().trim().split('\n').at(-1), said, installed };
}

const green = REPORT.replace('failures="1"', 'failures="0"');
const whole = green.replace('skipped="2"', 'skipped="0"');
test.each([
  [1, '6 passed, 1 failed, 2 skipped', REPORT, '0'],
  [0, '7 passed, 0 failed, 2 skipped', green, '0'],
  [0, '9 passed, 0 failed, 0 skipped', whole, '0'],
  [3, '0 passed, 0 failed, 0 skipped', '', '3'],
])('it exits with %i and closes with %s', async (code, last, REPORT, STATUS) => {
  expect(await ci(TOOLS, { REPORT, STATUS })).toMatchObject({ code, last });
});

test('programs that the machine lacks come from Debian, each by itself', async () => {
  const some = await ci(['nginx', 'haproxy', 'python3', 'apt-get', 'sudo']);
  expect(some.installed).toEqual(['prometheus', 'shellcheck', 'python3-locust', 'chromium']);
  expect((await ci([...TOOLS, 'apt-get', 'sudo'])).said).toBe('');
});

test('without apt-get, sudo or a network it goes on with what there is', async () => {
  const last = '6 passed, 1 failed, 2 skipped';
  for (const has of [[], ['apt-get']]) expect(await ci(has)).toMatchObject({ last, said: '' });
  const offline = await ci(['nginx', 'haproxy', 'apt-get', 'sudo'], { REFUSED: 'apt-get' });
  expect(offline).toMatchObject({ last });
  expect(offline.installed.length).toBe(5);
});
