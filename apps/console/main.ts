/** Entry point of the console as a service of its own. It only reads. */
import { startService } from '../runtime/service.ts';
import { consoleRoutes } from './console.ts';

const listen = typeof Bun === 'undefined' ? undefined : Bun.listen;
export default await startService('console', 8005, [consoleRoutes], listen, { role: 'reader' });
