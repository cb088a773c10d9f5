// TLS over memory against node:tls: content is right whichever way ciphertext is cut, who is not who it should be is refused with
// Node's codes, and nothing that a peer sends is taken for content that it did not encrypt.
import tls from 'node:tls';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { bodyThreads } from '../../native-bindings/body-threads.js';
import { TlsSession, tlsContext, type TlsContext } from '../../native-bindings/tls-session.js';
import { selfSigned, type CertificateOptions } from '../helpers/self-signed.js';
import { decrypt, encrypt, shakeHands, TlsPeer } from './tls-peer.js';

const certificate = selfSigned();
const versions = ['TLSv1.2', 'TLSv1.3'] as const;

function contextOf(...ca: readonly string[]): TlsContext {
  const context = tlsContext(ca);
  if (!context) throw new Error('wire.node was not built');
  return context;
}

const trusting = contextOf(certificate.cert);

function peerFor(t: Test, options: tls.SecureContextOptions = {}, { cert, key } = certificate): TlsPeer {
  const peer = new TlsPeer({ secureContext: tls.createSecureContext({ cert, key, ...options }) });
  t.teardown(() => {
    peer.destroy();
  });
  return peer;
}

async function connected(
  t: Test,
  options: tls.SecureContextOptions = {},
): Promise<{ readonly session: TlsSession; readonly peer: TlsPeer }> {
  const session = new TlsSession(trusting, 'localhost');
  const peer = peerFor(t, options);
  await shakeHands(session, peer);
  return { session, peer };
}

const bytes = fc.uint8Array({ minLength: 1, maxLength: 70_000, size: 'max' }).map((all) => Buffer.from(all));
const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 40, max: 50_000 })), {
  minLength: 1,
  maxLength: 5,
});

for (const version of versions) {
  const only = { minVersion: version, maxVersion: version };

  t.test(`content goes both ways, by ${version}`, async (t) => {
    const { session, peer } = await connected(t, only);
    t.equal(peer.socket.getProtocol(), version);
    await fc.assert(
      fc.asyncProperty(bytes, sizes, fc.integer({ min: 1, max: 70_000 }), async (content, cuts, room) => {
        const plain = decrypt(session, await peer.say(content), cuts, room);
        if (!plain.equals(content)) throw new Error('other content has come');
        peer.received = Buffer.alloc(0);
        peer.hear(encrypt(session, content));
        await peer.said();
        if (!peer.received.equals(content)) throw new Error('other content has arrived');
      }),
      { numRuns: 30 },
    );
  });

  t.test(`ciphertext that was changed is an error, or not looked at yet, by ${version}`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), async (place, mask) => {
        const { session, peer } = await connected(t, only);
        const content = Buffer.alloc(40_000, 'content ');
        const cipher = await peer.say(content);
        const at = place % cipher.length;
        cipher[at] = (cipher[at] ?? 0) ^ mask;
        let plain: Buffer = Buffer.alloc(0);
        let code = '';
        try {
          plain = decrypt(session, cipher, [5000]);
        } catch (error) {
          code = (error as NodeJS.ErrnoException).code ?? '';
        }
        if (!content.subarray(0, plain.length).equals(plain)) throw new Error('wrong content');
        // Half a record, whose length was made larger, is still waited for.
        if (code === '' ? plain.length >= content.length : !code.startsWith('ERR_SSL_'))
          throw new Error(`no error, ${code}`);
        session.free();
        peer.destroy();
      }),
      { numRuns: 40 },
    );
  });

  t.test(
    `the next session is shortened by a ticket, and one that is of no use does not matter, by ${version}`,
    async (t) => {
      const secureContext = tls.createSecureContext({ ...certificate, ...only });
      const meet = async (ticket?: Uint8Array, own = secureContext) => {
        const session = new TlsSession(trusting, 'localhost', ticket);
        const peer = new TlsPeer({ secureContext: own });
        t.teardown(() => {
          peer.destroy();
        });
        await shakeHands(session, peer);
        const content = Buffer.from('it works');
        t.same(decrypt(session, await peer.say(content)), content);
        return { reused: peer.socket.isSessionReused(), ticket: session.ticket(), again: session.ticket() };
      };
      const first = await meet();
      t.notOk(first.reused);
      t.ok(first.ticket);
      t.equal(first.again, undefined, 'given once');
      t.ok((await meet(first.ticket)).reused);
      const stranger = tls.createSecureContext({ ...certificate, ...only });
      t.notOk((await meet(first.ticket, stranger)).reused, 'another server cannot read it');
      t.notOk((await meet(Buffer.from('garbage'))).reused);
      t.notOk((await meet(new Uint8Array())).reused);
    },
  );

  t.test(`the peer's farewell is seen, behind what came before it, by ${version}`, async (t) => {
    const { session, peer } = await connected(t, only);
    peer.socket.end('last words');
    const cipher = await peer.said();
    t.equal(session.closed, false);
    t.equal(decrypt(session, cipher).toString(), 'last words');
    t.equal(session.closed, true);
  });
}

