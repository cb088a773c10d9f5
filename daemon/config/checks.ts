// What no single key can say: checks of keys against each other. load.ts calls them on whatever parts of the
// configuration are well-formed, so that everything wrong is said at once.
import { defaultBufferMib, defaults, defaultWorkers } from './defaults.js';
import type { Problem } from './problems.js';
import { containerAddress, mostSegments } from '../blobs/container-url.js';
import { loggingPlace, type PlacedArchive } from '../blobs/logging-place.js';
import { isContainerName } from '../blobs/names.js';
import type { FileArchive, FileConfig } from './schema.js';

/** The parts that are well-formed; archives keep their position in the file. */
export interface Parts {
  readonly config: Partial<Omit<FileConfig, 'archive'>>;
  readonly archives: readonly { readonly at: number; readonly archive: FileArchive }[];
}

/** `/a//b/` → `a/b/`; empty stays empty. */
export function normalisePrefix(prefix: string): string {
  const trimmed = prefix.replaceAll(/^\/+|\/+$/g, '');
  return trimmed === '' ? '' : `${trimmed}/`;
}

const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/** $logs is the service's own, and only for reading. */
const isOurs = (name: string): boolean => isContainerName(name) && name !== '$logs';

const parseUrl = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

/** What is wrong with a container's address; undefined when nothing is. */
export function containerProblem({ container, credential }: FileArchive): Omit<Problem, 'path'> | undefined {
  if (!container.includes('://') && credential.type !== 'connection-string') {
    return {
      message: 'is not a URL',
      hint: 'Write https://<account>.blob.core.windows.net/<container>; a bare name goes with a connection string only.',
    };
  }
  return addressProblem(container);
}

/** The same for a container without a credential of its own, where a bare name will do. */
function addressProblem(container: string): Omit<Problem, 'path'> | undefined {
  if (!container.includes('://')) return isOurs(container) ? undefined : badName(container);
  const url = parseUrl(container);
  if (!url) return { message: 'is not a URL that can be read' };
  // Never show the query or the user part: it may be a secret.
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    return {
      message: 'carries more than an address',
      hint: 'Put a SAS into a file, and credential = { type = "sas", file = "…" }.',
    };
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback.test(url.hostname))) {
    return { message: 'is not an https URL', hint: 'http is taken for a loopback address only (Azurite).' };
  }
  const path = url.pathname.split('/').filter(Boolean);
  const name = path.at(-1);
  if (name === undefined) return { message: 'names no container', hint: 'Add /<container> to the URL.' };
  if (path.length > mostSegments(url)) {
    return {
      message: 'holds more than account and container',
      hint: 'Folders within the container go into prefix = "…".',
    };
  }
  return isOurs(name) ? undefined : badName(name);
}

function badName(name: string): Omit<Problem, 'path'> {
  return {
    message: `has no valid container name${/^[\w$.-]{1,80}$/.test(name) ? `: ${name}` : ''}`,
    hint: 'A container has 3 to 63 lower-case letters, digits and single hyphens.',
  };
}

function prefixProblem(prefix: string): string | undefined {
  const names = normalisePrefix(prefix).split('/').slice(0, -1);
  if (names.some((name) => name === '' || name === '.' || name === '..')) {
    return 'has an empty, `.` or `..` part';
  }
  if (names.some((name) => name.endsWith('.'))) return 'has a part that ends in a dot, which Azure drops';
  if (prefix.includes('\\')) return 'has a backslash, which Azure takes for a slash';
  // eslint-disable-next-line no-control-regex -- control characters are what this is about
  return /[\u0000-\u001f\u007f]/.test(prefix) ? 'has a control character' : undefined;
}

function* archiveProblems(archives: Parts['archives']): Iterable<Problem> {
  for (const { at, archive } of archives) {
    const bad = containerProblem(archive);
    if (bad) {
      const path = ['archive', at, 'container'];
      yield { ...bad, path, message: `archive[${at + 1}].container ${bad.message}` };
    }
    const badPrefix = prefixProblem(archive.prefix);
    if (badPrefix !== undefined) {
      yield { path: ['archive', at, 'prefix'], message: `archive[${at + 1}].prefix ${badPrefix}` };
    }
    const { credential } = archive;
    if ('file' in credential && credential.file.includes('/') && !credential.file.startsWith('/')) {
      yield {
        path: ['archive', at, 'credential', 'file'],
        message: `archive[${at + 1}].credential.file is a relative path`,
        hint: 'Write an absolute path, or the bare name of a systemd credential.',
      };
    }
  }
  for (const [index, { at, archive }] of archives.entries()) {
    for (const before of archives.slice(0, index)) {
      if (before.archive.id === archive.id) {
        yield {
          path: ['archive', at, 'id'],
          message: `archive[${at + 1}].id ${archive.id} is that of archive[${before.at + 1}], too`,
          hint: 'Give each archive an id of its own.',
        };
      }
      const [a, b] = [normalisePrefix(archive.prefix), normalisePrefix(before.archive.prefix)];
      if (sameContainer(archive, before.archive) && (a.startsWith(b) || b.startsWith(a))) {
        yield {
          path: ['archive', at, 'prefix'],
          message: `archive[${at + 1}] and archive[${before.at + 1}] overlap: one container, and one prefix holds the other`,
          hint: 'Give them different containers, or prefixes of which none begins with another.',
        };
      }
    }
  }
}

