/** Mutants of the log: places, events, readers. */
import { killedBy } from '../mutant.ts';

export const logMutants = [
  ...killedBy(['simulation', 'event-log', 'events', 'event-stream'], {
    'the place of an aborted transaction stays empty':
      "stream.ts: if (end [-===-]{+!==+} '[-committed-]{+ambiguous+}') {",
    'a transaction of a lane may be earlier than the one before':
      'stream.ts: [-this.at_us = at_us;-]',
    'a stream has no row': 'batches-table.ts: if ([-!opens-]{+true+}) return [batch];',
    'a part of a stream is read, and later events of others before the rest':
      'log.ts: if ([-stream.is_cut && -]{+stream.is_cut && false && +}heads[first] === stream.own.length)',
    'streams are read one after the other':
      'log.ts: if (at !== undefined && (least === undefined[- || at < least-])) first = i;',
    'orders have no time of their last change':
      'locked-rows.ts: this.#trackDated(rows.orders, keys.orders, [-whole-]{+whole.map((order) => ({ ...order, changed_at: null }))+});',
    'the decisions of a transaction tell nothing':
      'locked-rows.ts: return [-this.#events.length === 0-]{+true+} ? null',
    'a checkout that takes in a payment does not say so':
      'events.ts: [-...(taken_in !== null && { taken_in }), -]lines });',
    'a change of a price is not told':
      'events.ts: else if (was.price !== price[-)-]{+ && false)+} tell(',
    'a listener behind what is in memory is served from memory':
      'follower.ts: if ((positions.get(stream) ?? 0) < position) return [-undefined-]{+[]+};',
    'a cursor ahead of the log waits for ever':
      "portions.ts: [-throw new Failure('cursor_expired', 'this cursor is ahead of the log: start anew');-]",
    'events of a batch that were read before come again':
      'events.ts: if ([-i < first || -]!matches(event)) continue;',
    'the cursor of a filtered read stays where it was': 'events.ts: [-cursor = whole;-]',
    'HEAD waits for the end of a stream':
      "http/server.ts: if (full.headers.get('content-type') [-===-]{+!==+} STREAM_TYPE) {",
    'a caller that hangs up keeps its place':
      'events/routes.ts: c.env.whenGone?.(() => [-gone.abort()-]{+{}+});',
    'a stream whose connection is gone keeps its place':
      'http/connection.ts: this.#stopping[- || this.#ended-]) this.#giveUp();',
    'what comes during a read of the store waits for the next event':
      'follower.ts: [-if (this.#isPast(cursor)) return;-]',
    'a page has no end in bytes':
      'reads/events.ts: taken.length === limit[- || bytes > bytes_max-]',
    'a cursor may be older than the log':
      'log.ts: if (now_s - cursor.given_s > 3600 * kept_h[-)-]{+ && false)+} throw expired();',
    'a tombstone may stand beyond the end':
      'batches-table.ts: where [-${position}::int8 = 1-]{+(true or ${position}::int8 = 1)+} or exists',
    'a gap in the log is not noticed':
      'log.ts: Number(position) !== after + 1 + i[-)-]{+ && false)+}) throw expired()',
    'the last row of a stream is swept':
      'sweep-log.ts: (await nextRows(stream, after, ROWS_MAX + 1)).slice(0[-, -1-]);',
  }),
  ...killedBy(['event-turns'], {
    'any number of reads of the log wait': 'portions.ts: waiting: [-128-]{+Infinity+},',
    'a client that has left keeps its turn':
      "turns.ts: [-      signal?.addEventListener('abort', tooLate);\n-]",
    'a client that left before it would wait gets a turn':
      'turns.ts: if (own >= places[- || signal?.aborted-])',
    'a read of the log has no deadline':
      'reads/events.ts: await read(cursor, { principal, deadline_at[-, signal-]{+: now() + 60_000, signal+} });',
    'the store may take its own time for the log':
      'portions.ts: nextBatches(sql, cursor)[-, { deadline_at }-]);',
    'a call waits in the line of another caller':
      'portions.ts: const own = [-`${caller.principal} ${place}`-]{+place+};',
    'each call that waits at a place takes a turn':
      'portions.ts: const turn = [-asked.get(own) ?? -]takeTurn(',
    'who had to wait for its turn reads what was read meanwhile':
      'portions.ts: () => [-fresh(place) ?? -]begin(place, cursor, caller),',
    'a call that leaves takes the turn of those who share it':
      'portions.ts: if ([---turn.sharers === 0-]{+true+}) turn.left.abort();',
    'a call waits for those who share its turn':
      'portions.ts: await Promise.race([turn.portion[-, gone-]]);',
    'a busy moment ends a call that waits':
      'reads/events.ts: if ([-!waits() && -]!moved) throw once;',
    'a search that was not finished begins anew':
      'reads/events.ts: if (!waits()[- && !moved-]) throw once;',
    'a busy moment ends EventSource':
      'events/stream.ts: [-if (isBusy(error)) return textOf({ events: [], cursor });-]',
    'a busy moment ends the lease of an endpoint':
      'read-log.ts: if ([-!isBusy(error)-]{+true+}) throw error;',
    'a caller that hangs up before its read keeps its place':
      'events/routes.ts: const gone = new AbortController();[-\n    c.env.whenGone?.(() => gone.abort());-]',
    'a stream is read although its client has left':
      'stream.ts: const { signal } = [-gone-]{+new AbortController()+};',
    'a stream that was left before it began keeps its place':
      'stream.ts: [-leave(); // it may have been aborted before it was listened to-]',
    'whoever left early is waited for': 'connection.ts: [-if (this.#ended) call();-]',
    'whoever left a platform early is waited for':
      'platform.ts: if ([-request.signal.aborted-]{+false+}) call();',
  }),
  ...killedBy(['event-log'], {
    'a transaction takes its place before the one before has ended':
      'stream.ts: [-while (this.#ending) await this.#ending.promise;-]',
  }),
  ...killedBy(['transaction'], {
    'a lane keeps a stream that another continues': 'stream.ts: [-this.#contested = contested;-]',
  }),
  ...killedBy(['console-search'], {
    'a later time is searched before its place':
      'transactions.ts: at === undefined || at [-<-]{+>+} one.at',
    'a row that has expired ends the search':
      'transactions.ts: if (at === undefined [-||-]{+&&+} at < one.at) one.low',
    'a transaction before the time is taken for its own':
      'transactions.ts: if ([-at > last_at || -]decided_at === undefined) continue;',
    'an entry names the events of other calls in its transaction':
      'transactions.ts: ({ event }) => event.at === decided_at[-)-]{+ || true)+};',
    'a clock that stepped back hides a transaction': 'transactions.ts: [stream, low + [-1-]{+0+}],',
    'a statement of the console that does not add up is called good':
      'console/statement.ts: return before !== null && balance !== null[- && before + amount !== balance-]{+ && false+};',
    'a page of the console shows what is internal':
      "search-page.ts: code === 'internal' ? [-'the log says more'-]{+String(error)+} : detail;",
  }),
];
