/** Entry of the stock service: `bun apps/stock/main.ts`, or `deno serve` with the default export. */
import { startService } from '../runtime/service.ts';
import { stockRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default startService('stock', 8003, stockRoutes, listen);
