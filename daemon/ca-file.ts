// Certificates to trust besides the system's own. azure-client.ts and the transfer engine call it.
import { readFileSync } from 'node:fs';
import { usualCertificates } from '../native-bindings/authorities.js';
import { LhsmError } from '../native-bindings/errors.js';

/** Reads the CA file. Throws LhsmError naming it when it cannot be read or holds no certificate. */
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
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new LhsmError(`The CA file ${path} holds no certificate.`, { code: 'EINVAL', op: 'read', ...mend });
  }
  // `ca` replaces what Node would trust, so that has to be said as well.
  return [...usualCertificates(), text];
}
