/** Entry of the payment service: `bun apps/payment/main.ts`, or `deno serve` with the default export. */
import { startService } from '../service.ts';
import { paymentRoutes } from './routes.ts';

const platform = typeof Bun === 'undefined';
export default await startService('payment', 8002, paymentRoutes, { platform });
