/** The names of the services, and of the table in which each of those that take writes keeps its operations. */
export const SERVICES = ['order', 'payment', 'stock'] as const;
export type Service = (typeof SERVICES)[number];
/** Whatever has a role in the store: webhooks write no orders, users or items, and a reader nothing. */
export type Role = Service | 'webhooks' | 'reader';

export const isService = (role: Role): role is Service =>
  (SERVICES as readonly string[]).includes(role);

export const isReader = (role: Role): boolean => role === 'reader';

export const operationsTable = (service: Service) => `${service}_operations` as const;
