// The configuration file as zod sees it: names, units, types, bounds and what each key means. No
// transformations here (to-config.ts does them), so that the JSON schema and the documentation can be generated.
import { z } from 'zod';
import { defaults } from './defaults.js';

/** What the documentation needs of a key beside its type. `x-reload`: SIGHUP applies it. */
interface KeyMeta {
  readonly description: string;
  readonly 'x-reload'?: boolean;
  readonly examples?: unknown[];
  readonly [key: string]: unknown;
}

/** A key that SIGHUP applies. */
const live = (description: string): KeyMeta => ({ description, 'x-reload': true });
/** A key that needs a restart. */
const fixed = (description: string, ...examples: string[]): KeyMeta =>
  examples.length ? { description, examples } : { description };

const MIB_MAX_BLOCK = 4000;
const MIB_MAX_PUT_BLOB = 5000;
const YEAR_S = 366 * 86_400;

const absolutePath = z.string().regex(/^\//, 'must be an absolute path');
const seconds = z.number().positive().max(YEAR_S);
const count = (max: number) => z.int().min(1).max(max);
const secretFile = z.string().min(1);
const octalMode = z.string().regex(/^[0-7]{3,4}$/, 'must be octal digits in quotes, "0644" say');
/** uid_t and gid_t without -1, which chown(2) reads as "leave it". */
const posixId = z.int().min(0).max(0xffff_fffe);

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const fileText = (what: string): string =>
  `File that holds ${what}: an absolute path, or a bare name of a systemd credential (LoadCredential=).`;

const credential = z
  .discriminatedUnion('type', [
    z
      .strictObject({ type: z.literal('default') })
      .meta({ description: "The chain of @azure/identity's DefaultAzureCredential." }),
    z
      .strictObject({
        type: z.literal('managed-identity'),
        client_id: z
          .string()
          .min(1)
          .optional()
          .meta(fixed("Client id of a user-assigned identity; without it the machine's own.")),
      })
      .meta({ description: 'The managed identity of the virtual machine.' }),
    z
      .strictObject({
        type: z.literal('workload-identity'),
        client_id: z.string().min(1).optional().meta(fixed('Client id; else AZURE_CLIENT_ID.')),
        tenant_id: z.string().min(1).optional().meta(fixed('Tenant id; else AZURE_TENANT_ID.')),
        token_file: absolutePath
          .optional()
          .meta(fixed('File with the federated token; else AZURE_FEDERATED_TOKEN_FILE.')),
      })
      .meta({ description: 'Workload identity federation, as in Kubernetes.' }),
    z
      .strictObject({ type: z.literal('environment') })
      .meta({ description: 'A service principal from AZURE_TENANT_ID, AZURE_CLIENT_ID and its secret.' }),
    z
      .strictObject({
        type: z.literal('sas'),
        file: secretFile.meta(fixed(fileText('the SAS query string') + ' Read again when it changes.')),
      })
      .meta({ description: 'A shared access signature.' }),
    z
      .strictObject({
        type: z.literal('account-key'),
        file: secretFile.meta(fixed(fileText('the base64 account key'))),
        account: z
          .string()
          .regex(/^[a-z0-9]{3,24}$/, 'must be a storage account name (3 to 24 lower-case letters and digits)')
          .optional()
          .meta(fixed("The account's name, where the container's URL does not begin with it.")),
      })
      .meta({ description: "The storage account's key." }),
    z
      .strictObject({
        type: z.literal('connection-string'),
        file: secretFile.meta(fixed(fileText('the connection string'))),
      })
      .meta({ description: 'A connection string (Azurite, or an account).' }),
  ])
  .meta({ description: 'How the container lets the daemon in.' });

export const archiveSchema = z
  .strictObject({
    id: z
      .int()
      .min(0)
      .max(0xffff_ffff)
      .meta(fixed('The HSM archive id; 0 stands for every id that no other entry names.')),
    container: z
      .string()
      .min(1)
      .meta(
        fixed(
          "The container's URL without any SAS; with a connection string a bare container name will do.",
          'https://myaccount.blob.core.windows.net/lustre-archive',
        ),
      ),
    prefix: z
      .string()
      .max(512)
      .default(defaults.archive.prefix)
      .meta(fixed('What the names of all blobs begin with; a `/` is added behind it where missing.')),
    naming: z
      .enum(['path', 'fid'])
      .default(defaults.archive.naming)
      .meta(
        fixed(
          "How a file's blob is named: by its path below the mount, readable by other tools, or by its FID, " +
            'for sites that rename and unlink a lot.',
        ),
      ),
    hierarchical: z
      .literal(['auto', true, false])
      .default(defaults.archive.hierarchical)
      .meta(
        fixed(
          'Whether the account has a hierarchical namespace. auto asks it; say it for credentials that may not ask ' +
            '(a SAS of the container only).',
        ),
      ),
    credential,
  })
  .meta({ description: 'One archive id and the container that holds its copies; repeat it for several.' });

export const configSchema = z
  .strictObject({
    mount: absolutePath.meta(
      fixed('Where the Lustre file system is mounted. The systemd unit gives it as a flag.', '/mnt/lustre'),
    ),
    library: z
      .string()
      .min(1)
      .default(defaults.library)
      .meta(fixed('The Lustre library: a name for the dynamic linker, or a path.')),
    state_dir: absolutePath
      .default(defaults.state_dir)
      .meta(fixed('Holds the journal, one folder a mount. On a local disk, not on Lustre.')),
    run_dir: absolutePath
      .default(defaults.run_dir)
      .meta(fixed('Holds the admin socket, one folder a mount.')),
    archive: z.array(archiveSchema).min(1).meta({ description: 'The archives.' }),
    log: z
      .strictObject({
        level: z
          .enum(LOG_LEVELS)
          .default(defaults.log.level)
          .meta(live('The least important lines that are still written.')),
        format: z
          .enum(['auto', 'json', 'journald', 'pretty'])
          .default(defaults.log.format)
          .meta(
            fixed(
              'auto: journald when systemd reads the output, else json. journald: JSON behind a `<N>` priority. ' +
                'pretty: for eyes.',
            ),
          ),
      })
      .prefault({})
      .meta({ description: 'The log, written to standard output.' }),
    http: z
      .strictObject({
        listen: z
          .string()
          .min(1)
          .default(defaults.http.listen)
          .meta(
            fixed(
              '`host:port` of /metrics, /healthz and /readyz, or `off`. Each mount on a node needs its own port.',
            ),
          ),
      })
      .prefault({})
      .meta({
        description: 'Metrics and health over TCP. There is no authentication: keep it off open networks.',
      }),
    scheduler: z
      .strictObject({
        max_actions: count(10_000)
          .default(defaults.scheduler.max_actions)
          .meta(live('Actions in flight at once.')),
        restore_reserved: z
          .int()
          .min(0)
          .max(10_000)
          .default(defaults.scheduler.restore_reserved)
          .meta(live('Of those, how many only restores may use: archives can never fill them.')),
        max_bytes_gib: z
          .number()
          .positive()
          .max(8_000_000)
          .default(defaults.scheduler.max_bytes_gib)
          .meta(live('Bytes of files in flight at once; one file larger than that goes alone.')),
      })
      .prefault({})
      .meta({ description: 'How much is done at once.' }),
    hsm: z
      .strictObject({
        active_request_timeout_s: seconds
          .default(defaults.hsm.active_request_timeout_s)
          .meta(
            live('What the MDS has as `hsm.active_request_timeout`; it drops requests silent for that long.'),
          ),
        heartbeat_s: seconds
          .default(defaults.hsm.heartbeat_s)
          .meta(live('How often the progress of each action in flight is told to the MDT.')),
        restore_first_progress_s: seconds
          .default(defaults.hsm.restore_first_progress_s)
          .meta(
            live(
              "How long a restore's first progress is held back. Until it is sent, a restore survives kill -9 " +
                'of the daemon unnoticed by its reader.',
            ),
          ),
      })
      .prefault({})
      .meta({ description: "Times that must fit the coordinator's." }),
    policy: z
      .strictObject({
        restore_changed: z
          .enum(['fail', 'accept'])
          .default(defaults.policy.restore_changed)
          .meta(
            live(
              'A blob that is not the version the file remembers: fail with EIO, or take it if its size fits.',
            ),
          ),
        archive_changed: z
          .enum(['refuse', 'overwrite'])
          .default(defaults.policy.archive_changed)
          .meta(live('A blob that somebody else changed at the name of a file to archive.')),
        keep_set_id: z
          .boolean()
          .default(defaults.policy.keep_set_id)
          .meta(live("Whether set-uid and set-gid bits are kept in the blob's permissions.")),
      })
      .prefault({})
      .meta({ description: 'What to do where there is a choice.' }),
    transfer: z
      .strictObject({
        workers: z
          .int()
          .min(0)
          .max(256)
          .optional()
          .meta(
            fixed(
              'Threads that move content; 0 moves it on the main thread. By default one less than there are cores, at ' +
                'least 1 and at most 16; never more than the buffers have blocks.',
            ),
          ),
        block_size_mib: z
          .number()
          .min(1 / 16)
          .max(MIB_MAX_BLOCK)
          .default(defaults.transfer.block_size_mib)
          .meta(fixed('Size of a block or range; grown for a file that would need more than 50,000 blocks.')),
        put_blob_max_mib: z
          .number()
          .min(0)
          .max(MIB_MAX_PUT_BLOB)
          .default(defaults.transfer.put_blob_max_mib)
          .meta(fixed('Files up to this size go as one Put Blob.')),
        ranges_per_file: count(256)
          .default(defaults.transfer.ranges_per_file)
          .meta(fixed('Blocks or ranges in flight for one file.')),
        max_requests: count(4096)
          .default(defaults.transfer.max_requests)
          .meta(
            fixed(
              'Requests for content in flight to one account, restores and archives apart. A throttle halves it, ' +
                'successes let it grow again. Blocks and large ranges also need room in `max_buffer_mib`.',
            ),
          ),
        max_buffer_mib: z
          .number()
          .min(1)
          .max(65_536)
          .optional()
          .meta(
            fixed(
              'Buffers in memory at once, over all transfers; half is for restores. By default 128, or 64 a worker ' +
                'where that is more.',
            ),
          ),
        max_restore_mib_s: z
          .number()
          .min(0)
          .max(1_048_576)
          .default(defaults.transfer.max_restore_mib_s)
          .meta(fixed('The most that all restores together move in a second; 0 for as fast as it goes.')),
        max_archive_mib_s: z
          .number()
          .min(0)
          .max(1_048_576)
          .default(defaults.transfer.max_archive_mib_s)
          .meta(fixed('The same for archives.')),
        ca_file: absolutePath
          .optional()
          .meta(fixed('PEM file with certificate authorities to trust beside the usual ones.')),
        max_tries: count(100)
          .default(defaults.transfer.max_tries)
          .meta(
            fixed(
              'Tries of one request before its action fails. A service that does not answer, or asks for patience, ' +
                'is tried for `retry_for_s` instead, unless this is below its default: then both count.',
            ),
          ),
        retry_for_s: seconds
          .default(defaults.transfer.retry_for_s)
          .meta(
            fixed(
              'How long a service that does not answer, or only asks for patience, is tried again. The coordinator ' +
                'does not try again by itself, so be patient here; at most half of `hsm.active_request_timeout_s` counts.',
            ),
          ),
        stall_timeout_s: seconds
          .default(defaults.transfer.stall_timeout_s)
          .meta(fixed('A request without a byte for that long is tried again.')),
      })
      .prefault({})
      .meta({ description: 'The bytes between file and blob.' }),
    jobs: z
      .strictObject({
        logging_container: z
          .string()
          .min(1)
          .optional()
          .meta(
            fixed(
              "Container for locks, status and reports of jobs: a URL in the account of one of the archives, or a bare name in the first archive's account. " +
                'Not one of the archives. Without it there are no import and export jobs.',
              'https://myaccount.blob.core.windows.net/lustre-jobs',
            ),
          ),
        stubs_at_once: count(1024)
          .default(defaults.jobs.stubs_at_once)
          .meta(fixed('Files that an import makes at once.')),
        listing_streams: count(64)
          .default(defaults.jobs.listing_streams)
          .meta(fixed('Directories of a container that an import lists at once.')),
        page_size: count(5000)
          .default(defaults.jobs.page_size)
          .meta(
            fixed(
              'Blobs of one page of a listing. A restart does no more again than the pages that were under way; large ones cost ' +
                'memory.',
            ),
          ),
        checkpoint_s: seconds
          .max(3600)
          .default(defaults.jobs.checkpoint_s)
          .meta(
            fixed(
              'How often a job notes how far it is; what was done since is looked at again after a crash.',
            ),
          ),
        window: count(100_000)
          .default(defaults.jobs.window)
          .meta(
            fixed(
              'Requests of an export or a batch restore that the coordinator has at once; `--window` gives one job another.',
            ),
          ),
        file_mode: octalMode
          .default(defaults.jobs.file_mode)
          .meta(fixed('Permissions of an imported file whose blob says nothing of them.')),
        directory_mode: octalMode
          .default(defaults.jobs.directory_mode)
          .meta(fixed('The same for a directory, and for parents that have no blob.')),
        uid: posixId
          .default(defaults.jobs.uid)
          .meta(fixed('Owner where the blob says nothing, or a name that `user_map` does not know.')),
        gid: posixId.default(defaults.jobs.gid).meta(fixed('The same for the group, with `group_map`.')),
        user_map: absolutePath
          .optional()
          .meta(
            fixed(
              'TOML file with lines `"name" = number`: the uids of Entra object ids, UPNs or names that blobs give as owner.',
              '/etc/lhsm-azblob/users.toml',
            ),
          ),
        group_map: absolutePath
          .optional()
          .meta(fixed('The same for the gids of groups.', '/etc/lhsm-azblob/groups.toml')),
      })
      .prefault({})
      .meta({ description: 'Import and export jobs.' }),
    shutdown: z
      .strictObject({
        grace_s: z
          .number()
          .min(0)
          .max(YEAR_S)
          .default(defaults.shutdown.grace_s)
          .meta(
            live(
              'How long actions may finish after SIGTERM before they are ended. Keep TimeoutStopSec= above it.',
            ),
          ),
      })
      .prefault({})
      .meta({ description: 'The end.' }),
  })
  .meta({
    title: 'lhsm-azblob configuration',
    description: 'Configuration of lhsm-azblobd, the Lustre HSM copytool for Azure Blob Storage.',
  });

/** The file's content once validated, defaults filled in. */
export type FileConfig = z.output<typeof configSchema>;
export type FileArchive = z.output<typeof archiveSchema>;
