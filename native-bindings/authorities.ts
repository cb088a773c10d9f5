// Whom Node trusts when nobody says otherwise: tls-session.ts tells OpenSSL, ca-file.ts adds to it.
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

/** Whom to trust: certificates, and whether also whom OpenSSL was built to trust, or SSL_CERT_FILE and SSL_CERT_DIR name. */
export interface Authorities {
  readonly pems: readonly string[];
  readonly system: boolean;
}

/** From Node 22.15 on; the version that types are for is older. */
const { getCACertificates } = tls as {
  readonly getCACertificates?: (type: 'default' | 'system') => string[];
};

/** What node:tls trusts by itself, in this process as it was started. */
export function usualAuthorities(): Authorities {
  const system = trustsSystem();
  // It knows of every option and variable there is, but does not list what OpenSSL finds by itself.
  if (getCACertificates) return { pems: getCACertificates('default'), system };
  const pems = system ? [] : tls.rootCertificates;
  const extra = process.env['NODE_EXTRA_CA_CERTS'];
  if (extra === undefined || extra === '') return { pems, system };
  try {
    return { pems: [...pems, readFileSync(extra, 'utf8')], system };
  } catch {
    // Node has warned of it when it started.
    return { pems, system };
  }
}

/**
 * The same for who can only name certificates. Where OpenSSL finds them, and this Node cannot list those, its own ones stand
 * for them.
 */
export function usualCertificates(): readonly string[] {
  const { pems, system } = usualAuthorities();
  if (!system) return pems;
  return [...pems, ...(getCACertificates?.('system') ?? tls.rootCertificates)];
}

/** Whether Node was told to trust whom OpenSSL does, or built to. */
function trustsSystem(): boolean {
  // Not process.execArgv: that of a worker is its own, and these options are the whole process's.
  const given = readFileSync('/proc/self/cmdline', 'utf8').split('\0');
  const options = [...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/), ...given];
  const last = options.findLast((option) => /^--use[-_](openssl|bundled)[-_]ca$/.test(option));
  if (last !== undefined) return last.includes('openssl');
  // Debian's nodejs.
  const { target_defaults } = process.config as { target_defaults?: { defines?: readonly string[] } };
  return target_defaults?.defines?.includes('NODE_OPENSSL_CERT_STORE') ?? false;
}
