// Every metric of the daemon: name, type, meaning, labels. metrics.ts makes them, docs/metrics.md is generated
// from here, and a test holds rules and dashboard to it.

export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels?: readonly string[];
  readonly buckets?: readonly number[];
}

/** From a small file on a quick day to a huge one on a bad one. */
const DURATIONS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14_400,
  43_200,
];

const counter = (help: string, ...labels: string[]): MetricDefinition => ({ type: 'counter', help, labels });
const gauge = (help: string, ...labels: string[]): MetricDefinition => ({ type: 'gauge', help, labels });
const histogram = (help: string, ...labels: string[]): MetricDefinition => ({
  type: 'histogram',
  help,
  labels,
  buckets: DURATIONS,
});

const REQUEST_KINDS =
  'kind: that of the action whose content they move, "container" for looks, directory stubs, deletes and probes.';

export const METRICS = {
  lhsm_azblob_received_actions_total: counter(
    'Actions received from the coordinator. blocking: somebody waits in open or read.',
    'kind',
    'archive_id',
    'blocking',
  ),
  lhsm_azblob_actions_total: counter(
    'Actions ended, by what the coordinator was told. errno is its name, or "none".',
    'kind',
    'archive_id',
    'result',
    'errno',
  ),
  lhsm_azblob_action_errors_total: counter(
    'Actions that did not succeed, by error code (docs/operations.md).',
    'kind',
    'code',
  ),
  lhsm_azblob_action_duration_seconds: histogram(
    'From receipt to end of an action: what a blocked reader feels.',
    'kind',
    'result',
  ),
  lhsm_azblob_action_queue_seconds: histogram('From receipt to begin of an action.', 'lane'),
  lhsm_azblob_action_first_byte_seconds: histogram(
    'From receipt of a restore to its first byte of content.',
    'kind',
  ),
  lhsm_azblob_transferred_bytes_total: counter(
    'Content moved, that of actions in flight included. upload: to Azure; download: from Azure.',
    'direction',
  ),
  lhsm_azblob_queued_actions: gauge('Actions that wait for their turn.', 'lane'),
  lhsm_azblob_queue_oldest_seconds: gauge('Age of the action that waits longest; 0 when none waits.', 'lane'),
  lhsm_azblob_running_actions: gauge('Actions that hold a slot of their lane.', 'lane'),
  lhsm_azblob_in_flight_actions: gauge('Actions begun and not ended.', 'kind'),
  lhsm_azblob_in_flight_oldest_seconds: gauge(
    'Age of the oldest action in flight; 0 when there is none.',
    'kind',
  ),
  lhsm_azblob_request_retries_total: counter(
    `Requests to Azure that were sent again. ${REQUEST_KINDS}`,
    'kind',
  ),
  lhsm_azblob_request_throttles_total: counter(
    `Answers of Azure that asked for patience (503, 429, 500 OperationTimedOut). ${REQUEST_KINDS}`,
    'kind',
  ),
  lhsm_azblob_heartbeats_total: counter(
    'Signs of life sent for actions that moved no bytes meanwhile.',
    'kind',
  ),
  lhsm_azblob_malformed_buffers_total: counter(
    'Received action lists of which not everything could be read.',
  ),
  lhsm_azblob_journal_items: gauge('Items in the journal: begun and not ended.'),
  lhsm_azblob_journal_size_bytes: gauge('Size of the journal file.'),
  lhsm_azblob_recovered_actions_total: counter(
    'Items that a dead process had left, by outcome: redone, cleared, forgotten.',
    'kind',
    'outcome',
  ),
  lhsm_azblob_registered: gauge('1 while registered with the coordinator.'),
  lhsm_azblob_registrations_total: counter('Registrations with the coordinator.'),
  lhsm_azblob_unregistrations_total: counter('Ends of a registration.', 'reason'),
  lhsm_azblob_container_ready: gauge(
    '1 when the last probe of the container went well.',
    'archive_id',
    'container',
  ),
  lhsm_azblob_container_probes_total: counter(
    'Probes of containers. code is "none" when all was well.',
    'archive_id',
    'code',
  ),
  lhsm_azblob_job_running: gauge('1 while this node runs a job of the kind.', 'kind'),
  lhsm_azblob_jobs_total: counter('Jobs that this node has brought to their end.', 'kind', 'state'),
  lhsm_azblob_job_items_total: counter(
    "What jobs of this node have counted, by the counts of the jobs' documents: importedFiles, totalErrors …",
    'kind',
    'count',
  ),
  lhsm_azblob_reloads_total: counter('Reloads of the configuration (SIGHUP or command).', 'result'),
  lhsm_azblob_event_loop_lag_seconds: gauge(
    'How late the event loop is, over the last ten seconds or more. stat: mean, p99, max.',
    'stat',
  ),
  lhsm_azblob_build_info: gauge('Always 1.', 'version', 'node'),
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
