/** One attempt of a call: sends it, and reads its answer. */
import type { ErrorCode, Facts } from './error.ts';

export interface Failed {
  code: ErrorCode;
  detail: string;
  status?: number;
  request_id?: string | undefined;
  retry_after_ms?: number;
  facts?: Facts;
  cause?: unknown;
}

/** It removes its timer and its listener: those of AbortSignal.timeout and .any would stay. */
export async function attempt(
  send: (signal: AbortSignal) => Promise<Response>,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<{ body: unknown } | Failed> {
  const ending = new AbortController();
  const abort = () => ending.abort(signal?.reason);
  const late = () => ending.abort(new Error(`no answer within ${Math.round(ms)} ms`));
  const timer = setTimeout(late, ms);
  signal?.addEventListener('abort', abort);
  try {
    return await read(await send(ending.signal));
  } catch (cause) {
    return { code: 'no_answer', detail: messageOf(cause), cause };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** @throws if the answer is cut short */
async function read(response: Response): Promise<{ body: unknown } | Failed> {
  const { status, headers } = response;
  const type = headers.get('content-type') ?? '';
  if (type.includes('json')) {
    const body = (await response.json()) as (Partial<Failed> & Facts) | null;
    const { code, detail = '', request_id } = body ?? {};
    if (status === 200 || status === 201) {
      if (typeof body === 'object' && body !== null && !Array.isArray(body)) return { body };
    } else if (body && typeof code === 'string') {
      const retry_after_ms = 1000 * (Number(headers.get('retry-after')) || 0);
      return { code, detail, status, request_id, retry_after_ms, facts: body };
    }
  } else await response.body?.cancel();
  const location = headers.get('location');
  // Browsers hide the target of a redirect, and even its status.
  const said = `${status || 'with a redirect'} ${location ? `to ${location}` : type}`.trim();
  // A gateway answers so while it cannot reach Kassa, or if it lost the answer (an empty 200).
  const is_empty = status === 200 && type === '';
  const passes = status >= 500 || status === 408 || status === 429 || is_empty;
  return passes
    ? { code: 'no_answer', detail: `a gateway answered ${said}` }
    : { code: 'not_kassa', detail: `${said}, which is not an answer of Kassa`, status };
}

export const messageOf = (cause: unknown): string =>
  cause instanceof Error ? cause.message : String(cause);
