/** Mutants of the HTTP edge. */
import { killedBy } from '../mutant.ts';

export const edgeMutants = [
  ...killedBy(['edge'], {
    'two keys count as one': "message.ts: [-  'idempotency-key',\n-]",
    'an incomplete request delays a stop':
      'connection.ts: [-Math.min(this.#until, performance.now() + STOP_MS)-]{+this.#until+}',
  }),
  ...killedBy(['call-limits'], {
    'callers without limits of their own have none':
      'limits.ts: const { per_s, in_flight[- = this.#in_flight-] } = own;',
    'a caller saves up calls without end':
      'limits.ts: [-Math.max(now, caller.spread_until)-]{+caller.spread_until+} + ms_each;',
    'a caller may be ahead by a call more': 'limits.ts: (burstOf(per_s)[- - 1-]) * ms_each',
    'a call that was answered stays in flight': 'limits.ts: [-  release();\n-]  return response;',
    'an open stream is not in flight':
      'limits.ts: if ([-streams && response.body-]{+false+}) return new Response(',
    'a stream whose reader has left stays in flight':
      'limits.ts: cancel(reason) {\n[-        ended();\n-]',
    'callers are remembered for ever':
      'limits.ts: [-    if (now >= this.#forget_at) this.#forgetIdle(now);\n-]',
    'a caller with a call in flight is forgotten':
      'limits.ts: if ([-in_flight === 0 && -]spread_until <= now)',
    'a call that is released twice counts twice':
      'limits.ts: if ([-held-]{+true+}) caller.in_flight--;',
    'Retry-After is always a second':
      'server.ts: problem(code, shown, exchange.request_id, failure.facts[-, headers-])',
  }),
  ...killedBy(['idempotency'], {
    'two keys that a platform joins count as one':
      'platform.ts: ' +
      "[-if (headers.get('idempotency-key')?.includes(SEPARATOR)) throw malformed(TWO_KEYS);-]",
  }),
  ...killedBy(['client-failures'], {
    'the client takes a refusal without a key for a recorded one':
      'client.ts: ([-key !== undefined-]{+true+} && decided)',
  }),
  ...killedBy(['client-ends'], {
    'the client takes a foreign page for a refusal':
      "client.ts: [-code !== 'not_kassa'-]{+true+} &&",
    'the client says that a call ended in doubt changed nothing':
      'client.ts: changed_nothing &&= [-isCertain(answer)-]{+true+};',
  }),
  ...killedBy(['bodies'], {
    'a body is ignored': 'route.ts: if ([-!body-]{+false+}) assertNoBody(c.env);',
    'a body is refused after the call':
      "route.ts: {+if (!body) void answer(c, parse(params, c, is_v1) as Parsed<C['params']>, undefined as Input<C>);\n" +
      '    +}if (!body) assertNoBody(c.env);',
    'an object with content counts as no body': 'bodies.ts: /^\\{[-\\s-]{+.+}*\\}$/',
  }),
  ...killedBy(['bad-input'], {
    'a call of /v1 ignores a query that it does not take':
      'route.ts: [-if (is_v1 && !query) assertNoQuery(c.req.raw.url);-]',
    'a wrong call of a bulk is made with the others':
      'calls.ts: [-if (errors.length > 0) throw invalidBody(errors);-]',
  }),
  ...killedBy(['long-reads'], {
    'statements take every connection for reads':
      'reads.ts: Math.max(1, [-Math.floor(limits.read_pool_size / 2)-]{+limits.read_pool_size+})',
    'a read waits behind a statement': 'pool.ts: [-this.#long * LONG_LOAD + -](this.alive',
    'the statements of one item take every turn':
      'turns.ts: return await [-its.inTurn({ principal: undefined, deadline_at }, read)-]{+read()+};',
    'a statement waits for its turn without end':
      'turns.ts: clock.after([-wait_ms-]{+wait_ms + 60_000+}, tooLate)',
  }),
  ...killedBy(['foreign-pages'], {
    'a page of another site may call although Sec-Fetch-Site names it':
      "admission.ts: [-if (site !== null) return site !== 'same-origin' && site !== 'none';-]",
    'a page of another site may call although Origin names it':
      'admission.ts: ' +
      "[-origin !== null && origin.toLowerCase().replace(/^https?:\\/\\//, '') !== own-]" +
      '{+false+};',
    'a page of another site may DELETE':
      "admission.ts: method !== 'GET' &&{+ method !== 'DELETE' &&+}",
    'a host may contain an allowed name': 'admission.ts: name[- === ours-]{+.includes(ours)+}',
  }),
  ...killedBy(['cors'], {
    'a page of an origin that is not listed may read answers':
      'cors.ts: return origin !== null[- && listed.has(origin)-] ?',
    'a page of an origin that is not listed may call':
      'cors.ts: isOfV1(request.url)[- && originOf(request) !== undefined-],',
    'a page of a listed origin may call every path':
      'cors.ts: admits: (request) => [-isOfV1(request.url) && -]',
    'a page may be told that it may call a path that it may not':
      "cors.ts: method === 'OPTIONS' &&\n  [-isShared(url) &&\n  -]Boolean(",
    'a page of an origin that is not listed is told that it may call':
      'cors.ts: if (!isPreflight(request)[- || originOf(request) === undefined-]) return undefined;',
    'a path that begins like /v1 is one of it': "cors.ts: startsWith('/v1[-/-]', pathIn(url))",
  }),
  ...killedBy(['dev'], {
    'dev answers to any name': "dev.ts: ALLOWED_HOSTS: '[-.localhost-]{+*+}'",
  }),
  ...killedBy(['wire'], {
    'bytes behind a request are read while it is being answered':
      "connection.ts: [-if (this.#state !== 'reading') return;-]",
    'a chunked body has no limit':
      'chunked-body.ts: [-if (this.#length > this.max_bytes) throw tooLarge(this.max_bytes);-]',
    'a request has two lengths':
      'message.ts: ' +
      "[-if (length !== null) throw malformed('Content-Length beside Transfer-Encoding');-]",
    'two headers that contradict each other are accepted':
      'message.ts: [-before !== undefined && SINGLE.has(name)-]{+false+}',
    'a malformed host is accepted': 'message.ts: [-if (host !== null) checkPlainHost(host);-]',
    "on a platform's server the host is part of the path":
      'platform.ts: [-if (host !== null) checkPlainHost(host);-]',
    "on a platform's server a body has no limit":
      'platform.ts: if ([-after > max_bytes-]{+false+}) throw tooLarge(max_bytes);',
  }),
  ...killedBy(['large-bodies'], {
    'any path takes a large body':
      "message.ts: [-LARGER.get(target.split('?', 1)[0] ?? '') ?? BODY_MAX_BYTES-]{+1024 * 1024+};",
    'large bodies have no bound together':
      'large-bodies.ts: if ([-bytes > free-]{+false+}) throw full(',
    'the room of a large body is never given back':
      'large-bodies.ts: [-this.#count(-this.#bytes);-]',
  }),
  ...killedBy(['bulk-requests'], {
    'every wrong field of a bulk is described':
      'bulk/calls.ts: [-if (errors.length >= FOUND_MAX) break;-] // the others',
  }),
  ...killedBy(['connection', 'wire'], {
    'a call takes effect before its body is whole':
      'request-reader.ts: [-if (this.#received.bytes.length < length) return undefined;-]',
    'a chunked body ends before its last line':
      "chunked-body.ts: 'trailer' : 'data';\n    return [-false-]{+this.#missing === 0+};",
    'a chunk may be longer than its size':
      "chunked-body.ts: [-if (line !== '') throw malformed('a chunk is longer than its size');-]",
    'lines may end with LF': String.raw`message.ts: +):([\t{+\n+} -~\x80`,
  }),
  ...killedBy(['connection'], {
    'a client that does not read its answer delays a stop':
      'connection.ts: if ([-this.#unsent.length > 0 || -](this.#state',
    'a client that does not read an answer sent during a stop delays it':
      'connection.ts: [-if (this.#stopping) this.#hurry();\n    else -]this.#until',
    'requests behind each other on a connection take no turns':
      'connection.ts: if (!this.#idle) return [-this.#serveInTurn()-]{+this.#serve()+};',
    'the end of a client overtakes its request':
      "connection.ts: if ([-may_be_whole && this.#state === 'reading'-]{+false+}) return;",
    'connections have no limit':
      'listen.ts: [-if (connections.size >= connections_max) return socket.terminate();-]',
    'a slow request has no time limit':
      'connection.ts: if (this.#idle) this.#until = performance.now() + [-RECEIVE_MS-]{+IDLE_MS+};',
  }),
  ...killedBy(['memory'], {
    'a service keeps the requests that it answered':
      'server.ts: in_flight++;' +
      '{+ ((globalThis as { kept?: unknown[] }).kept ??= []).push(request);+}',
  }),
];
