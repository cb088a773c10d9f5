// Every failure of the SDK, the identity library and the network has its code, errno and hint, and shows no secret.
import { inspect } from 'node:util';
import {
  AggregateAuthenticationError,
  AuthenticationError,
  CredentialUnavailableError,
} from '@azure/identity';
import { RestError } from '@azure/storage-blob';
import t from 'tap';
import { azureError, isThrottle, plainText, retryAfterMs } from '../../daemon/azure-errors.js';
import { LhsmError, errnoFor } from '../../native-bindings/errors.js';

const KEY = Buffer.alloc(64, 0xa7).toString('base64');
const JWT = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl';
const SIGNATURE = 'c2VjcmV0LXNpZ25hdHVyZQ%3D%3D';

type Headers = Readonly<Record<string, string>>;

function restError(status: number, code?: string, headers: Headers = {}, message = 'No.'): RestError {
  const all: Headers = { ...(code === undefined ? {} : { 'x-ms-error-code': code }), ...headers };
  const response = { headers: { get: (name: string) => all[name.toLowerCase()] }, status };
  return new RestError(message, { statusCode: status, response: response as never });
}

const networkError = (code: string, message = code): RestError => new RestError(message, { code });

t.test('answers of the service', (t) => {
  const cases = [
    [404, 'BlobNotFound', { code: 'BLOB_MISSING', errno: 2, retryable: false }],
    [404, 'ContainerNotFound', { code: 'CONTAINER_MISSING', errno: 2, hint: /Create the container/ }],
    [404, undefined, { code: 'BAD_ANSWER', errno: 5 }],
    [409, 'ContainerBeingDeleted', { code: 'CONTAINER_MISSING', errno: 2 }],
    [409, 'BlobArchived', { code: 'BLOB_ARCHIVED', errno: 5, hint: /Rehydrate/ }],
    [409, 'BlobAlreadyExists', { code: 'BLOB_CHANGED', errno: 116 }],
    [409, 'BlobImmutableDueToPolicy', { code: 'BLOB_IMMUTABLE', errno: 1 }],
    [412, 'ConditionNotMet', { code: 'BLOB_CHANGED', errno: 116 }],
    [412, undefined, { code: 'BLOB_CHANGED', errno: 116 }],
    [412, 'LeaseIdMissing', { code: 'BLOB_LEASED', errno: 16 }],
    [400, 'InvalidBlockList', { code: 'BLOB_CHANGED', errno: 116 }],
    [
      400,
      'InvalidHeaderValue',
      { code: 'REFUSED', errno: 5, message: /400 InvalidHeaderValue/, hint: /header/ },
    ],
    [400, 'InvalidUri', { code: 'REFUSED', errno: 5, hint: /rename the file/ }],
    [400, 'InvalidResourceName', { code: 'REFUSED', errno: 5, hint: /rename the file/ }],
    [409, 'PathAlreadyExists', { code: 'BLOB_CHANGED', errno: 116 }],
    [409, 'ResourceTypeMismatch', { code: 'TYPE_MISMATCH', errno: 20, hint: /stands at that name/ }],
    [409, 'BlobOperationNotSupported', { code: 'REFUSED', errno: 5, hint: /hierarchical/ }],
    [409, 'BlobBeingRehydrated', { code: 'BLOB_ARCHIVED', errno: 5, hint: /Wait/ }],
    [409, 'SnapshotsPresent', { code: 'BLOB_BUSY', errno: 16, hint: /snapshots/ }],
    [403, 'UnauthorizedBlobOverwrite', { code: 'FORBIDDEN', errno: 13, hint: /\(w\)/ }],
    [416, 'InvalidRange', { code: 'BAD_RANGE', errno: 5 }],
    [401, 'NoAuthenticationInformation', { code: 'FORBIDDEN', errno: 13, hint: /No credential/ }],
    [403, 'AuthenticationFailed', { code: 'FORBIDDEN', errno: 13, hint: /clock/ }],
    [403, 'AuthorizationPermissionMismatch', { code: 'FORBIDDEN', errno: 13, hint: /Contributor/ }],
    [403, undefined, { code: 'FORBIDDEN', errno: 13, hint: /rights/ }],
    [413, 'RequestBodyTooLarge', { code: 'TOO_LARGE', errno: 27 }],
    [503, 'ServerBusy', { code: 'THROTTLED', errno: 11, retryable: true }],
    [429, undefined, { code: 'THROTTLED', errno: 11, retryable: true }],
    [500, 'OperationTimedOut', { code: 'THROTTLED', errno: 11, retryable: true }],
    [500, 'InternalError', { code: 'UNREACHABLE', errno: 11, retryable: true }],
    [502, undefined, { code: 'UNREACHABLE', errno: 11, retryable: true }],
  ] as const;
  for (const [status, code, expected] of cases) {
    const error = azureError(restError(status, code), 'Get Blob', 'blob a of container c');
    t.match(
      error,
      { ...expected, op: 'Get Blob', message: /^Get Blob: blob a of container c / },
      `${status} ${code ?? ''}`,
    );
    t.equal(errnoFor(error), error.errno, 'an errno that the MDT takes');
  }
  t.end();
});

