/** Puts load on one address: a closed or an open loop over connections, with one timer. */
import type { Live } from '../../test/support/report.ts';
import { Arrivals, gaps } from './arrivals.ts';
import type { Workload } from './calls.ts';
import { type Broken, Connection, type Owner, type Target } from './connection.ts';
import { codeOf, outcomeOf } from './outcomes.ts';
import { liveLine } from './print.ts';
import { Recorder } from './recorder.ts';
import type { LoadResult } from './result.ts';

export interface Plan {
  target: Target;
  workload: Workload;
  /** For the result. */
  name: string;
  loop: LoadResult['loop'];
  seed: number;
  random: () => number;
  warmup_s: number;
  seconds: number;
  /** From the time when a call was sent. */
  timeout_s: number;
}

/** Pause after a connection broke, to spare a server that is down. */
const REST_MS = 100;
const LOOK_MS = 100;

export class Run implements Owner {
  private readonly recorder = new Recorder();
  private readonly connections: Connection[] = [];
  private readonly idle: Connection[] = [];
  private readonly resting: { connection: Connection; until: number }[] = [];
  private arrivals: Arrivals | undefined;
  private under_way = 0;
  private phase: 'warm-up' | 'measuring' | 'ending' = 'warm-up';
  private ended: LoadResult['ended'] = 'time';
  private began = 0;
  private looked = 0;
  private cpu = process.cpuUsage();
  private cpu_s = 0;
  private backlog = { max: 0, at_end: 0 };
  private timer: ReturnType<typeof setInterval> | undefined;
  private readonly finished = Promise.withResolvers<LoadResult>();

  constructor(
    private readonly plan: Plan,
    private readonly line: Live,
  ) {}

  /** Resolves after the time is up, the workload is exhausted, or `stop`; never rejects. */
  start(): Promise<LoadResult> {
    const { loop, random } = this.plan;
    const now = performance.now();
    this.began = now;
    if (loop.kind === 'open') {
      this.arrivals = new Arrivals(now, gaps(loop.rate_per_s, loop.arrivals, random));
      this.timer = setInterval(() => this.tick(), 1);
    } else {
      this.timer = setInterval(() => this.tick(), 10);
      for (let i = 0; i < loop.clients; i++) this.free(this.connect(), now);
    }
    this.tick();
    return this.finished.promise;
  }

  /** Ends the window; calls in flight may finish. */
  stop(why: LoadResult['ended'], now = performance.now()): void {
    if (this.phase === 'ending') return;
    this.phase = 'ending';
    this.ended = why;
    this.recorder.close(now);
    const { user, system } = process.cpuUsage(this.cpu);
    this.cpu_s = (user + system) / 1e6;
    this.backlog.at_end = this.arrivals?.backlog ?? 0;
    this.backlog.max = Math.max(this.backlog.max, this.backlog.at_end);
  }

  answered(connection: Connection): void {
    const now = performance.now();
    const { call, reader } = connection;
    const { workload } = this.plan;
    const done = workload.answered(call, reader.status, reader.body);
    if (done === 'goes_on') {
      workload.next(call);
      connection.send(connection.intended, now);
      return;
    }
    const outcome = outcomeOf(reader.status, done);
    const why = reader.status < 300 ? '' : codeOf(reader.status, reader.body);
    this.recorder.record(outcome, why, connection.intended, now);
    this.under_way--;
    this.free(connection, now);
  }

  broken(connection: Connection, why: Broken): void {
    const now = performance.now();
    this.plan.workload.answered(connection.call, 0, '');
    this.recorder.record('broken', why, connection.intended, now);
    this.under_way--;
    this.resting.push({ connection, until: now + REST_MS });
  }

  private connect(): Connection {
    const connection = new Connection(this.plan.target, this);
    this.connections.push(connection);
    return connection;
  }

  /** Uses a free connection: a closed loop sends now, an open one if a call is due. */
  private free(connection: Connection, now: number): void {
    this.mayEnd(now);
    if (this.phase === 'ending') return;
    if (!this.arrivals) {
      this.give(connection, now, now);
      return;
    }
    this.idle.push(connection);
    this.dispatch(this.arrivals, now);
  }

  /** Sends the calls that are due, as far as connections are available. */
  private dispatch(arrivals: Arrivals, now: number): void {
    const { loop } = this.plan;
    arrivals.look(now);
    const most = loop.kind === 'open' ? loop.connections : 0;
    while (arrivals.backlog > 0 && this.phase !== 'ending') {
      if (this.idle.length === 0 && this.connections.length >= most) break;
      const connection = this.idle.pop() ?? this.connect();
      this.give(connection, arrivals.shift() ?? now, now);
    }
    this.backlog.max = Math.max(this.backlog.max, arrivals.backlog);
  }

  private give(connection: Connection, intended: number, now: number): void {
    if (!this.plan.workload.next(connection.call)) {
      this.stop('orders_ran_out', now);
      return;
    }
    this.under_way++;
    connection.send(intended, now);
  }

  private tick(): void {
    const now = performance.now();
    if (this.phase === 'warm-up' && now >= this.began + this.plan.warmup_s * 1000) {
      this.phase = 'measuring';
      this.began = now;
      this.recorder.begin(now, this.plan.seconds);
      this.cpu = process.cpuUsage();
    }
    this.mayEnd(now);
    if (this.phase === 'ending' && this.under_way === 0) {
      this.finish();
      return;
    }
    while ((this.resting[0]?.until ?? Number.POSITIVE_INFINITY) <= now) {
      const rested = this.resting.shift();
      if (rested) this.free(rested.connection, now);
    }
    if (this.arrivals && this.phase !== 'ending') this.dispatch(this.arrivals, now);
    if (now >= this.looked + LOOK_MS) this.look(now);
  }

  private mayEnd(now: number): void {
    const end = this.began + this.plan.seconds * 1000;
    if (this.phase !== 'measuring' || now < end) return;
    this.arrivals?.look(end); // calls due until then count in the backlog
    this.stop('time', now);
  }

  private look(now: number): void {
    this.looked = now;
    const oldest = now - this.plan.timeout_s * 1000;
    for (const connection of this.connections) {
      if (connection.busy && connection.sent <= oldest) connection.abandon('timeout');
    }
    const elapsed_s = (now - this.began) / 1000;
    this.line.show(liveLine(this.phase, elapsed_s, this.recorder.latest, this.arrivals?.backlog));
  }

  private finish(): void {
    clearInterval(this.timer);
    for (const connection of this.connections) connection.abandon('closed');
    const { name, loop, seed, warmup_s } = this.plan;
    this.finished.resolve({
      workload: name,
      loop,
      seed,
      warmup_s,
      ended: this.ended,
      cpu_s: this.cpu_s,
      ...this.recorder.result(),
      backlog: this.arrivals ? this.backlog : null,
      connections_opened: this.connections.reduce((sum, { opened }) => sum + opened, 0),
    });
  }
}
