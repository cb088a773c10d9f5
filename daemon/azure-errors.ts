// Turns whatever the Azure SDK, the identity library or the network throws into the project's one error class.
// The blobs and transfer rooms call it on every failure; nothing secret gets through it.
import { LhsmError, type LhsmErrorOptions } from '../native-bindings/errors.js';
import { redact } from './redact.js';

type Facts = Omit<LhsmErrorOptions, 'op' | 'cause'> & { readonly what: string };

/** What is read of a RestError, which the identity library's errors resemble. */
interface ServiceError extends Error {
  readonly code?: unknown;
  readonly statusCode?: unknown;
  readonly response?: { readonly headers?: { get(name: string): string | undefined } };
}

/** Secrets as fields of JSON, which token endpoints answer with; redact.ts knows the other shapes. */
const secretField =
  /("(?:access_token|refresh_token|id_token|client_secret|client_assertion)"\s*:\s*")[^"]*/gi;

/** The text on one line of at most 500 characters, without SAS signatures, account keys and tokens. */
export function plainText(text: string): string {
  const line = redact(text).replace(secretField, '$1[redacted]').replace(/\s+/g, ' ').trim();
  return line.length > 500 ? `${line.slice(0, 500)}…` : line;
}

/** The service's own error code (`BlobNotFound`, say); also of answers to HEAD, which have no body. */
export function serviceCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { response, code } = error as ServiceError;
  const header = response?.headers?.get('x-ms-error-code');
  if (header !== undefined) return header;
  return typeof code === 'string' ? code : undefined;
}

/** A 404 that does not say what is missing, as answers to HEAD are that have lost a header on their way. */
export function isNamelessMissing(error: unknown): boolean {
  return httpStatus(error) === 404 && serviceCode(error) === undefined;
}

/** The service's error code in an answer's body. */
export function codeInBody(error: unknown): string | undefined {
  const body = (error as { readonly response?: { readonly bodyAsText?: string | null } }).response
    ?.bodyAsText;
  return /<Code>(\w+)<\/Code>/.exec(body ?? '')?.[1];
}

/** Whether the answer carries a header that only a blob service sets. */
export function isOfService(error: unknown): boolean {
  const headers = (error as ServiceError).response?.headers;
  return ['x-ms-request-id', 'x-ms-version'].some((name) => headers?.get(name) !== undefined);
}

/** The error with the service's code put in. */
export function withCode(error: unknown, code: string): Error {
  const { message } = error as Error;
  return Object.assign(new Error(message), { name: 'RestError', statusCode: httpStatus(error), code });
}

/** The HTTP status that the error came with. */
export function httpStatus(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { statusCode } = error as ServiceError;
  return typeof statusCode === 'number' ? statusCode : undefined;
}

/**
 * How long the service asks us to wait, in milliseconds: `Retry-After` in seconds or as a date (RFC 9110
 * section 10.2.3), or the Azure headers in milliseconds. undefined when it does not say.
 */
export function retryAfterMs(error: unknown, now = Date.now()): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const headers = (error as ServiceError).response?.headers;
  if (headers === undefined) return undefined;
  const ms = headers.get('retry-after-ms') ?? headers.get('x-ms-retry-after-ms');
  if (ms !== undefined && /^\d+$/.test(ms)) return Number(ms);
  const value = headers.get('retry-after');
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** Whether the service said that it is asked too much: 503, 429, or 500 OperationTimedOut. */
export function isThrottle(error: unknown): boolean {
  const status = httpStatus(error);
  return status === 503 || status === 429 || (status === 500 && serviceCode(error) === 'OperationTimedOut');
}

export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** The error of an operation that its caller has aborted. */
export function canceled(op: string): LhsmError {
  return new LhsmError(`${op} was canceled.`, { code: 'ECANCELED', op });
}

