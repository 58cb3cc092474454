/** Entry point of the order service, for `bun apps/order/main.ts` and for `deno serve`. */
import { bulkRoutes } from '../bulk/routes.ts';
import { eventRoutes } from '../events/routes.ts';
import { startService } from '../runtime/service.ts';
import { orderRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default await startService('order', 8001, [orderRoutes, bulkRoutes, eventRoutes], listen);
