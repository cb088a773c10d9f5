// What the admin API asks of the one who runs operations. jobs/operations.ts implements it, admin-operations.ts calls it.
import type { OperationDocument } from '../jobs/operation.js';
import type { OperationRequest } from '../jobs/operation-request.js';

/** Batch restores, releases and verifications of this daemon. Methods throw or reject with LhsmError. */
export interface OperationsControl {
  /** A folder of the daemon's node for lists that `filesFrom` names. */
  readonly folder: string;
  /** The newest first. */
  readonly list: readonly OperationDocument[];
  /** Resolves once it runs. Codes PATH_OUTSIDE_MOUNT, PATH_INVALID, PATH_UNUSABLE, OPERATIONS_BUSY, OPERATION_LOG. */
  start(request: OperationRequest): Promise<OperationDocument>;
  /** Code OPERATION_UNKNOWN. */
  show(id: string): OperationDocument;
  /** Code OPERATION_UNKNOWN. */
  cancel(id: string): OperationDocument;
  /** JSON lines, to the end that the log has now. Code OPERATION_UNKNOWN before the first byte. */
  log(id: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
}
