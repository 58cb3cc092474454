/** Entry point of the payment service, for `bun apps/payment/main.ts` and for `deno serve`. */
import { startService } from '../runtime/service.ts';
import { paymentRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default await startService('payment', 8002, [paymentRoutes], listen);
