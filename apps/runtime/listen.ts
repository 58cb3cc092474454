/** The ports of a process, and what to say if it cannot listen. */
import { codeOf, Failure } from '../../db/failure.ts';
import type { Responder, Server } from '../http/exchange.ts';
import { type Listen, type Listening, listenAt } from '../http/listen.ts';
import { portOwner } from './port-owner.ts';
import type { Config } from './variables.ts';

/** How to choose another port, for people: a flag or a variable. */
export interface PortNames {
  port: string;
  metrics_port: string;
}

export const PORT_VARIABLES: PortNames = { port: 'PORT', metrics_port: 'METRICS_PORT' };

/** @throws Failure if a port is taken or the address is not this machine's */
export function listenOn(
  listen: Listen,
  config: Config,
  server: Server,
  names = PORT_VARIABLES,
): Listening {
  const { HOST, PORT, METRICS_PORT } = config;
  const at = (port: number, responder: Responder, name: string) => {
    try {
      return listenAt(listen, HOST, port, responder);
    } catch (cause) {
      throw cannotListen(HOST, port, cause, name);
    }
  };
  const ports = [at(PORT, server.responder, names.port)];
  if (METRICS_PORT && server.metrics_responder) {
    ports.push(at(METRICS_PORT, server.metrics_responder, names.metrics_port));
  }
  return {
    async stop() {
      await Promise.all(ports.map((port) => port.stop()));
    },
  };
}

/** @param name of the flag or variable that chooses another port */
export function cannotListen(host: string, port: number, cause: unknown, name: string): Failure {
  const code = codeOf(cause);
  const known: Record<string, string> = {
    EACCES: 'permission denied',
    EADDRNOTAVAIL: 'this machine has no such address',
    ENOTFOUND: 'there is no such host',
  };
  const why =
    code === 'EADDRINUSE'
      ? `the port is taken by ${portOwner(port) ?? 'another process'}; ${name} chooses another`
      : (known[code] ?? (cause instanceof Error ? cause.message : String(cause)));
  return new Failure('internal', `cannot listen on ${host}:${port}: ${why}`, { cause });
}

/** Where a browser or curl reaches this address. */
export function originOf(hostname: string, port: number): string {
  const host = hostname === '0.0.0.0' ? '127.0.0.1' : hostname === '::' ? '::1' : hostname;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether /metrics is served on a port of its own. */
export const hasMetricsPort = ({ PORT, METRICS_PORT }: Partial<Config>): boolean =>
  METRICS_PORT !== undefined && METRICS_PORT !== PORT;
