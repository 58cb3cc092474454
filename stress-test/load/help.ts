/** What `bun run load --help` prints. */
import { PREPARE_S } from './rows.ts';

export const HELP = `Puts load on a deployment of the API and measures throughput, latency and outcomes.

  bun run load [http://host:port] [options]        (http://127.0.0.1:8000)

The load
  --clients N       closed loop: N clients, each calls again when it was answered (64)
  --rate R          open loop: R calls a second, whether or not earlier ones were answered; latency
                    counts from when a call should have started, so waiting for a connection counts
  --arrivals A      of the open loop: fixed intervals, or poisson (fixed)
  --connections N   of the open loop, at most (1024)
  --seconds N       how long is measured (10)      --warmup N   before that, not counted (2)
  --timeout N       seconds a call may take once it is sent (15)
  --seed N          of all that is drawn at random (random)

What it calls: --workload W (distinct)
  distinct    checkouts of orders that hardly or never share an item: see --prepare
  zipf        checkouts; each order has --lines items drawn by Zipf's law with --theta (0.99)
  hot         checkouts of orders that all want one item
  repeats     a few orders checked out again and again: all but the first time changes nothing
  course      the course's load: any of N orders at random, so repeats grow
  scenarios   the course's older load, each story from nothing: 5 % create an item; 30 % buy one;
              25 % buy two; 20 % take an item out, put it back and buy it; 10 % lack stock;
              10 % lack credit
  reads       GET of orders, items and users, a third each
  find, add_funds, add_item, create      one kind of call: /orders/find, /payment/add_funds,
              /orders/addItem, /orders/create
distinct, zipf and hot check each order out once, and stop when there are none left.

The rows it calls for
  --prepare calls   (unless told otherwise) users, items and orders of its own, made by single calls,
                    with ids that the deployment gives: nothing that exists is touched. Orders are
                    made for ${PREPARE_S} s, as far as neither --orders nor --rate says how many.
                    Orders of distinct that are under way at the same time share no item and no user.
  --prepare batch   POST …/batch_init, where it is switched on: quick, many rows, but users, items
                    and orders "0" … "n-1" of that deployment are MADE ANEW, whatever they were. Each
                    order is a random user's and has two random items. For distinct that is 100000
                    users and 200000 items, so with 64 clients a call meets an item of another call
                    under way with a chance of 0.13 %, its user with 0.06 %. Orders for zipf, and for
                    distinct with other --lines than 2, are made by calls.
  --prepared F..T   orders "F" … "T-1" exist, unpaid; nothing is prepared. For reads, add_item,
                    add_funds and create give --users N and --items N: ids "0" … "N-1" exist.
  --orders N        how many orders to prepare (batch: 100000; zipf 20000, repeats 1000, single
                    calls 10000; calls: course 10000, repeats 100, others 1000; open loop: what the
                    time takes)
  --users N  --items N  --lines N (2)  --theta T (0.99)

Output
  --json            the result as one JSON object (stress-test/load/result.ts) on standard output
  --html FILE       a report with plots
  --insecure        accept any certificate (https)
  --self-test       measures the generator itself, against a handler that does nothing
  --help            this text

Ctrl-C ends the load early and prints what was measured.
Exit code: 0; 1 if there was a 5xx, a call without an answer, or no deployment; 2 for a wrong flag.`;
