/** Mutants of the rules of orders, payment and stock. */
import { type Mutant, mutant } from '../mutant.ts';

const rules = ['decisions', 'checkout'];
const order = 'order/commands.ts';
const payment = 'payment/commands.ts';
const stock = 'stock/commands.ts';

export const rulesMutants: readonly Mutant[] = [
  mutant(
    'checkout charges a paid order again',
    order,
    'if (order.paid) return accept(body);',
    '',
    rules,
  ),
  mutant('checkout accepts an empty order', order, 'if (lines.length === 0)', 'if (false)', rules),
  mutant(
    'checkout sells one more than there is',
    order,
    'item.stock < quantity',
    'item.stock + 1 < quantity',
    rules,
  ),
  mutant(
    'checkout charges beyond the credit',
    order,
    'if (credit < 0)',
    'if (credit < -50)',
    rules,
  ),
  mutant('checkout charges nothing', order, 'users: [{ ...user, credit }],', 'users: [],', rules),
  mutant('checkout takes no stock', order, '    items,\n  };', '    items: [],\n  };', rules),
  mutant(
    'checkout does not mark the order',
    order,
    'orders: [{ ...order, paid: true, payment: null }]',
    'orders: []',
    rules,
  ),
  mutant('checkout forgets a standing payment', order, ' + (payment ?? 0)', '', rules),
  mutant(
    'checkout uses a payment without a movement',
    order,
    'credit_movements: [taken_in]',
    'credit_movements: []',
    rules,
  ),
  mutant(
    'checkout decides on rows that are not locked',
    order,
    'if (!rows.hold(keysOf(order))) return { lock: keysOf(order) };',
    '',
    rules,
  ),
  mutant(
    'addItem takes the new price for an old line',
    order,
    'unit_price: old?.unit_price ?? item.price',
    'unit_price: item.price',
    ['order', ...rules],
  ),
  mutant(
    'addItem changes a paid order',
    order,
    "if (order.paid) return refuse('already_paid', `order ${order_id} is paid`);\n    const old = order.lines.find((line) => line.item_id === item_id);\n    const line",
    'const old = order.lines.find((line) => line.item_id === item_id);\n    const line',
    rules,
  ),
  mutant(
    'addItem passes the limit',
    order,
    'if (passesLimit(line.quantity) || passesLimit(total_cost))',
    'if (false)',
    rules,
  ),
  mutant(
    'remove loses a standing payment',
    order,
    'if (order.payment !== null) {',
    'if (false) {',
    rules,
  ),
  mutant('pay overdraws', payment, 'if (credit < 0)', 'if (credit < -5)', rules),
  mutant(
    'add_funds without a movement',
    payment,
    "credit_movements: [{ user_id, amount, reason: 'add_funds', order_id: null }],",
    '',
    rules,
  ),
  mutant(
    'an order is paid twice',
    payment,
    'if (order.payment !== null) {',
    'if (order.payment === -1) {',
    rules,
  ),
  mutant(
    'cancel of an unpaid order gives money',
    payment,
    "if (paid === null) return refuse('not_paid', `nothing was paid for order ${order_id}`);",
    'if (paid === null) return accept({}, { users: [{ ...user, credit: user.credit + 1 }] });',
    rules,
  ),
  mutant(
    'cancel gives money but not stock',
    payment,
    'const items = order.paid ? restock(rows, order) : [];',
    'const items: never[] = [];',
    rules,
  ),
  mutant(
    'cancel leaves the order paid',
    payment,
    'orders: [{ ...order, paid: false, payment: null }]',
    'orders: []',
    rules,
  ),
  mutant(
    'cancel for another user',
    payment,
    'if (order?.user_id !== user_id) {',
    'if (!order) {',
    rules,
  ),
  mutant(
    'cancel ignores the amount',
    payment,
    'if (amount !== undefined && amount !== paid)',
    'if (false)',
    rules,
  ),
  mutant('subtract goes below zero', stock, 'if (stock < 0)', 'if (stock < -5)', rules),
  mutant(
    'amounts pass the limit',
    'command.ts',
    'amount > AMOUNT_MAX',
    'amount > 2 * AMOUNT_MAX',
    rules,
  ),
];
