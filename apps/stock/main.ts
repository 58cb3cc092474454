/** Entry point of the stock service, for `bun apps/stock/main.ts` and for `deno serve`. */
import { startService } from '../runtime/service.ts';
import { stockRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default await startService('stock', 8003, [stockRoutes], listen);
