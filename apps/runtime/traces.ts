/**
 * OpenTelemetry's SDK. It is loaded only if OTEL_EXPORTER_OTLP_ENDPOINT is set. The SDK itself reads
 * further variables: OTEL_EXPORTER_OTLP_HEADERS, OTEL_RESOURCE_ATTRIBUTES and others.
 */
import { type DiagLogger, DiagLogLevel, diag, propagation, trace } from '@opentelemetry/api';
import type { Sampler } from '@opentelemetry/sdk-trace';
import type { Log } from '../../db/log.ts';
import { traceRequest } from '../http/tracing.ts';
import type { Config } from './variables.ts';

export interface Traces {
  /** Undefined if there are no traces. */
  request: typeof traceRequest | undefined;
  /** Sends what is left. */
  stop(): Promise<void>;
}

/** For a collector that is away. */
const STOP_MS = 2000;
const EXPORT_EVERY_MS = 1000;
const NONE: Traces = { request: undefined, stop: async () => {} };

/**
 * Loads the SDK before the service listens, so that every request is traced. Without the SDK the
 * service serves all the same. @param service such as `order`
 */
export async function startTraces(service: string, config: Config, log: Log): Promise<Traces> {
  if (config.OTEL_EXPORTER_OTLP_ENDPOINT === undefined || config.OTEL_SDK_DISABLED === 'true') {
    return NONE;
  }
  diag.setLogger(loggerTo(log), DiagLogLevel.WARN);
  const provider = await load(service, config).catch((error) => {
    log('error', 'traces_off', { error });
  });
  if (!provider) return NONE;
  const shutDown = () => provider.shutdown().catch(() => {});
  const late = () => new Promise<void>((resolve) => setTimeout(resolve, STOP_MS));
  return { request: traceRequest, stop: () => Promise.race([shutDown(), late()]) };
}

/** The SDK tells of spans that it drops, and of a collector that does not take them. */
function loggerTo(log: Log): DiagLogger {
  const warn = (detail: string) => log('warn', 'traces_lost', { detail });
  const quiet = () => {};
  return { error: warn, warn, info: quiet, debug: quiet, verbose: quiet };
}

async function load(service: string, config: Config) {
  const [{ W3CTraceContextPropagator }, { OTLPTraceExporter }, resources, sdk] = await Promise.all([
    import('@opentelemetry/core'),
    import('@opentelemetry/exporter-trace-otlp-proto'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace'),
  ]);
  const { defaultResource, detectResources, envDetector, resourceFromAttributes } = resources;
  const named = resourceFromAttributes({
    'service.namespace': 'kassa',
    'service.name': `kassa-${service}`,
    'service.version': config.VERSION,
    'service.instance.id': crypto.randomUUID(),
  });
  const provider = new sdk.TracerProvider({
    // The environment has the last word.
    resource: defaultResource()
      .merge(named)
      .merge(detectResources({ detectors: [envDetector] })),
    sampler: samplerOf(sdk, config),
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter: new OTLPTraceExporter(),
        scheduledDelayMillis: EXPORT_EVERY_MS,
      }),
    ],
  });
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(provider);
  return provider;
}

function samplerOf(
  sdk: typeof import('@opentelemetry/sdk-trace'),
  { OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: ratio }: Config,
): Sampler {
  const of: Record<string, () => Sampler> = {
    always_on: () => new sdk.AlwaysOnSampler(),
    always_off: () => new sdk.AlwaysOffSampler(),
    traceidratio: () => new sdk.TraceIdRatioBasedSampler(ratio),
  };
  const [, root = ''] = /^(?:parentbased_)?(.+)$/.exec(name) ?? [];
  const sampler = of[root]?.() ?? new sdk.AlwaysOnSampler();
  return name === root ? sampler : new sdk.ParentBasedSampler({ root: sampler });
}
