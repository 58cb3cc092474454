/** Entry point of the service of webhooks: its calls, those of keys, and the worker that delivers. */
import { keyRoutes } from '../auth/routes.ts';
import { startService } from '../runtime/service.ts';
import { webhookRoutes } from './routes.ts';
import { deliver } from './start.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
const routes = [webhookRoutes, keyRoutes];
export default await startService('webhooks', 8004, routes, listen, { begin: deliver });
