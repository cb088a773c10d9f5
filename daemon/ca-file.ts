// Certificates to trust besides the system's own. azure-client.ts and the transfer engine call it.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { usualCertificates } from '../native-bindings/authorities.js';
import { LhsmError } from '../native-bindings/errors.js';

/** Reads the CA file. Throws LhsmError naming it when it cannot be read, or not all in it is a certificate. */
export function loadCaFile(path: string): string[] {
  const mend = { hint: 'Mend transfer.ca_file: a file of PEM certificates that the daemon may read.' };
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'EIO';
    throw new LhsmError(`The CA file ${path} cannot be read (${code}).`, {
      code,
      op: 'read',
      cause,
      ...mend,
    });
  }
  const certificates = text.split(/^-----BEGIN CERTIFICATE-----/m).slice(1);
  if (certificates.length === 0) {
    throw new LhsmError(`The CA file ${path} holds no certificate.`, { code: 'EINVAL', op: 'read', ...mend });
  }
  // Both TLS and the SDK take those before it, and say nothing.
  const broken = certificates.findIndex((each) => !isCertificate(each));
  if (broken >= 0) {
    throw new LhsmError(
      `The CA file ${path} cannot be read from its certificate ${broken + 1} of ${certificates.length} on.`,
      { code: 'EINVAL', op: 'read', ...mend },
    );
  }
  // `ca` replaces what Node would trust, so that has to be said as well.
  return [...usualCertificates(), text];
}

/** Whether it is the rest of one, behind its first line. */
function isCertificate(rest: string): boolean {
  try {
    new X509Certificate(`-----BEGIN CERTIFICATE-----${rest}`);
    return true;
  } catch {
    return false;
  }
}
