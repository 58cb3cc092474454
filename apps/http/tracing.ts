/**
 * Traces of requests, by OpenTelemetry: the request, its wait in the queue, and the transaction that
 * it shares with others, which is linked to all of them. Nothing is recorded unless a process has
 * registered an SDK (apps/runtime/traces.ts).
 */
import {
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type TextMapGetter,
  trace,
} from '@opentelemetry/api';
import type { Trace, TransactionTrace } from '../../db/trace.ts';

interface Request {
  method: string;
  url: string;
  headers: { get(name: string): string | null | undefined };
}

const tracer = trace.getTracer('kassa');
/** OpenTelemetry's default. */
const LINKS_MAX = 128;

/** No call may fail because of its trace: whatever the SDK throws counts as not traced. */
function quietly<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** @returns undefined if the request is not sampled */
export const traceRequest = (request: Request): RequestTrace | undefined =>
  quietly(() => begin(request));

function begin({ method, url, headers }: Request): RequestTrace | undefined {
  const parent = propagation.extract(ROOT_CONTEXT, headers, HEADERS);
  const path = url.slice(url.indexOf('/', 8)).replace(/\?.*/s, '');
  if (/^\/(?:health\/|metrics$)/.test(path)) return undefined;
  const attributes = { 'http.request.method': method, 'url.path': path };
  const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
  return span.isRecording() ? new RequestTrace(span, parent) : undefined;
}

const HEADERS: TextMapGetter<Request['headers']> = {
  get: (headers, name) => headers.get(name) ?? undefined,
  keys: () => [],
};

export class RequestTrace implements Trace {
  readonly trace_id: string;
  readonly traceparent: string;
  readonly #span: Span;
  readonly #context: Context;

  constructor(span: Span, parent: Context) {
    this.#span = span;
    this.#context = trace.setSpan(parent, span);
    this.trace_id = span.spanContext().traceId;
    this.traceparent = traceparentOf(this.#context);
  }

  taken(waited_ms: number): void {
    quietly(() => finished('queue', waited_ms, this.#context));
  }

  transaction(
    all: readonly RequestTrace[],
    commands: number,
    attempt: number,
  ): TransactionTrace | undefined {
    return quietly(() => this.#transaction(all, commands, attempt));
  }

  #transaction(all: readonly RequestTrace[], commands: number, attempt: number): TransactionTrace {
    // In the trace of its first request, and linked to all. A bulk may have many of the commands.
    const requests = [...new Set(all)];
    const links = requests.slice(0, LINKS_MAX).map((one) => ({ context: one.#span.spanContext() }));
    const attributes = { 'kassa.commands': commands, 'kassa.attempt': attempt };
    const options = { kind: SpanKind.CLIENT, attributes, links };
    const span = tracer.startSpan('transaction', options, this.#context);
    for (const one of requests)
      if (one !== this) one.#span.addLink({ context: span.spanContext() });
    const own = trace.setSpan(this.#context, span);
    return {
      roundTrip: (name, ms) => void quietly(() => finished(name, ms, own)),
      end: (end, code) => void quietly(() => ends(span, end, code)),
    };
  }

  /** @param code of the problem that was answered */
  end(
    method: string,
    route: string,
    status: number,
    request_id: string,
    code: string | undefined,
  ): void {
    quietly(() => {
      this.#span.updateName(`${method} ${route}`);
      this.#span.setAttributes({
        ...{ 'http.route': route, 'http.response.status_code': status },
        'kassa.request_id': request_id,
      });
      if (code !== undefined) this.#span.setAttribute('error.type', code);
      if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
      this.#span.end();
    });
  }
}

export interface SentTrace {
  /** For the header of the request; undefined if nothing is traced. */
  traceparent: string | undefined;
  /** @param error why it failed */
  end(error?: string): void;
}

/** A request to a receiver of webhooks, in the trace of what it tells of, if that was traced. */
export function traceSending(traceparent: string | undefined, host: string): SentTrace {
  const none = { traceparent, end: () => {} };
  return (traceparent && quietly(() => beginSending(traceparent, host))) || none;
}

function beginSending(traceparent: string, host: string): SentTrace | undefined {
  const parent = propagation.extract(ROOT_CONTEXT, { traceparent });
  const attributes = { 'http.request.method': 'POST', 'server.address': host };
  const span = tracer.startSpan('POST', { kind: SpanKind.CLIENT, attributes }, parent);
  if (!span.isRecording()) return undefined;
  return {
    traceparent: traceparentOf(trace.setSpan(parent, span)),
    end: (error) => void quietly(() => fails(span, error)),
  };
}

function ends(span: Span, end: string, code: string | undefined): void {
  span.setAttribute('kassa.end', end);
  if (code !== undefined) span.setAttribute('db.response.status_code', code);
  fails(span, code);
}

/** @param why undefined if nothing failed */
function fails(span: Span, why: string | undefined): void {
  if (why !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: why });
  span.end();
}

/** A span that ends now and began so long ago. */
function finished(name: string, ms: number, parent: Context): void {
  const now = Date.now();
  tracer.startSpan(name, { startTime: now - ms }, parent).end(now);
}

function traceparentOf(of: Context): string {
  const carrier: Record<string, string> = {};
  propagation.inject(of, carrier);
  return carrier.traceparent ?? '';
}
