/** The console: what an operator of a sale looks at. It only reads. */
import { Hono } from 'hono';
import type { Log } from '../../db/log.ts';
import type { Store } from '../../db/store.ts';
import type { Env } from '../http/exchange.ts';
import type { Metrics } from '../http/metrics.ts';
import { frameRoutes } from './frames.ts';
import { Gatherer } from './gather.ts';
import { login } from './login.ts';
import { pageRoutes } from './routes.ts';
import { searchRoutes } from './search.ts';
import { sourcesOf } from './targets.ts';

/** @param options without targets it shows the process that it runs in */
export function consoleRoutes(store: Store, options: Options): Hono<Env> {
  const { metrics, log, console_targets } = options;
  const own = { name: 'local', scrape: () => metrics.text(store.gauges) };
  const sources = console_targets === '' ? async () => [own] : sourcesOf(console_targets);
  const app = new Hono<Env>();
  app.use('/console/*', login);
  app.route('/', pageRoutes());
  app.route('/', searchRoutes(store));
  app.route('/', frameRoutes(new Gatherer(store, sources, log)));
  return app;
}

interface Options {
  console_targets: string;
  metrics: Metrics;
  log: Log;
}