function sameContainer(a: FileArchive, b: FileArchive): boolean {
  if (a.container.includes('://') !== b.container.includes('://')) return false;
  // Bare names are in whatever account the connection string names: the same file, the same account.
  if (!a.container.includes('://')) {
    const files = [a, b].map(({ credential }) => ('file' in credential ? credential.file : undefined));
    return a.container === b.container && files[0] === files[1];
  }
  const plain = ({ container }: FileArchive): string =>
    parseUrl(container)?.href.replace(/\/+$/, '') ?? container;
  return plain(a) === plain(b);
}

/** The account of a bare name stands in its connection string only. undefined for an address that is wrong. */
function placed(archive: FileArchive): PlacedArchive | undefined {
  if (containerProblem(archive)) return undefined;
  const { container, credential } = archive;
  return {
    container,
    credential,
    address: container.includes('://') ? containerAddress(container) : undefined,
  };
}

function* loggingProblems(logging: string, archives: readonly FileArchive[]): Iterable<Problem> {
  const path = ['jobs', 'logging_container'];
  const bad = addressProblem(logging);
  if (bad) {
    yield { ...bad, path, message: `jobs.logging_container ${bad.message}` };
    return;
  }
  const known = archives.map(placed).filter((archive) => archive !== undefined);
  // Where the address of an archive is to be mended first, it may be in that one's account.
  if (known.length < archives.length) return;
  const found = loggingPlace(logging, known);
  if (!found) {
    yield {
      path,
      message: 'jobs.logging_container is in an account of none of the archives',
      hint: "It is opened with an archive's credential: name a container beside one of theirs.",
    };
  } else if (found.isData) {
    yield {
      path,
      message: "jobs.logging_container is an archive's container",
      hint: 'Give the jobs a container of their own, in the same account.',
    };
  }
}

function listenProblem(listen: string): boolean {
  if (listen === 'off') return false;
  const [, port] = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(listen) ?? [];
  return port === undefined || Number(port) > 65_535;
}

/** Everything that contradicts itself. */
export function* crossProblems({ config, archives }: Parts): Iterable<Problem> {
  yield* archiveProblems(archives);
  const { scheduler, hsm, transfer, http, jobs, mount } = config;
  if (scheduler && scheduler.restore_reserved >= scheduler.max_actions) {
    yield {
      path: ['scheduler', 'restore_reserved'],
      message: `scheduler.restore_reserved (${scheduler.restore_reserved}) must be below scheduler.max_actions (${scheduler.max_actions})`,
      hint: 'Otherwise nothing could ever be archived.',
    };
  }
  if (hsm && hsm.heartbeat_s >= hsm.active_request_timeout_s / 2) {
    yield {
      path: ['hsm', 'heartbeat_s'],
      message: `hsm.heartbeat_s (${hsm.heartbeat_s}) must be below half of hsm.active_request_timeout_s (${hsm.active_request_timeout_s})`,
      hint: 'Otherwise one late heartbeat would cost an action.',
    };
  }
  if (hsm && hsm.restore_first_progress_s >= hsm.active_request_timeout_s) {
    yield {
      path: ['hsm', 'restore_first_progress_s'],
      message: `hsm.restore_first_progress_s (${hsm.restore_first_progress_s}) must be below hsm.active_request_timeout_s (${hsm.active_request_timeout_s})`,
      hint: 'Otherwise the coordinator would give every long restore up.',
    };
  }
  if (
    hsm &&
    transfer &&
    transfer.retry_for_s !== defaults.transfer.retry_for_s &&
    transfer.retry_for_s >= hsm.active_request_timeout_s
  ) {
    yield {
      path: ['transfer', 'retry_for_s'],
      message: `transfer.retry_for_s (${transfer.retry_for_s}) must be below hsm.active_request_timeout_s (${hsm.active_request_timeout_s})`,
      hint: 'Otherwise the coordinator would give an action up before the daemon does.',
    };
  }
  if (transfer) {
    const needed = transfer.block_size_mib * transfer.ranges_per_file;
    const buffer = transfer.max_buffer_mib ?? defaultBufferMib(transfer.workers ?? defaultWorkers());
    if (buffer < needed) {
      yield {
        path: ['transfer', 'max_buffer_mib'],
        message: `transfer.max_buffer_mib (${buffer}) must be at least transfer.block_size_mib × transfer.ranges_per_file (${needed})`,
        hint: 'One file alone needs that much.',
      };
    }
    if (transfer.put_blob_max_mib > buffer) {
      yield {
        path: ['transfer', 'put_blob_max_mib'],
        message: `transfer.put_blob_max_mib (${transfer.put_blob_max_mib}) must not exceed transfer.max_buffer_mib (${buffer})`,
      };
    }
  }
  if (jobs?.logging_container !== undefined && archives.length > 0) {
    yield* loggingProblems(
      jobs.logging_container,
      archives.map(({ archive }) => archive),
    );
  }
  if (http && listenProblem(http.listen)) {
    yield {
      path: ['http', 'listen'],
      message: 'http.listen is not host:port',
      hint: 'For example "127.0.0.1:9464", "[::1]:9464", or "off".',
    };
  }
  for (const key of ['state_dir', 'run_dir'] as const) {
    const dir = config[key];
    if (mount !== undefined && dir !== undefined && `${dir}/`.startsWith(`${mount.replace(/\/+$/, '')}/`)) {
      yield {
        path: [key],
        message: `${key} lies on the file system that is served`,
        hint: 'Keep it on a local disk: the daemon needs it when Lustre does not answer.',
      };
    }
  }
}
