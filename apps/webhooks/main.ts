/** Entry point of the service of webhooks: its calls, and the worker that delivers. */
import { startService } from '../runtime/service.ts';
import { webhookRoutes } from './routes.ts';
import { deliver } from './start.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default await startService('webhooks', 8004, [webhookRoutes], listen, { begin: deliver });