const forbiddenHints: Readonly<Record<string, string>> = {
  AuthenticationFailed:
    'Check that the key or SAS is of this account, that the SAS has not expired, and that this clock is right.',
  AuthorizationPermissionMismatch:
    'Give the identity the role Storage Blob Data Contributor on the container.',
  AuthorizationFailure: "Check the account's network rules and the identity's roles.",
  KeyBasedAuthenticationNotPermitted: 'The account takes no keys: use a managed identity.',
  PublicAccessNotPermitted: 'No credential was sent: check the credential in the configuration.',
  NoAuthenticationInformation: 'No credential was sent: check the credential in the configuration.',
  AccountIsDisabled: 'The storage account is disabled.',
  UnauthorizedBlobOverwrite:
    'The SAS lets blobs be created, not overwritten: give it the permission to write (w), too.',
};

const refusedHints: Readonly<Record<string, string>> = {
  InvalidHeaderValue:
    'The service does not take a header as it is: is its version too old, or a proxy on the way?',
  InvalidUri: "The service does not take the blob's name: rename the file, or archive by FID.",
  InvalidResourceName: "The service does not take the blob's name: rename the file, or archive by FID.",
};

const corrupted: Facts = {
  what: 'did not arrive as it was sent',
  code: 'CHECKSUM_MISMATCH',
  errno: 5,
  retryable: true,
  hint: 'Something on the way changes bytes, or the memory of this machine does.',
};

const changed: Facts = {
  what: 'was changed by someone else',
  code: 'BLOB_CHANGED',
  errno: 116, // ESTALE
};

const leased: Facts = { what: 'is leased by someone else', code: 'BLOB_LEASED', errno: 16 };

const leaseLost: Facts = {
  what: 'is not under our lease any more',
  code: 'LEASE_LOST',
  errno: 116, // ESTALE
};

