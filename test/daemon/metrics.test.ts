import t, { type Test } from 'tap';
import { AgentEmitter, type FinishedEvent } from '../../daemon/events.js';
import { METRICS } from '../../daemon/metric-definitions.js';
import { createMetrics, type MetricsSource } from '../../daemon/metrics.js';

const finished: FinishedEvent = {
  kind: 'restore',
  fid: '[0x200000401:0x1:0x0]',
  archiveId: 2,
  result: 'succeeded',
  errno: 0,
  code: undefined,
  reason: undefined,
  bytes: 1000,
  durationMs: 30,
  queuedMs: 1,
  firstByteMs: 4,
  retries: 0,
  throttles: 0,
  blocking: true,
};

function setUp(t: Test, source: () => MetricsSource | undefined = () => undefined) {
  const events = new AgentEmitter();
  const metrics = createMetrics({ events, version: '1.2.3', source, processMetrics: false });
  t.teardown(() => {
    metrics.close();
  });
  const value = async (series: string) => {
    const line = (await metrics.render()).split('\n').find((each) => each.startsWith(`${series} `));
    return line === undefined ? undefined : Number(line.slice(series.length + 1));
  };
  return { events, metrics, value };
}

t.test('what the events tell is counted', async (t) => {
  const { events, value } = setUp(t);
  events.emit('received', { archiveId: 2, kind: 'restore', count: 47, blocking: true });
  events.emit('malformed', { archiveId: 2, decoded: 1, reason: 'short' });
  events.emit('begun', { kind: 'restore', lane: 'restore', queuedMs: 2 });
  events.emit('finished', finished);
  events.emit('finished', {
    ...finished,
    result: 'failed',
    errno: 2,
    code: 'BLOB_MISSING',
    retries: 3,
    throttles: 2,
  });
  events.emit('heartbeat', { kind: 'archive' });
  events.emit('journal', { op: 'committed', items: 3, sizeBytes: 4096 });
  events.emit('recovered', { kind: 'archive', outcome: 'redone' });
  events.emit('probed', { archiveId: 2, container: 'cold', ready: false, code: 'FORBIDDEN' });
  events.emit('containerRequest', { what: 'throttle' });
  events.emit('containerRequest', { what: 'retry' });
  events.emit('containerRequest', { what: 'retry' });
  const job = { kind: 'import', name: 'nightly' } as const;
  events.emit('job', { ...job, state: 'InProgress', counts: { importedFiles: 7 } });
  events.emit('job', { ...job, state: 'InProgress', counts: { importedFiles: 5 } });
  events.emit('job', { ...job, state: 'Completed', counts: { importedFiles: 9 } });
  events.emit('reloaded', { ok: true, applied: [], needRestart: [] });
  events.emit('registered', { archiveIds: [2], again: false });
  const expected: Readonly<Record<string, number>> = {
    'lhsm_azblob_received_actions_total{kind="restore",archive_id="2",blocking="true"}': 47,
    lhsm_azblob_malformed_buffers_total: 1,
    'lhsm_azblob_job_items_total{kind="import",count="importedFiles"}': 11,
    'lhsm_azblob_job_running{kind="import"}': 0,
    'lhsm_azblob_jobs_total{kind="import",state="Completed"}': 1,
    'lhsm_azblob_action_queue_seconds_count{lane="restore"}': 1,
    'lhsm_azblob_actions_total{kind="restore",archive_id="2",result="succeeded",errno="none"}': 1,
    'lhsm_azblob_actions_total{kind="restore",archive_id="2",result="failed",errno="ENOENT"}': 1,
    'lhsm_azblob_action_errors_total{kind="restore",code="BLOB_MISSING"}': 1,
    'lhsm_azblob_action_duration_seconds_bucket{le="0.05",kind="restore",result="succeeded"}': 1,
    'lhsm_azblob_action_duration_seconds_bucket{le="0.025",kind="restore",result="succeeded"}': 0,
    'lhsm_azblob_action_first_byte_seconds_count{kind="restore"}': 2,
    'lhsm_azblob_request_retries_total{kind="restore"}': 3,
    'lhsm_azblob_request_throttles_total{kind="restore"}': 2,
    'lhsm_azblob_request_retries_total{kind="container"}': 2,
    'lhsm_azblob_request_throttles_total{kind="container"}': 1,
    'lhsm_azblob_heartbeats_total{kind="archive"}': 1,
    lhsm_azblob_journal_items: 3,
    lhsm_azblob_journal_size_bytes: 4096,
    'lhsm_azblob_recovered_actions_total{kind="archive",outcome="redone"}': 1,
    'lhsm_azblob_container_ready{archive_id="2",container="cold"}': 0,
    'lhsm_azblob_container_probes_total{archive_id="2",code="FORBIDDEN"}': 1,
    'lhsm_azblob_reloads_total{result="ok"}': 1,
    lhsm_azblob_registered: 1,
    lhsm_azblob_registrations_total: 1,
    [`lhsm_azblob_build_info{version="1.2.3",node="${process.version}"}`]: 1,
  };
  for (const [series, number] of Object.entries(expected)) t.equal(await value(series), number, series);
  events.emit('unregistered', { reason: 'shutdown' });
  t.equal(await value('lhsm_azblob_registered'), 0);
  t.equal(await value('lhsm_azblob_unregistrations_total{reason="shutdown"}'), 1);
});

