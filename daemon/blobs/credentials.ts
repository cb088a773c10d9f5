// From the configuration's credential to what signs requests: tokens through @azure/identity, account keys,
// connection strings and SAS from files. azure-container.ts calls it, `--check` too.
import {
  DefaultAzureCredential,
  EnvironmentCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from '@azure/identity';
import { StorageSharedKeyCredential } from '@azure/storage-blob';
import type { BlobAuth } from '../blob.js';
import type { CredentialConfig } from '../config/config.js';
import { LhsmError } from '../../native-bindings/errors.js';
import { TokenCache } from './token-cache.js';
import { RotatingSecret, Secret, badSecret, readSecret, secretPath } from './secret.js';

/** How to be let in, and, with a connection string, where the service is. */
export interface ResolvedCredential {
  readonly auth: BlobAuth;
  /** `https://<account>.blob.core.windows.net`, without a slash at the end. */
  readonly serviceUrl?: string;
}

export interface CredentialOptions {
  /** The account's name, taken from the container's URL; for account keys. */
  readonly account?: string | undefined;
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Told when a rotated secret is unusable and the last good one stays in force. */
  readonly onBadRotation?: ((error: unknown) => void) | undefined;
}

/** Azurite's well-known account, which `UseDevelopmentStorage=true` stands for (learn.microsoft.com, Configure connection strings). */
const DEVELOPMENT = {
  account: 'devstoreaccount1',
  key: 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==',
  serviceUrl: 'http://127.0.0.1:10000/devstoreaccount1',
};

/**
 * Makes the credential ready. Asks nothing of the network: a token that cannot be had shows at the first
 * request. Throws LhsmError (SECRET_UNREADABLE, SECRET_INVALID, CREDENTIAL_INVALID), never with a secret in it.
 */
export function resolveCredential(
  config: CredentialConfig,
  options: CredentialOptions = {},
): ResolvedCredential {
  const env = options.env ?? process.env;
  switch (config.type) {
    case 'default':
      return token(() => new DefaultAzureCredential());
    case 'environment':
      return token(() => new EnvironmentCredential());
    case 'managed-identity':
      return token(() =>
        config.clientId === undefined
          ? new ManagedIdentityCredential()
          : new ManagedIdentityCredential({ clientId: config.clientId }),
      );
    case 'workload-identity':
      return token(
        () =>
          new WorkloadIdentityCredential({
            ...(config.clientId === undefined ? {} : { clientId: config.clientId }),
            ...(config.tenantId === undefined ? {} : { tenantId: config.tenantId }),
            ...(config.tokenFile === undefined ? {} : { tokenFilePath: config.tokenFile }),
          }),
      );
    case 'sas': {
      const path = secretPath(config.file, env);
      const sas = new RotatingSecret(path, (secret) => checkSas(path, secret), options.onBadRotation);
      return { auth: { kind: 'sas', query: () => sas.reveal() } };
    }
    case 'account-key': {
      const path = secretPath(config.file, env);
      const account = config.account ?? options.account;
      if (account === undefined) {
        throw new LhsmError('An account key needs the name of its account.', {
          code: 'CREDENTIAL_INVALID',
          op: 'credential',
          errno: 22,
          hint: 'Write account = "…" beside the key, or the container as a full URL.',
        });
      }
      return { auth: sharedKey(path, account, readSecret(path).reveal()) };
    }
    case 'connection-string': {
      const path = secretPath(config.file, env);
      return parseConnectionString(path, readSecret(path).reveal());
    }
  }
}

function token(make: () => Extract<BlobAuth, { kind: 'token' }>['credential']): ResolvedCredential {
  try {
    const cache = new TokenCache(make());
    const renew = (refused: string): void => {
      cache.suspect(refused);
    };
    return { auth: { kind: 'token', credential: cache, renew } };
  } catch (error) {
    // The library checks its options and the AZURE_* variables here; its messages name them, not their values.
    throw new LhsmError(
      `The credential cannot be made: ${error instanceof Error ? error.message : 'unknown'}`,
      {
        code: 'CREDENTIAL_INVALID',
        op: 'credential',
        errno: 22,
        hint: "Set the credential's client_id, tenant_id and token_file, or the AZURE_* variables.",
      },
    );
  }
}

/** A SAS is a query string with a signature; a leading `?` and line ends are no part of it. */
function checkSas(path: string, secret: Secret): Secret {
  const query = secret.reveal().replace(/^\?/, '');
  const wrong = (what: string): LhsmError =>
    badSecret(path, what, 'Write a SAS into it: sv=…&…&sig=…, one line, no URL.');
  if (/[\s#]/.test(query)) throw wrong('holds more than one SAS');
  if (/^https?:/i.test(query)) throw wrong('holds a URL where a SAS belongs');
  const fields = new URLSearchParams(query);
  if (!fields.has('sig') || !fields.has('sv')) throw wrong('holds no SAS');
  return new Secret(query.replace(/(?<=(?:^|&)sig=)[^&]*/, encoded));
}

/** A signature as a query wants it: tools print it as plain base64, too, whose `+` would be read as a blank. */
function encoded(signature: string): string {
  try {
    return encodeURIComponent(decodeURIComponent(signature));
  } catch {
    return signature;
  }
}

function sharedKey(path: string, account: string, key: string): BlobAuth {
  // Buffer.from takes any text for base64: a wrong key would show only as 403.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || key.length % 4 !== 0 || key.length < 16) {
    throw badSecret(path, 'holds no account key', 'Write the key in base64 into it, as the portal shows it.');
  }
  return { kind: 'shared-key', credential: new StorageSharedKeyCredential(account, key) };
}

/** Reads a connection string: account key, SAS, or the development account. Throws LhsmError SECRET_INVALID. */
function parseConnectionString(path: string, text: string): ResolvedCredential {
  const fields = new Map<string, string>();
  for (const part of text.split(';')) {
    const equals = part.indexOf('=');
    if (equals > 0) fields.set(part.slice(0, equals).trim().toLowerCase(), part.slice(equals + 1).trim());
  }
  if (fields.get('usedevelopmentstorage')?.toLowerCase() === 'true') {
    const { account, key, serviceUrl } = DEVELOPMENT;
    return { auth: sharedKey(path, account, key), serviceUrl };
  }
  const wrong = (what: string): LhsmError =>
    badSecret(
      path,
      what,
      "Write the connection string of the account's page in the portal into it, on one line.",
    );
  const account = fields.get('accountname');
  const serviceUrl = serviceUrlOf(fields, account);
  if (serviceUrl === undefined) throw wrong('holds a connection string without BlobEndpoint or AccountName');
  if (!/^https?:\/\/[^/]/i.test(serviceUrl)) throw wrong('holds a BlobEndpoint that is no URL');
  const key = fields.get('accountkey');
  if (key !== undefined) {
    if (account === undefined) throw wrong('holds a connection string without AccountName');
    return { auth: sharedKey(path, account, key), serviceUrl };
  }
  const sas = fields.get('sharedaccesssignature');
  if (sas === undefined) throw wrong('holds a connection string without AccountKey or SharedAccessSignature');
  const query = checkSas(path, new Secret(sas));
  return { auth: { kind: 'sas', query: () => query.reveal() }, serviceUrl };
}

function serviceUrlOf(fields: ReadonlyMap<string, string>, account: string | undefined): string | undefined {
  const endpoint = fields.get('blobendpoint');
  if (endpoint !== undefined && endpoint !== '') return endpoint.replace(/\/+$/, '');
  if (account === undefined) return undefined;
  const protocol = fields.get('defaultendpointsprotocol') ?? 'https';
  const suffix = fields.get('endpointsuffix') ?? 'core.windows.net';
  return `${protocol}://${account}.blob.${suffix}`;
}
