/** The names of the services, and of the table in which each keeps its operations. */
export const SERVICES = ['order', 'payment', 'stock'] as const;
export type Service = (typeof SERVICES)[number];

export const operationsTable = (service: Service) => `${service}_operations` as const;
