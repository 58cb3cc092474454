/** Entry of the image: its argument names the part, which runs in this process, so PID 1 is told to stop. */
import process from 'node:process';

const parts: Record<string, () => Promise<unknown>> = {
  order: () => import('../apps/order/main.ts'),
  payment: () => import('../apps/payment/main.ts'),
  stock: () => import('../apps/stock/main.ts'),
  migrate: () => once(() => import('../apps/cli/migrate.ts')),
  audit: () => once(() => import('../apps/cli/audit.ts')),
};

// The part reads its own arguments, so its name is taken out of them.
const [name = ''] = process.argv.splice(2, 1);
const part = Object.hasOwn(parts, name) ? parts[name] : undefined;
if (!part) {
  const names = Object.keys(parts).join(', ');
  console.error(`kassa: the argument is one of ${names}${name && `, not ${name}`}`);
  process.exit(2);
}
await part();

/** A part that ends by itself: as PID 1 it would not even notice a signal that it does not take. */
function once(run: () => Promise<unknown>): Promise<unknown> {
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  return run();
}