t.test('queues and what is in flight are asked for at each scrape', async (t) => {
  let now: MetricsSource | undefined;
  const { value } = setUp(t, () => now);
  t.equal(await value('lhsm_azblob_queued_actions{lane="archive"}'), undefined, 'no agent yet');
  now = {
    lanes: [{ lane: 'archive', queued: 5, running: 2, oldestQueuedMs: 1500 }],
    inFlight: [
      { kind: 'archive', bytes: 10, ageMs: 1000 },
      { kind: 'archive', bytes: 10, ageMs: 2500 },
    ],
  };
  t.equal(await value('lhsm_azblob_queued_actions{lane="archive"}'), 5);
  t.equal(await value('lhsm_azblob_running_actions{lane="archive"}'), 2);
  t.equal(await value('lhsm_azblob_queue_oldest_seconds{lane="archive"}'), 1.5);
  t.equal(await value('lhsm_azblob_in_flight_actions{kind="archive"}'), 2);
  t.equal(await value('lhsm_azblob_in_flight_oldest_seconds{kind="archive"}'), 2.5);
  now = { lanes: [], inFlight: [] };
  t.equal(await value('lhsm_azblob_queued_actions{lane="archive"}'), 0, 'no stale value');
  t.equal(await value('lhsm_azblob_in_flight_actions{kind="archive"}'), 0);
});

t.test('bytes grow while a transfer runs, once only, and never go back', async (t) => {
  let bytes: number | undefined = 0;
  const { events, value } = setUp(t, () => ({
    lanes: [],
    inFlight: bytes === undefined ? [] : [{ kind: 'restore', bytes, ageMs: 0 }],
  }));
  const series = 'lhsm_azblob_transferred_bytes_total{direction="download"}';
  bytes = 400;
  t.equal(await value(series), 400);
  bytes = 100;
  t.equal(await value(series), 400, 'the transfer has begun anew');
  bytes = 900;
  t.equal(await value(series), 900);
  bytes = undefined;
  events.emit('finished', { ...finished, bytes: 1000 });
  t.equal(await value(series), 1000);
  events.emit('finished', { ...finished, kind: 'remove', bytes: 7 });
  t.equal(await value(series), 1000);
});

t.test('an odd error code makes no label of its own', async (t) => {
  const { events, metrics, value } = setUp(t);
  for (let at = 0; at < 1000; at++) {
    events.emit('finished', { ...finished, result: 'failed', errno: 5, code: `CODE_${at}` });
  }
  events.emit('finished', { ...finished, result: 'failed', errno: 5, code: 'https://a/b?sig=x' });
  t.equal(await value('lhsm_azblob_action_errors_total{kind="restore",code="OTHER"}'), 801);
  t.notMatch(await metrics.render(), /sig=/);
});

t.test('every metric is made, and process metrics come along', async (t) => {
  const events = new AgentEmitter();
  const metrics = createMetrics({ events, version: '1', source: () => undefined });
  t.teardown(() => {
    metrics.close();
  });
  const names = new Set(metrics.names());
  for (const name of Object.keys(METRICS)) t.ok(names.has(name), name);
  for (const name of Object.keys(METRICS)) t.match(name, /^lhsm_azblob_[a-z_]+$/);
  const text = await metrics.render();
  t.match(text, /^process_resident_memory_bytes \d/m);
  t.match(text, /^lhsm_azblob_event_loop_lag_seconds\{stat="max"\} [\d.]/m);
  t.match(metrics.contentType, /^text\/plain/);
});

t.test('an emitter whose listener throws goes on, and can be waited for', async (t) => {
  const heard: unknown[] = [];
  const events = new AgentEmitter((error) => heard.push(error));
  const off = events.on('heartbeat', () => {
    throw new Error('mine');
  });
  const next = events.next('heartbeat');
  events.emit('heartbeat', { kind: 'archive' });
  t.same(await next, { kind: 'archive' });
  t.match(heard, [{ message: 'mine' }]);
  off();
  events.emit('heartbeat', { kind: 'archive' });
  t.equal(heard.length, 1);
  await t.rejects(events.next('journal', AbortSignal.abort(new Error('late'))), { message: 'late' });
});