/** Service codes that mean the same whatever the status; https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
const byServiceCode: Readonly<Record<string, Facts>> = {
  ContainerNotFound: {
    what: 'is in a container that does not exist',
    code: 'CONTAINER_MISSING',
    errno: 2,
    hint: 'Create the container, or mend its name in the configuration.',
  },
  FilesystemNotFound: { what: 'is in a container that does not exist', code: 'CONTAINER_MISSING', errno: 2 },
  ContainerBeingDeleted: { what: 'is in a container being deleted', code: 'CONTAINER_MISSING', errno: 2 },
  ContainerDisabled: { what: 'is in a disabled container', code: 'CONTAINER_MISSING', errno: 2 },
  BlobNotFound: { what: 'does not exist', code: 'BLOB_MISSING', errno: 2 },
  PathNotFound: { what: 'does not exist', code: 'BLOB_MISSING', errno: 2 },
  ResourceNotFound: { what: 'does not exist', code: 'BLOB_MISSING', errno: 2 },
  BlobArchived: {
    what: 'is in the Archive tier',
    code: 'BLOB_ARCHIVED',
    errno: 5,
    hint: 'Rehydrate it (set its tier to Hot or Cool), then try again.',
  },
  BlobAlreadyExists: changed,
  // Accounts with a hierarchical namespace: a directory stands there, or something else that came meanwhile.
  PathAlreadyExists: changed,
  ResourceTypeMismatch: {
    what: 'meets a directory where a file belongs, or a file where a directory belongs',
    code: 'TYPE_MISMATCH',
    errno: 20,
    hint: 'Look at what stands at that name and above it in the container, and move it away.',
  },
  BlobOperationNotSupported: {
    what: 'cannot be treated so in this account',
    code: 'REFUSED',
    errno: 5,
    hint: "Look at the account's kind and features: hierarchical namespace, NFS or SFTP, premium page blobs.",
  },
  BlobBeingRehydrated: {
    what: 'is on its way out of the Archive tier',
    code: 'BLOB_ARCHIVED',
    errno: 5,
    hint: 'Wait until it is rehydrated, which takes up to 15 hours, then try again.',
  },
  ConditionNotMet: changed,
  TargetConditionNotMet: changed,
  // The blocks that we staged are gone: someone else committed the blob meanwhile.
  InvalidBlockList: changed,
  InvalidBlobType: { what: 'is not a block blob', code: 'NOT_BLOCK_BLOB', errno: 5 },
  InvalidBlobOrBlock: {
    what: 'holds uncommitted blocks of another program',
    code: 'FOREIGN_BLOCKS',
    errno: 16,
    hint: 'They go by themselves after seven days, or when the blob is deleted.',
  },
  LeaseIdMissing: leased,
  LeaseAlreadyPresent: leased,
  LeaseIsBreakingAndCannotBeAcquired: leased,
  LeaseLost: leaseLost,
  LeaseIdMismatchWithLeaseOperation: leaseLost,
  LeaseIdMismatchWithBlobOperation: leaseLost,
  LeaseNotPresentWithLeaseOperation: leaseLost,
  LeaseNotPresentWithBlobOperation: leaseLost,
  LeaseIsBrokenAndCannotBeRenewed: leaseLost,
  SnapshotsPresent: {
    what: 'has snapshots, and is not deleted with them',
    code: 'BLOB_BUSY',
    errno: 16,
    hint: 'Delete its snapshots first; nobody but you knows who needs them.',
  },
  BlobImmutableDueToPolicy: { what: 'is kept by an immutability policy', code: 'BLOB_IMMUTABLE', errno: 1 },
  InvalidRange: { what: 'has no such range', code: 'BAD_RANGE', errno: 5 },
  Crc64Mismatch: corrupted,
  Md5Mismatch: corrupted,
  // The SDK's own, of an answer that it cannot parse.
  PARSE_ERROR: {
    what: 'got an answer that cannot be read',
    code: 'BAD_ANSWER',
    errno: 5,
    retryable: true,
    hint: "Check the container's URL, and the proxies on the way.",
  },
  // An append blob takes 50,000 appends.
  BlockCountExceedsLimit: { what: 'takes no more appends', code: 'TOO_LARGE', errno: 27 },
  RequestBodyTooLarge: { what: 'is too large for one request', code: 'TOO_LARGE', errno: 27 },
};

const certificateCode =
  /^(CERT_|ERR_TLS_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH_EXCEEDED)/;
const identityError =
  /^(CredentialUnavailable|Authentication|AggregateAuthentication|AuthenticationRequired)Error$/;
const networkCode =
  /^(E(CONN|HOST|NET|PIPE|TIMEDOUT|SOCKET|AI_|ADDRNOTAVAIL|MFILE|NFILE|NOBUFS)|ENOTFOUND|ERR_SSL_|REQUEST_SEND_ERROR|PARSE_ERROR|HPE_|ERR_STREAM_PREMATURE_CLOSE|ERR_HTTP|UND_ERR)/;

const unreachable = (what: string, hint?: string): Facts => ({
  what,
  code: 'UNREACHABLE',
  errno: 11, // EAGAIN
  retryable: true,
  ...(hint === undefined ? {} : { hint }),
});

function ofStatus(status: number, code: string | undefined): Facts {
  const said = code === undefined ? `${status}` : `${status} ${code}`;
  if (status === 503 || status === 429 || (status === 500 && code === 'OperationTimedOut')) {
    return { what: `was throttled (${said})`, code: 'THROTTLED', errno: 11, retryable: true };
  }
  if (status >= 500 || status === 408) return unreachable(`got no service (${said})`);
  if (status === 401 || status === 403) {
    return {
      what: `was refused (${said})`,
      code: 'FORBIDDEN',
      errno: 13,
      hint: forbiddenHints[code ?? ''] ?? "Check the credential, its rights and the account's network rules.",
    };
  }
  if (status === 412) return changed;
  if (status === 416) return { what: 'has no such range', code: 'BAD_RANGE', errno: 5 };
  if (status === 404) {
    // The service names what is missing in every 404; without a name it was not the service that answered,
    // and "there is no such blob" would be a dangerous thing to believe.
    return {
      what: `got an answer that no blob service gives (${said})`,
      code: 'BAD_ANSWER',
      errno: 5,
      hint: "Check the container's URL, and the proxies on the way.",
    };
  }
  const hint = refusedHints[code ?? ''];
  return { what: `failed (${said})`, code: 'REFUSED', errno: 5, ...(hint === undefined ? {} : { hint }) };
}

function ofIdentity(error: Error): Facts {
  const status = httpStatus(error);
  const code = serviceCode(error);
  const transient =
    (status !== undefined && (status >= 500 || status === 429)) ||
    (status === undefined && code !== undefined && networkCode.test(code));
  return {
    what: `got no token: ${error.message}`,
    code: 'TOKEN_FAILED',
    errno: 13,
    retryable: transient,
    hint: 'Check the identity of this machine, its token endpoint and the credential in the configuration.',
  };
}

function ofNetwork(error: Error, code: string): Facts | undefined {
  if (certificateCode.test(code)) {
    return {
      what: `met a certificate that is not trusted (${code})`,
      code: 'TLS_CERTIFICATE',
      errno: 13,
      hint: "Name the file with the authority's certificate as transfer.ca_file.",
    };
  }
  if (code === 'EPROTO') return unreachable(`could not agree on TLS: ${error.message}`);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return unreachable(
      'met a host name that does not resolve',
      "Check the account's name and this machine's DNS.",
    );
  }
  if (code === 'ECONNREFUSED') return unreachable('met a closed port', "Check the container's URL and port.");
  if (networkCode.test(code)) return unreachable(`lost the connection (${code}): ${error.message}`);
  return undefined;
}

function factsOf(error: Error): Facts {
  const status = httpStatus(error);
  if (identityError.test(error.name)) return ofIdentity(error);
  const code = serviceCode(error);
  if (status !== undefined) {
    const known = code === undefined ? undefined : byServiceCode[code];
    return known ?? ofStatus(status, code);
  }
  if (code !== undefined) {
    const network = ofNetwork(error, code);
    if (network) return network;
  }
  if (error.message.includes('Bearer token authentication is not permitted')) {
    return {
      what: 'would send a token over plain HTTP',
      code: 'INSECURE_URL',
      errno: 13,
      hint: 'Use an https URL, or a SAS or an account key.',
    };
  }
  // Headers that the SDK itself misses: an answer without length or ETag.
  if (error instanceof RangeError)
    return { what: `got a bad answer: ${error.message}`, code: 'BAD_ANSWER', retryable: true };
  return { what: `failed: ${error.message}`, code: 'UNEXPECTED' };
}

/** An error that says what went wrong and shows nothing of the request, whose headers and URL hold secrets. */
function plainCause(error: Error): Error {
  const cause = new Error(plainText(error.message));
  cause.name = error.name;
  if (error.stack !== undefined) cause.stack = redactStack(error.stack);
  const code = serviceCode(error);
  return code === undefined ? cause : Object.assign(cause, { code });
}

function redactStack(stack: string): string {
  return stack
    .split('\n')
    .map((line) => (line.startsWith('    at ') ? line : plainText(line)))
    .join('\n');
}

/** The LhsmError code TOKEN_FAILED for whatever a credential threw. */
export function tokenError(error: unknown): LhsmError {
  const thrown = error instanceof Error ? error : new Error(String(error));
  const { what, ...facts } = ofIdentity(thrown);
  return new LhsmError(plainText(`Get Token: the credential ${what}`), {
    ...facts,
    op: 'Get Token',
    cause: plainCause(thrown),
  });
}

/**
 * The LhsmError for any failure of a request. `op` is the REST operation or step, `subject` names what it was
 * about (`blob a/b of container c`). An LhsmError passes through; an abort becomes ECANCELED.
 */
export function azureError(error: unknown, op: string, subject: string): LhsmError {
  if (error instanceof LhsmError) return error;
  if (isAbort(error)) return canceled(op);
  const thrown = error instanceof Error ? error : new Error(String(error));
  const { what, ...facts } = factsOf(thrown);
  return new LhsmError(plainText(`${op}: ${subject} ${what}.`), { ...facts, op, cause: plainCause(thrown) });
}