async function meet(host: string, options: CertificateOptions): Promise<unknown> {
  const own = selfSigned(options);
  const session = new TlsSession(contextOf(own.cert), host);
  const peer = new TlsPeer({ secureContext: tls.createSecureContext({ cert: own.cert, key: own.key }) });
  try {
    await shakeHands(session, peer);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  } finally {
    peer.destroy();
    session.free();
  }
}

t.test('whom a certificate names', async (t) => {
  const named = (names: readonly string[], addresses: readonly (readonly number[])[] = []) => ({
    names,
    addresses,
  });
  const loopback6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
  const azure = named(['*.blob.example.net']);
  const good: readonly (readonly [string, CertificateOptions])[] = [
    ['a.blob.example.net', azure],
    ['A.Blob.Example.NET', azure],
    ['a.blob.example.net.', azure],
    ['localhost', named([], [])],
    ['127.0.0.1', named(['localhost'], [[127, 0, 0, 1]])],
    ['::1', named([], [loopback6])],
    ['0:0:0:0:0:0:0:1', named([], [loopback6])],
  ];
  for (const [host, options] of good) {
    t.equal(
      await meet(host, { commonName: 'localhost', ...options }),
      undefined,
      `${host} by ${JSON.stringify(options)}`,
    );
  }
  const bad: typeof good = [
    ['b.a.blob.example.net', azure],
    ['blob.example.net', azure],
    ['a.blob.example.org', azure],
    ['localhost', azure],
    ['ab.blob.example.net', named(['a*.blob.example.net'])],
    ['127.0.0.2', named(['localhost'], [[127, 0, 0, 1]])],
    ['127.0.0.1', named(['127.0.0.1'])],
    ['::2', named([], [loopback6])],
    ['127.0.0.1', { ...named([]), commonName: '127.0.0.1' }],
    ['localhost', named(['localhost\0.example.net'])],
  ];
  for (const [host, options] of bad) {
    const code = await meet(host, { commonName: 'localhost', ...options });
    t.equal(code, 'HOSTNAME_MISMATCH', `${host} by ${JSON.stringify(options)}`);
  }
});

