// What went wrong in a thread of C that moved a body, as the transfer plane's own errors. body-take.ts and thread-gets.ts
// throw them.
import { systemErrorName } from '../../../native-bindings/errors.js';
import type { TransferEnd } from '../../../native-bindings/transfer-end.js';
import { fileError } from '../file-io.js';
import { WireError } from './wire-error.js';

/** Undefined when nothing did. WireError, or LhsmError when the file could not be written. */
export function errorOfEnd({ outcome, errno, failedAt, code, message }: TransferEnd): Error | undefined {
  switch (outcome) {
    case 'whole':
      return undefined;
    case 'ended':
      return new WireError({ kind: 'broken', what: 'the connection was closed' });
    case 'stalled':
      return new WireError({ kind: 'stall' });
    case 'stopped':
      return new WireError({ kind: 'aborted' });
    case 'socket': {
      const name = systemErrorName({ errno });
      return new WireError({ kind: 'network', code: name, message: `recv ${name}` });
    }
    case 'file':
      return fileError('write', failedAt, { errno });
    case 'tls':
      return new WireError({ kind: 'network', code, message });
    case 'unusual':
      return new WireError({ kind: 'bad-answer', what: 'something unusual' });
  }
}
