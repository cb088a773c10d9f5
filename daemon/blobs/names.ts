// Names of blobs: from a file's path or FID and back, as an xattr value, as a URL. Movers and jobs call it.
import { LhsmError } from '../../native-bindings/errors.js';
import type { Fid } from '../../native-bindings/lustre.js';

/** Longest blob name, in UTF-16 units (https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata). */
export const MAX_BLOB_NAME_CHARS = 1024;
/** Most segments of a blob name between slashes; same page. */
export const MAX_BLOB_NAME_SEGMENTS = 254;
/** NAME_MAX of Linux, in bytes. */
export const MAX_COMPONENT_BYTES = 255;
/** PATH_MAX of Linux, in bytes. */
export const MAX_PATH_BYTES = 4096;

type NameErrorCode =
  | 'NAME_NOT_UTF8'
  | 'NAME_TOO_LONG'
  | 'NAME_TOO_DEEP'
  | 'COMPONENT_TOO_LONG'
  | 'PATH_TOO_LONG'
  | 'NAME_DOT_COMPONENT'
  | 'NAME_EMPTY_COMPONENT'
  | 'NAME_NUL'
  | 'NAME_OUTSIDE_PREFIX'
  | 'BLOB_XATTR_INVALID';

const errnos: Readonly<Record<NameErrorCode, number>> = {
  NAME_NOT_UTF8: 84, // EILSEQ
  NAME_TOO_LONG: 36, // ENAMETOOLONG
  NAME_TOO_DEEP: 36,
  COMPONENT_TOO_LONG: 36,
  PATH_TOO_LONG: 36,
  NAME_DOT_COMPONENT: 22, // EINVAL
  NAME_EMPTY_COMPONENT: 22,
  NAME_NUL: 22,
  NAME_OUTSIDE_PREFIX: 22,
  BLOB_XATTR_INVALID: 22,
};

const hints: Partial<Record<NameErrorCode, string>> = {
  NAME_NOT_UTF8: 'Rename the file, or archive by FID (naming = "fid").',
  NAME_TOO_LONG: 'Shorten the path, or archive by FID (naming = "fid").',
  NAME_TOO_DEEP: 'Make the path less deep, or archive by FID (naming = "fid").',
};

