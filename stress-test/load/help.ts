/** The text of `bun run load --help`. */
import { PREPARE_S } from './rows.ts';

export const HELP = `Puts load on a deployment of the API and measures throughput, latency and outcomes.

  bun run load [http://host:port] [options]        (http://127.0.0.1:8000)

The load
  --clients N       closed loop: N clients, each sends its next call after an answer (64)
  --rate R          open loop: R calls a second, even if earlier ones have no answer yet; latency
                    counts from the intended start, so it includes waiting for a connection
  --arrivals A      open loop: fixed intervals, or poisson (fixed)
  --connections N   open loop: the most connections (1024)
  --seconds N       measured time (10)             --warmup N   before it, not counted (2)
  --timeout N       seconds that a call may take after it was sent (15)
  --seed N          seed of all random choices (random)

The calls: --workload W (distinct)
  distinct    checkouts of orders that rarely or never share an item: see --prepare
  zipf        checkouts; each order has --lines items drawn by Zipf's law with --theta (0.99)
  hot         checkouts of orders that all want the same item
  repeats     checkouts of a few orders, again and again: only the first of each has an effect
  course      the course's load: checkouts of random orders among N, so repeats become frequent
  scenarios   the course's older load, each session from scratch: 5 % create an item; 30 % buy one;
              25 % buy two; 20 % remove an item, add it again and buy it; 10 % lack stock;
              10 % lack credit
  purchase    the whole purchase of two random items in one call, POST /v1/orders
  purchase_by_path   the same as four calls, one after the other: create, addItem, addItem,
              checkout; counted once, with the time from the first call to the last answer
  reads       GET of orders, items and users, a third each
  find, add_funds, add_item, create      one kind of call: /orders/find, /payment/add_funds,
              /orders/addItem, /orders/create
distinct, zipf and hot check out each order once, and stop when there are no more.

The rows
  --prepare calls   (default) creates its own users, items and orders by single calls, with ids from
                    the deployment. Existing rows are not touched. Without --orders and --rate,
                    orders are created for ${PREPARE_S} s. Concurrent checkouts of distinct share no
                    item and no user.
  --prepare batch   uses POST …/batch_init, if enabled: fast, many rows. It OVERWRITES users, items
                    and orders "0" … "n-1" of that deployment. Each order belongs to a random user
                    and has two random items. For distinct that is 100000 users and 200000 items, so
                    with 64 clients a call shares an item with a concurrent one with a probability
                    of 0.13 %, a user with 0.06 %. Orders for zipf, and for distinct with --lines
                    other than 2, are created by calls.
  --prepared F..T   orders "F" … "T-1" exist, unpaid; nothing is prepared. reads, purchase,
                    add_item, add_funds and create need --users N and --items N: ids "0" … "N-1" exist.
  --orders N        orders to prepare (batch: 100000; zipf 20000, repeats 1000, single calls 10000;
                    calls: course 10000, repeats 100, others 1000; open loop: as many as needed)
  --users N  --items N  --lines N (2)  --theta T (0.99)

Output
  --json            the result as one JSON object (stress-test/load/result.ts) on standard output
  --html FILE       a report with charts
  --key KEY         an API key or a token, where AUTH=on; better in the variable KASSA_KEY, which other
                    users of the machine do not see, or in the file KASSA_KEY_FILE. It needs the
                    scopes to read and write orders, wallets and stock; with
                    --prepare batch, the scope admin
  --insecure        accept any certificate (https)
  --self-test       measure the generator itself, against an empty handler
  --help            this text

Ctrl-C ends the load early and prints the results so far.
Exit code 0: measured; 1: a 5xx or a call without an answer; 2: it could not begin.`;
