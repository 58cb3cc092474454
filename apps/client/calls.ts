/** Written by `bun run docs` from apps/contract: the calls, without what only types need. */
export const CALLS = {
  users: {
    create: { method: 'POST', path: '/v1/users', writes: true, body: true },
    get: { method: 'GET', path: '/v1/users/{user_id}', writes: false },
    deposit: { method: 'POST', path: '/v1/users/{user_id}/deposits', writes: true, body: true },
    withdraw: { method: 'POST', path: '/v1/users/{user_id}/withdrawals', writes: true, body: true },
  },
  items: {
    create: { method: 'POST', path: '/v1/items', writes: true, body: true },
    get: { method: 'GET', path: '/v1/items/{item_id}', writes: false },
    changePrice: { method: 'PATCH', path: '/v1/items/{item_id}', writes: true, body: true },
    changeStock: { method: 'POST', path: '/v1/items/{item_id}/stock', writes: true, body: true },
  },
  orders: {
    create: { method: 'POST', path: '/v1/orders', writes: true, body: true },
    get: { method: 'GET', path: '/v1/orders/{order_id}', writes: false },
    setLines: { method: 'PUT', path: '/v1/orders/{order_id}/lines', writes: true, body: true },
    hold: { method: 'POST', path: '/v1/orders/{order_id}/hold', writes: true, body: true },
    release: { method: 'POST', path: '/v1/orders/{order_id}/release', writes: true },
    checkout: { method: 'POST', path: '/v1/orders/{order_id}/checkout', writes: true },
    remove: { method: 'DELETE', path: '/v1/orders/{order_id}', writes: true },
  },
  bulk: {
    run: { method: 'POST', path: '/v1/bulk', writes: true, body: true },
  },
  path_orders: {
    createOrder: { method: 'POST', path: '/orders/create/{user_id}', writes: true },
    findOrder: { method: 'GET', path: '/orders/find/{order_id}', writes: false },
    addItem: {
      method: 'POST',
      path: '/orders/addItem/{order_id}/{item_id}/{quantity}',
      writes: true,
    },
    addOneItem: { method: 'POST', path: '/orders/addItem/{order_id}/{item_id}', writes: true },
    removeItem: { method: 'DELETE', path: '/orders/removeItem/{order_id}/{item_id}', writes: true },
    removeOrder: { method: 'DELETE', path: '/orders/remove/{order_id}', writes: true },
    checkout: { method: 'POST', path: '/orders/checkout/{order_id}', writes: true },
    initOrders: {
      method: 'POST',
      path: '/orders/batch_init/{n}/{n_items}/{n_users}/{item_price}',
      writes: true,
    },
  },
  path_payment: {
    createUser: { method: 'POST', path: '/payment/create_user', writes: true },
    findUser: { method: 'GET', path: '/payment/find_user/{user_id}', writes: false },
    addFunds: { method: 'POST', path: '/payment/add_funds/{user_id}/{amount}', writes: true },
    pay: { method: 'POST', path: '/payment/pay/{user_id}/{amount}', writes: true },
    payOrder: { method: 'POST', path: '/payment/pay/{user_id}/{order_id}/{amount}', writes: true },
    cancelPayment: { method: 'POST', path: '/payment/cancel/{user_id}/{order_id}', writes: true },
    cancelAmount: {
      method: 'POST',
      path: '/payment/cancel/{user_id}/{order_id}/{amount}',
      writes: true,
    },
    status: { method: 'GET', path: '/payment/status/{user_id}/{order_id}', writes: false },
    recordedStatus: { method: 'POST', path: '/payment/status/{user_id}/{order_id}', writes: true },
    initUsers: { method: 'POST', path: '/payment/batch_init/{n}/{starting_money}', writes: true },
  },
  path_stock: {
    createItem: { method: 'POST', path: '/stock/item/create/{price}', writes: true },
    findItem: { method: 'GET', path: '/stock/find/{item_id}', writes: false },
    addStock: { method: 'POST', path: '/stock/add/{item_id}/{amount}', writes: true },
    subtractStock: { method: 'POST', path: '/stock/subtract/{item_id}/{amount}', writes: true },
    initItems: {
      method: 'POST',
      path: '/stock/batch_init/{n}/{starting_stock}/{item_price}',
      writes: true,
    },
  },
  health: {
    live: { method: 'GET', path: '/health/live', writes: false },
    ready: { method: 'GET', path: '/health/ready', writes: false },
  },
} as const;
