// A credential that is refused is renewed once; and whatever fails, no secret shows in an error or in a process's title.
import { readdirSync, readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import t from 'tap';
import type { BlobAuth } from '../../../daemon/blob.js';
import { azureError } from '../../../daemon/azure-errors.js';
import { newCounters } from '../../../daemon/transfer/transfer.js';
import { errorAnswer, head } from '../../helpers/raw-blob-answers.js';
import type { RawConnection } from '../../helpers/raw-http-server.js';
import { KIB, pattern } from './bench.js';
import { openRawBench, type RawBench } from './raw-bench.js';

const SECRET = 'c2VjcmV0c2VjcmV0c2VjcmV0';
const KEY = Buffer.from(SECRET.repeat(3).slice(0, 64)).toString('base64');
const TOKEN = `eyJ0.${SECRET}.x`;
const content = pattern(100 * KIB);
const never = new AbortController().signal;

interface Credential {
  readonly scheme: 'HTTP' | 'TLS';
  readonly auth: BlobAuth;
  /** What must not show. */
  readonly secrets: readonly string[];
  readonly renewals: () => number;
}

function credentials(): Readonly<Record<string, Credential>> {
  let renewed = 0;
  const getToken = (): Promise<{ token: string; expiresOnTimestamp: number }> =>
    Promise.resolve({ token: `${TOKEN}${renewed}`, expiresOnTimestamp: Date.now() + 3_600_000 });
  return {
    token: {
      scheme: 'TLS',
      auth: { kind: 'token', credential: { getToken }, renew: () => void (renewed += 1) },
      secrets: [TOKEN, SECRET],
      renewals: () => renewed,
    },
    sas: {
      scheme: 'HTTP',
      auth: { kind: 'sas', query: () => `sv=2025-01-05&sp=rw&sig=${SECRET}%3D` },
      secrets: [SECRET],
      renewals: () => 0,
    },
    key: {
      scheme: 'HTTP',
      auth: { kind: 'shared-key', credential: new StorageSharedKeyCredential('account', KEY) },
      secrets: [KEY],
      renewals: () => 0,
    },
  };
}

/** What lets a request in: its query's signature, or its header. */
function proofOf(request: {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}): string {
  const { authorization } = request.headers;
  return authorization ?? new URLSearchParams(request.path.split('?')[1]).get('sig') ?? '';
}

function transfer(at: RawBench, auth: BlobAuth, counters = newCounters()): Promise<unknown> {
  return at.engine.download(
    {
      blob: at.server.location('blob', auth),
      fd: 1,
      sizeBytes: content.length,
      accept: () => undefined,
      counters,
    },
    never,
  );
}

t.test('refused once: the same request with what is new of the credential', async (t) => {
  for (const [name, { scheme, auth, renewals }] of Object.entries(credentials())) {
    for (const status of ['401 Unauthorized', '403 Forbidden']) {
      const at = await openRawBench(t, scheme);
      at.server.content = Buffer.alloc(0);
      const proofs: string[] = [];
      at.server.follow(async (connection) => {
        const request = await connection.request();
        if (!request) return;
        proofs.push(proofOf(request));
        await connection.send(errorAnswer(status, 'AuthenticationFailed'));
        await at.server.serve(connection);
      });
      const before = renewals();
      const blob = at.server.location('blob', auth);
      const counters = newCounters();
      await at.engine.download({ blob, fd: 1, sizeBytes: 0, accept: () => undefined, counters }, never);
      t.match(counters, { requests: 2, retries: 1 }, `${name}, ${status}`);
      t.not(proofs[0], '');
      if (name === 'token') {
        t.equal(renewals() - before, 1);
        t.not(proofOf(at.server.requests[0] ?? { path: '', headers: {} }), proofs[0], 'a new token');
      }
    }
  }
});

t.test('refused again: FORBIDDEN, after one renewal', async (t) => {
  for (const [name, { scheme, auth, renewals }] of Object.entries(credentials())) {
    const at = await openRawBench(t, scheme);
    let asked = 0;
    const refuse = async (connection: RawConnection): Promise<void> => {
      while (await connection.request()) {
        asked += 1;
        await connection.send(errorAnswer('403 Forbidden', 'AuthenticationFailed'));
      }
    };
    at.server.follow(refuse, refuse);
    await t.rejects(transfer(at, auth), { code: 'FORBIDDEN', errno: 13, retryable: false }, name);
    t.equal(asked, 2);
    t.equal(renewals(), name === 'token' ? 1 : 0);
  }
});

t.test('a token that cannot be had', async (t) => {
  const at = await openRawBench(t, 'TLS');
  const error = Object.assign(new Error('no identity'), { name: 'CredentialUnavailableError' });
  const auth: BlobAuth = { kind: 'token', credential: { getToken: () => Promise.reject(error) } };
  await t.rejects(transfer(at, auth), { code: 'TOKEN_FAILED', errno: 13 });
  t.equal(at.server.connections.length, 0);
});

/** All that a person may come to see of an error. */
function everythingOf(error: unknown): string {
  const texts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    texts.push(
      at.message,
      String(at.stack),
      JSON.stringify(at),
      inspect(at, { depth: 10, showHidden: true }),
    );
  }
  texts.push(JSON.stringify(azureError(error, 'Get Blob', 'blob')));
  return texts.join('\n');
}

