/**
 * Prints the alerts, deploy/alerts.yml, as the object that the Prometheus operator takes them in.
 * kustomize can't: it puts files into ConfigMaps only, and Prometheus takes no key but `groups`, so
 * one file can't be both. A test says so if this has to be run again.
 *
 *   bun deploy/prometheus-rule.ts > k8s/overlays/production/monitoring/prometheus-rule.yaml
 */
import { readFile } from 'node:fs/promises';

const alerts = await readFile(new URL('alerts.yml', import.meta.url), 'utf8');
const groups = alerts.slice(alerts.search(/^groups:$/m)).trimEnd();

console.log(`# Made of deploy/alerts.yml by deploy/prometheus-rule.ts
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: kassa
spec:
${groups.replaceAll(/^(?=.)/gm, '  ')}`);
