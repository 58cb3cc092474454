/** Mutants of the rules of orders, payment and stock. */
import { killedBy } from '../mutant.ts';

export const rulesMutants = [
  ...killedBy(['decisions', 'checkout'], {
    'checkout charges a paid order again':
      'order/commands.ts: return [-order.paid ? accept(show(order)) : -]payFor(rows, order, show);',
    'checkout accepts an empty order': 'order/commands.ts: if ([-lines.length === 0-]{+false+})',
    'checkout sells one more than there is': 'order/commands.ts: if (available {++ 1 +}< quantity',
    'checkout charges beyond the credit': 'order/commands.ts: if (credit < [-0-]{+-50+})',
    'checkout charges nothing': 'order/commands.ts: users: [[-{ ...user, credit }-]],',
    'checkout takes no stock': 'order/commands.ts: users: [{ ...user, credit }], items{+: []+} };',
    'checkout does not mark the order':
      'order/commands.ts: const paid = [-{ ...order, paid: true, payment: null, paid_at: now_us, paid_by, held_until: null }-]{+order+};',
    'checkout forgets a standing payment': 'order/commands.ts: [- + (payment ?? 0)-]',
    'checkout uses a payment without a movement':
      'order/commands.ts: credit_movements: [[-taken_in-]]',
    'checkout decides on rows that are not locked':
      'order/commands.ts: if ([-!rows.hasLocked({ users: users ?? [], items: item_ids ?? [] })-]{+false+})',
    'addItem changes a paid order':
      "order/unhold.ts: [-if (order.paid) return { decision: refuse('already_paid', `order ${id} is paid`) };-]",
    'addItem passes the limit':
      'order/commands.ts: if ([-passesLimit(line.quantity) || passesLimit(total_cost)-]{+false+})',
    'remove loses a standing payment':
      'order/commands.ts: if ([-order.payment !== null-]{+false+}) {',
    'pay overdraws': 'payment/commands.ts: if (credit < [-0-]{+-5+})',
    'add_funds without a movement':
      'payment/commands.ts: ' +
      "[-credit_movements: [{ user_id, amount, reason: 'add_funds', order_id: null }],-]",
    'an order is paid twice': 'payment/commands.ts: if (order.payment [-!== null-]{+=== -1+}) {',
    'cancel of an unpaid order gives money':
      'payment/commands.ts: if (paid === null) return ' +
      "[-refuse('not_paid', `nothing was paid for order ${order_id}`)-]" +
      '{+accept({}, { users: [{ ...user, credit: user.credit + 1 }] })+};',
    'cancel gives money but not stock':
      'payment/commands.ts: items{+: never[]+} = [-order.paid ? restock(rows, order) : -][];',
    'cancel leaves the order paid':
      'payment/commands.ts: orders: [[-{ ...order, paid: false, payment: null, paid_at: null, paid_by: null }-]]',
    'cancel for another user':
      'payment/commands.ts: if ([-order?.user_id !== user_id-]{+!order+}) {',
    'cancel ignores the amount':
      'payment/commands.ts: if ([-amount !== undefined && amount !== paid-]{+false+})',
    'subtract goes below zero': 'stock/commands.ts: stock < [-heldOf(item, rows.now_us)-]{+-5+})',
    'a purchase in one call pays nothing':
      'order/v1/commands.ts: if (checkout) decision = [-payFor(rows, order, show)-]{+accept(show(order), { orders: [{ ...order, paid: true }] })+};',
    'a new order holds nothing':
      'order/v1/commands.ts: decision = [-holdLines(rows, order, hold_s, show)-]{+accept(show(order), { orders: [order] })+};',
    'a purchase in one call passes the limit':
      'order/v1/commands.ts: if ([-passesLimit(total_cost)-]{+false+})',
    'amounts pass the limit': 'command.ts: amount > {+2 * +}AMOUNT_MAX',
  }),
  ...killedBy(['decisions', 'holds'], {
    'what is held is sold to others': 'holds.ts: item.stock[- - heldOf(item, now_us)-];',
    'what is held is subtracted from the stock':
      'stock/commands.ts: stock < [-heldOf(item, rows.now_us)-]{+0+})',
    'a hold expires a second late': 'holds.ts: until_s * 1e6 <= now_us{+ - 1e6+};',
    'a hold expires a second early': 'holds.ts: until_s * 1e6 <= now_us{+ + 1e6+};',
    'the lines of a held order change':
      'order/unhold.ts: if ([-isHeld(order, rows.now_us)-]{+false+}) {',
    'a removed order leaves its hold':
      'order/commands.ts: users: user ? [{ ...user }] : [],\n      [-items: free.items,-]',
    'a checkout leaves its hold':
      'order/unhold.ts: if (!item || [-held_until === null-]{+true+}) return item;',
    'a prolonged hold counts twice':
      'order/v1/holds.ts: const item = [-unheldItem(rows, order, item_id, quantity)-]{+rows.item(item_id)+};',
    'a released order leaves its hold':
      'order/v1/holds.ts: orders: [free.order],\n      items: [-free.items-]{+[]+},',
  }),
  ...killedBy(['order', 'v1', 'refunds', 'batch-init'], {
    'a change of a price is not written': 'row-changes.ts: { id: true, [-price: true, -]holds',
    'a change of a total is not written': 'row-changes.ts: [-total_cost: true,-]',
    'what was refunded is not written': 'row-changes.ts: [-refunded: true,-]',
    'a replaced order keeps its time': 'row-changes.ts: [-created_at: true,-]',
  }),
  ...killedBy(['holds'], {
    'a checkout leaves the time of its hold as it was': 'row-changes.ts: [-held_until: true,-]',
    'a hold is not written': 'row-changes.ts: price: true[-, holds: true-] };',
    'an order holds before the contraction': 'order/v1/holds.ts: [-assertFenced(rows);-]',
    'a clock that goes back revives a hold':
      'engine/locked-rows.ts: if ([-changed_at !== null && changed_at >= this.now_us-]{+false+})',
  }),
  ...killedBy(['simulation'], {
    'an expired hold stays in the items of a changed order':
      'order/unhold.ts: if (order.held_until === null[--]{+ || !isHeld(order, rows.now_us)+}) return { order, items: [] };',
  }),
  ...killedBy(['order', 'decisions', 'checkout'], {
    'addItem takes the new price for an old line':
      'order/commands.ts: unit_price: [-old?.unit_price ?? -]item.price',
  }),
  ...killedBy(['v1'], {
    'a purchase under a taken id replaces the order':
      'order/v1/commands.ts: if (chosen && [-rows.isTaken(id)-]{+false+})',
    'a new price is that of old lines': 'order/v1/commands.ts: [-old.get(item_id) ?? -]item.price;',
    'a user is created in the place of another':
      'payment/v1/commands.ts: if (chosen && [-rows.user(id)-]{+false+})',
    'a user opens with credit without a movement':
      'payment/v1/commands.ts: credit_movements: [-credit > 0 ? [opening] : -][],',
    'a withdrawal overdraws': 'payment/v1/commands.ts: if (credit < [-0-]{+-5+})',
    'an item is created in the place of another':
      'stock/v1/commands.ts: if (chosen && [-rows.item(item_id)-]{+false+})',
    'an item opens with stock without a movement':
      'stock/v1/commands.ts: stock_movements: [-stock > 0 ? [opening] : -][],',
    'a stock changes from another than expected':
      'stock/v1/commands.ts: expected_stock !== undefined && [-expected_stock !== item.stock-]{+false+}',
    'a stock falls below zero':
      'stock/v1/commands.ts: stock < [-heldOf(item, rows.now_us)-]{+-5+})',
    'an item stands in two lines': 'v1/order.ts: if ([-seen.has(item_id)-]{+false+})',
  }),
  ...killedBy(['bulk', 'decisions'], {
    'a bulk of all changes something although a call is refused':
      'together.ts: return { outcome: { ...outcome, index }{+, changes: rows.changes() ?? {}+} };',
    'a call of a bulk of all does not see the users of those before it':
      'together.ts: [-this.#users.get(id) ?? -]this.locked.user(id);',
    'a call of a bulk of all sees an order that was removed before it':
      'together.ts: [-for (const id of changes.removed_orders ?? []) this.#orders.set(id, undefined);-]',
    'the calls of a bulk of all share one moment':
      'together.ts: [-this.now_us = stamped.next_us;-]',
    'a decision after a bulk of all has a moment of that':
      'stamp.ts: [-Math.max(last_us, changes.last_us ?? 0)-]{+last_us+} + 2;',
    'the answers of a bulk are in another order':
      'answers.ts: results[-.join-]{+.toReversed().join+}',
    'a bulk that is repeated with its key happens twice':
      'routes.ts: const part = [-operation && partOf(operation, i)-]{+undefined+};',
    'a key of a bulk is for any calls':
      'routes.ts: [-if (operation) await store.write({ ...BEGUN, ...askedBy(c.env) }, operation);-]',
  }),
  ...killedBy(['bulk-requests'], {
    'an order counts once in a bulk of all, however often it is used':
      'together.ts: for (const [index, command] of commands.entries()) {\n      [-rows.beginCommand();-]',
    'a bulk of all has any number of lines':
      'together.ts: return [-this.#lines_in_all > LINES_TOGETHER_MAX-]{+false+};',
    'a bulk takes calls whose body does not fit':
      'calls.ts: if ([-result.success-]{+true+}) body = [-result.data-]{+sent+};',
    'a bulk takes calls with a malformed id':
      'calls.ts: if ([-result.success-]{+true+}) params[name] = [-result.data-]{+segments[i]+};',
  }),
  ...killedBy(['lists'], {
    'a page begins with the last entry of the page before':
      'lists.ts: from users where id [->-]{+>=+} ${id}',
    'a page skips an entry': 'page.ts: positionOf([-last-]{+(found[limit] ?? last) as Row+})',
    'a full page of orders skips those behind it':
      'order-lists.ts: const last = [-is_full ? wanted.at(-1 - left.length) : -]seen.at(-1);',
    'a cursor is good for every list':
      'http/lists.ts: is_position[- && cursorOf(list, position as unknown as P) === after-];',
    'a query may have any parameter':
      'v1/orders.ts: query: z.[-strictObject-]{+object+}({\n      user_id',
    'the metadata of a removed order stay':
      'engine/locked-rows.ts: [-...clearMetadata(target.sql, this.#cleared),-]',
    'a held order counts as held for ever':
      'db/holds.ts: [-isHeld(order, now_us)-]{+order.held_until !== null+} ?',
    'an order that is partly refunded counts as refunded':
      'db/holds.ts: [-refunded === total_cost-]{+true+} ?',
  }),
  ...killedBy(['statements'], {
    'a statement leaves out checkouts of paid orders':
      'statements.ts: where l.user_id = ${user_id} and o.user_id = ${user_id} and {+not +}o.paid',
    'a statement counts baskets as sold':
      'statements.ts: where l.item_id = ${item_id}[- and o.paid-]',
    'a cancelled checkout is shown on two pages':
      'append.ts: [-`${order_id}~${crypto.randomUUID()}`-]{+crypto.randomUUID()+};',
    'changes of one transaction have one time':
      'stamp.ts: at: one.at === undefined ? [-++-]last_us : one.at,',
    'a cancelled checkout stands at the time of its cancel':
      "payment/commands.ts: { user_id, amount: -total_cost, reason: 'checkout', order_id[-, at-], principal },",
  }),
  ...killedBy(['lists-upgrade'], {
    'a list has an order twice that was removed and made again':
      'order-lists.ts: (one) => [-one.is_there && -](matches',
    'a list by user is read before it has every order':
      "reads/lists.ts: [-if (!is_filled) throw new Failure('not_ready', NOT_FILLED);-]",
  }),
  ...killedBy(['etag'], {
    'a tag of something else is taken for that of the answer':
      'etag.ts: some((one) => [-one === tag-]{+one !== tag+})',
    'an answer of 304 has a length': 'response-text.ts: [-status === 304 || -]headers',
  }),
  ...killedBy(['refunds'], {
    'more of a line is refunded than was bought':
      'refunds.ts: return wanted > {+2 * +}refundable ? [{ item_id, wanted',
    'a page of refunds has any length':
      'reads/refunds.ts: where bytes_before < [-${PAGE_MAX_BYTES}-]{+${2 ** 50}+}::int8',
    'a line is refunded twice':
      'refunds.ts: return line ? line.quantity[- - (line.refunded ?? 0)-] : 0;',
    'a refund takes the lines that were refunded before':
      'refunds.ts: ({ item_id, quantity: quantity[- - (refunded ?? 0)-] })',
    'a refund gives no money': 'refunds.ts: users: [[-{ ...user, credit }-]],',
    'a refund gives money without a movement':
      'refunds.ts: credit_movements: [-amount > 0 ? [{ ...movement, user_id, amount }] : -][],',
    'a refund returns stock that it should not':
      'refunds.ts: const back = [-restock ? restocked(rows, lines) : { items: [] }-]{+restocked(rows, lines)+};',
    'a refund returns no stock': 'refunds.ts: items: [-back.items-]{+[]+},',
    'a refund is not noted in its order': 'refunds.ts: orders: [[-refunded-]{+order+}],',
    'a refund leaves no record':
      "refunds.ts: order_events: [[-{ order_id, type: 'refunded', data: record, at: rows.now_us }-]],",
    'an open order is refunded': 'refunds.ts: if ([-!order.paid-]{+false+})',
    'a refund decides on rows that are not locked':
      'refunds.ts: return [-rows.hasLocked(keys) ? -]giveBack(rows, order, { ...asked, lines })[- : { lock: keys }-];',
    'a refund passes the largest credit': 'refunds.ts: if ([-passesLimit(credit)-]{+false+})',
    'a refund passes the largest stock': 'refunds.ts: if ([-passesLimit(stock)-]{+false+})',
    'a refund beside services from before refunds': 'refunds.ts: [-assertFenced(rows);-]',
    'a refunded order is cancelled': 'payment/commands.ts: if ([-hasRefunds(order)-]{+false+})',
    'a replaced order leaves its refunds to the new one':
      'order/commands.ts: order_events: [-old.filter(hasRefunds).map(replaced)-]{+[]+},',
    'what was refunded of a replaced order is spent':
      'order/commands.ts: amount: [-refunded - total_cost-]{+-total_cost+} }, forgotten',
    'the audit takes refunds for payments':
      "audit.ts: where order_id is not null [-and reason <> 'refund' -]group by order_id) m",
  }),
  ...killedBy(['v1-requests'], {
    'an idempotency key is for any body':
      'submit.ts: if (operation && call.body && [-c.env.body-]{+false+}) {',
    'a key of a body stands twice': 'bodies.ts: if (names [-!==-]{+<+} namesIn(value)) throw',
    'a body may have any number of lists and objects':
      'bodies.ts: [-        values++;\n-]        deepest = Math.max(deepest, ++depth);',
    'a fraction is rounded':
      'bodies.ts: value = [-has_fractions ? JSON.parse(text, wholeOnly) : -]JSON.parse(text);',
    'unknown fields of a body are ignored':
      'v1/users.ts: body: z.[-strictObject-]{+object+}({\n      id:',
  }),
];
