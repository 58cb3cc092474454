/** What a caller may do, where authentication is on. Each call needs one scope. */

export const SCOPES = [
  ...(['orders:read', 'orders:write', 'wallets:read', 'wallets:write'] as const),
  ...(['stock:read', 'stock:write', 'events:read', 'events:write'] as const),
  ...(['metrics:read', 'admin'] as const),
] as const;
export type Scope = (typeof SCOPES)[number];

/** `admin` may do everything. */
export const allows = (scopes: ReadonlySet<Scope>, wanted: Scope): boolean =>
  scopes.has(wanted) || scopes.has('admin');

/** The scopes that credentials have: those that are known and, for one user, fit one user. */
export const scopesFor = (granted: readonly string[], user_id: string | undefined): Set<Scope> =>
  new Set(
    SCOPES.filter(
      (scope) =>
        granted.includes(scope) && (user_id === undefined || !NOT_FOR_USERS.includes(scope)),
    ),
  );

/** Credentials that are kept to one user never have these. */
export const NOT_FOR_USERS: readonly Scope[] = [
  ...(['wallets:write', 'stock:write', 'events:write', 'metrics:read', 'admin'] as const),
];
