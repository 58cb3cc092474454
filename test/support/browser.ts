/** The browser of the tests: Chromium, if it is installed. */
import { type Browser, chromium } from 'playwright-core';
import { need } from './need.ts';

/** @returns undefined without Chromium; use it as `test.skipIf(!opened)`. The caller closes it. */
export async function openBrowser(): Promise<Browser | undefined> {
  const executablePath = need('chromium');
  if (!executablePath) return undefined;
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
}
