/** Entry of the order service: `bun apps/order/main.ts`, or `deno serve` with the default export. */
import { startService } from '../runtime/service.ts';
import { orderRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default startService('order', 8001, orderRoutes, listen);
