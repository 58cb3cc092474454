/** Entry of the payment service: `bun apps/payment/main.ts`, or `deno serve` with the default export. */
import type { Listen } from '../http/listen.ts';
import { startService } from '../service.ts';
import { paymentRoutes } from './routes.ts';

const listen = typeof Bun === 'undefined' ? undefined : (Bun.listen as Listen);
export default startService('payment', 8002, paymentRoutes, listen);