t.test('when a certificate is good, and who vouches for it', async (t) => {
  t.equal(await meet('localhost', { to: '20210101000000Z' }), 'CERT_HAS_EXPIRED');
  t.equal(await meet('localhost', { from: '21000101000000Z' }), 'CERT_NOT_YET_VALID');
  for (const context of [contextOf(selfSigned().cert), tlsContext(undefined)]) {
    const session = new TlsSession(context ?? trusting, 'localhost');
    const peer = peerFor(t);
    await t.rejects(shakeHands(session, peer), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    const alert = session.drain();
    if (alert) peer.hear(alert);
    await peer.said();
    t.match(peer.error, { code: /ALERT_UNKNOWN_CA/ }, 'the peer is told');
    t.equal(session.established, false);
  }
});

t.test('texts of certificates count up to the first that cannot be read', async (t) => {
  const broken = certificate.cert.replace(/^M/m, '!!!');
  const encrypted = certificate.cert.replace(
    'CERTIFICATE-----\n',
    'CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00000000000000000000000000000000\n\n',
  );
  const other = selfSigned().cert;
  const texts: readonly (readonly string[])[] = [
    [`${other}${certificate.cert}`],
    [`a comment\r\n${certificate.cert}`.replaceAll('\n', '\r\n')],
    [certificate.key + certificate.cert],
    [`${certificate.cert}${certificate.cert}`, certificate.cert],
    ['', `${other}${broken}`, encrypted, certificate.cert],
    [`${certificate.cert}${broken}`],
  ];
  for (const [index, ca] of texts.entries()) {
    const session = new TlsSession(contextOf(...ca), 'localhost');
    await shakeHands(session, peerFor(t));
    t.ok(session.established, `text ${index}`);
  }
  for (const ca of [[], [''], ['no certificate'], [broken], [encrypted], [certificate.key]]) {
    t.throws(() => tlsContext(ca), { code: /^ERR_SSL_/ }, 'nobody to trust is an error, and not everybody');
  }
});

t.test('garbage is an error with a reason, and never a crash', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 11, maxLength: 2000 }), sizes, (garbage, cuts) => {
      const session = new TlsSession(trusting, 'localhost');
      session.read(garbage, 0, 0, Buffer.alloc(10));
      try {
        const plain = decrypt(session, Buffer.from(garbage), cuts);
        if (plain.length > 0) throw new Error('content of garbage');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code?.startsWith('ERR_SSL_') !== true) throw error;
      }
      session.free();
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('a peer that would negotiate anew is refused', async (t) => {
  const { session, peer } = await connected(t, { maxVersion: 'TLSv1.2' });
  peer.socket.renegotiate({}, () => undefined);
  const asked = await peer.said();
  t.ok(asked.length > 0);
  t.equal(decrypt(session, asked).length, 0);
  const alert = session.drain();
  t.equal(alert?.[0], 21, 'an alert is the answer');
  t.ok(session.established);
});

t.test('what is kept comes before what is read', async (t) => {
  const { session, peer } = await connected(t);
  const content = Buffer.alloc(50_000, 'what is kept ');
  const cipher = await peer.say(content);
  session.keep(cipher, 0, 10_000);
  session.keep(cipher, 10_000, 10_001);
  t.ok(decrypt(session, cipher.subarray(10_001)).equals(content));
});

t.test('calls that must not be made throw', async (t) => {
  const { session } = await connected(t);
  const some = Buffer.alloc(10);
  t.throws(() => session.read(some, 5, 4, some), TypeError);
  t.throws(() => session.read(some, 0, 11, some), TypeError);
  t.throws(() => {
    session.keep(some, 0, 11);
  }, TypeError);
  t.throws(() => new TlsSession(trusting, ''), TypeError);
  t.throws(() => new TlsSession(trusting, '.example.net'), TypeError, 'all below that would do');
  t.throws(() => new TlsSession(trusting, 'a\0b'), TypeError);
  t.throws(() => new TlsSession(trusting, 'a'.repeat(300)), TypeError);
  const unborn = new TlsSession(trusting, 'localhost');
  t.throws(() => unborn.write(some, some), 'before the handshake');
  session.free();
  session.free();
  const used: readonly (() => unknown)[] = [
    () => session.read(some, 0, 0, some),
    () => session.write(some, some),
    () => {
      session.keep(some, 0, 1);
    },
  ];
  for (const call of used) t.throws(call, TypeError, 'freed');
  const request = { socket: 0, session: session.handle, file: 1, at: 0, end: 1, fileBytes: 1, stallMs: 1 };
  const rest = {
    contentBytes: 5,
    filled: 0,
    progress: new Float64Array(1),
    slot: -1,
    keepHoles: false,
    crc: false,
  };
  t.throws(() => bodyThreads()?.take({ ...request, ...rest, buffer: some }), TypeError);
});