/** Names of threads, command line and environment of this process. */
function titles(): string {
  const tasks = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8');
    } catch {
      return '';
    }
  });
  return [...tasks, readFileSync('/proc/self/cmdline', 'utf8'), process.title].join('\n');
}

type Failure = (connection: RawConnection) => Promise<void>;
const answering =
  (text: (request: string) => string): Failure =>
  async (connection) => {
    for (let next = await connection.request(); next; next = await connection.request()) {
      await connection.send(text(`${next.path} ${JSON.stringify(next.headers)}`));
    }
  };
const inBody = (status: string, text: string): string =>
  head(status, { 'content-length': String(text.length) }) + text;

const failures: Readonly<Record<string, Failure>> = {
  refused: answering(() => errorAnswer('403 Forbidden', 'AuthenticationFailed')),
  'refused with an echo': answering((request) => inBody('403 Forbidden', request)),
  'echoed as a code': answering((request) => {
    const code = request.replace(/\W/g, '_').slice(-80);
    return inBody('400 Bad Request', `<Error><Code>${code}</Code></Error>`);
  }),
  missing: answering(() => errorAnswer('404 Not Found', 'BlobNotFound')),
  'no answer at all': (connection) => {
    connection.reset();
    return Promise.resolve();
  },
  'not HTTP': answering((request) => `${request}\r\n\r\n`),
  'an echo for a header': answering((request) => `HTTP/1.1 200 OK\r\n${request}\r\n\r\n`),
  'an echo as code and request id': answering((request) => {
    const text = request.replace(/[^\x20-\x7e]/g, '');
    return head('400 Bad', { 'content-length': '0', 'x-ms-error-code': text, 'x-ms-request-id': text });
  }),
  'an echo as Content-Range': answering((request) => {
    const range = request.replace(/[^\x20-\x7e]/g, '');
    return head('206 Partial Content', { 'content-length': '0', 'content-range': range, etag: '"1"' });
  }),
};

t.test('no secret in any error, nor in a title', async (t) => {
  for (const [name, { scheme, auth, secrets }] of Object.entries(credentials())) {
    for (const [what, fail] of Object.entries(failures)) {
      const at = await openRawBench(t, scheme, { workers: what === 'refused' ? 1 : 0, maxTries: 2 });
      at.server.follow(...Array.from({ length: 4 }, () => fail));
      const error: unknown = await transfer(at, auth).catch((thrown: unknown) => thrown);
      t.match(error, { name: 'LhsmError', code: /^(?!UNEXPECTED)/ }, `${name}: ${what}`);
      const text = `${everythingOf(error)}\n${titles()}`;
      t.same(
        secrets.filter((secret) => text.includes(secret)),
        [],
        what,
      );
    }
  }
});
