/** Entry of the order service: `bun apps/order/main.ts`, or `deno serve` with the default export. */
import type { Listen } from '../http/listen.ts';
import { startService } from '../service.ts';
import { orderRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : (Bun.listen as Listen);
export default startService('order', 8001, orderRoutes, listen);