t.test('the network', (t) => {
  const cases = [
    ['ENOTFOUND', { code: 'UNREACHABLE', errno: 11, retryable: true, hint: /DNS/ }],
    ['EAI_AGAIN', { code: 'UNREACHABLE', retryable: true, hint: /DNS/ }],
    ['ECONNREFUSED', { code: 'UNREACHABLE', retryable: true, hint: /port/ }],
    ['ECONNRESET', { code: 'UNREACHABLE', retryable: true }],
    ['ETIMEDOUT', { code: 'UNREACHABLE', retryable: true }],
    ['EPIPE', { code: 'UNREACHABLE', retryable: true }],
    ['REQUEST_SEND_ERROR', { code: 'UNREACHABLE', retryable: true }],
    ['SELF_SIGNED_CERT_IN_CHAIN', { code: 'TLS_CERTIFICATE', errno: 13, retryable: false, hint: /ca_file/ }],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', { code: 'TLS_CERTIFICATE' }],
    ['CERT_HAS_EXPIRED', { code: 'TLS_CERTIFICATE' }],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', { code: 'TLS_CERTIFICATE' }],
    ['ERR_TLS_CERT_ALTNAME_INVALID', { code: 'TLS_CERTIFICATE' }],
  ] as const;
  for (const [code, expected] of cases) t.match(azureError(networkError(code), 'op', 'blob'), expected, code);
  t.end();
});

t.test('tokens that cannot be had', (t) => {
  const unavailable = new CredentialUnavailableError('ManagedIdentityCredential: no endpoint found.');
  t.match(azureError(unavailable, 'Get Blob', 'blob a'), {
    code: 'TOKEN_FAILED',
    errno: 13,
    retryable: false,
    message: /got no token: ManagedIdentityCredential/,
    hint: /identity/,
  });
  const refused = new AuthenticationError(400, { error: 'invalid_grant', error_description: 'expired' });
  t.match(azureError(refused, 'op', 'blob'), { code: 'TOKEN_FAILED', errno: 13, retryable: false });
  const down = new AuthenticationError(503, { error: 'temporarily_unavailable', error_description: 'later' });
  t.match(azureError(down, 'op', 'blob'), { code: 'TOKEN_FAILED', retryable: true });
  t.match(azureError(new AggregateAuthenticationError([unavailable]), 'op', 'blob'), {
    code: 'TOKEN_FAILED',
  });
  const plain = new Error(
    'Bearer token authentication is not permitted for non-TLS protected (non-https) URLs.',
  );
  t.match(azureError(plain, 'op', 'blob'), { code: 'INSECURE_URL', errno: 13 });
  t.end();
});

