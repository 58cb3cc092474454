/** What tests open and need not close. */
import { afterAll, onTestFinished } from 'bun:test';

/** Closes it after the test that runs or, outside of tests, after those of the file. */
export function untilEnd<T extends { close(): unknown }>(opened: T): T {
  const close = async () => void (await opened.close());
  try {
    onTestFinished(close);
  } catch {
    afterAll(close);
  }
  return opened;
}

/** Answers HTTP on a free port of this process. @returns the port */
export function serve(fetch: (request: Request) => Response | Promise<Response>): number {
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch });
  untilEnd({ close: () => server.stop(true) });
  return server.port ?? 0;
}
