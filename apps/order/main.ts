/** Entry of the order service: `bun apps/order/main.ts`, or `deno serve` with the default export. */
import { startService } from '../service.ts';
import { orderRoutes } from './routes.ts';

const platform = typeof Bun === 'undefined';
export default await startService('order', 8001, orderRoutes, { platform });
