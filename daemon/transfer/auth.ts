// How requests that the SDK does not make are let in: a bearer token, a SAS as it is, and for an account key a SAS that
// the SDK makes and that does not live long. parts.ts asks for each request; nothing here is work for each.
import type { StorageSharedKeyCredential } from '@azure/storage-blob';
import { LhsmError } from '../../native-bindings/errors.js';
import { tokenError } from '../azure-errors.js';
import type { BlobAuth, BlobLocation } from '../blob.js';
import { USER_AGENT } from '../version.js';
import type { Target } from './worker/messages.js';

/**
 * The version of the REST API that is spoken: old enough for every account and emulator, new enough for blocks of
 * 4,000 MiB and CRC64 (https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services).
 */
const API_VERSION = '2021-12-02';

/** https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory */
const SCOPE = 'https://storage.azure.com/.default';

/** A SAS made of an account key lives that long, and is replaced when half of it is over. */
const SAS_MS = 60 * 60_000;

interface MadeSas {
  readonly query: string;
  readonly renewAtMs: number;
}

export class Authorizer {
  readonly #made = new WeakMap<StorageSharedKeyCredential, Map<string, MadeSas>>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * Where a request goes and the headers that all have. `query` comes before the SAS, `headers` are complete lines.
   * Rejects with LhsmError TOKEN_FAILED, INSECURE_URL, or what a secret's file gives.
   */
  async target(blob: BlobLocation, query: string, headers: string): Promise<Target> {
    const { url, auth } = blob;
    const hostAt = url.indexOf('//') + 2;
    const pathAt = url.indexOf('/', hostAt);
    // What ends a line would begin another header, or another request.
    if (pathAt < 0 || !isOneWord(url)) throw unusable(url);
    const origin = url.slice(0, pathAt);
    const host = origin.slice(hostAt);
    const sas = auth.kind === 'sas' ? auth.query() : auth.kind === 'token' ? '' : await this.#sas(auth, url);
    const whole = query === '' || sas === '' ? `${query}${sas}` : `${query}&${sas}`;
    if (!isOneWord(whole)) throw unusable(url);
    const path = whole === '' ? url.slice(pathAt) : `${url.slice(pathAt)}?${whole}`;
    const authorization = auth.kind === 'token' ? await bearer(auth, url) : '';
    return {
      origin,
      path,
      headers: `host: ${host}\r\nuser-agent: ${USER_AGENT}\r\nx-ms-version: ${API_VERSION}\r\n${authorization}${headers}`,
    };
  }

  /** The service has refused what was sent to `target`: the next one is made of another token or SAS. */
  renew({ url, auth }: BlobLocation, target: Target): void {
    if (auth.kind === 'token') {
      const [, refused] = /^authorization: Bearer (\S+)$/m.exec(target.headers) ?? [];
      if (refused !== undefined) auth.renew?.(refused);
    } else if (auth.kind === 'shared-key') {
      this.#made.get(auth.credential)?.delete(containerOf(url, auth.credential));
    }
  }

  async #sas({ credential }: Extract<BlobAuth, { kind: 'shared-key' }>, url: string): Promise<string> {
    const made = this.#made.get(credential) ?? new Map<string, MadeSas>();
    this.#made.set(credential, made);
    const containerName = containerOf(url, credential);
    const known = made.get(containerName);
    const now = this.#now();
    if (known && now < known.renewAtMs) return known.query;
    const { ContainerSASPermissions, generateBlobSASQueryParameters } = await import('@azure/storage-blob');
    const query = generateBlobSASQueryParameters(
      {
        containerName,
        permissions: ContainerSASPermissions.parse('racw'),
        expiresOn: new Date(now + SAS_MS),
      },
      credential,
    ).toString();
    made.set(containerName, { query, renewAtMs: now + SAS_MS / 2 });
    return query;
  }
}

/** Visible ASCII only: neither a blank nor the end of a line. */
function isOneWord(text: string): boolean {
  return !/[^\x21-\x7e]/.test(text);
}

async function bearer(auth: Extract<BlobAuth, { kind: 'token' }>, url: string): Promise<string> {
  if (!url.startsWith('https:')) {
    throw new LhsmError(`A token is not sent over plain HTTP to ${url}.`, {
      code: 'INSECURE_URL',
      op: 'Get Token',
      errno: 13,
      hint: 'Use an https URL, or a SAS or an account key.',
    });
  }
  const token = await auth.credential.getToken(SCOPE);
  if (!token || token.token === '' || !isOneWord(token.token)) throw tokenError(new Error('nothing of use'));
  return `authorization: Bearer ${token.token}\r\n`;
}

/** The container in a blob's URL: the first part of the path, behind the account where that stands there, too. */
function containerOf(url: string, { accountName }: StorageSharedKeyCredential): string {
  const { host, pathname } = new URL(url);
  const [first = '', second = ''] = pathname.slice(1).split('/');
  const isInPath = first === accountName && !host.startsWith(`${accountName}.`);
  return decodeURIComponent(isInPath ? second : first);
}

function unusable(url: string): LhsmError {
  return new LhsmError(`The URL ${JSON.stringify(url)} cannot be asked for.`, {
    code: 'REFUSED',
    op: 'request',
    errno: 22,
    hint: 'Look at the container and the SAS in the configuration.',
  });
}
