/** Entry point of the image. Its argument names the part, which runs in this process: PID 1. */
import process from 'node:process';

const parts: Record<string, () => Promise<unknown>> = {
  order: () => import('../apps/order/main.ts'),
  payment: () => import('../apps/payment/main.ts'),
  stock: () => import('../apps/stock/main.ts'),
  webhooks: () => import('../apps/webhooks/main.ts'),
  console: () => import('../apps/console/main.ts'),
  migrate: () => once(() => import('../apps/cli/migrate.ts')),
  audit: () => once(() => import('../apps/cli/audit.ts')),
  keys: () => once(() => import('../apps/cli/keys.ts')),
};

// The part reads its own arguments, so its name is removed from them.
const [name = ''] = process.argv.splice(2, 1);
const part = Object.hasOwn(parts, name) ? parts[name] : undefined;
if (!part) {
  const names = Object.keys(parts).join(', ');
  console.error(`kassa: the argument is one of ${names}${name && `, not ${name}`}`);
  process.exit(2);
}
await part();

/** Runs a part that ends by itself. PID 1 ignores signals that it has no handler for. */
function once(run: () => Promise<unknown>): Promise<unknown> {
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  return run();
}
