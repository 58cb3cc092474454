/** Mutants of the rules of orders, payment and stock. */
import { killedBy } from '../mutant.ts';

export const rulesMutants = [
  ...killedBy(['decisions', 'checkout'], {
    'checkout charges a paid order again':
      'order/commands.ts: [-if (order.paid) return accept(body);-]',
    'checkout accepts an empty order': 'order/commands.ts: if ([-lines.length === 0-]{+false+})',
    'checkout sells one more than there is': 'order/commands.ts: item.stock {++ 1 +}< quantity',
    'checkout charges beyond the credit': 'order/commands.ts: if (credit < [-0-]{+-50+})',
    'checkout charges nothing': 'order/commands.ts: users: [[-{ ...user, credit }-]],',
    'checkout takes no stock': 'order/commands.ts:     items{+: []+},\n  };',
    'checkout does not mark the order':
      'order/commands.ts: orders: [[-{ ...order, paid: true, payment: null }-]]',
    'checkout forgets a standing payment': 'order/commands.ts: [- + (payment ?? 0)-]',
    'checkout uses a payment without a movement':
      'order/commands.ts: credit_movements: [[-taken_in-]]',
    'checkout decides on rows that are not locked':
      'order/commands.ts: [-if (!rows.hold(keysOf(order))) return { lock: keysOf(order) };-]',
    'addItem changes a paid order':
      'order/commands.ts: no item ${item_id}`);\n    ' +
      "[-if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);\n" +
      '    -]const old',
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
      'payment/commands.ts: orders: [[-{ ...order, paid: false, payment: null }-]]',
    'cancel for another user':
      'payment/commands.ts: if ([-order?.user_id !== user_id-]{+!order+}) {',
    'cancel ignores the amount':
      'payment/commands.ts: if ([-amount !== undefined && amount !== paid-]{+false+})',
    'subtract goes below zero': 'stock/commands.ts: if (stock < [-0-]{+-5+})',
    'amounts pass the limit': 'command.ts: amount > {+2 * +}AMOUNT_MAX',
  }),
  ...killedBy(['order', 'decisions', 'checkout'], {
    'addItem takes the new price for an old line':
      'order/commands.ts: unit_price: [-old?.unit_price ?? -]item.price',
  }),
];
