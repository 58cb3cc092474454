/** Reports what people should know: `event` is a stable name, errors are among the fields. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  event: string,
  fields: Record<string, unknown>,
) => void;
