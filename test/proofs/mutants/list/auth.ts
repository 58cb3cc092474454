/** Mutants of authentication: who calls, and what they may do. */
import { killedBy } from '../mutant.ts';

export const authMutants = [
  ...killedBy(['scopes'], {
    'a call needs no credentials':
      'guard.ts: if ([-wanted === undefined-]{+true+}) return;\n    const',
    'any scope will do': 'guard.ts: if ([-!granted-]{+false+}) throw forbidden(',
    'reading is allowed to whoever writes, and writing to whoever reads':
      "call.ts: return `${RESOURCES[tag]}:${[-writes ? 'write' : 'read'-]{+'read'+}}`;",
    'credentials of one user may be for everything':
      'guard.ts: scopes.has(wanted) && [-!NOT_FOR_USERS.includes(wanted)-]{+true+};',
    'commands are kept to no user': 'owned.ts: only_user: [-principal?.user_id-]{+undefined+},',
    "commands change another user's wallet":
      'owned.ts: command.keys.users?.find((id) => [-id !== own-]{+false+});',
    "another user's wallet can be read":
      'guard.ts: if (user_id !== undefined && [-user_id !== own-]{+false+}) {',
    'lists are those of everybody': 'guard.ts: return { ...query[-, user_id: own-] };',
    'one user lists all users': 'guard.ts: if ([-of_all-]{+false+} && !OF_EVERYBODY',
    'a bulk needs no scopes of its calls':
      'routes.ts: if (c.env.principal[-)-]{+ && !c.env.principal)+} assertScopes(c.env.principal, ready);',
    'the console is open': "login.ts: const asAdmin = only([-'admin'-]{+'metrics:read'+});",
  }),
  ...killedBy(['foreign-orders'], {
    "another user's orders are read, and then not shown":
      'guard.ts: if (order_id !== undefined && [-!(await this.#orders.owns(own, String(order_id), name))-]{+false+}) {',
    'an order that changes hands while it is read is shown':
      'owned.ts: undefined || [-principal.user_id === user_id-]{+true+};',
    'an order that changes hands shows its history and its refunds':
      'orders.ts: only_user === undefined ? sql`` : sql`[-and user_id = ${only_user}-]`;',
  }),
  ...killedBy(['shown-orders'], {
    'an order that is replaced while it is read has the metadata of the other':
      'shown.ts: const is_same = [-told?.user_id === order.user_id &&-]{+told !== undefined ||+}',
  }),
  ...killedBy(['authentication-switch'], {
    'what was done before authentication was switched on is done again':
      'decide.ts: const unowned = [-operation && recorded.findUnowned(operation)-]{+undefined+};',
    'a key of somebody unknown is refused for other calls too':
      'recorded-answers.ts: if (!row [-|| callOf(row.fingerprint) !== callOf(fingerprint)-]) return undefined;',
    'a body that is written in another way is done again':
      'recorded-answers.ts: if (!row || [-callOf(row.fingerprint) !== callOf(fingerprint)-]{+row.fingerprint !== fingerprint+}) return undefined;',
    "an earlier call for another user's order shows":
      'decide.ts: if (unowned[- && seesAll(seen, command)-]) return unowned;',
  }),
  ...killedBy(['tools-with-keys'], {
    'whoever has shown a key without the scope is never asked for another':
      'login.ts: c.req.path === [-OTHER_KEY-]{+"/"+}',
    'a page of the console asks again for a key that lacks the scope':
      "login.ts: const asks = [-code === 'unauthenticated'-]{+true+} ? ASKS",
  }),
  ...killedBy(['observe'], {
    'a caller is refused though nobody is yet':
      'observer.ts: [-void-]{+return+} this.#look(request, wanted)',
    'a caller without the scope counts as valid':
      "observer.ts: if ([-wanted !== 'each'-]{+false+}) assertScope(principal, wanted);",
    'whoever sends no credentials counts as wrong':
      "observer.ts: return [[-is_missing ? 'missing' : 'wrong'-]{+'wrong'+}, detail];",
    'a store that is away looks like a wrong key':
      "observer.ts: return [[-'unknown'-]{+'wrong'+}]; // the store",
    'the logger hides who would be refused':
      "log-rate.ts: const EQUAL = ['route', 'code', 'address'[-, 'why'-]] as const;",
  }),
  ...killedBy(['config'], {
    'tokens are set up, and anybody may call':
      "config.ts: ...([-has_keys && !is_set('AUTH')-]{+false+} ? ['AUTH_JWKS needs AUTH",
    'who may call with tokens is set, and no tokens count':
      'config.ts: const idle = OF_TOKENS.filter((name) => [-!has_keys-]{+false+} && !is_off',
    'every address is that of a gateway':
      'networks.ts: if ([-Number(bits) === 0-]{+false+}) return `: ${one} is every address`;',
    'a network has bits of a host':
      'networks.ts: if ([-first.toString() === network.parse(address).toString()-]{+true+}) return',
  }),
  ...killedBy(['principals'], {
    'a checkout does not say who made it':
      'order/commands.ts: const { now_us, principal: paid_by = null } = [-rows-]{+{ now_us: rows.now_us, principal: undefined }+};',
    'a cancelled checkout is that of whoever cancels it':
      "payment/commands.ts: { user_id, amount: -total_cost, reason: 'checkout', order_id, at[-, principal-] },",
    'a cancelled checkout of nobody is that of whoever cancels it':
      'stamp.ts: ...by, // a movement of an earlier change says whose that was\n    ...one,{+ ...("principal" in one && one.principal === null ? by : {}),+}',
    'a checkout by credentials of one user names nobody':
      'own-rows.ts: return [-rows.principal-]{+undefined+};',
    'in a bulk of all or nothing nobody is named':
      'together.ts: return [-this.locked.principal-]{+undefined+};',
    'the history of an order does not say who did it':
      'stamp.ts: data: { ...event.data[-, ...by-] },',
  }),
  ...killedBy(['simulation'], {
    'a command decides in the name of the one before':
      'decide.ts: [-rows.principal = command.principal;-]{+rows.principal ??= command.principal;+}',
    'a name stays when nobody known pays again':
      'row-changes.ts: [-(before?.paid_by ?? null)-]{+null+} !== (now?.paid_by',
    'an order whose checkout is cancelled names who had made it':
      'payment/commands.ts: paid_at: null[-, paid_by: null-] }',
  }),
  ...killedBy(['foreign-orders'], {
    'foreign orders are locked, and their lines read':
      'sight.ts: if ([-!sight-]{+true+}) return sql``;',
    'lines of foreign orders are read':
      'row-statements.ts: lines_sight: [-sightOf(asked)-]{+undefined+} };',
    'an order without lines has one that is nothing':
      'locked-rows.ts: read.filter((line) => [-line.item_id !== null-]{+true+})',
    'the lines of a taken id are read':
      'row-statements.ts: lined: [-orders-]{+[...orders, ...new_orders]+}, users,',
    'a foreign order shows if somebody else locks it':
      'own-rows.ts: return [-order?.user_id === user_id-]{+true+} ? order : undefined;',
    'a foreign order is waited for':
      'held-rows.ts: const hides = [-this.#gated && entry.command.only_user !== undefined-]{+false+};',
    'a foreign order that another command waits for is waited for':
      'decide.ts: only_user === undefined || [-held.get(`orders/${id}`) === only_user-]{+true+};',
    'the lines of a foreign order fill the batch':
      'locked-rows.ts: if (!order || [-(only_user ?? order.user_id) !== order.user_id-]{+false+}) continue;',
    "a foreign order's keys are locked":
      'prefetch.ts: only_user === undefined || [-users.includes(only_user)-]{+true+};',
    'the wallet of another user is locked':
      'owned.ts: return { keys: [-{}-]{+command.keys+}, decide: () => refuse(',
    'nothing stands behind the rules of one user':
      'decide.ts: if ([-changes && only_user !== undefined-]{+false+}) assertOwn(',
  }),
  ...killedBy(['large-bodies'], {
    'strangers take room for large bodies':
      'request-reader.ts: if ([-this.#senders.identify-]{+false+}) void this.#identify(',
    'one sender takes all the room for large bodies':
      'large-bodies.ts: if ([-before > 0 && before + bytes > free-]{+false+})',
    'a call stays in flight whose body finds no room':
      'large-bodies.ts: catch (error) {[-\n      this.free();-]',
    'a call stays in flight whose client leaves while it is identified':
      'request-reader.ts: if (this.#head !== head) return [-sender?.limited?.release()-]{+undefined+};',
    'a call ends before the answer to its large body':
      'request-reader.ts: await answer(whole.body, whole.room?.[-takeSender-]{+free+}());',
    'whoever does not take its answer keeps the room': 'request-reader.ts: [-whole.room?.free();-]',
    'whoever does not take its answer keeps the body':
      'request-reader.ts: [-whole.body = undefined;-]',
    'a connection keeps the memory of a body that was answered':
      'request-reader.ts: [-if (room) this.#received.renew();-]',
    'whoever hangs up has its room at once, whatever its call does':
      'request-reader.ts: const room = this.#room;[-\n    this.#room = undefined;-]',
  }),
  ...killedBy(['call-turns'], {
    'a call waits behind all calls of another caller':
      'guard.ts: const turn = [-this.#turns.take(principal.name)-]{+undefined as Promise<void> | undefined+};',
    'refusals take no turns': 'guard.ts: if ([-!turn-]{+true+}) throw error;',
    'a large body waits for a turn before it is read':
      "server.ts: await guard.[-identify?.(request, exchange)-]{+admit(request, exchange, 'each')+};",
    'calls begin in the order in which they come':
      'call-turns.ts: push({ principal[-, deadline-]{+: undefined, deadline+}_at',
    'as many calls begin at once as wait': 'call-turns.ts: take([-AT_ONCE-]{+4000+}, ',
    'a caller who is alone takes turns':
      'call-turns.ts: [-    if (!this.taken) return undefined;\n-]',
    'one call of another is remembered for ever': 'call-turns.ts: < [-ALONE_MS-]{+Infinity+};',
    'who calls behind those that wait overtakes them':
      'call-turns.ts: return [-this.#waiting.length > 0 || -]this.#others',
    'requests wait in sockets although callers take turns':
      'server.ts: [-      takesTurns: guard?.takesTurns,\n-]',
    'no more requests are read than calls begin': 'turns.ts: READ_AT_ONCE = [-4-]{+1+} * AT_ONCE;',
    'who comes while others wait begins before them':
      'call-turns.ts: this.#left = AT_ONCE[- - calls.length-];',
    'calls wait until another comes':
      'call-turns.ts: [-      if (calls.length > 0) this.#schedule();\n-]',
  }),
  ...killedBy(['call-limits'], {
    'a large body counts twice': 'guard.ts: exchange.limited [-??=-]{+=+} this.#limits',
    'who was let in by the head needs no credentials any more':
      'guard.ts: const principal = {+exchange.principal ?? +}this.#authenticate(request);\n    return principal',
    'answers of a platform do not tell what is left of the limits':
      'platform.ts: if ([-limited-]{+false+}) {',
    'strangers send large bodies on a platform':
      'platform.ts: new LargeBody(most, [-await identify?.()-]{+undefined+});',
    'pages of other hosts send large bodies':
      'server.ts: [-  admit(request);\n-]  const exchange: Exchange = { request_id',
  }),
  ...killedBy(['peers'], {
    'whoever leaves before the answer has no address':
      'connection.ts: peer: Peer = [-{ remoteAddress: socket.remoteAddress }-]{+socket+},',
    'on a platform no caller has an address':
      'platform.ts: const asked: Incoming = { method, url, headers[-, peer: peerIn(info)-] };',
  }),
  ...killedBy(['authenticate'], {
    'answers do not tell what is left of the limits':
      'response-text.ts: if ([-limited-]{+false+}) text +=',
    'what comes behind a key does not count':
      'authenticate.ts: ([\\w.~+/=-]+) *[-$-]/.exec(header)',
    'the limit of AUTH_IN_FLIGHT is for nobody':
      'open.ts: new ScopeGuard(authenticate, store.read[-, limits-])',
    'the end of a stream waits as a refusal does':
      'guard.ts: await this.#authenticate(request[-, false-]);',
    'a stream outlives its key': "stream.ts: if ([-!(await holds())-]{+false+}) text = '';",
    'a call that waits outlives its key':
      "routes.ts: if ([-!(await holds())-]{+false+}) throw new RequestError('unauthenticated', ENDED);",
    'a key that replaces another is another caller': 'keys.ts: name: `key:${[-name-]{+id+}}`,',
    'the password of the console is for every call':
      'authenticate.ts: if ([-!isOfConsole(url)-]{+false+}) break;',
    'where authentication is off, calls make and revoke keys':
      "routes.ts: if ([-!options.auth-]{+false+}) throw new RequestError('forbidden', NOT_YET);",
    'a caller takes all places of those who listen':
      'events.ts: const most = principal === undefined ? LISTENERS_MAX : LISTENERS_MAX[- - listeners-];',
    'an idempotency key belongs to everybody':
      'submit.ts: const owned = `${[-principal.name-]{+1+}}\\u0002${principal.user_id',
    'whoever calls says where from':
      'client-address.ts: while (address && [-isIn(address, trusted)-]{+true+}) {',
    'the first address counts, which anybody may have sent':
      'client-address.ts: const hop = hops.[-pop-]{+shift+}();',
    'an address may be anything': "networks.ts: isIP(text) > 0 [-&& !text.includes('%') -]? ipaddr",
    'another address of the same IPv6 network is another caller':
      'failures.ts: const seen = seenAt([-subscriberOf(address)-]{+address+});',
    'each failure makes a line':
      'failures.ts: if ([-now() - seen.logged_at < LOG_EVERY_MS-]{+false+}) return;',
    'a reason hides the others of its address':
      'failures.ts: const pair = `${address}[- ${why}-]`;',
    'a flood from many addresses fills the log':
      'failures.ts: if ([-interval.lines >= LINES_MAX-]{+false+}) return;',
    'addresses are remembered for ever':
      'failures.ts: if (map.size [-<-]{+>+} REMEMBERED_MAX) break;',
    'failures are told at once': 'failures.ts: if (!slows || [-delay_ms <= 0-]{+true+} || waiting',
    'nobody is told that everybody may call':
      'service.ts: if ([-config.AUTH === undefined-]{+false+} && !isLoopback',
  }),
];
