// Alerts and dashboard use only metrics and labels that the daemon has.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { AgentEmitter } from '../../daemon/events.js';
import { METRICS, type MetricDefinition } from '../../daemon/metric-definitions.js';
import { createMetrics } from '../../daemon/metrics.js';
import { ROOT } from '../../docs/generate/generate-docs.js';

const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

const metrics = createMetrics({ events: new AgentEmitter(), version: '1', source: () => undefined });
const known = new Map<string, MetricDefinition | undefined>();
for (const name of metrics.names()) {
  const definition = (METRICS as Record<string, MetricDefinition>)[name];
  known.set(name, definition);
  for (const suffix of ['_bucket', '_count', '_sum']) known.set(name + suffix, definition);
}
metrics.close();

/** Checks an expression of PromQL, as far as names of metrics and labels go. */
function check(t: Test, expr: string): number {
  let found = 0;
  for (const [, name = '', selector] of expr.matchAll(
    /\b((?:lhsm_azblob|process|nodejs)_\w+)(?:\{([^}]*)\})?/g,
  )) {
    found++;
    t.ok(known.has(name), name);
    const labels = [...(selector ?? '').matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = '']) => label);
    for (const label of labels.filter((each) => each !== 'instance' && each !== 'le')) {
      t.ok(known.get(name)?.labels?.includes(label), `${name} has the label ${label}`);
    }
  }
  return found;
}

t.test('Prometheus rules', (t) => {
  const text = read('config/prometheus-rules.yml');
  const alerts = text.split(/^ {6}- alert: /m).slice(1);
  t.ok(alerts.length >= 10);
  for (const alert of alerts) {
    const name = alert.split('\n', 1)[0] ?? '';
    t.match(alert, /\n {8}expr: /, `${name} has an expression`);
    t.match(alert, /summary: .+\n +description: /, `${name} says what to do`);
    if (name !== 'LhsmAzblobDown') t.ok(check(t, alert.split('annotations:')[0] ?? '') > 0, name);
    for (const [, metric = ''] of alert.matchAll(/(lhsm_azblob_\w+)/g)) t.ok(known.has(metric), metric);
  }
  t.end();
});

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

t.test('Grafana dashboard', (t) => {
  const dashboard = JSON.parse(read('config/grafana-dashboard.json')) as { panels: Panel[] };
  const used = new Set<string>();
  for (const { title, type, targets = [] } of dashboard.panels) {
    if (type === 'row') continue;
    t.ok(targets.length > 0, title);
    for (const { expr, legendFormat } of targets) {
      t.ok(check(t, expr) > 0, `${title}: ${expr}`);
      for (const [name] of expr.matchAll(/lhsm_azblob_\w+/g)) used.add(name.replace(/_bucket$/, ''));
      for (const [, label = ''] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
        t.ok(
          label === 'instance' ||
            expr.includes(label) ||
            [...known.values()].some((each) => each?.labels?.includes(label)),
        );
      }
    }
  }
  const unused = Object.keys(METRICS).filter((name) => !used.has(name) && !/build_info|reloads/.test(name));
  t.same(unused, [], 'and it shows every metric');
  t.end();
});
