/** `bun run load --self-test`: measures the generator against an empty handler. */
import { join } from 'node:path';
import type { Live } from '../../test/support/report.ts';
import { requests } from './calls.ts';
import type { Options } from './options.ts';
import type { LoadResult } from './result.ts';
import { Run } from './run.ts';

/** @throws Error with a sentence if the handler does not start */
export async function selfTest(options: Options, line: Live): Promise<LoadResult> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'bare-server.ts')], {
    stdin: 'pipe',
    stdout: 'pipe',
  });
  try {
    const { value } = await child.stdout.getReader().read();
    const port = Number(new TextDecoder().decode(value));
    if (!port) throw new Error('the handler of the self-test did not start');
    const wire = requests(`127.0.0.1:${port}`, '');
    let made = 0;
    const run = new Run(
      {
        ...options,
        name: 'self-test',
        target: { hostname: '127.0.0.1', port, tls: false, insecure: false },
        random: Math.random,
        workload: {
          next(call) {
            call.request = wire.post(`/orders/checkout/${made++}`);
            return true;
          },
          answered: () => 'committed',
        },
      },
      line,
    );
    return await run.start();
  } finally {
    child.kill();
    await child.exited;
  }
}
