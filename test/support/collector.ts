/** A collector of traces: takes OTLP as protobuf over HTTP, and keeps the spans. */

export interface Span {
  trace_id: string;
  id: string;
  parent_id: string;
  name: string;
  attributes: Record<string, string | number>;
  /** Ids of the spans that it is linked to. */
  links: string[];
  /** 2: it failed. */
  status: number;
}

export function openCollector() {
  const spans: Span[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      if (new URL(request.url).pathname !== '/v1/traces')
        return new Response(null, { status: 404 });
      spans.push(...spansIn(new Uint8Array(await request.arrayBuffer())));
      return new Response(new Uint8Array(), {
        headers: { 'content-type': 'application/x-protobuf' },
      });
    },
  });
  return {
    spans,
    url: `http://127.0.0.1:${server.port}`,
    close: () => server.stop(true),
    /** The spans of a trace, by name. */
    of: (trace_id: string, name: string) =>
      spans.filter((span) => span.trace_id === trace_id && span.name === name),
  };
}

/** https://github.com/open-telemetry/opentelemetry-proto: the numbers are those of the fields. */
const spansIn = (bytes: Uint8Array): Span[] =>
  all(bytes, 1)
    .flatMap((resource_spans) => all(resource_spans, 2))
    .flatMap((scope_spans) => all(scope_spans, 2))
    .map((span) => ({
      trace_id: hex(one(span, 1)),
      id: hex(one(span, 2)),
      parent_id: hex(one(span, 4)),
      name: text(one(span, 5)),
      attributes: Object.fromEntries(all(span, 9).map(attribute)),
      links: all(span, 13).map((link) => hex(one(link, 2))),
      status: number(one(span, 15), 3) ?? 0,
    }));

function attribute(pair: Uint8Array): [string, string | number] {
  const value = one(pair, 2);
  return [text(one(pair, 1)), number(value, 3) ?? text(one(value, 1))];
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const one = (message: Uint8Array, field: number): Uint8Array =>
  all(message, field)[0] ?? new Uint8Array();
const all = (message: Uint8Array, field: number): Uint8Array[] =>
  fieldsOf(message).flatMap(({ number, bytes }) => (number === field && bytes ? [bytes] : []));
const number = (message: Uint8Array, field: number): number | undefined =>
  fieldsOf(message).find((one) => one.number === field)?.value;

/** https://protobuf.dev/programming-guides/encoding */
function fieldsOf(message: Uint8Array) {
  const found: { number: number; bytes?: Uint8Array; value?: number }[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) found.push({ number, value: varint() });
    else if (wire === 2) {
      const length = varint();
      found.push({ number, bytes: message.slice(at, at + length) });
      at += length;
    } else at += wire === 1 ? 8 : 4;
  }
  return found;
}
