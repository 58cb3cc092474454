/** Rules for Jobs and CronJobs: they have a deadline, retries, and a bounded history. */
import { podsOf } from './pods.ts';
import { type Manifest, nameOf, ofKind } from './read.ts';

interface JobSpec {
  activeDeadlineSeconds?: number;
  backoffLimit?: number;
  ttlSecondsAfterFinished?: number;
  podFailurePolicy?: { rules: { onExitCodes?: { containerName?: string; values: number[] } }[] };
}
interface CronJob {
  spec: {
    schedule: string;
    timeZone?: string;
    concurrencyPolicy?: string;
    startingDeadlineSeconds?: number;
    successfulJobsHistoryLimit?: number;
    failedJobsHistoryLimit?: number;
    suspend?: boolean;
    jobTemplate: { spec: JobSpec };
  };
}

/** Jobs that may run forever, overlap, or accumulate. */
export function badJobs(objects: Manifest[]): string[] {
  const jobs = ofKind<{ spec: JobSpec }>(objects, 'Job');
  const cronJobs = ofKind<CronJob>(objects, 'CronJob');
  const all = [
    ...jobs.map((object) => ({ object, spec: object.spec })),
    ...cronJobs.map((object) => ({ object, spec: object.spec.jobTemplate.spec })),
  ];
  const wrong = all.flatMap(({ object, spec }) =>
    endless(object, spec).map((what) => `${nameOf(object)} ${what}`),
  );
  return [
    ...wrong,
    ...cronJobs.flatMap((job) => badSchedule(job).map((what) => `${nameOf(job)} ${what}`)),
  ];
}

function endless(object: Manifest, spec: JobSpec): string[] {
  const wrong: string[] = [];
  const [pod] = podsOf([object]);
  if (!spec.activeDeadlineSeconds) wrong.push('has no deadline');
  if (!spec.backoffLimit) wrong.push('is tried once');
  if (!spec.ttlSecondsAfterFinished) wrong.push('stays when it is over');
  if (pod?.spec.restartPolicy !== 'Never') wrong.push('loses the log of a try');
  const containers = pod?.spec.containers.map(({ name }) => name) ?? [];
  for (const { onExitCodes } of spec.podFailurePolicy?.rules ?? []) {
    const name = onExitCodes?.containerName;
    if (name && !containers.includes(name)) wrong.push(`looks at the end of ${name}`);
  }
  return wrong;
}

function badSchedule({ spec }: CronJob): string[] {
  const wrong: string[] = [];
  if (!/^\d+ \d+( \*){3}$/.test(spec.schedule)) wrong.push(`is not daily: ${spec.schedule}`);
  if (spec.timeZone !== 'Etc/UTC') wrong.push('runs at a time that moves');
  if (spec.concurrencyPolicy !== 'Forbid') wrong.push('may run twice at once');
  if (!spec.startingDeadlineSeconds) wrong.push('may start at any time');
  if (!spec.successfulJobsHistoryLimit || !spec.failedJobsHistoryLimit) wrong.push('forgets');
  if (spec.suspend) wrong.push('never runs');
  return wrong;
}