t.test('aborts, our own errors and anything else', (t) => {
  const abort = Object.assign(new Error('aborted'), { name: 'AbortError' });
  t.match(azureError(abort, 'op', 'blob'), { code: 'ECANCELED', errno: 125 });
  const own = new LhsmError('mine', { code: 'ENOSPC', op: 'write' });
  t.equal(azureError(own, 'op', 'blob'), own);
  t.match(azureError(new TypeError('odd'), 'op', 'blob'), {
    code: 'UNEXPECTED',
    errno: 5,
    cause: { name: 'TypeError' },
  });
  t.match(azureError('text', 'op', 'blob'), { code: 'UNEXPECTED', message: /text/ });
  t.end();
});

t.test('no signature, key or token gets through, by whatever way it is printed', (t) => {
  const secrets = [SIGNATURE, KEY, JWT, 'hunter2'];
  const texts = [
    `getaddrinfo https://a.blob.core.windows.net/c/b?sv=2025&sp=r&sig=${SIGNATURE}&se=2099 failed`,
    `"sig=${SIGNATURE}"`,
    `Authorization: Bearer ${JWT}`,
    `Authorization: SharedKey acct:${KEY}`,
    `DefaultEndpointsProtocol=https;AccountName=a;AccountKey=${KEY};EndpointSuffix=x`,
    `the key ${KEY} is wrong`,
    `{"access_token":"${JWT}","client_secret":"hunter2"}`,
    `client_secret=hunter2&grant_type=x`,
    `token ${JWT}`,
    '(sig=hunter2)',
    '>sig=hunter2<',
    "sig='hunter2'",
    'SIG=hunter2',
    '{"sig":"hunter2"}',
    '{\\"sig\\":\\"hunter2\\"}',
    'https%3A%2F%2Fa%3Fsv%3D1%2526sig%253Dhunter2',
    '{"access_token":"hunter2"}',
    'Signature=hunter2',
    'client-secret: hunter2',
    'x-ms-client-secret: "hunter2"',
    "The MAC signature found in the HTTP request 'hunter2ab+/==' is not the same as any computed signature.",
  ];
  for (const text of texts) {
    const clean = plainText(text);
    for (const secret of secrets) t.notOk(clean.includes(secret), text.slice(0, 40));
    for (const raw of [
      restError(400, 'X', {}, text),
      networkError('ECONNRESET', text),
      new AuthenticationError(400, text),
      new Error(text),
    ]) {
      Object.assign(raw, {
        request: { url: `https://a/b?sig=${SIGNATURE}`, headers: { authorization: `Bearer ${JWT}` } },
      });
      const error = azureError(raw, 'op', 'blob');
      const shown = [
        error.message,
        String(error.stack),
        inspect(error, { depth: 10, showHidden: true }),
        JSON.stringify(error),
        JSON.stringify(error.cause),
        inspect(error.cause),
      ].join('\n');
      for (const secret of secrets) t.notOk(shown.includes(secret), `${raw.name}: ${text.slice(0, 40)}`);
    }
  }
  t.match(plainText('line one\nline two'), 'line one line two');
  t.ok(plainText('x'.repeat(2000)).length <= 501);
  t.end();
});

t.test('how long the service asks us to wait', (t) => {
  t.equal(retryAfterMs(restError(503, 'ServerBusy', { 'retry-after': '3' })), 3000);
  t.equal(retryAfterMs(restError(503, 'ServerBusy', { 'retry-after-ms': '250' })), 250);
  t.equal(retryAfterMs(restError(503, 'ServerBusy', { 'x-ms-retry-after-ms': '40' })), 40);
  const now = Date.parse('2026-11-22T09:32:49Z');
  t.equal(retryAfterMs(restError(503, 'X', { 'retry-after': 'Sun, 22 Nov 2026 09:32:59 GMT' }), now), 10_000);
  t.equal(retryAfterMs(restError(503, 'X', { 'retry-after': 'Sun, 22 Nov 2026 09:00:00 GMT' }), now), 0);
  t.equal(retryAfterMs(restError(503, 'X', { 'retry-after': 'soon' })), undefined);
  t.equal(retryAfterMs(restError(503)), undefined);
  t.equal(retryAfterMs('no error'), undefined);
  t.ok(isThrottle(restError(503)));
  t.notOk(isThrottle(restError(500, 'InternalError')));
  t.end();
});