function refuse(code: NameErrorCode, subject: string, what: string): never {
  const hint = hints[code];
  throw new LhsmError(`${subject} ${what}.`, {
    code,
    op: 'name',
    errno: errnos[code],
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Bytes as people can read them in a message: UTF-8 where it is, `\xNN` where it is not. At most 200 characters. */
export function showPath(path: Buffer): string {
  const text = path.toString('utf8');
  const shown = Buffer.from(text, 'utf8').equals(path)
    ? text
    : path
        .toString('latin1')
        .replace(/[^ -~]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return JSON.stringify(shown.length > 200 ? `${shown.slice(0, 200)}…` : shown);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function checkComponents(components: readonly string[], subject: () => string): void {
  for (const component of components) {
    if (component === '') refuse('NAME_EMPTY_COMPONENT', subject(), 'has an empty component');
    if (component === '.' || component === '..') {
      refuse('NAME_DOT_COMPONENT', subject(), 'has a component "." or ".."');
    }
    if (component.includes('\0')) refuse('NAME_NUL', subject(), 'holds a NUL character');
    if (component.length * 3 > MAX_COMPONENT_BYTES && Buffer.byteLength(component) > MAX_COMPONENT_BYTES) {
      refuse('COMPONENT_TOO_LONG', subject(), `has a component of more than ${MAX_COMPONENT_BYTES} bytes`);
    }
  }
}

/** Throws unless Azure takes the name: 1 to 1,024 characters, at most 254 segments. */
function checkBlobName(name: string, subject: () => string): void {
  if (name.length > MAX_BLOB_NAME_CHARS) {
    refuse('NAME_TOO_LONG', subject(), `makes a blob name of ${name.length} characters; Azure takes 1,024`);
  }
  if (name.split('/').length > MAX_BLOB_NAME_SEGMENTS) {
    refuse('NAME_TOO_DEEP', subject(), `makes a blob name of more than ${MAX_BLOB_NAME_SEGMENTS} segments`);
  }
}

/** What stands for one character: `%` and its code, behind as many `25` as it takes to tell escapes from names that look so. */
const escaped = /%((?:25)*)(5C|7F|1[0-9A-F]|0[1-9A-F])/g;
// eslint-disable-next-line no-control-regex -- control characters are what this is about
const unsafe = /[\\\u0001-\u001f\u007f]/g;
/** The end of a segment that is dots, or the like of escaped dots. */
const dotsAtEnd = /(?:\.|%(?:25)*2E)+(?=\/|$)/g;

const escapeCharacter = (character: string): string =>
  `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
const unescapeCode = (_: string, more: string, code: string): string =>
  more === '' ? String.fromCharCode(parseInt(code, 16)) : `%${more.slice(2)}${code}`;

/**
 * The service changes or refuses some names. It takes `\\` for `/` (the SDK says so in BlobClient, Azurite does it too):
 * a file `a\\b` would get the blob of the file `a/b`. It drops the dots at the end of every segment: `data.` would get that of
 * `data`. It refuses control characters. So these are written `%5C`, `%2E`, `%0A`, and what reads like that already
 * gets one `25` more, as often as it takes to be told apart: every name has its own, and gets itself back.
 */
function escapeForService(text: string): string {
  return text
    .replace(escaped, '%25$1$2')
    .replace(unsafe, escapeCharacter)
    .replace(dotsAtEnd, (end) => end.replace(/%((?:25)*2E)/g, '%25$1').replaceAll('.', '%2E'));
}

function unescapeFromService(name: string): string {
  return name
    .replace(dotsAtEnd, (end) => end.replace(/%((?:25)*)(2E)/g, unescapeCode))
    .replace(escaped, unescapeCode);
}

/**
 * The name of the blob of a file by its path relative to the mount, without a leading slash. `prefix` ends with
 * `/` or is empty. The path as it is, but for what the service would change (`escapeForService`). Throws LhsmError for a name that Azure or another reader could not give back: codes
 * NAME_NOT_UTF8, NAME_TOO_LONG, NAME_TOO_DEEP, COMPONENT_TOO_LONG, PATH_TOO_LONG, NAME_DOT_COMPONENT,
 * NAME_EMPTY_COMPONENT, NAME_NUL.
 */
export function blobNameOfPath(prefix: string, path: Buffer): string {
  const subject = (): string => `The path ${showPath(path)}`;
  if (path.length > MAX_PATH_BYTES) {
    refuse('PATH_TOO_LONG', subject(), `has ${path.length} bytes; ${MAX_PATH_BYTES} are allowed`);
  }
  let text: string;
  try {
    text = utf8.decode(path);
  } catch {
    return refuse('NAME_NOT_UTF8', subject(), 'is not UTF-8, and blob names are');
  }
  checkComponents(text.split('/'), subject);
  const name = `${prefix}${escapeForService(text)}`;
  checkBlobName(name, subject);
  return name;
}

/**
 * The path relative to the mount of a blob by its name; one trailing slash (a directory stub of other tools) is
 * dropped. Throws LhsmError for a name no file can have: codes NAME_OUTSIDE_PREFIX, COMPONENT_TOO_LONG,
 * PATH_TOO_LONG, NAME_DOT_COMPONENT, NAME_EMPTY_COMPONENT, NAME_NUL, NAME_NOT_UTF8 (half a surrogate pair).
 */
export function pathOfBlobName(prefix: string, name: string): Buffer {
  const subject = (): string => `The blob name ${showPath(Buffer.from(name))}`;
  if (!name.startsWith(prefix)) refuse('NAME_OUTSIDE_PREFIX', subject(), `does not begin with ${prefix}`);
  const text = unescapeFromService(name.slice(prefix.length).replace(/\/$/, ''));
  checkComponents(text.split('/'), subject);
  const path = Buffer.from(text, 'utf8');
  if (path.toString('utf8') !== text) refuse('NAME_NOT_UTF8', subject(), 'is not well-formed Unicode');
  if (path.length > MAX_PATH_BYTES) {
    refuse('PATH_TOO_LONG', subject(), `makes a path of ${path.length} bytes; ${MAX_PATH_BYTES} are allowed`);
  }
  return path;
}

/** The directories above a path, outermost first: `a/b/c` has `a` and `a/b`. */
export function parentPaths(path: Buffer): Buffer[] {
  const parents: Buffer[] = [];
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1))
    parents.push(path.subarray(0, at));
  return parents;
}

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/**
 * The blob's name by FID: `<prefix><4 hex digits>/<FID>`, the digits being the low 16 bits of the object id, which
 * count up, so that names spread over the service's partitions. No brackets: they need no encoding anywhere.
 */
export function blobNameOfFid(prefix: string, fid: Fid): string {
  const spread = (fid.oid & 0xffff).toString(16).padStart(4, '0');
  const name = `${prefix}${spread}/${hex(fid.seq)}:${hex(fid.oid)}:${hex(fid.ver)}`;
  checkBlobName(name, () => 'The prefix');
  return name;
}

/** The text cut to so many UTF-16 units and bytes, never within a character. */
function cut(text: string, maxChars: number, maxBytes: number): string {
  let end = 0;
  let bytes = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (end + character.length > maxChars || bytes > maxBytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}

/**
 * Another name for the blob of a file whose own name is taken by the blob of another living file:
 * `<name>.lhsm-<seq>-<oid>-<ver>` in hexadecimal. FIDs are never used again, so no two files get the same one.
 * The last component is cut where it would pass 255 bytes, the whole where it would pass 1,024 characters.
 */
export function alternativeName(name: string, fid: Fid): string {
  const suffix = `.lhsm-${fid.seq.toString(16)}-${fid.oid.toString(16)}-${fid.ver.toString(16)}`;
  const slash = name.lastIndexOf('/') + 1;
  const maxChars = MAX_BLOB_NAME_CHARS - slash - suffix.length;
  // A directory that leaves no room for the suffix: then the suffix alone, above it, still tells whose it is.
  if (maxChars < 0) return `${cut(name, MAX_BLOB_NAME_CHARS - suffix.length, Infinity)}${suffix}`;
  return `${name.slice(0, slash)}${cut(name.slice(slash), maxChars, MAX_COMPONENT_BYTES - suffix.length)}${suffix}`;
}

/** Where an xattr says that a file's blob is. */
export interface BlobReference {
  readonly container: string;
  /** The blob's name in full, prefix included. */
  readonly name: string;
}

/** The value of `trusted.lhsm_uuid`: `az://<container>/<name>`, the name as it is, not encoded. */
export function formatBlobXattr(reference: BlobReference): Buffer {
  return Buffer.from(`az://${reference.container}/${reference.name}`, 'utf8');
}

/**
 * Reads `trusted.lhsm_uuid`: ours, or a bare name relative to the prefix, as the lemur copytool wrote it.
 * `here` is the archive's own container and prefix. Throws LhsmError code BLOB_XATTR_INVALID (EINVAL).
 */
export function parseBlobXattr(
  value: Buffer,
  here: { readonly container: string; readonly prefix: string },
): BlobReference {
  const invalid = (why: string): never =>
    refuse('BLOB_XATTR_INVALID', `The file's blob name ${showPath(value)}`, why);
  let text: string;
  try {
    text = utf8.decode(value).replace(/\0$/, '');
  } catch {
    return invalid('is not UTF-8');
  }
  let reference: BlobReference;
  if (text.startsWith('az://')) {
    const slash = text.indexOf('/', 5);
    if (slash === -1) return invalid('names no blob');
    reference = { container: text.slice(5, slash), name: text.slice(slash + 1) };
  } else {
    if (/^[a-z][a-z0-9+.-]*:\/\//.test(text)) return invalid('is of another kind of store');
    if (text === '') return invalid('is empty');
    reference = { container: here.container, name: `${here.prefix}${text.replace(/^\/+/, '')}` };
  }
  const { container, name } = reference;
  if (!isContainerName(container)) return invalid('names no container');
  if (name === '') return invalid('names no blob');
  if (name.length > MAX_BLOB_NAME_CHARS) return invalid('is longer than a blob name can be');
  // A URL would lose these on its way: the request would go to another blob.
  if (name.split('/').some((part) => part === '.' || part === '..'))
    return invalid('has a component "." or ".."');
  return reference;
}

/** Container names: 3 to 63 of a–z, 0–9 and single hyphens; and the service's own, `$root`, `$web`, `$logs`. */
export function isContainerName(text: string): boolean {
  return /^(?:\$root|\$web|\$logs|(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*)$/.test(text);
}

/**
 * The blob's URL: each segment percent-encoded, slashes kept. As the SDK encodes names too, so that a signature made by
 * either holds.
 */
export function blobUrl(containerUrl: string, name: string): string {
  const path = name.split('/').map(encodeSegment).join('/');
  return `${containerUrl}/${path}`;
}

function encodeSegment(segment: string): string {
  return encodeURIComponent(segment).replace(/'/g, '%27');
}

/** The blob's name in a URL that `blobUrl` made, or any other client. */
export function nameOfBlobUrl(containerUrl: string, url: string): string {
  return decodeURIComponent(url.slice(containerUrl.length + 1).replace(/[?#].*$/s, ''));
}
