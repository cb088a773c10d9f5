// Batch restore, release and verify in the admin API. admin.ts adds these routes to its own.
import { isOperationId } from '../jobs/operation.js';
import { parseOperationRequest } from '../jobs/operation-request.js';
import type { AgentControl } from './agent-control.js';
import { BadRequest, json, streamed, type Asked, type Routes } from './http-server.js';

/** Nothing else gets to where paths are made of it. */
function idOf({ params }: Asked): string {
  const id = params['id'] ?? '';
  if (isOperationId(id)) return id;
  throw new BadRequest('that is no id of an operation', 'See "lhsm-azblob operations list".');
}

export function operationRoutes(control: AgentControl): Routes {
  return {
    'POST /v1/operations': async ({ body }) => {
      const request = parseOperationRequest(body);
      return json(200, await control.operations.start(request));
    },
    'GET /v1/operations': () => {
      const { folder, list } = control.operations;
      return json(200, { folder, operations: list });
    },
    'GET /v1/operations/:id': (asked) => json(200, control.operations.show(idOf(asked))),
    'POST /v1/operations/:id/cancel': (asked) => json(200, control.operations.cancel(idOf(asked))),
    'GET /v1/operations/:id/log': (asked, signal) =>
      streamed('application/x-ndjson', control.operations.log(idOf(asked), signal)),
  };
}
