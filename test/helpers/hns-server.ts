// A small account with a hierarchical namespace, in memory: List Blobs with permissions, Path - List, properties, content and
// account information, which Azurite does not have. For tests of listings and of imports. Read only.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HnsPath {
  readonly isDirectory: boolean;
  readonly content: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
  readonly owner: string;
  readonly group: string;
  /** `rwxr-x---`, maybe with `+`. */
  readonly permissions: string;
  /** Without quotes. */
  readonly etag: string;
}

export interface HnsRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers: IncomingMessage['headers'];
}

const MODIFIED = 'Sun, 22 Nov 2026 09:32:49 GMT';

export class HnsServer {
  readonly requests: HnsRequest[] = [];
  /** Get Account Information is answered with 403. */
  refusesAccountInfo = false;
  containerMissing = false;
  /** Every second page of paths is empty. */
  emptyPages = false;
  /** A listing of blobs tells the type of each, as the service does since version 2020-10-02. */
  tellsResourceType = true;
  /** What List Blobs does when asked for owners and permissions. */
  permissions: 'told' | 'left out' | 'refused' = 'told';
  readonly #paths = new Map<string, HnsPath>();
  readonly #server = createServer((request, response) => {
    this.#serve(request, response);
  });
  #versions = 0;

  get containerUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/account/container`;
  }

  /** Puts a file there, its missing directories first. */
  file(path: string, content = '', more: Partial<HnsPath> = {}): HnsPath {
    return this.#put(path, { content: Buffer.from(content), permissions: 'rw-r-----', ...more });
  }

  directory(path: string, more: Partial<HnsPath> = {}): HnsPath {
    const metadata = { hdi_isfolder: 'true', ...more.metadata };
    return this.#put(path, { isDirectory: true, permissions: 'rwxr-x---', ...more, metadata });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return this;
  }

  async stop(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => {
        resolve();
      });
      this.#server.closeAllConnections();
    });
  }

  #put(path: string, more: Partial<HnsPath>): HnsPath {
    const slash = path.lastIndexOf('/');
    if (slash !== -1 && !this.#paths.has(path.slice(0, slash))) this.directory(path.slice(0, slash));
    this.#versions += 1;
    const entry: HnsPath = {
      isDirectory: false,
      content: Buffer.alloc(0),
      metadata: {},
      owner: '$superuser',
      group: '$superuser',
      permissions: 'rw-r-----',
      etag: `0x8D${this.#versions.toString(16).padStart(6, '0')}`,
      ...more,
    };
    this.#paths.set(path, entry);
    return entry;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url: target = '/', headers } = request;
    this.requests.push({ method, target, headers });
    request.resume();
    const url = new URL(target, 'http://localhost');
    const query = url.searchParams;
    const name = decodeURIComponent(url.pathname.split('/').slice(3).join('/'));
    response.setHeader('x-ms-version', '2021-12-02');
    response.setHeader('x-ms-request-id', String(this.requests.length));
    if (query.get('restype') === 'account') this.#account(response);
    else if (this.containerMissing)
      fail(response, 404, query.has('resource') ? 'FilesystemNotFound' : 'ContainerNotFound');
    else if (query.get('resource') === 'filesystem') this.#list(query, response);
    else if (query.get('comp') === 'list') this.#blobs(query, response);
    else this.#blob(method, name, headers, response);
  }

  #account(response: ServerResponse): void {
    if (this.refusesAccountInfo) {
      fail(response, 403, 'AuthorizationFailure');
      return;
    }
    response.setHeader('x-ms-is-hns-enabled', 'true');
    response.setHeader('x-ms-sku-name', 'Standard_LRS');
    response.setHeader('x-ms-account-kind', 'StorageV2');
    response.end();
  }

  /** https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path/list */
  #list(query: URLSearchParams, response: ServerResponse): void {
    const directory = query.get('directory') ?? '';
    if (directory !== '' && this.#paths.get(directory)?.isDirectory !== true) {
      fail(response, 404, 'PathNotFound');
      return;
    }
    const within = directory === '' ? '' : `${directory}/`;
    const isDeep = query.get('recursive') === 'true';
    const found = this.#below(within, isDeep);
    const { page, next } = this.#page(found, query.get('continuation'), query.get('maxResults'));
    if (next !== undefined) response.setHeader('x-ms-continuation', next);
    response.setHeader('content-type', 'application/json;charset=utf-8');
    response.end(JSON.stringify({ paths: page.map(([path, entry]) => listed(path, entry)) }));
  }

  /** https://learn.microsoft.com/rest/api/storageservices/list-blobs, with a prefix that is empty or ends in a slash. */
  #blobs(query: URLSearchParams, response: ServerResponse): void {
    const prefix = query.get('prefix') ?? '';
    const include = (query.get('include') ?? '').split(',');
    const isDeep = !query.has('delimiter');
    // The page above says that a file in the middle of a prefix is an error, not which.
    const isInFile = prefix !== '' && this.#paths.get(prefix.slice(0, -1))?.isDirectory === false;
    if (isInFile || (include.includes('permissions') && this.permissions === 'refused')) {
      fail(response, 400, 'InvalidQueryParameterValue');
      return;
    }
    const found = this.#below(prefix, isDeep);
    const { page, next = '' } = this.#page(found, query.get('marker'), query.get('maxresults'));
    const told = {
      permissions: include.includes('permissions') && this.permissions === 'told',
      metadata: include.includes('metadata'),
      type: this.tellsResourceType,
    };
    const items = page.map(([path, entry]) => {
      if (isDeep || !entry.isDirectory) return `<Blob>${xmlOf(path, entry, told)}</Blob>`;
      return `<BlobPrefix>${xmlOf(`${path}/`, entry, { ...told, metadata: false })}</BlobPrefix>`;
    });
    response.setHeader('content-type', 'application/xml');
    response.end(
      `\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="container"><Blobs>${items.join('')}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`,
    );
  }

  /** A directory comes right before what is in it. */
  #below(within: string, isDeep: boolean): [string, HnsPath][] {
    return [...this.#paths.entries()]
      .filter(([path]) => path.startsWith(within) && (isDeep || !path.includes('/', within.length)))
      .sort(([a], [b]) => (a.replaceAll('/', '\0') < b.replaceAll('/', '\0') ? -1 : 1));
  }

  #page(
    found: [string, HnsPath][],
    token: string | null,
    maxResults: string | null,
  ): { page: [string, HnsPath][]; next?: string } {
    const [at = 0, count = 0] =
      token === null ? [] : (JSON.parse(Buffer.from(token, 'base64').toString()) as number[]);
    const most = this.emptyPages && count % 2 === 0 ? 0 : Number(maxResults ?? 5000);
    const end = Math.min(found.length, at + most);
    const page = found.slice(at, end);
    if (end >= found.length) return { page };
    return { page, next: Buffer.from(JSON.stringify([end, count + 1])).toString('base64') };
  }

  #blob(method: string, name: string, headers: IncomingMessage['headers'], response: ServerResponse): void {
    const entry = this.#paths.get(name);
    if (entry === undefined) {
      fail(response, 404, 'BlobNotFound');
      return;
    }
    const ifMatch = headers['if-match'];
    if (ifMatch !== undefined && ifMatch !== `"${entry.etag}"`) {
      fail(response, 412, 'ConditionNotMet');
      return;
    }
    const { content } = entry;
    const range = /^bytes=(\d+)-(\d+)$/.exec(String(headers['x-ms-range'] ?? headers.range ?? ''));
    if (range && Number(range[1]) >= content.length) {
      fail(response, 416, 'InvalidRange');
      return;
    }
    const body = range ? content.subarray(Number(range[1]), Number(range[2]) + 1) : content;
    if (range) {
      response.statusCode = 206;
      response.setHeader(
        'content-range',
        `bytes ${range[1] ?? ''}-${Number(range[1]) + body.length - 1}/${content.length}`,
      );
    }
    const said = {
      etag: `"${entry.etag}"`,
      'last-modified': MODIFIED,
      'content-type': 'application/octet-stream',
      'content-length': String(body.length),
      'x-ms-blob-type': 'BlockBlob',
      'x-ms-access-tier': 'Hot',
      'x-ms-owner': entry.owner,
      'x-ms-group': entry.group,
      'x-ms-permissions': entry.permissions,
      'x-ms-resource-type': entry.isDirectory ? 'directory' : 'file',
    };
    for (const [key, value] of Object.entries(said)) response.setHeader(key, value);
    for (const [key, value] of Object.entries(entry.metadata)) response.setHeader(`x-ms-meta-${key}`, value);
    response.end(method === 'HEAD' ? undefined : body);
  }
}

