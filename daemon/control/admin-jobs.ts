// The jobs in the admin API: start, list, show, cancel, log. admin.ts adds these routes to its own.
import { nearest } from '../config/nearest.js';
import { isJobName, parseJobRequest } from '../jobs/job-request.js';
import type { AgentControl } from './agent-control.js';
import { BadRequest, json, streamed, type Asked, type Routes } from './http-server.js';
import { LOG_FORMATS, type LogFormat } from './jobs-control.js';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1000;

const contentTypes: Readonly<Record<LogFormat, string>> = {
  jsonl: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
};

/** Nothing else than a name gets to where blobs' names are made of it. */
function nameOf({ params }: Asked): string {
  const name = params['name'] ?? '';
  if (isJobName(name)) return name;
  throw new BadRequest('that is no name of a job', 'See "lhsm-azblob jobs list".');
}

function limitOf({ query }: Asked): number {
  const text = query.get('limit') ?? String(DEFAULT_LIMIT);
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_LIMIT) {
    throw new BadRequest(`limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

function formatOf({ query }: Asked): LogFormat {
  const text = query.get('format') ?? 'jsonl';
  const format = LOG_FORMATS.find((each) => each === text);
  if (format !== undefined) return format;
  const near = nearest(text, LOG_FORMATS);
  throw new BadRequest(
    `format must be one of ${LOG_FORMATS.join(', ')}`,
    near === undefined ? undefined : `Did you mean ${near}?`,
  );
}

export function jobRoutes(control: AgentControl): Routes {
  return {
    // Not answered before the job runs: checks of the container and a dead holder's lease may take minutes.
    'POST /v1/jobs': async ({ body }, signal) => {
      const request = parseJobRequest(body);
      return json(200, await control.jobs.start(request, signal));
    },
    'GET /v1/jobs': async (asked, signal) =>
      json(200, { jobs: await control.jobs.list(limitOf(asked), signal) }),
    'GET /v1/jobs/:name': async (asked, signal) => json(200, await control.jobs.show(nameOf(asked), signal)),
    'POST /v1/jobs/:name/cancel': async (asked, signal) =>
      json(200, await control.jobs.cancel(nameOf(asked), signal)),
    'GET /v1/jobs/:name/log': (asked, signal) => {
      const format = formatOf(asked);
      return streamed(contentTypes[format], control.jobs.log(nameOf(asked), format, signal));
    },
  };
}
