// Azurite's blob service in this process, in memory, on a port of its own: for tests, the demo and the benchmarks.
import { rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob';
import { AzureClients } from '../../daemon/azure-client.js';
import { scratchFolder } from './scratch.js';
import { selfSigned } from './self-signed.js';

export interface Azurite {
  /** `http://127.0.0.1:<port>/devstoreaccount1`; https where asked for. */
  readonly url: string;
  readonly account: string;
  readonly key: string;
  readonly connectionString: string;
  /** A temporary folder, gone after `stop`: for secret files and the like. */
  readonly dir: string;
  /** Holds the connection string, for `credential = { type: 'connection-string', file }`. */
  readonly connectionStringFile: string;
  /** The certificate, for `caFile`; undefined without https. */
  readonly caFile: string | undefined;
  /** Creates the container and answers a client of it, which does not try again. */
  container(name: string): Promise<ContainerClient>;
  /** Ends the service; nothing is left of it. */
  stop(): Promise<void>;
}

export interface AzuriteOptions {
  readonly https?: boolean;
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** `basic` also takes bearer tokens (over https), which it checks for their claims only. */
  readonly oauth?: 'basic';
}

const ACCOUNT = 'devstoreaccount1';
const KEY = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';

interface BlobServer {
  start(): Promise<void>;
  close(): Promise<void>;
  getHttpServerAddress(): string;
  readonly httpServer: { closeAllConnections(): void };
}

/** What is used of Azurite's own modules, which have no types. */
interface AzuriteModules {
  readonly Server: new (configuration: object) => BlobServer;
  readonly Configuration: new (...options: readonly unknown[]) => object;
  readonly ChunkStore: new () => object;
}

function loadAzurite(): AzuriteModules {
  const require = createRequire(import.meta.url);
  const base = 'azurite/dist/src';
  const server = require(`${base}/blob/BlobServer.js`) as { default: AzuriteModules['Server'] };
  const configuration = require(`${base}/blob/BlobConfiguration.js`) as {
    default: AzuriteModules['Configuration'];
  };
  const store = require(`${base}/common/persistence/MemoryExtentStore.js`) as {
    MemoryExtentChunkStore: AzuriteModules['ChunkStore'];
  };
  return {
    Server: server.default,
    Configuration: configuration.default,
    ChunkStore: store.MemoryExtentChunkStore,
  };
}

/** Starts a service of its own, empty: loose, any API version, no log, no telemetry (that is its command's part). */
export async function startAzurite(options: AzuriteOptions = {}): Promise<Azurite> {
  const { Server, Configuration, ChunkStore } = loadAzurite();
  const dir = scratchFolder('lhsm-azurite-');
  let caFile: string | undefined;
  let keyFile = '';
  if (options.https === true) {
    const { cert, key } = selfSigned();
    caFile = join(dir, 'cert.pem');
    keyFile = join(dir, 'key.pem');
    writeFileSync(caFile, cert);
    writeFileSync(keyFile, key);
  }
  const configuration = new Configuration(
    '127.0.0.1',
    options.port ?? 0,
    5, // keep-alive, seconds
    join(dir, 'blobs.json'),
    join(dir, 'extents.json'),
    [],
    false, // access log
    undefined,
    false, // debug log
    undefined,
    true, // loose
    true, // skipApiVersionCheck
    caFile ?? '',
    keyFile,
    '',
    options.oauth,
    true, // disableProductStyleUrl: the account stands in the path
    true, // in memory
    new ChunkStore(),
  );
  const server = new Server(configuration);
  try {
    await server.start();
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  const { port } = new URL(server.getHttpServerAddress().replace(/^https?s/, 'http'));
  const scheme = caFile === undefined ? 'http' : 'https';
  const url = `${scheme}://127.0.0.1:${port}/${ACCOUNT}`;
  const connectionString = `DefaultEndpointsProtocol=${scheme};AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${url};`;
  const connectionStringFile = join(dir, 'connection-string');
  writeFileSync(connectionStringFile, `${connectionString}\n`, { mode: 0o600 });
  const clients = new AzureClients({ caFile });
  const auth = { kind: 'shared-key', credential: new StorageSharedKeyCredential(ACCOUNT, KEY) } as const;
  return {
    url,
    account: ACCOUNT,
    key: KEY,
    connectionString,
    dir,
    connectionStringFile,
    caFile,
    async container(name) {
      const client = clients.container(`${url}/${name}`, auth);
      await client.create();
      return client;
    },
    async stop() {
      clients.close();
      await server.close();
      server.httpServer.closeAllConnections();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
