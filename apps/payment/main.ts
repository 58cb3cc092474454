/** Entry of the payment service: `bun apps/payment/main.ts`, or `deno serve` with the default export. */
import { startService } from '../runtime/service.ts';
import { paymentRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default startService('payment', 8002, paymentRoutes, listen);
