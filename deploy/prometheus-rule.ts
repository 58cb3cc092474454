/**
 * Prints the alerts of deploy/alerts.yml as an object for the Prometheus operator. kustomize cannot
 * do that: it embeds files only in ConfigMaps, and Prometheus accepts no key but `groups`, so one
 * file cannot serve both. A test fails if the output is out of date.
 *
 *   bun deploy/prometheus-rule.ts > k8s/overlays/production/monitoring/prometheus-rule.yaml
 */
import { readFile } from 'node:fs/promises';

const alerts = await readFile(new URL('alerts.yml', import.meta.url), 'utf8');
const groups = alerts.slice(alerts.search(/^groups:$/m)).trimEnd();

console.log(`# Generated from deploy/alerts.yml by deploy/prometheus-rule.ts
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: kassa
spec:
${groups.replaceAll(/^(?=.)/gm, '  ')}`);
