// A self-signed certificate for loopback, made on the spot: no private key in the repository, no openssl needed.
// azurite.ts and the TLS tests call it.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

export interface Certificate {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** One DER element (ITU-T X.690): tag, length in as few bytes as it takes (Go insists on that), content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  const bytes = length.subarray(length.findIndex((byte) => byte !== 0));
  const head = body.length < 128 ? Buffer.of(body.length) : Buffer.of(0x80 | bytes.length, ...bytes);
  return Buffer.concat([Buffer.of(tag), head, body]);
}

const sequence = (...content: readonly Buffer[]): Buffer => der(0x30, ...content);
const oid = (...bytes: readonly number[]): Buffer => der(0x06, Buffer.from(bytes));
const octets = (content: Buffer): Buffer => der(0x04, content);
const bits = (content: Buffer): Buffer => der(0x03, Buffer.of(0), content);
const generalizedTime = (text: string): Buffer => der(0x18, Buffer.from(text));

export interface CertificateOptions {
  /** Whom it names: DNS names, and addresses as their bytes. No such extension where both are empty. */
  readonly names?: readonly string[];
  readonly addresses?: readonly (readonly number[])[];
  readonly commonName?: string;
  /** GeneralizedTime. */
  readonly from?: string;
  readonly to?: string;
}

/** A certificate, if nothing else is said for `localhost` and 127.0.0.1, its own authority, on a new P-256 key (RFC 5280). */
export function selfSigned({
  names = ['localhost'],
  addresses = [[127, 0, 0, 1]],
  commonName = `test ${randomBytes(4).toString('hex')}`,
  from = '20200101000000Z',
  to = '21200101000000Z',
}: CertificateOptions = {}): Certificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ecdsaWithSha256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02));
  const name = sequence(der(0x31, sequence(oid(0x55, 0x04, 0x03), der(0x0c, Buffer.from(commonName)))));
  const alternatives = [
    ...names.map((each) => der(0x82, Buffer.from(each))),
    ...addresses.map((each) => der(0x87, Buffer.from(each))),
  ];
  const altNames = sequence(...alternatives);
  const isAuthority = sequence(der(0x01, Buffer.of(0xff)));
  const extensions = der(
    0xa3,
    sequence(
      sequence(oid(0x55, 0x1d, 0x13), octets(isAuthority)),
      ...(alternatives.length > 0 ? [sequence(oid(0x55, 0x1d, 0x11), octets(altNames))] : []),
    ),
  );
  const serial = Buffer.concat([Buffer.of(0x01), randomBytes(8)]);
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, serial),
    ecdsaWithSha256,
    name,
    sequence(generalizedTime(from), generalizedTime(to)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    extensions,
  );
  const certificate = sequence(toBeSigned, ecdsaWithSha256, bits(sign('sha256', toBeSigned, privateKey)));
  const base64 = certificate.toString('base64').replace(/.{1,64}/g, '$&\n');
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}