/** Numbers and booleans are texts, and files have no `isDirectory`. */
function listed(name: string, entry: HnsPath): Readonly<Record<string, string>> {
  const { owner, group, permissions, etag, content } = entry;
  const common = { name, owner, group, permissions, etag, lastModified: MODIFIED };
  if (entry.isDirectory) return { ...common, contentLength: '0', isDirectory: 'true' };
  return { ...common, contentLength: String(content.length) };
}

/** Inside of an entry of List Blobs. A prefix tells no metadata. */
function xmlOf(
  name: string,
  { owner, group, permissions, etag, content, isDirectory, metadata }: HnsPath,
  told: { readonly permissions: boolean; readonly metadata: boolean; readonly type: boolean },
): string {
  const fields = {
    'Last-Modified': MODIFIED,
    Etag: etag,
    ...(told.type ? { ResourceType: isDirectory ? 'directory' : 'file' } : {}),
    'Content-Length': String(content.length),
    BlobType: 'BlockBlob',
    AccessTier: 'Hot',
    ...(told.permissions ? { Owner: owner, Group: group, Permissions: permissions, Acl: '' } : {}),
  };
  return `<Name>${escaped(name)}</Name><Properties>${elements(fields)}</Properties>${told.metadata ? `<Metadata>${elements(metadata)}</Metadata>` : ''}`;
}

function elements(fields: Readonly<Record<string, string>>): string {
  return Object.entries(fields)
    .map(([key, value]) => `<${key}>${escaped(value)}</${key}>`)
    .join('');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.statusCode = status;
  response.setHeader('x-ms-error-code', code);
  response.setHeader('content-type', 'application/json;charset=utf-8');
  response.end(JSON.stringify({ error: { code, message: 'Refused.' } }));
}

/** Starts an empty account. */
export function startHnsServer(): Promise<HnsServer> {
  return new HnsServer().start();
}
